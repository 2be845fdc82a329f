"""What a sweep tries and what it says: the rule on noise, the edges of the grid, rates that are too high."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.training.run import Job, TrainConfig, train_many
from biosae_utils.sae.training.sweep import (
    as_table,
    choose,
    edge,
    grid,
    is_default,
    rates_around,
    read_samples,
    remarks,
    trials,
)
from biosae_utils.sae.training.trainer import Diverged, SAETrainer, default_lr

D = 192
DEFAULT = default_lr(D)
TINY = TrainConfig(expansion=2, k=4, steps=20, batch_size=64)


def outcome(*rows: tuple[float, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["lr", "steps", "fvu"]).sort_values("fvu", ignore_index=True)


# ---- what to try -----------------------------------------------------------------------------------------------------


def test_the_grid_without_wishes_is_around_the_default_rate():
    configs = grid(TINY, D)
    assert [c.lr for c in configs] == pytest.approx([DEFAULT / 9, DEFAULT / 3, DEFAULT, DEFAULT * 3])
    assert [c.lr for c in configs] == rates_around(DEFAULT)
    assert {replace(c, lr=None) for c in configs} == {TINY}


def test_every_rate_meets_every_length_once():
    configs = grid(replace(TINY, k=3), D, [3e-3, 1e-3, 3e-3], [40, 20])
    assert [(c.steps, c.lr) for c in configs] == [(20, 1e-3), (20, 3e-3), (40, 1e-3), (40, 3e-3)]
    assert {c.k for c in configs} == {3}


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_the_best_is_taken_when_the_default_is_clearly_worse():
    table = outcome((DEFAULT / 3, 500, 0.080), (DEFAULT, 500, 0.070), (DEFAULT * 3, 500, 0.060))
    choice = choose(table, D)
    assert (choice.lr, choice.steps, choice.fvu, choice.best_fvu) == (DEFAULT * 3, 500, 0.060, 0.060)
    assert not choice.is_default and choice.default_fvu == 0.070 and choice.excess == 0


@pytest.mark.parametrize(("fvu", "kept"), [(0.10199, True), (0.10201, False)])
def test_two_percent_is_where_noise_ends(fvu, kept):
    table = outcome((DEFAULT / 3, 500, 0.1), (DEFAULT, 500, fvu), (DEFAULT * 3, 500, 0.2), (DEFAULT / 9, 500, 0.2))
    choice = choose(table, D)
    assert choice.is_default is kept and choice.best_fvu == 0.1
    assert choice.excess == pytest.approx(0.0199 if kept else 0, abs=1e-9)
    assert (remarks(table, D)[1] == "within noise, default rate") is kept


def test_among_equals_the_default_rate_comes_first_and_then_the_shorter_training():
    rows = [(1e-3, 500, 0.101), (1e-3, 1000, 0.100), (1e-3, 250, 0.150)]
    assert choose(outcome(*rows), D).steps == 500
    choice = choose(outcome(*rows, (DEFAULT, 1000, 0.1015)), D)
    assert choice.is_default and choice.steps == 1000 and choice.fvu == 0.1015


def test_a_default_rate_typed_in_three_digits_is_the_default():
    assert is_default(0.00599, D) and is_default(0.006, D) and not is_default(0.0062, D)
    choice = choose(outcome((1e-3, 500, 0.1), (2e-3, 500, 0.2)), D)
    assert choice.default_fvu is None and not choice.is_default
    assert math.isnan(choose(outcome((1e-3, 500, 0.1), (DEFAULT, 500, math.nan)), D).default_fvu)


@pytest.mark.parametrize(
    ("name", "tried", "best", "says"),
    [
        ("lr", [1e-3, 3e-3, 9e-3], 9e-3, ("highest", 0.027)),
        ("lr", [9e-3, 1e-3, 3e-3], 1e-3, ("lowest", 0.000333)),
        ("lr", [1e-3, 3e-3, 9e-3], 3e-3, None),
        ("lr", [3e-3], 3e-3, None),
        ("lr", [2e-3, 50.0], 2e-3, ("lowest", 2e-4)),
        ("steps", [500, 1000], 1000, ("highest", 2000)),
        ("steps", [12, 24], 12, ("lowest", 10)),
        ("steps", [10, 20], 10, None),
    ],
)
def test_the_edge_of_the_grid(name, tried, best, says):
    found = edge(name, tried, best)
    assert (None if found is None else (found.end, found.following)) == says


def test_a_rate_that_diverges_is_part_of_the_grid():
    table = outcome((DEFAULT, 500, 0.1), (DEFAULT / 3, 500, 0.2), (DEFAULT * 3, 500, math.nan))
    assert choose(table, D).edges == ()
    assert remarks(table, D) == ["best, default rate", "", "diverged"]
    with pytest.raises(BiosaeError, match=r"diverged.*--lr 0\.00011"):
        choose(outcome((1e-3, 500, math.nan), (2e-3, 500, math.nan)), D)


def test_both_edges_are_told():
    table = outcome(*[(lr, n, 1 / (lr * n)) for lr in (1e-3, 2e-3) for n in (100, 200)])
    assert [(e.name, e.end, e.following) for e in choose(table, D).edges] == [
        ("lr", "highest", 0.004),
        ("steps", "highest", 400),
    ]


# ---- trainings -------------------------------------------------------------------------------------------------------


def test_a_rate_that_is_too_high_does_not_end_the_sweep():
    x = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
    configs = [replace(TINY, lr=lr, steps=60) for lr in (50.0, 3e-3)]
    found = trials(x, x[:100], configs)
    assert [t.lr for t in found] == [3e-3, 50.0]
    for name in ("fvu", "dead", "seconds"):
        assert [math.isnan(getattr(t, name)) for t in found] == [False, True]
    with pytest.raises(Diverged, match="rate 50"):
        train_many([Job(x, configs[0], "alone")])


def test_the_best_rate_is_first_and_the_table_is_the_same_every_time():
    x = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
    configs = [replace(TINY, lr=lr) for lr in (1e-5, 3e-3)]
    first, second = (as_table(trials(x, x[:100], configs)) for _ in range(2))
    assert first.lr.tolist() == [3e-3, 1e-5]
    assert first.fvu.is_monotonic_increasing and first.fvu.notna().all()
    pd.testing.assert_frame_equal(first, second)  # so it holds no seconds
    assert first.columns.tolist() == ["lr", "steps", "batch_size", "k", "expansion", "fvu", "dead"]


def test_a_sweep_that_was_killed_trains_only_what_is_left(tmp_path, monkeypatch):
    x = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
    configs = [replace(TINY, lr=lr) for lr in (1e-3, 3e-3)]
    trials(x, x[:100], configs[:1], folder=tmp_path)
    trained = []
    fit = SAETrainer.fit
    monkeypatch.setattr(SAETrainer, "fit", lambda self, batches: (trained.append(self.lr), fit(self, batches))[1])
    found = as_table(trials(x, x[:100], configs, folder=tmp_path))
    assert set(trained) == {3e-3}
    pd.testing.assert_frame_equal(found, as_table(trials(x, x[:100], configs)))


# ---- samples ---------------------------------------------------------------------------------------------------------


def test_samples_are_read_or_the_remedy_is_named(tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(BiosaeError, match=r"no sample of this layer.*sample/layer_02\.npy.*make it"):
        read_samples(tmp_path, 2, remedy="make it")
    for part, shape in (("sample", (30, 4)), ("sample_heldout", (10, 4))):
        (tmp_path / part).mkdir()
        np.save(tmp_path / part / "layer_02.npy", rng.normal(size=shape).astype(np.float16))
    sample, heldout = read_samples(tmp_path, 2, remedy="make it")
    assert sample.shape == (30, 4) and heldout.shape == (10, 4)
    path = tmp_path / "sample_heldout" / "layer_02.npy"
    whole = path.read_bytes()
    for damage in (whole[:-20], b"", b"text"):
        path.write_bytes(damage)
        with pytest.raises(BiosaeError, match=r"damaged.*make it"):
            read_samples(tmp_path, 2, remedy="make it")
    np.save(path, rng.normal(size=(10, 5)))
    with pytest.raises(BiosaeError, match="one width"):
        read_samples(tmp_path, 2, remedy="make it")
