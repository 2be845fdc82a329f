"""Training from stored samples: what is learnt, the order of batches, layers and seeds side by side."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from biosae_utils.sae.metrics import evaluate
from biosae_utils.sae.training.run import (
    TrainConfig,
    shuffled_batches,
    train_layers,
    train_one,
)

SHORT = TrainConfig(expansion=4, k=8, steps=40, batch_size=256, lr=3e-3, dead_after=3_000)


def test_planted_directions_are_recovered_and_heldout_variance_is_explained(planted, sample):
    heldout = planted.draw(4_000)
    result = train_one(sample, TrainConfig(expansion=4, k=12, steps=420, batch_size=1024, lr=6e-3, seed=5))
    random = torch.nn.functional.normalize(
        torch.randn(256, sample.shape[1], generator=torch.Generator().manual_seed(0)), dim=1
    )
    assert planted.recovery(result.sae.W_dec) >= 0.95
    assert planted.recovery(torch.nn.functional.normalize(random, dim=1)) < 0.6
    quality = evaluate(result.sae, heldout)
    assert quality.fvu < 0.08
    assert abs(result.history[-1]["fvu"] - quality.fvu) < 0.03


def test_batches_visit_every_row_once_an_epoch_and_can_start_late():
    x = torch.arange(100.0)[:, None]
    taken = list(islice(shuffled_batches(x, 30, seed=3), 9))
    assert all(len(set(torch.cat(taken[i : i + 3]).ravel().tolist())) == 90 for i in (0, 3, 6))
    assert not torch.equal(taken[0], taken[3])
    late = next(shuffled_batches(x, 30, seed=3, start=7))
    assert torch.equal(late, taken[7])


def test_input_scale_makes_the_loss_independent_of_units(sample):
    small = train_one(sample, SHORT)
    large = train_one(sample * 1000 + 7, SHORT)
    assert small.history[-1]["fvu"] == pytest.approx(large.history[-1]["fvu"], rel=0.02)
    assert evaluate(large.sae, sample * 1000 + 7).fvu == pytest.approx(evaluate(small.sae, sample).fvu, rel=0.02)


def test_layers_and_seeds_do_not_depend_on_what_runs_beside_them(sample, tmp_path):
    np.save(tmp_path / "layer.npy", sample[:5_000].half().numpy())
    stored = np.load(tmp_path / "layer.npy", mmap_mode="r")
    config = replace(SHORT, steps=15)
    torch.set_num_threads(2)
    both = train_layers({2: stored, 5: sample[:5_000]}, config, n_seeds=2)
    assert torch.get_num_threads() == 2
    alone = train_one(stored, replace(config, seed=1))
    assert [len(both[2]), len(both[5])] == [2, 2]
    assert [r.config.seed for r in both[2]] == [0, 1]
    assert torch.equal(both[2][1].sae.W_dec, alone.sae.W_dec)
    assert not torch.equal(both[2][0].sae.W_dec, both[2][1].sae.W_dec)
    table = both[2][1].history_table(layer=2, seed=1)
    assert list(table.columns[:3]) == ["layer", "seed", "step"]
    assert table.step.iloc[-1] == 15
