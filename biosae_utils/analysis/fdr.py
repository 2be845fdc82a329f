"""Benjamini-Hochberg over families that are too large to write down.

In gene-set enrichment nearly every (list, term) pair shares no gene and has p = 1. Such tests belong to the family but
never change which of the others are rejected, so a family is given as the p-values below 1 and its full size ``m``.
"""

from __future__ import annotations

import numpy as np

from biosae_utils.errors import BiosaeError


def _ranked(
    p: np.ndarray, m: int | np.ndarray, group: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sort by (group, p): returns order, sorted p, start of each group, rank over family size (ranks count from 1)."""
    p = np.asarray(p, dtype=np.float64)
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise BiosaeError("p-values must lie in [0, 1]", where="analysis.fdr")
    if group is None:
        order, starts = np.argsort(p), np.zeros(min(p.size, 1), dtype=np.int64)
    else:
        order = np.lexsort((p, group))
        sorted_group = np.asarray(group)[order]
        starts = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]]) if p.size else np.zeros(0, np.int64)
    rank = np.arange(1, p.size + 1) - np.repeat(starts, np.diff(np.r_[starts, p.size]))
    share = rank / (m if np.ndim(m) == 0 else np.asarray(m)[order])
    if p.size and share.max() > 1:
        raise BiosaeError("A family holds more p-values than its size m", where="analysis.fdr")
    return order, p[order], starts, share


def bh_adjust(p: np.ndarray, m: int | np.ndarray, group: np.ndarray | None = None) -> np.ndarray:
    """Benjamini-Hochberg adjusted p-values.

    Parameters
    ----------
    p : ndarray of float, shape (n,)
        p-values of the tests that may be below 1.
    m : int or ndarray of int, shape (n,)
        Size of the family (of each test's family); the tests that are not in `p` have p = 1.
    group : ndarray of int, shape (n,), optional
        Family of each test; one family when None.

    Returns
    -------
    ndarray of float64, shape (n,)
        Equal to ``scipy.stats.false_discovery_control`` on the written-out family.

    References
    ----------
    Benjamini and Hochberg, J R Stat Soc B 57, 289 (1995).
    """
    order, p, starts, share = _ranked(p, m, group)
    q = np.empty(p.size)
    if not p.size:
        return q
    # The minimum over all later tests of the same family, for all families in one sweep: values are replaced by their
    # order among all values, shifted by family, so that a sweep from the end never carries over into an earlier family.
    values, code = np.unique(np.minimum(p / share, 1.0), return_inverse=True)
    family = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, p.size]))
    lowest = np.minimum.accumulate((code + family * len(values))[::-1])[::-1]
    q[order] = values[lowest - family * len(values)]
    return q


def bh_reject(p: np.ndarray, m: int | np.ndarray, alpha: float, group: np.ndarray | None = None) -> np.ndarray:
    """Which tests Benjamini-Hochberg rejects at level `alpha`; parameters as in `bh_adjust`.

    p-values above ``alpha`` may be left out of `p`: they cannot be rejected and do not change who is.
    """
    p, m = np.asarray(p), np.asarray(m)
    out = np.zeros(p.size, dtype=bool)
    alive = np.arange(p.size)
    for _ in range(3):  # n tests allow no threshold above alpha * n / m: most tests go before anything is sorted
        family = np.zeros(len(alive), dtype=np.int64) if group is None else group[alive]
        size = m if m.ndim == 0 else m[alive]
        alive = alive[p[alive] <= alpha * (np.bincount(family)[family] / size)] if len(alive) else alive
    if not len(alive):
        return out
    order, left, starts, share = _ranked(
        p[alive], m if m.ndim == 0 else m[alive], None if group is None else group[alive]
    )
    place = np.arange(len(left))
    last = np.maximum.reduceat(np.where(left <= alpha * share, place, -1), starts)
    out[alive[order]] = place <= np.repeat(last, np.diff(np.r_[starts, len(left)]))
    return out
