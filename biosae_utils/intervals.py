"""One kind of 95 % interval: a value, its two ends, and what was resampled to get them.

A ground module, below every room: the metrics of the autoencoders need it as much as the analysis does.

======================  =============================================  =============================================
function                for                                            resampled
======================  =============================================  =============================================
`jackknife`             any statistic that can be made without a part  blocks of cells, each left out once
`bootstrap_mean`        a mean                                         the values, or whole groups of them (cells)
`bootstrap_ratio`       a ratio of two means                           the pairs, or whole groups of them
`bootstrap_difference`  a mean of paired differences                   the pairs, or whole groups of them
`wilson`                a share                                        nothing: binomial, over lists
`quantiles`             a null                                         nothing: its own draws
`from_draws`            a value whose draws were made elsewhere        what the caller says
======================  =============================================  =============================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biosae_utils.errors import BiosaeError

ENDS = (0.025, 0.975)
BLOCK = 1 << 22  # resampled numbers held at a time


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Attributes
    ----------
    value, low, high : float
        All three NaN where there was nothing to estimate.
    over : str
        What was resampled: "cells", "blocks of cells", "latents", "layers", "lists", "draws".

    Raises
    ------
    BiosaeError
        If the ends are the wrong way round, or nothing says what was resampled.
    """

    value: float
    low: float
    high: float
    over: str

    def __post_init__(self) -> None:
        if self.low > self.high or not self.over:
            raise BiosaeError(
                f"No interval: {self.low} to {self.high} over {self.over!r}",
                do="give the lower end first and say what was resampled",
            )

    @property
    def pair(self) -> tuple[float, float]:
        """The two ends."""
        return self.low, self.high

    def scaled(self, factor: float) -> Interval:
        """The same in another unit, for instance ``scaled(100)`` for percent."""
        low, high = sorted((factor * self.low, factor * self.high))
        return Interval(factor * self.value, low, high, self.over)

    def shifted(self, by: float) -> Interval:
        """The same about another origin: distances from a control that is itself a fixed number are ``shifted(-c)``."""
        return Interval(self.value + by, self.low + by, self.high + by, self.over)

    def at_least(self, floor: float) -> Interval:
        """The same with ends that do not go below what the statistic can be."""
        return Interval(self.value, max(self.low, floor), max(self.high, floor), self.over)


def from_draws(value: float, draws: np.ndarray, over: str) -> Interval:
    """Percentile interval of `value` from bootstrap draws of it, shape (n_draws,)."""
    low, high = np.quantile(draws, ENDS)
    return Interval(float(value), float(low), float(high), over)


def quantiles(draws: np.ndarray, over: str = "draws") -> Interval:
    """Mean and central 95 % of draws of a null (or of anything that is its own population), shape (n_draws,)."""
    draws = np.asarray(draws, np.float64)
    return from_draws(draws.mean(), draws, over)


def jackknife(parts: Sequence[float] | np.ndarray, whole: float, over: str = "blocks of cells") -> Interval:
    """Interval of any statistic from its delete-one-block values.

    Parameters
    ----------
    parts : array, shape (n_blocks,)
        The statistic without each block.
    whole : float
        The statistic with all blocks.

    Raises
    ------
    BiosaeError
        Fewer than two blocks.
    """
    from scipy.stats import t

    parts = np.asarray(parts, np.float64)
    n = len(parts)
    if n < 2:
        raise BiosaeError(f"A jackknife needs at least two blocks, not {n}")
    error = np.sqrt((n - 1) / n * ((parts - parts.mean()) ** 2).sum())
    half = t.ppf(0.975, n - 1) * error
    return Interval(float(whole), float(whole - half), float(whole + half), over)


def wilson(hits: int, n: int, over: str = "lists") -> Interval:
    """Wilson interval of the share ``hits / n``."""
    from scipy.stats import binomtest

    low, high = binomtest(hits, n).proportion_ci(method="wilson")
    return Interval(hits / n, float(low), float(high), over)


def bootstrap_mean(
    values: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    n_boot: int = 1000,
    seed: int | np.random.Generator = 0,
    over: str | None = None,
) -> Interval:
    """Mean of `values`, drawn anew with replacement.

    Parameters
    ----------
    values : ndarray, shape (n,)
    groups : ndarray, shape (n,), optional
        Cell (or latent) that each value belongs to: whole groups are drawn, and a group counts with all its values.
    n_boot, seed : int
    over : str, optional
        What a value is, or what a group is; "cells" with groups, and without them it must be said.
    """
    values = np.asarray(values, np.float64)
    over = _named(over, groups)
    if groups is None:
        draws = resampled_means(values[:, None], n_boot=n_boot, seed=seed)[:, 0]
        return from_draws(values.mean(), draws, over)
    return bootstrap_ratio(values, np.ones(len(values)), groups, n_boot=n_boot, seed=seed, over=over)


def bootstrap_ratio(
    top: np.ndarray,
    bottom: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    n_boot: int = 1000,
    seed: int | np.random.Generator = 0,
    over: str | None = None,
) -> Interval:
    """Mean of `top` over mean of `bottom`, both (n,) and drawn together; parameters as in `bootstrap_mean`."""
    over = _named(over, groups)
    pairs = np.column_stack([np.asarray(v, np.float64) for v in (top, bottom)])
    value = pairs[:, 0].mean() / pairs[:, 1].mean()
    if groups is not None:
        _, owner = np.unique(groups, return_inverse=True)
        pairs = np.column_stack([np.bincount(owner, weights=column) for column in pairs.T])
    draws = resampled_means(pairs, n_boot=n_boot, seed=seed)
    return from_draws(value, draws[:, 0] / draws[:, 1], over)


def bootstrap_difference(
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    n_boot: int = 1000,
    seed: int | np.random.Generator = 0,
    over: str | None = None,
) -> Interval:
    """Mean of the paired differences ``a - b``, both (n,); parameters as in `bootstrap_mean`."""
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return bootstrap_mean(difference, groups, n_boot=n_boot, seed=seed, over=over)


def resampled_means(values: np.ndarray, *, n_boot: int, seed: int | np.random.Generator) -> np.ndarray:
    """Means of rows drawn with replacement, all columns from the same draws, shape (n_boot, n_columns).

    For statistics of several columns: differences and ratios of these means keep the pairing.

    Parameters
    ----------
    values : ndarray, shape (n, n_columns)

    Raises
    ------
    BiosaeError
        There are no rows to draw from.
    """
    columns = [np.ascontiguousarray(column) for column in np.asarray(values, np.float64).T]
    n, rng = len(values), np.random.default_rng(seed)
    if n == 0:
        raise BiosaeError("There is nothing to resample", do="check that the selection before it is not empty")
    step, out = math.ceil(BLOCK / n), np.empty((n_boot, len(columns)))
    for start in range(0, n_boot, step):
        drawn = rng.integers(n, size=(min(step, n_boot - start), n))
        out[start : start + len(drawn)] = np.column_stack([column[drawn].mean(axis=1) for column in columns])
    return out


def _named(over: str | None, groups: np.ndarray | None) -> str:
    if over is None and groups is None:
        raise BiosaeError("Nothing says what is resampled", do='give groups, or for instance over="latents"')
    return over or "cells"
