"""Latents of two dictionaries beside each other: how alike they are, and who is whose counterpart.

Two similarities (decoder directions; activation over the same positions) and two matchings (the published one-sided
one; one-to-one). All functions take arrays, so a floor (another seed, random directions, shuffled positions) is just
another input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment

from biosae_utils.analysis.geometry import unit
from biosae_utils.errors import BiosaeError

HUNGARIAN_LIMIT = 6144  # an optimal assignment takes seconds at 4,608 latents; above this, mutual nearest neighbours


# ---- similarities ------------------------------------------------------------------------------------------------


def decoder_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|cosine| of every decoder row of `a` with every one of `b`.

    Parameters
    ----------
    a : ndarray, shape (Fa, d)
    b : ndarray, shape (Fb, d)

    Returns
    -------
    ndarray of float32, shape (Fa, Fb)
    """
    if a.shape[1] != b.shape[1]:
        raise BiosaeError(
            f"Decoders of different width ({a.shape[1]} and {b.shape[1]}) cannot be compared",
            do="match them by activation",
        )
    return np.abs(unit(a).astype(np.float32) @ unit(b).astype(np.float32).T)


def activation_similarity(a: sp.csr_matrix, b: sp.csr_matrix, *, min_count: int = 1) -> np.ndarray:
    """Pearson correlation of every column of `a` with every column of `b`, from one sparse product.

    Parameters
    ----------
    a : csr_matrix, shape (N, Fa)
    b : csr_matrix, shape (N, Fb)
        Sparse codes of the same N positions in the same order.
    min_count : int
        A column with fewer non-zero entries is not measurable and gets 0 against everything.

    Returns
    -------
    ndarray of float32, shape (Fa, Fb)
        Between -1 and 1; two latents that are never active together are slightly negative.
    """
    if a.shape[0] != b.shape[0]:
        raise BiosaeError(
            f"Codes of {a.shape[0]} and {b.shape[0]} positions do not belong together",
            do="use codes of the same positions",
        )
    n = a.shape[0]
    a, b = a.tocsc().astype(np.float64), b.tocsc().astype(np.float64)
    joint = (a.T @ b).toarray()
    (mean_a, scale_a), (mean_b, scale_b) = _moments(a, min_count), _moments(b, min_count)
    joint -= n * np.outer(mean_a, mean_b)
    joint *= np.outer(scale_a, scale_b)
    return np.clip(joint, -1, 1).astype(np.float32)


def _moments(x: sp.csc_matrix, min_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each column, and one over the root of its centred sum of squares (0 where not measurable)."""
    n = x.shape[0]
    mean = np.asarray(x.sum(0)).ravel() / n
    squares = np.asarray(x.multiply(x).sum(0)).ravel() - n * mean**2
    fine = (x.getnnz(axis=0) >= min_count) & (squares > 1e-12)
    return mean, np.where(fine, 1 / np.sqrt(np.where(fine, squares, 1)), 0.0)


def codes_matrix(values: np.ndarray, indices: np.ndarray, d_sae: int) -> sp.csr_matrix:
    """Codes as an SAE returns them, both (n, k), as a sparse matrix (n, d_sae); closed slots (value 0) are left out."""
    active = values > 0
    indptr = np.concatenate([[0], np.cumsum(active.sum(1))])
    return sp.csr_matrix((values[active], indices[active], indptr), shape=(len(values), d_sae))


# ---- matching ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Match:
    """Pairs of latents of two dictionaries.

    Attributes
    ----------
    a, b : ndarray of int64, shape (m,)
        Latents that are paired.
    score : ndarray of float32, shape (m,)
        Their similarity.
    of : ndarray of int64, shape (n_a,)
        Latents of the first dictionary that could have been matched, in order.
    """

    a: np.ndarray
    b: np.ndarray
    score: np.ndarray
    of: np.ndarray

    @property
    def n_a(self) -> int:
        """Number of latents of the first dictionary that could have been matched."""
        return len(self.of)

    def kept(self, threshold: float) -> Match:
        """Only pairs at least this similar."""
        keep = self.score >= threshold
        return Match(self.a[keep], self.b[keep], self.score[keep], self.of)

    def marked(self, paired: np.ndarray) -> np.ndarray:
        """Per latent of `of`, what `paired` says of its pair, False for those without one.

        Parameters
        ----------
        paired : ndarray of bool, shape (..., m)

        Returns
        -------
        ndarray of bool, shape (..., n_a)
        """
        out = np.zeros((*paired.shape[:-1], self.n_a), bool)
        out[..., np.searchsorted(self.of, self.a)] = paired
        return out

    def share(self, threshold: float) -> float:
        """Share of the first dictionary's latents with a counterpart at least this similar."""
        return float((self.score >= threshold).sum() / self.n_a) if self.n_a else 0.0


def match_one_sided(
    similarity: np.ndarray, alive_a: np.ndarray | None = None, alive_b: np.ndarray | None = None
) -> Match:
    """The published matching: the most similar latent of `b` for each of `a`; many may choose the same one."""
    rows, cols = _alive(similarity, alive_a, alive_b)
    if len(cols) == 0:
        return Match(rows[:0], cols, np.empty(0, np.float32), rows)
    block = similarity[np.ix_(rows, cols)]
    best = block.argmax(1)
    return Match(rows, cols[best], block[np.arange(len(rows)), best], rows)


def match_one_to_one(
    similarity: np.ndarray, alive_a: np.ndarray | None = None, alive_b: np.ndarray | None = None
) -> Match:
    """Each latent at most once: the assignment of largest total similarity.

    Above `HUNGARIAN_LIMIT` latents, pairs that choose each other (mutual nearest neighbours): a subset of what an
    assignment can hold, found in one pass.
    """
    rows, cols = _alive(similarity, alive_a, alive_b)
    block = similarity[np.ix_(rows, cols)]
    if min(block.shape) == 0:
        i = j = np.empty(0, np.int64)
    elif max(block.shape) <= HUNGARIAN_LIMIT:
        i, j = linear_sum_assignment(block, maximize=True)
    else:
        forward, backward = block.argmax(1), block.argmax(0)
        i = np.flatnonzero(backward[forward] == np.arange(len(forward)))
        j = forward[i]
    return Match(rows[i], cols[j], block[i, j], rows)


def matching_name(n_latents: int) -> str:
    """How `match_one_to_one` pairs dictionaries of this size, for captions."""
    return "optimal assignment" if n_latents <= HUNGARIAN_LIMIT else "mutual nearest neighbours"


def _alive(similarity: np.ndarray, a: np.ndarray | None, b: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows and columns that take part."""
    rows = np.arange(similarity.shape[0]) if a is None else np.flatnonzero(a)
    cols = np.arange(similarity.shape[1]) if b is None else np.flatnonzero(b)
    return rows, cols
