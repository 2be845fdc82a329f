"""What an SAE adds to principal components: variance, subspaces, and the published 'invisible to SVD' rule.

Everything here is a pure function of arrays. Positions are rows, ``d`` is the width of the residual stream, directions
are decoder rows. Principal axes come from one pass over the activations (a d x d covariance), never from an SVD of
all rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import gammaln

from biosae_utils.errors import BiosaeError
from biosae_utils.intervals import from_draws

BLOCK = 16_384  # rows held in float64 at a time


@dataclass(frozen=True)
class Principal:
    """Principal axes of a set of activations.

    Attributes
    ----------
    mean : ndarray of float64, shape (d,)
    axes : ndarray of float64, shape (d, d)
        One axis a row, unit norm, in order of decreasing variance; the sign makes the largest entry positive.
    variance : ndarray of float64, shape (d,)
        Variance along each axis (population, not sample).
    n : int
        Vectors seen.
    """

    mean: np.ndarray
    axes: np.ndarray
    variance: np.ndarray
    n: int

    @property
    def share(self) -> np.ndarray:
        """Cumulative share of the total variance, shape (d,)."""
        return np.cumsum(self.variance) / self.variance.sum()

    def coefficients(self, x: np.ndarray) -> np.ndarray:
        """Coordinates of `x`, shape (n, d), on the axes."""
        return (np.asarray(x, np.float64) - self.mean) @ self.axes.T


def principal_axes(blocks: np.ndarray | Iterable[np.ndarray]) -> Principal:
    """PCA from a stream of activations.

    Parameters
    ----------
    blocks : ndarray of shape (n, d), or iterable of such
        Read once, in pieces; float64 sums around the first block's mean, so that a large mean costs no precision.

    Returns
    -------
    Principal
        Equal to the right singular vectors of the centred matrix.

    Raises
    ------
    BiosaeError
        Fewer than two vectors, or a vector that is not finite.
    """
    if isinstance(blocks, np.ndarray):
        x = blocks
        blocks = (x[i : i + BLOCK] for i in range(0, len(x), BLOCK))
    origin, total, square, n = None, 0.0, 0.0, 0
    for block in blocks:
        block = np.asarray(block, np.float64)
        origin = block.mean(0) if origin is None else origin
        block = block - origin
        total, square, n = total + block.sum(0), square + block.T @ block, n + len(block)
    if origin is None or n < 2 or not np.isfinite(square).all():
        raise BiosaeError(
            "Principal axes need at least two finite vectors",
            where=f"{n} vectors",
            do="check the sample of activations",
        )
    shift = total / n
    variance, axes = np.linalg.eigh(square / n - np.outer(shift, shift))
    axes = axes.T[::-1]
    axes = axes * np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(1)] < 0, -1.0, 1.0)[:, None]
    return Principal(origin + shift, axes, np.clip(variance[::-1], 0, None), n)


# ---- variance at matched rank and matched active count -----------------------------------------------------------


def explained(x: np.ndarray, residual: np.ndarray) -> float:
    """Share of the variance of `x` (about its own mean) that a reconstruction explains, from per-vector squared errors.

    Parameters
    ----------
    x : ndarray, shape (n, d)
    residual : ndarray, shape (n,)
        Squared error of each vector.
    """
    x = np.asarray(x, np.float64)
    return float(1 - residual.sum() / ((x - x.mean(0)) ** 2).sum())


def pca_residuals(
    p: Principal, x: np.ndarray, ranks: Sequence[int] | np.ndarray, *, sparse: bool = False
) -> np.ndarray:
    """Squared error of each vector when only some of its principal coefficients are kept.

    Parameters
    ----------
    p : Principal
        Axes of the *training* activations.
    x : ndarray, shape (n, d)
        Vectors that took no part in `p`.
    ranks : sequence of int
        How many coefficients are kept.
    sparse : bool
        False: the leading axes, the same for every vector (rank r). True: each vector's own largest coefficients by
        magnitude (r active of d), which is how a sparse code spends its budget.

    Returns
    -------
    ndarray of float64, shape (n, len(ranks))
    """
    at = np.asarray(ranks, int)
    if at.size == 0 or at.min() < 0 or at.max() > len(p.axes):
        raise BiosaeError(f"Ranks must lie between 0 and {len(p.axes)}", where=f"ranks = {at.tolist()}")
    out = np.empty((len(x), len(at)))
    for start in range(0, len(x), BLOCK):
        energy = p.coefficients(x[start : start + BLOCK]) ** 2
        if sparse:
            energy = -np.sort(-energy, axis=1)
        kept = np.concatenate([np.zeros((len(energy), 1)), np.cumsum(energy, 1)], 1)
        out[start : start + len(energy)] = np.clip(kept[:, -1:] - kept[:, at], 0, None)
    return out


def matching_rank(p: Principal, x: np.ndarray, target: float, *, sparse: bool = False) -> int:
    """Smallest number of kept coefficients whose explained share reaches `target`; d when none does."""
    ranks = np.arange(len(p.axes) + 1)
    total = pca_residuals(p, x, ranks, sparse=sparse).sum(0)
    x = np.asarray(x, np.float64)
    share = 1 - total / ((x - x.mean(0)) ** 2).sum()
    return min(int(np.searchsorted(share, target)), len(p.axes))


def code_bits(n_atoms: int, active: int, value_bits: int = 16) -> float:
    """Bits of one vector: `active` values, and which atoms they belong to (``log2 C(n_atoms, active)``)."""
    choice = gammaln(n_atoms + 1) - gammaln(active + 1) - gammaln(n_atoms - active + 1)
    return float(active * value_bits + choice / np.log(2))


def active_for_bits(n_atoms: int, bits: float, value_bits: int = 16) -> int:
    """Most active atoms of `n_atoms` that fit into `bits`."""
    fits = [m for m in range(n_atoms + 1) if code_bits(n_atoms, m, value_bits) <= bits]
    return max(fits, default=0)


def spread(x: np.ndarray) -> np.ndarray:
    """Squared distance of each vector of `x`, shape (n, d), from the mean of all, float64 of shape (n,)."""
    x = np.asarray(x)
    mean = x.mean(0, dtype=np.float64)
    out = np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        out[start : start + BLOCK] = ((x[start : start + BLOCK] - mean) ** 2).sum(1)
    return out


def explained_by_cell(
    x: np.ndarray, residuals: dict[str, np.ndarray], cells: np.ndarray, *, n_boot: int, seed: int
) -> pd.DataFrame:
    """Share of the variance of `x`, shape (n, d), that several reconstructions explain; see `share_by_cell`."""
    return share_by_cell(spread(x), residuals, cells, n_boot=n_boot, seed=seed)


def share_by_cell(
    whole: np.ndarray, residuals: dict[str, np.ndarray], cells: np.ndarray, *, n_boot: int, seed: int
) -> pd.DataFrame:
    """Share that several reconstructions of the same vectors explain, with intervals from resampled cells.

    Parameters
    ----------
    whole : ndarray, shape (n,)
        What there is to explain of each vector: its squared distance from the mean (`spread`), or what another
        reconstruction leaves of it.
    residuals : dict of name -> ndarray (n,)
        Squared errors of each reconstruction.
    cells : ndarray of int, shape (n,)
        Cell of each vector: whole cells are drawn with replacement, and all reconstructions see the same draws.
    n_boot, seed : int

    Returns
    -------
    DataFrame
        name, explained, low, high (95 % percentile interval), draws (ndarray (n_boot,), for differences).
    """
    names, errors = list(residuals), np.stack([np.asarray(r, np.float64) for r in residuals.values()], 1)
    _, owner = np.unique(cells, return_inverse=True)
    per_cell = np.stack([np.bincount(owner, weights=e) for e in errors.T], 1)
    whole = np.bincount(owner, weights=whole)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(whole), np.full(len(whole), 1 / len(whole)), size=n_boot)
    draws = 1 - (counts @ per_cell) / (counts @ whole)[:, None]
    value = 1 - per_cell.sum(0) / whole.sum()
    ends = [from_draws(v, d, over="cells").pair for v, d in zip(value, draws.T, strict=True)]
    low, high = zip(*ends, strict=True)
    return pd.DataFrame({"name": names, "explained": value, "low": low, "high": high, "draws": list(draws.T)})


# ---- where decoder directions lie --------------------------------------------------------------------------------


def unit(directions: np.ndarray) -> np.ndarray:
    """Rows scaled to unit norm, float64; a zero row stays zero."""
    w = np.asarray(directions, np.float64)
    return w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-12)


def subspace_share(directions: np.ndarray, axes: np.ndarray, ranks: Sequence[int] | np.ndarray) -> np.ndarray:
    """Share of each direction's squared norm inside the span of the first r axes.

    Parameters
    ----------
    directions : ndarray, shape (n, d)
    axes : ndarray, shape (m, d)
        Orthonormal rows.
    ranks : sequence of int
        Values of r, each between 0 and m.

    Returns
    -------
    ndarray of float64, shape (n, len(ranks))
        0 outside, 1 inside; a random direction has r / d on average (`random_share`).
    """
    inside = np.cumsum((unit(directions) @ np.asarray(axes, np.float64).T) ** 2, 1)
    inside = np.concatenate([np.zeros((len(inside), 1)), inside], 1)
    return np.clip(inside[:, np.asarray(ranks, int)], 0, 1)


def random_share(rank: int, d: int, level: float = 0.95) -> tuple[float, float, float]:
    """Mean and central interval of the share of one isotropic random direction: Beta(r/2, (d - r)/2)."""
    if rank in (0, d):
        return (float(rank == d),) * 3
    beta = stats.beta(rank / 2, (d - rank) / 2)
    return rank / d, float(beta.ppf((1 - level) / 2)), float(beta.ppf((1 + level) / 2))


def max_abs_cosine(directions: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Largest |cosine| of each direction with any of the axes, shape (n,)."""
    return np.abs(unit(directions) @ unit(axes).T).max(1)


def published_novel(
    directions: np.ndarray, axes: np.ndarray, *, n_axes: int = 50, threshold: float = 0.5
) -> np.ndarray:
    """The published rule: 'invisible to SVD' when no single one of the first axes has |cosine| above the threshold.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    return max_abs_cosine(directions, axes[:n_axes]) <= threshold
