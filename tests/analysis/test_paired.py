"""Paired outcomes: what both conditions share does not widen the interval of their difference."""

from __future__ import annotations

import numpy as np
import pytest

from biosae_utils import intervals
from biosae_utils.analysis.paired import Paired


def outcomes(both: int, only_next: int, only_control: int, neither: int) -> Paired:
    kinds = np.repeat([0, 1, 2, 3], [both, only_next, only_control, neither])
    return Paired(np.isin(kinds, [0, 1]), np.isin(kinds, [0, 2]), None)


def test_the_interval_is_of_discordant_latents() -> None:
    """McNemar's standard error is recovered; unpaired intervals of the two shares overlap and would see nothing."""
    paired = outcomes(800, 5, 45, 1150)
    row = paired.summary(n_boot=4000, seed=0)
    error = 100 * np.sqrt(50 - 40**2 / 2000) / 2000
    assert row["difference"] == pytest.approx(-2.0) and (row["only_next"], row["only_control"]) == (5, 45)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.96 * error, rel=0.05) and row["sign"] == -1
    ours, theirs = (intervals.bootstrap_mean(x, over="latents") for x in (paired.following, paired.control))
    assert ours.high > theirs.low


def test_cells_have_a_say() -> None:
    paired = outcomes(100, 40, 5, 200)
    assert paired.over_cells() is None and paired.summary(500, 0)["sign"] == 1
    steady = Paired(paired.following, paired.control, np.full(10, 35 / 345))
    row = steady.summary(500, 0)
    assert row["sign"] == 1 and row["cells_low"] == pytest.approx(row["difference"])
    shaky = Paired(paired.following, paired.control, 35 / 345 + np.linspace(-0.1, 0.1, 10))
    row = shaky.summary(500, 0)
    assert row["low"] > 0 > row["cells_low"] and row["sign"] == 0


def test_no_difference_has_no_sign() -> None:
    row = outcomes(30, 20, 20, 30).summary(500, 0)
    assert row["sign"] == 0 and row["low"] < 0 < row["high"] and row["next"] == row["control"] == 50
