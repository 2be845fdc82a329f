"""Are these numbers counts? And if they are log1p of normalised counts, what were the counts?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

SAME_TOTAL = 2e-3  # relative spread of row sums below which cells were scaled to one total (float32 leaves about 1e-6)
WHOLE = 0.05  # distance from an integer, in counts, that rounding of a float32 logarithm can explain
MAX_SMALLEST = 4  # the smallest non-zero count of a cell is tried as 1, 2, .. up to this


@dataclass(frozen=True)
class Encoding:
    """What the stored values are.

    Attributes
    ----------
    name : str
        ``counts``, ``log1p(CP10k) undone`` (or ``log1p(scaled to N) undone``), or ``""`` when they are neither.
    why : str
        One clause that says what was seen.
    """

    name: str
    why: str

    @property
    def usable(self) -> bool:
        return bool(self.name)

    @property
    def is_log(self) -> bool:
        return self.name.endswith("undone")


def recognise(x: sp.csr_matrix) -> Encoding:
    """Tell counts from logs of normalised counts from everything else, on a sample of cells.

    Parameters
    ----------
    x : csr_matrix, shape (n_cells, n_genes)
        Values as stored in the file.

    Returns
    -------
    Encoding
        Logs are accepted only if ``expm1`` gives every cell the same total and integers after division by the
        cell's smallest value: then the counts are known, not guessed.
    """
    values = x.data[x.data != 0]
    if not len(values):
        return Encoding("", "all values are zero")
    if not np.isfinite(values).all():
        return Encoding("", "there are missing or infinite values")
    if values.min() < 0:
        return Encoding("", f"there are negative values (down to {values.min():.3g}), as after scaling or centring")
    if is_whole(values):
        return Encoding("counts", f"integers up to {values.max():,.0f}")
    share = float(np.mean(values != np.rint(values)))
    seen = f"{share:.0%} of the non-zero values are fractions (largest {values.max():.4g})"
    total = _common_total(x.data, x)
    if total:
        return Encoding("", f"{seen}; every cell sums to {total:,.0f}: normalised (CPM, TPM or CP10k), not logged")
    if values.max() > 30:  # expm1 of more than 30 exceeds any library size
        return Encoding("", f"{seen}; they are neither counts nor logarithms")
    total = _common_total(np.expm1(x.data.astype(np.float64)), x)
    if not total:
        return Encoding("", f"{seen}; expm1 does not give every cell the same total, so counts cannot be recovered")
    if (bad := undo_log1p(x)[1]).any():
        n = int(bad.sum())
        return Encoding(
            "", f"{seen}; expm1 gives no whole counts in {n} of {x.shape[0]} sampled cells (TPM, or corrected)"
        )
    scale = "CP10k" if abs(total - 1e4) < 10 else f"scaled to {total:,.0f}"
    return Encoding(
        f"log1p({scale}) undone", f"{seen}; expm1 sums to {total:,.0f} in every cell and gives whole counts"
    )


def is_whole(values: np.ndarray) -> bool:
    """Whether all values are finite integers, none negative."""
    return bool(np.isfinite(values).all() and (values >= 0).all() and (values == np.rint(values)).all())


def _common_total(data: np.ndarray, x: sp.csr_matrix) -> float:
    """Row sum that all non-empty cells share, 0.0 when there is none (one cell alone proves nothing)."""
    sums = np.asarray(sp.csr_matrix((data.astype(np.float64), x.indices, x.indptr), shape=x.shape).sum(1)).ravel()
    sums = sums[sums > 0]
    if len(sums) < 2 or sums.std() > SAME_TOTAL * sums.mean():
        return 0.0
    return float(np.median(sums))


def undo_log1p(x: sp.csr_matrix) -> tuple[sp.csr_matrix, np.ndarray]:
    """Counts behind log1p of counts scaled to a common total.

    ``expm1`` gives ``count * s`` with one unknown ``s`` per cell, so the ratios to the cell's smallest value are ratios
    of counts. The smallest count is almost always 1; 2, 3 and 4 are tried where 1 leaves fractions.

    Parameters
    ----------
    x : csr_matrix, shape (n_cells, n_genes)

    Returns
    -------
    counts : csr_matrix of float32, shape (n_cells, n_genes)
    bad : ndarray of bool, shape (n_cells,)
        Cells for which no whole counts were found; their values are meaningless.
    """
    x = sp.csr_matrix(x, dtype=np.float64)
    x.eliminate_zeros()
    values = np.expm1(x.data)
    lengths = np.diff(x.indptr)
    filled = np.flatnonzero(lengths)
    rows = np.repeat(np.arange(len(filled)), lengths[filled])
    if not len(filled):
        return sp.csr_matrix(x, dtype=np.float32), np.zeros(x.shape[0], bool)
    smallest = np.minimum.reduceat(values, x.indptr[filled])
    ratio = values / smallest[rows]
    counts, unsolved = np.rint(ratio), np.ones(len(filled), bool)
    for factor in range(1, MAX_SMALLEST + 1):
        off = np.maximum.reduceat(np.abs(ratio * factor - np.rint(ratio * factor)), x.indptr[filled])
        solved = unsolved & (off < WHOLE)
        counts = np.where(solved[rows], np.rint(ratio * factor), counts)
        unsolved &= ~solved
    bad = np.zeros(x.shape[0], bool)
    bad[filled] = unsolved
    return sp.csr_matrix((counts.astype(np.float32), x.indices, x.indptr), shape=x.shape), bad
