"""Training: what is learnt, what is kept up at every step, and that it can stop, go on and fail clearly."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.metrics import evaluate
from biosae_utils.sae.training.run import (
    SAETrainer,
    TrainConfig,
    input_moments,
    shuffled_batches,
    train_layers,
    train_one,
)

D = 64


class Planted:
    """Sums of few known directions with a heavy-tailed frequency, beside a dense low-rank part, an offset and noise."""

    def __init__(self, seed: int = 11, n_atoms: int = 128, active: float = 6.0, rank: int = 4) -> None:
        self.generator = g = torch.Generator().manual_seed(seed)
        self.atoms = torch.nn.functional.normalize(torch.randn(n_atoms, D, generator=g), dim=1)
        self.dense = torch.linalg.qr(torch.randn(D, rank, generator=g))[0].T
        odds = 1.0 / torch.arange(10, 10 + n_atoms)
        self.odds = (odds / odds.sum() * active).clamp(max=0.5)
        offset = torch.randn(D, generator=g)
        self.offset = 5 * offset / offset.norm()

    def draw(self, n: int) -> torch.Tensor:
        g = self.generator
        on = (torch.rand(n, len(self.atoms), generator=g) < self.odds).float()
        size = 0.5 + torch.empty(n, len(self.atoms)).exponential_(2.0, generator=g)
        common = torch.randn(n, len(self.dense), generator=g) @ self.dense
        return (on * size) @ self.atoms + common + self.offset + 0.05 * torch.randn(n, D, generator=g)

    def recovery(self, directions: torch.Tensor) -> float:
        """Mean over planted atoms of the largest cosine with any direction."""
        return (self.atoms @ directions.T).amax(1).mean().item()


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


@pytest.fixture(scope="module")
def sample(planted) -> torch.Tensor:
    return planted.draw(24_000)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SHORT = TrainConfig(expansion=4, k=8, steps=40, batch_size=256, lr=3e-3, dead_after=3_000)


def test_planted_directions_are_recovered_and_heldout_variance_is_explained(planted, sample):
    heldout = planted.draw(4_000)
    result = train_one(sample, TrainConfig(expansion=4, k=12, steps=420, batch_size=1024, lr=6e-3, seed=5))
    random = torch.nn.functional.normalize(torch.randn(256, D, generator=torch.Generator().manual_seed(0)), dim=1)
    assert planted.recovery(result.sae.W_dec) >= 0.95
    assert planted.recovery(random) < 0.6
    quality = evaluate(result.sae, heldout)
    assert quality.fvu < 0.08
    assert abs(result.history[-1]["fvu"] - quality.fvu) < 0.03


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "matryoshka"])
def test_decoder_rows_keep_norm_one_and_the_loss_falls(sample, kind):
    trainer = SAETrainer.from_sample(sample, replace(SHORT, kind=kind))
    losses = []
    for x in islice(shuffled_batches(sample, 256, 0), 40):
        losses.append(trainer.step(x))
        torch.testing.assert_close(trainer.sae.W_dec.norm(dim=1), torch.ones(256), rtol=0, atol=1e-5)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    quality = evaluate(trainer.result().sae, sample[:2_000])
    assert quality.fvu < 0.8
    assert quality.l0 == pytest.approx(8, rel=0.35 if kind == "batchtopk" else 0.02)


def test_gradient_along_decoder_rows_is_removed(sample):
    trainer = SAETrainer.from_sample(sample, SHORT)
    seen = {}
    step = trainer.optimizer.step

    def spy():
        W = trainer.sae.W_dec
        seen["parallel"], seen["whole"] = (W.grad * W).sum(1).abs().max(), W.grad.abs().max()
        step()

    trainer.optimizer.step = spy
    trainer.step(sample[:256])
    assert seen["parallel"] < 1e-6 < seen["whole"]


def test_auxk_gradient_reaches_encoder_and_decoder_of_dead_latents_only(sample):
    trainer = SAETrainer.from_sample(sample, SHORT)
    sae, dead = trainer.sae, torch.arange(30)
    trainer.silent[dead] = SHORT.dead_after
    x = sample[:256] * trainer.scale
    residual = (x - sae(x)).detach()
    trainer._auxk(x, residual).backward()
    for name, gradient in (
        ("W_enc", sae.W_enc.grad.t()),
        ("W_dec", sae.W_dec.grad),
        ("b_enc", sae.b_enc.grad[:, None]),
    ):
        size = gradient.norm(dim=1)
        assert (size[dead] > 1e-7).all(), name
        assert (size[30:] == 0).all(), name


def dead_after_training(sample, alpha: float) -> tuple[float, float]:
    """Share of planted dead latents that never fire, and FVU, after training with this weight of AuxK."""
    config = TrainConfig(expansion=4, k=8, steps=300, batch_size=512, lr=3e-3, dead_after=10_000, auxk_alpha=alpha)
    trainer = SAETrainer.from_sample(sample, config)
    with torch.no_grad():
        trainer.sae.b_enc[:64] = -5.0  # far below what any vector brings
    trainer.fit(shuffled_batches(sample, 512, 0))
    quality = evaluate(trainer.result().sae, sample[:8_000])
    return float((quality.n_fired[:64] == 0).mean()), quality.fvu


def test_auxk_revives_planted_dead_latents(sample):
    with_auxk, fvu_with = dead_after_training(sample, 1 / 32)
    without, fvu_without = dead_after_training(sample, 0.0)
    assert without > 0.95
    assert with_auxk < 0.5
    assert fvu_with < fvu_without + 0.02


def test_batches_visit_every_row_once_an_epoch_and_can_start_late():
    x = torch.arange(100.0)[:, None]
    taken = list(islice(shuffled_batches(x, 30, seed=3), 9))
    assert all(len(set(torch.cat(taken[i : i + 3]).ravel().tolist())) == 90 for i in (0, 3, 6))
    assert not torch.equal(taken[0], taken[3])
    late = next(shuffled_batches(x, 30, seed=3, start=7))
    assert torch.equal(late, taken[7])


@pytest.mark.parametrize("where", [0, 25])
def test_nan_stops_with_step_layer_and_rate(sample, where):
    trainer = SAETrainer.from_sample(sample, SHORT, name="layer 3, seed 0")
    batches = list(islice(shuffled_batches(sample, 256, 0), 40))
    batches[where] = batches[where].clone()
    batches[where][5, 5] = float("nan")
    with pytest.raises(BiosaeError, match=rf"step {where} with learning rate 0\.003.*layer 3, seed 0"):
        trainer.fit(batches)


def test_divergence_stops(sample):
    trainer = SAETrainer.from_sample(sample, replace(SHORT, lr=50.0, steps=200), name="layer 1")
    with pytest.raises(BiosaeError, match=r"diverged.*rate 50.*layer 1"):
        trainer.fit(shuffled_batches(sample, 256, 0))


def test_samples_that_cannot_be_trained_on_are_refused():
    with pytest.raises(BiosaeError, match="NaN"):
        input_moments(torch.full((10, 4), float("nan")))
    with pytest.raises(BiosaeError, match="same vector"):
        input_moments(torch.ones(10, 4))


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


def test_frozen_decoder_stays_random_while_the_encoder_learns(sample):
    trainer = SAETrainer.from_sample(sample, replace(SHORT, freeze_decoder=True))
    before = trainer.sae.W_dec.clone(), trainer.sae.W_enc.clone()
    trainer.fit(shuffled_batches(sample, 256, 0))
    assert torch.equal(trainer.sae.W_dec, before[0])
    assert not torch.equal(trainer.sae.W_enc, before[1])
    free = train_one(sample, SHORT)
    assert evaluate(trainer.result().sae, sample[:4_000]).fvu > evaluate(free.sae, sample[:4_000]).fvu
