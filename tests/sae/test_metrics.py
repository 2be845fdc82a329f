"""Held-out quality and fidelity, against values computed by hand and against edits whose effect is known."""

import numpy as np
import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.intervals import Interval
from biosae_utils.models.base import batches
from biosae_utils.sae import metrics
from biosae_utils.sae.topk import TopKSAE


def identity_sae(d: int) -> TopKSAE:
    """Rebuilds every vector exactly: each direction and its opposite, all of them allowed to be active."""
    sae = TopKSAE(d, 2 * d, d).eval().requires_grad_(False)
    eye = torch.cat([torch.eye(d), -torch.eye(d)])
    sae.W_dec.copy_(eye)
    sae.W_enc.copy_(eye.t())
    return sae


def test_quality_equals_the_definitions():
    x = torch.randn(500, 16, generator=torch.Generator().manual_seed(0)) + 10
    sae = TopKSAE(16, 64, 4, seed=1).eval()
    with torch.no_grad():
        sae.b_dec.copy_(x.mean(0))
    quality = metrics.evaluate(sae, x.numpy())
    rebuilt, code = sae(x).detach().double(), sae.encode_dense(x).detach()
    error = (x.double() - rebuilt).pow(2).sum(1)
    np.testing.assert_allclose(quality.residual, error, rtol=1e-4)
    np.testing.assert_allclose(quality.fvu, error.sum() / (x - x.mean(0)).double().pow(2).sum(), rtol=1e-5)
    assert quality.explained == pytest.approx(1 - quality.fvu)
    np.testing.assert_array_equal(quality.n_fired, (code > 0).sum(0))
    assert quality.l0 == pytest.approx((code > 0).sum(1).float().mean().item())
    assert quality.dead == pytest.approx(((code > 0).sum(0) == 0).float().mean().item())


def test_blocks_do_not_change_the_result(monkeypatch):
    x = torch.randn(100, 16, generator=torch.Generator().manual_seed(0)).half()
    sae = TopKSAE(16, 64, 4, seed=1).eval()
    whole = metrics.evaluate(sae, x)
    monkeypatch.setattr(metrics, "BLOCK", 7)
    np.testing.assert_allclose(metrics.evaluate(sae, x).residual, whole.residual, rtol=1e-4)


def test_perfect_and_useless_reconstructions_score_one_and_zero():
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    perfect = identity_sae(8)
    assert metrics.evaluate(perfect, x).fvu == pytest.approx(0, abs=1e-6)
    perfect.W_dec.zero_()
    perfect.b_dec.copy_(x.mean(0))
    assert metrics.evaluate(perfect, x).explained == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("bad", [torch.ones(50, 8), torch.zeros(1, 8)])
def test_vectors_without_variance_are_refused(bad):
    with pytest.raises(BiosaeError):
        metrics.evaluate(identity_sae(8), bad)


def test_density_histogram_counts_latents_that_fired():
    fired = np.array([0, 1, 10, 100, 1000])
    counts, edges = metrics.density_histogram(metrics.Quality(np.ones(1000), 1.0, fired, 1000), n_bins=3)
    assert counts.tolist() == [1, 1, 2]
    np.testing.assert_allclose(edges, [-3, -2, -1, 0])


# ---- fidelity ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def losses(tiny_model, tiny_tokens):
    rows = np.flatnonzero(tiny_tokens.lengths >= 12)
    saes = {
        layer: {"perfect": identity_sae(16), "poor": TopKSAE(16, 64, 1, seed=3).eval().requires_grad_(False)}
        for layer in range(3)
    }
    return metrics.fidelity(
        tiny_model, saes, batches(tiny_model, tiny_tokens, 400, rows=rows), rate=0.4, both=True, seed=1
    ), rows


def test_fidelity_has_one_row_per_cell_layer_sae_and_edit(losses):
    table, rows = losses
    assert set(table["cell"]) == set(rows)
    assert len(table) == len(rows) * 2 * (3 + 2)  # the last layer has no "visible" row
    assert set(table.loc[table.layer == 2, "where"]) == {"all"}
    assert not table.duplicated(["layer", "sae", "where", "cell"]).any()
    assert table.groupby("cell").clean.nunique().eq(1).all()


def test_by_default_visible_genes_are_replaced_and_all_genes_at_the_last_layer(tiny_model, tiny_tokens, losses):
    saes = {layer: {"perfect": identity_sae(16)} for layer in (1, 2)}
    table = metrics.fidelity(tiny_model, saes, batches(tiny_model, tiny_tokens, 400, rows=losses[1]), rate=0.4, seed=1)
    assert set(zip(table.layer, table["where"], strict=True)) == {(1, "visible"), (2, "all")}
    expected = losses[0].query("sae == 'perfect' and ((layer == 1 and where == 'visible') or layer == 2)")
    np.testing.assert_allclose(table.ablated, expected.ablated, rtol=1e-4)


def test_a_perfect_sae_leaves_the_loss_clean(losses):
    table, _ = losses
    perfect = table[table.sae == "perfect"]
    np.testing.assert_allclose(perfect.spliced, perfect.clean, rtol=1e-4)
    moved = table[(table.sae == "poor") & (table["where"] == "all")]
    assert (moved.spliced - moved.clean).abs().min() > 1e-5  # the edit reaches the loss


def test_recovered_is_zero_for_the_mean_one_for_clean_and_has_an_interval():
    import pandas as pd

    rng = np.random.default_rng(0)
    clean = rng.normal(5, 0.3, 200)
    room = rng.uniform(0.5, 1.5, 200)
    table = pd.DataFrame({"clean": clean, "ablated": clean + room})
    assert metrics.recovered(table.assign(spliced=table.clean)) == Interval(1.0, 1.0, 1.0, "cells")
    assert metrics.recovered(table.assign(spliced=table.ablated)) == Interval(0.0, 0.0, 0.0, "cells")
    some = metrics.recovered(table.assign(spliced=clean + room * rng.uniform(0, 0.4, 200)))
    assert 0.75 < some.low < some.value < some.high < 0.85
    none = metrics.recovered(table.assign(spliced=clean, ablated=clean - 1))
    assert np.isnan([none.value, none.low, none.high]).all()
