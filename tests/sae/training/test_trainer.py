"""One training step: what is kept up, what AuxK does, and that it fails clearly."""

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
    train_one,
)

SHORT = TrainConfig(expansion=4, k=8, steps=40, batch_size=256, lr=3e-3, dead_after=3_000)


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
    error = (sae(x) - x).detach()
    trainer._auxk(x, error).backward()
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


def test_frozen_decoder_stays_random_while_the_encoder_learns(sample):
    trainer = SAETrainer.from_sample(sample, replace(SHORT, freeze_decoder=True))
    before = trainer.sae.W_dec.clone(), trainer.sae.W_enc.clone()
    trainer.fit(shuffled_batches(sample, 256, 0))
    assert torch.equal(trainer.sae.W_dec, before[0])
    assert not torch.equal(trainer.sae.W_enc, before[1])
    free = train_one(sample, SHORT)
    assert evaluate(trainer.result().sae, sample[:4_000]).fvu > evaluate(free.sae, sample[:4_000]).fvu
