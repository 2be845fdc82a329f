"""The stacked trainer against the single one."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.training.run import (
    SAETrainer,
    TrainConfig,
    input_moments,
    shuffled_batches,
    train_one,
    train_stacked,
)
from biosae_utils.sae.training.stacked import StackedTrainer

D = 24
CONFIG = TrainConfig(expansion=4, k=5, steps=30, batch_size=100, lr=3e-3, dead_after=400)


@pytest.fixture(autouse=True)
def one_precision(monkeypatch):
    """Both trainers choose latents in float32, or near-ties would part them."""
    monkeypatch.setattr("biosae_utils.sae.sparse_ops.cpu_has_bf16", lambda: False)


def sample(seed: int, n: int = 1_000) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(60, D, generator=g), dim=1)
    code = torch.rand(n, 60, generator=g) * (torch.rand(n, 60, generator=g) < 0.06)
    return code @ directions + 0.02 * torch.randn(n, D, generator=g) + 3 * seed


def stack(config: TrainConfig, data: list[torch.Tensor], seeds: list[int]) -> StackedTrainer:
    moments = [input_moments(x) for x in data]
    means, scales = torch.stack([m for m, _ in moments]), torch.tensor([s for _, s in moments])
    return StackedTrainer(D, config, seeds, means, scales, [f"layer {i}" for i in range(len(data))], device="cpu")


@pytest.mark.parametrize(("alpha", "frozen"), [(0.0, False), (1 / 32, False), (1 / 32, True)])
def test_stacked_steps_equal_single_ones(monkeypatch, alpha, frozen):
    """Two layers, two seeds, AuxK at work: the same weights as two trainers of their own, up to the last digits."""
    monkeypatch.setattr("biosae_utils.sae.training.stacked.LOOK", 1)
    config = replace(CONFIG, auxk_alpha=alpha, freeze_decoder=frozen)
    data, seeds = [sample(1), sample(2)], [3, 4]
    trainer = stack(config, data, seeds)
    singles = [SAETrainer.from_sample(x, replace(config, seed=s)) for x, s in zip(data, seeds, strict=True)]
    trainer.weights["b_enc"][:, :7] = -3.0
    for single in singles:
        single.sae.b_enc.data[:7] = -3.0
    for _ in range(20):
        rows = torch.randint(1_000, (2, 100), generator=torch.Generator().manual_seed(trainer.step_no))
        trainer.step(torch.cat(data), rows + torch.tensor([[0], [1_000]]))
        for single, x, r in zip(singles, data, rows, strict=True):
            single.step(x[r])
    if alpha:
        assert trainer.dead is not None, "no latent died, so AuxK was not compared"
    for s, single in enumerate(singles):
        assert torch.equal(trainer.silent[s].long(), single.silent)
        for name, ours in trainer.weights.items():
            theirs = getattr(single.sae, name).detach()
            theirs = theirs.t() if name == "W_enc" else theirs
            torch.testing.assert_close(ours[s], theirs, rtol=2e-3, atol=2e-4)


def test_layers_and_seeds_come_out_like_their_own_trainings():
    data = {0: sample(1), 7: sample(2)}
    config = replace(CONFIG, dead_after=10**9)
    stacked = train_stacked(data, config, n_seeds=2, device="cpu")
    assert {layer: [r.config.seed for r in results] for layer, results in stacked.items()} == {0: [0, 1], 7: [0, 1]}
    for layer, x in data.items():
        for seed in (0, 1):
            alone = train_one(x, replace(config, seed=seed))
            together = stacked[layer][seed]
            torch.testing.assert_close(together.sae(x), alone.sae(x), rtol=1e-2, atol=1e-2)
            assert together.history[-1]["fvu"] == pytest.approx(alone.history[-1]["fvu"], rel=0.01)
            assert [h["step"] for h in together.history] == [h["step"] for h in alone.history]
            torch.testing.assert_close(together.sae.W_dec.norm(dim=1), torch.ones(4 * D))


def test_samples_that_do_not_fit_take_turns(monkeypatch):
    monkeypatch.setattr("biosae_utils.sae.training.run._turns", lambda *_: 3)
    data = {0: sample(1).half().numpy(), 1: sample(2).half().numpy()}
    result = train_stacked(data, replace(CONFIG, steps=60), device="cpu")
    assert result[1][0].history[-1]["fvu"] < 0.6 * result[1][0].history[0]["fvu"]


def test_divergence_names_the_layer(monkeypatch):
    monkeypatch.setattr("biosae_utils.sae.training.stacked.LOOK", 4)
    data = [sample(1), sample(2)]
    trainer = stack(CONFIG, data, [0, 0])
    poisoned = torch.cat(data)
    poisoned[1_500] = float("nan")
    rows = next(islice(shuffled_batches(torch.arange(1_000)[:, None], 100, 0), 1)).view(1, 100).expand(2, 100)
    rows = rows + torch.tensor([[0], [1_000]])
    rows[1, 0] = 1_500
    with pytest.raises(BiosaeError, match=r"step 3 with learning rate 0\.003.*layer 1"):
        for _ in range(4):
            trainer.step(poisoned, rows)


def test_shapes_and_kinds_that_cannot_be_stacked_are_refused():
    with pytest.raises(BiosaeError, match="different shapes"):
        train_stacked({0: sample(1), 1: sample(1)[:500]}, CONFIG, device="cpu")
    with pytest.raises(BiosaeError, match="TopK"):
        train_stacked({0: sample(1)}, replace(CONFIG, kind="batchtopk"), device="cpu")
