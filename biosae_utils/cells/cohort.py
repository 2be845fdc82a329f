"""Which cells a run uses: balanced draws, and splits that keep cells and donors apart."""

from __future__ import annotations

import numpy as np


def quotas(sizes: np.ndarray, n: int) -> np.ndarray:
    """Share out `n` draws over groups as evenly as the groups' sizes allow.

    Small groups are taken whole; what they leave is shared over the others.

    Parameters
    ----------
    sizes : ndarray of int, shape (n_groups,)
    n : int
        Draws in all; everything is taken when `n` exceeds the sum of `sizes`.

    Returns
    -------
    ndarray of int64, shape (n_groups,)
        At most `sizes`, summing to ``min(n, sizes.sum())``.
    """
    sizes = np.asarray(sizes, np.int64)
    take = np.zeros_like(sizes)
    left = min(int(n), int(sizes.sum()))
    while left:
        open_groups = np.flatnonzero(take < sizes)
        share = max(left // len(open_groups), 1)
        # fewer draws than groups are left: the first groups get one each, so that the result is deterministic
        for group in open_groups[:left] if share == 1 and left < len(open_groups) else open_groups:
            step = min(share, int(sizes[group] - take[group]))
            take[group] += step
            left -= step
    return take


def balanced_draw(groups: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `n` items drawn without replacement, balanced over `groups`, in ascending order.

    Parameters
    ----------
    groups : ndarray, shape (n_items,)
        Group label of each item.
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64, shape (min(n, n_items),)
    """
    labels, codes = np.unique(np.asarray(groups), return_inverse=True)
    take = quotas(np.bincount(codes, minlength=len(labels)), n)
    drawn = [rng.choice(np.flatnonzero(codes == g), size=t, replace=False) for g, t in enumerate(take)]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)
