"""Reconstructions with known errors, compared on the same cells."""

from __future__ import annotations

import numpy as np
import pytest

from biosae_utils.analysis.reconstruction import Shares

N, LAYERS = 2000, (0, 1)
CELLS = np.repeat(np.arange(50), N // 50)


@pytest.fixture(scope="module")
def shares() -> Shares:
    """Cells differ tenfold in size; `weak` is best in layer 1 and `strong` in layer 0; `ours` is 2 points behind."""
    size = np.exp(np.random.default_rng(0).normal(0, 1, 50))[CELLS]
    left = {0: {"ours": 0.3, "strong": 0.28, "weak": 0.9}, 1: {"ours": 0.3, "strong": 0.9, "weak": 0.28}}
    noise = np.random.default_rng(1).uniform(0.9, 1.1, N)
    errors = {i: {name: e * size * noise for name, e in named.items()} for i, named in left.items()}
    return Shares.of({i: size * noise for i in LAYERS}, errors, CELLS, n_boot=200, seed=0)


def test_shares_are_of_what_there_is_to_explain(shares):
    assert shares.wide.loc[0].to_dict() == pytest.approx({"ours": 0.7, "strong": 0.72, "weak": 0.1})
    assert list(shares.table.columns) == ["name", "explained", "low", "high", "layer"]
    negative = Shares.of({0: np.ones(N)}, {0: {"worse": np.full(N, 2.4)}}, CELLS, n_boot=100, seed=0)
    assert negative.wide.loc[0, "worse"] == pytest.approx(-1.4)  # worse than what is explained already


def test_the_strongest_rival_of_each_layer_is_the_control(shares):
    found = shares.contest("ours", ["strong", "weak"])
    assert found.names.to_dict() == {0: "strong", 1: "weak"}
    assert (found.ours.value, found.rival.value) == pytest.approx((0.7, 0.72))
    assert shares.contest("ours", ["weak"]).gain.value > 0 > found.gain.value  # one rival for all layers would lose
    assert shares.strongest(["strong", "weak"]).to_list() == pytest.approx([0.72, 0.72])
    best = shares.shown(["strong", "weak"], "rival")
    assert best["name"].to_list() == ["strong", "weak"] and set(best["which"]) == {"rival"}


def test_differences_are_paired(shares):
    """Errors are a fixed share of each cell's size, so the same draws leave no spread in the difference."""
    gain = shares.contest("ours", ["strong", "weak"]).gain
    assert gain.over == "cells" and gain.high - gain.low < 1e-9 and gain.high < 0
