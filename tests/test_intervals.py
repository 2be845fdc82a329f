"""Intervals against their formulas and against truth: ends, coverage, what is drawn together, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from biosae_utils import intervals
from biosae_utils.errors import BiosaeError
from biosae_utils.intervals import Interval


def test_an_interval_changes_unit_and_origin():
    one = Interval(0.5, 0.25, 0.875, over="cells")
    assert one.pair == (0.25, 0.875)
    assert one.scaled(100) == Interval(50, 25, 87.5, "cells")
    assert one.scaled(-2) == Interval(-1, -1.75, -0.5, "cells")  # the ends change places
    assert one.shifted(-0.5) == Interval(0, -0.25, 0.375, "cells")
    assert Interval(0.25, -0.5, 1, "cells").at_least(0) == Interval(0.25, 0, 1, "cells")


@pytest.mark.parametrize(("low", "high", "over"), [(2, 1, "cells"), (1, 2, "")])
def test_ends_the_wrong_way_round_or_over_nothing_are_refused(low, high, over):
    with pytest.raises(BiosaeError, match="No interval"):
        Interval(1.5, low, high, over)


def test_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(2).normal(3, 1, 10)
    got = intervals.jackknife((x.sum() - x) / 9, x.mean())
    half = 2.2621571627982 * x.std(ddof=1) / np.sqrt(10)  # t of 9 degrees of freedom
    assert got.pair == pytest.approx((x.mean() - half, x.mean() + half))
    assert got.value == x.mean() and got.over == "blocks of cells"
    with pytest.raises(BiosaeError, match="two blocks"):
        intervals.jackknife([1.0], 1.0)


def test_wilson_is_its_formula():
    got = intervals.wilson(7, 20)
    z, p, n = stats.norm.ppf(0.975), 7 / 20, 20
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert got.pair == pytest.approx(((middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)))
    assert (got.value, got.over) == (p, "lists")


def test_quantiles_are_those_of_the_draws():
    draws = np.arange(101.0)
    assert intervals.quantiles(draws) == Interval(50, 2.5, 97.5, "draws")
    assert intervals.from_draws(7, draws, over="latents") == Interval(7, 2.5, 97.5, "latents")


def test_bootstrap_mean_equals_a_loop_over_draws_whatever_the_block(monkeypatch):
    values, rng = np.random.default_rng(5).random(37), np.random.default_rng(3)
    draws = [values[rng.integers(37, size=37)].mean() for _ in range(300)]
    whole = intervals.bootstrap_mean(values, n_boot=300, seed=3, over="latents")
    assert whole.pair == tuple(np.percentile(draws, [2.5, 97.5])) and whole.value == values.mean()
    monkeypatch.setattr(intervals, "BLOCK", 100)  # a few draws at a time
    assert intervals.bootstrap_mean(values, n_boot=300, seed=3, over="latents") == whole


def test_bootstrap_mean_covers_a_known_mean():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        got = intervals.bootstrap_mean(rng.random(80) < 0.3, n_boot=200, seed=seed, over="latents")
        hits += got.low <= 0.3 <= got.high
    assert 85 <= hits < 100


def test_whole_cells_are_drawn_and_a_copy_of_a_value_tells_nothing_new():
    rng = np.random.default_rng(1)
    by_cell = rng.normal(size=60)
    cells = np.repeat(np.arange(60), 20)
    alone = intervals.bootstrap_mean(by_cell, seed=4, over="cells")
    copied = intervals.bootstrap_mean(by_cell[cells], cells, seed=4)
    assert copied.over == "cells"
    assert (copied.value, *copied.pair) == pytest.approx((alone.value, *alone.pair))
    wrong = intervals.bootstrap_mean(by_cell[cells], seed=4, over="positions")
    assert wrong.high - wrong.low < 0.4 * (alone.high - alone.low)


def test_cells_of_unequal_size_count_with_their_values():
    values, cells = np.array([0.0, 0, 0, 1]), np.array([7, 7, 7, 9])
    got = intervals.bootstrap_mean(values, cells, n_boot=2000)
    assert got.value == 0.25 and got.pair == (0, 1)  # the draws are 0, 1/4 and 1


def test_differences_and_ratios_keep_their_pairs():
    rng = np.random.default_rng(6)
    cell = rng.normal(0, 5, 200)  # what both share
    a, b = cell + rng.normal(1, 0.1, 200), cell + rng.normal(0, 0.1, 200)
    paired = intervals.bootstrap_difference(a, b, over="cells")
    assert 0.95 < paired.low < paired.value < paired.high < 1.05
    assert intervals.bootstrap_difference(a, b, np.arange(200)) == paired
    room = rng.uniform(1, 9, 200)
    ratio = intervals.bootstrap_ratio(0.3 * room, room, over="cells")
    assert (ratio.value, *ratio.pair) == pytest.approx((0.3, 0.3, 0.3))


def test_what_is_resampled_must_be_said_and_be_there():
    with pytest.raises(BiosaeError, match="what is resampled"):
        intervals.bootstrap_mean(np.arange(5.0))
    with pytest.raises(BiosaeError, match="nothing to resample"):
        intervals.bootstrap_mean(np.zeros(0), over="latents")
