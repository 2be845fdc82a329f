"""A training that is killed goes on where it was, to the very weights of one that was not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from biosae_utils.sae.training import checkpoints
from biosae_utils.sae.training.run import Job, train_layers, train_many, train_one, train_stacked
from biosae_utils.sae.training.trainer import SAETrainer, TrainConfig, TrainResult

D = 12
# AuxK is at work, epochs do not divide evenly, and the end is no multiple of what is done between two checkpoints
CONFIG = TrainConfig(expansion=4, k=3, steps=130, batch_size=300, lr=3e-3, dead_after=1_000)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def sample() -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    codes = torch.empty(2_000, 30).exponential_(generator=g) * (torch.rand(2_000, 30, generator=g) < 0.1)
    return codes @ torch.randn(30, D, generator=g) + torch.randn(D, generator=g)


@pytest.fixture(autouse=True)
def always_keep(monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)


def kill_at(monkeypatch, step_no: int) -> list[int]:
    """Raise at a step of any training; returns the steps that are really done from now on."""
    done, step = [], SAETrainer.step

    def step_or_die(self, x):
        if self.step_no == step_no:
            raise Killed
        done.append(self.step_no)
        return step(self, x)

    monkeypatch.setattr(SAETrainer, "step", step_or_die)
    return done


def assert_equal(one: TrainResult, other: TrainResult) -> None:
    for name, value in one.sae.state_dict().items():
        assert torch.equal(value, other.sae.state_dict()[name]), name
    assert one.history == other.history and one.config == other.config


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "matryoshka"])
def test_a_killed_training_ends_as_one_that_was_not(sample, tmp_path, monkeypatch, kind):
    config = replace(CONFIG, kind=kind)
    whole = train_one(sample, config)
    with monkeypatch.context() as m:
        kill_at(m, 117)
        with pytest.raises(Killed):
            train_one(sample, config, name="layer 2, seed 0", folder=tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("layer_2_seed_0.")
    advanced = []
    with monkeypatch.context() as m:
        done = kill_at(m, -1)
        resumed = train_one(sample, config, name="layer 2, seed 0", folder=tmp_path, advance=advanced.append)
    assert done == list(range(100, 130)) and sum(advanced) == 130
    assert_equal(resumed, whole)
    assert 0 < resumed.seconds


def test_layers_and_seeds_that_are_done_are_not_trained_again(sample, tmp_path, monkeypatch):
    samples = {0: sample, 3: sample * 2 + 1}
    whole = train_layers(samples, CONFIG, n_seeds=2)
    with monkeypatch.context() as m:
        scale = SAETrainer.from_sample(samples[3], CONFIG).scale
        step = SAETrainer.step

        def die_in_the_second_layer(self, x):
            if self.scale == scale and self.step_no == 60:
                raise Killed
            return step(self, x)

        m.setattr(SAETrainer, "step", die_in_the_second_layer)
        with pytest.raises(Killed):
            train_layers(samples, CONFIG, n_seeds=2, folder=tmp_path)
    with monkeypatch.context() as m:
        done = kill_at(m, -1)
        resumed = train_layers(samples, CONFIG, n_seeds=2, folder=tmp_path)
    assert sorted(done) == sorted(2 * list(range(50, 130)))
    for layer in samples:
        for one, other in zip(resumed[layer], whole[layer], strict=True):
            assert_equal(one, other)
            assert not one.sae.training and not any(p.requires_grad for p in one.sae.parameters())


def test_a_file_of_another_config_or_sample_or_a_damaged_one_is_not_taken(sample, tmp_path):
    path = checkpoints.Checkpoint(tmp_path, "x", CONFIG, 0, torch.zeros(D), 1.0).path
    other = train_one(sample, replace(CONFIG, k=4), name="x", folder=tmp_path)
    assert not path.exists(), "another config has another file"
    first = train_one(sample, CONFIG, name="x", folder=tmp_path)
    assert first.sae.k != other.sae.k
    assert_equal(train_one(sample + 1, CONFIG, name="x", folder=tmp_path), train_one(sample + 1, CONFIG))
    for damage in (b"", b"text", path.read_bytes()[:1_000]):
        path.write_bytes(damage)
        assert_equal(train_one(sample, CONFIG, name="x", folder=tmp_path), first)
    torch.save({"config": "old"}, path)
    assert_equal(train_one(sample, CONFIG, name="x", folder=tmp_path), first)


def test_a_finished_training_keeps_no_moments_of_the_optimiser(sample, tmp_path):
    train_many([Job(sample, CONFIG, "x")], folder=tmp_path)
    (file,) = tmp_path.iterdir()
    kept = torch.load(file, weights_only=True)
    assert "result" in kept and "trainer" not in kept


def test_a_finished_stack_is_read_and_a_partial_one_is_trained_again(sample, tmp_path, monkeypatch):
    samples = {0: sample, 3: sample * 2 + 1}
    config = replace(CONFIG, steps=12)
    whole = train_stacked(samples, config, n_seeds=2, device="cpu", folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    calls = []
    monkeypatch.setattr(
        "biosae_utils.sae.training.stacked.StackedTrainer.step",
        lambda *a, step=train_stacked.__globals__["StackedTrainer"].step: (calls.append(1), step(*a))[1],
    )
    again = train_stacked(samples, config, n_seeds=2, device="cpu", folder=tmp_path)
    assert not calls
    min(tmp_path.iterdir()).unlink()
    anew = train_stacked(samples, config, n_seeds=2, device="cpu", folder=tmp_path)
    assert len(calls) == 12
    for layer in samples:
        for results in zip(whole[layer], again[layer], anew[layer], strict=True):
            for other in results[1:]:
                assert_equal(results[0], other)
