"""Genes that differ between two groups of cells within strata: stratified rank-sum tests on sparse values.

Values are sorted once. A permutation of labels, or leaving out cells, only changes weights, so that the null and the
jackknife cost a few milliseconds per million non-zero values each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr

from biosae_utils.errors import BiosaeError

# what a reference is called, compared in small letters with spaces for - and _; the level, or its first words
CONTROL_NAMES = tuple(
    "control,controls,ctrl,ctl,healthy,hc,normal,vehicle,dmso,pbs,unstimulated,unstim,untreated,unperturbed,wt,"
    "wild type,wildtype,non targeting,nontargeting,nt,scramble,scrambled,negative control,neg,mock,sham,"
    "placebo,uninfected,uninjured,unaffected,naive,none,resting,baseline,pre,pretreatment,before,0".split(",")
)
ZERO = re.compile(
    r"^(?:day |d|t|time |week |month )?0+(?: ?(?:h|hrs?|hours?|min|minutes?|s|d|days?|weeks?|[nu]m|ng ?ml))?$"
)


def reference_level(condition: np.ndarray, reference: str | None = None) -> str:
    """The level that the others are compared with.

    Parameters
    ----------
    condition : ndarray of str, shape (n_cells,)
        Missing values are None and are no level.
    reference : str, optional
        The level to take; else one called like a control, else the most frequent.

    Raises
    ------
    BiosaeError
        If no cell is of the level asked for, or no cell has a condition.
    """
    return _reference(condition, reference)[0]


def _reference(condition: np.ndarray, reference: str | None) -> tuple[str, bool]:
    """The reference level, and whether its name (or the user) says so."""
    present = np.array([str(c) for c in condition if c is not None and c == c], str)
    levels, counts = np.unique(present, return_counts=True)
    if not len(levels):
        raise BiosaeError("No cell has a condition", where="parameter condition of 00_data")
    if reference is not None:
        if reference not in levels:
            raise BiosaeError(
                f"No cell has the condition {reference!r}; there are {', '.join(levels)}",
                where="parameter reference of 00_data",
                do="name one of them",
            )
        return str(reference), True
    by_size = [str(levels[i]) for i in np.argsort(-counts, kind="stable")]
    plain = {level: re.sub(r"[\s_\-]+", " ", level.lower()).strip() for level in by_size}
    for says in (lambda text, name: text == name, _begins):
        for name in CONTROL_NAMES:
            if hit := [level for level in by_size if says(plain[level], name)]:
                return hit[0], True
    if zero := [level for level in by_size if ZERO.match(plain[level])]:
        return zero[0], True
    return by_size[0], False


def _begins(text: str, name: str) -> bool:
    """Whether a text begins with a name; short names with a number behind them are genes (WT1, NT5E), not controls."""
    return re.match(rf"{name}(?![a-z.{'' if len(name) > 3 else '0-9'}])", text) is not None


@dataclass(frozen=True)
class Contrast:
    """Which cells are compared with which.

    Attributes
    ----------
    reference : str
    others : tuple of str
        The other levels, which are pooled; one, in most files.
    has_condition : ndarray of bool, shape (n_cells,)
        Cells that take part: cells without a condition do not.
    group : ndarray of bool, shape (n_cells,)
        Cells of the other levels.
    messages : list of str
        What a reader has to know about the choice.
    """

    reference: str
    others: tuple[str, ...]
    has_condition: np.ndarray
    group: np.ndarray
    messages: list[str]


def contrast(condition: np.ndarray, reference: str | None = None) -> Contrast | None:
    """The reference against all other levels, and what was decided on the way; None where no cell has a condition.

    Parameters
    ----------
    condition : ndarray of str, shape (n_cells,)
        None (or NaN) where a cell has no condition.
    reference : str, optional
        See `reference_level`.
    """
    condition = np.asarray(condition, object)
    present = np.array([c is not None and c == c for c in condition], bool)
    if not present.any():
        return None
    level, is_named = _reference(condition, reference)
    of = np.array([str(c) if there else "" for c, there in zip(condition, present, strict=True)], object)
    group = present & (of != level)
    others = tuple(sorted(set(of[group])))
    said = []
    if missing := int((~present).sum()):
        said.append(f"{missing:,} of {len(condition):,} cells have no condition and take no part in the comparison.")
    if others and not is_named:
        said.append(
            f"WARNING: no condition is called like a control; {level}, the most frequent, is the reference. The "
            "parameter reference decides, and with it the sign."
        )
    if len(others) > 1:
        sizes = ", ".join(f"{name} ({int((of == name).sum()):,} cells)" for name in others)
        said.append(f"WARNING: {len(others)} conditions are pooled against {level}: {sizes}.")
    return Contrast(level, others, present, group, said)


@dataclass(frozen=True)
class RankTest:
    """Result of `RankSums.test`, one entry per gene.

    Attributes
    ----------
    z : ndarray of float64, shape (n_genes,)
        Positive when the group ranks higher; 0 where the gene does not vary within any stratum.
    p : ndarray of float64, shape (n_genes,)
        Two-sided, normal approximation with ties; 1 where the gene does not vary.
    auroc : ndarray of float64, shape (n_genes,)
        Chance that a cell of the group is above a cell of the rest of its stratum (ties count half), averaged
        over strata with weights n_group * n_rest; 0.5 where there is no such pair.
    """

    z: np.ndarray
    p: np.ndarray
    auroc: np.ndarray


class RankSums:
    """Stratified rank-sum test (van Elteren) of every column of a sparse matrix.

    Parameters
    ----------
    x : csr_matrix, shape (n_cells, n_genes)
        Non-negative values; only their order within a stratum matters.
    strata : ndarray, shape (n_cells,)
        Cells are compared within a stratum only.

    References
    ----------
    van Elteren, Bull Inst Int Stat 37, 351 (1960); ties as in Lehmann, Nonparametrics (1975).
    """

    def __init__(self, x: sp.csr_matrix, strata: np.ndarray) -> None:
        self.names, self.stratum = np.unique(strata, return_inverse=True)
        self.n_genes = x.shape[1]
        x = x.tocoo()
        keep = x.data != 0
        cell, gene, value = x.row[keep], x.col[keep], x.data[keep]
        segment = self.stratum[cell].astype(np.int64) * self.n_genes + gene
        order = np.lexsort((value, segment))
        self._cell, segment, value = cell[order], segment[order], value[order]
        new_segment = np.r_[True, segment[1:] != segment[:-1]]
        new_tie = new_segment | np.r_[True, value[1:] != value[:-1]]
        self._ties = np.flatnonzero(new_tie)
        self._segments = np.flatnonzero(new_segment[self._ties])  # first tie group of each segment
        self._segment = segment[self._ties][self._segments]  # stratum * n_genes + gene
        self._of_tie = np.cumsum(new_segment[self._ties]) - 1

    def test(self, group: np.ndarray, keep: np.ndarray | None = None) -> RankTest:
        """Compare cells in `group` with the others, stratum by stratum.

        Parameters
        ----------
        group : ndarray of bool, shape (n_cells,)
        keep : ndarray of bool, shape (n_cells,), optional
            Cells used; all by default.
        """
        keep = np.ones(len(group)) if keep is None else keep.astype(float)
        ours = keep * group
        n = np.bincount(self.stratum, keep, len(self.names))
        n1 = np.bincount(self.stratum, ours, len(self.names))
        tie, tie1 = (np.add.reduceat(w[self._cell], self._ties) for w in (keep, ours))
        nonzero, nonzero1 = (np.add.reduceat(w, self._segments) for w in (tie, tie1))
        s = self._segment // self.n_genes
        zeros, zeros1 = n[s] - nonzero, n1[s] - nonzero1
        below = np.cumsum(tie) - tie
        below += (zeros - below[self._segments])[self._of_tie]
        midrank, zero_rank = below + (tie + 1) / 2, (zeros + 1) / 2
        rank_sum = zeros1 * zero_rank + np.add.reduceat(tie1 * midrank, self._segments)
        squares = zeros * zero_rank**2 + np.add.reduceat(tie * midrank**2, self._segments)
        spread = squares - n[s] * ((n[s] + 1) / 2) ** 2
        n2 = n - n1
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = np.where(n[s] > 1, n1[s] * n2[s] * spread / (n[s] * (n[s] - 1)), 0.0)
        excess = rank_sum - n1[s] * (n[s] + 1) / 2

        gene, weight = self._segment % self.n_genes, 1 / (n[s] + 1)
        total = np.bincount(gene, weight * excess, self.n_genes)
        total_variance = np.bincount(gene, weight**2 * np.maximum(variance, 0), self.n_genes)
        z = np.divide(total, np.sqrt(total_variance), out=np.zeros(self.n_genes), where=total_variance > 1e-12)
        pairs = float((n1 * n2).sum())
        wins = np.bincount(gene, excess, self.n_genes)  # U - n1 n2 / 2; a gene without values in a stratum adds nothing
        auroc = 0.5 + (wins / pairs if pairs else np.zeros(self.n_genes))
        return RankTest(z, 2 * ndtr(-np.abs(z)), auroc)
