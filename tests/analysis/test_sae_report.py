"""What a page says about SAEs, on SAEs whose quality is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from biosae_utils.analysis import sae_report
from biosae_utils.sae.metrics import Quality, evaluate
from biosae_utils.sae.topk import TopKSAE
from biosae_utils.sae.training.run import TrainConfig
from biosae_utils.sae.training.trainer import TrainResult

D, K = 8, 2


def along_axes(k: int = K) -> TopKSAE:
    """An SAE whose latents are the axes, in both directions: it reconstructs what has at most `k` coordinates."""
    sae = TopKSAE(D, 2 * D, k)
    axes = torch.cat([torch.eye(D), -torch.eye(D)])
    with torch.no_grad():
        sae.W_dec.copy_(axes)
        sae.W_enc.copy_(axes.t())
    return sae.eval().requires_grad_(False)


def sparse_vectors(n: int, seed: int) -> np.ndarray:
    """Vectors with K coordinates each."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, D), np.float32)
    which = np.stack([rng.choice(D, K, replace=False) for _ in range(n)])
    np.put_along_axis(x, which, rng.normal(size=(n, K)).astype(np.float32), 1)
    return x


@pytest.fixture(scope="module")
def judged() -> tuple[pd.DataFrame, dict[str, np.ndarray], list[Quality]]:
    """Two seeds of the SAE along the axes, and a frozen one along other directions."""
    config = TrainConfig(expansion=2, k=K)
    trained = [TrainResult(along_axes(), [], TrainConfig(**{**vars(config), "seed": seed}), 0.0) for seed in (4, 5)]
    frozen = TopKSAE(D, 2 * D, K, seed=1).eval().requires_grad_(False)
    sample, heldout = sparse_vectors(600, 0), sparse_vectors(200, 1)
    return sae_report.layer_quality(trained, frozen, sample, heldout, np.arange(200) // 10)


def test_the_sae_that_knows_the_axes_explains_all_and_its_baselines_less(judged):
    table, _, quality = judged
    assert table["seed"].tolist() == [4, 5] and len(quality) == 2
    first = table.iloc[0]
    assert first["explained"] == pytest.approx(1, abs=1e-5) == first["explained_training"]
    assert first["pca_rank_k"] < first["pca_equal_k"] < 1 and first["frozen_decoder"] < 0.9
    assert first["l0"] == pytest.approx(K) and first["dead"] == 0 and first["n_heldout"] == 200


def test_only_the_first_seed_has_an_interval_and_it_is_over_cells(judged):
    table, draws, _ = judged
    assert table["low"].notna().tolist() == table["high"].notna().tolist() == [True, False]
    assert set(draws) == set(sae_report.WAYS) and {len(d) for d in draws.values()} == {1000}
    assert np.std(draws["pca_rank_k"]) > 0 and np.allclose(draws["sae"], 1, atol=1e-5)


def test_densities_count_every_latent_that_fires_once():
    quality = evaluate(along_axes(), sparse_vectors(500, 2))
    table = sae_report.densities(quality)
    assert table["latents"].sum() == int((quality.density > 0).sum())
    assert table["frequency"].is_monotonic_increasing


def test_what_is_recovered_has_a_row_a_layer_sae_and_kind_of_edit():
    rng = np.random.default_rng(0)
    clean = rng.normal(2, 0.1, 60)
    losses = pd.DataFrame(
        {"layer": 3, "sae": np.repeat(["trained", "frozen"], 30), "where": "all", "clean": clean, "ablated": clean + 2}
    )
    losses["spliced"] = clean + np.repeat([0.5, 1.5], 30)
    table = sae_report.fidelity_table(losses).set_index("sae")
    assert table.loc["trained", "recovered"] == pytest.approx(0.75)
    assert table.loc["frozen", "recovered"] == pytest.approx(0.25)
    assert (table["low"] <= table["recovered"]).all() and (table["n_cells"] == 30).all()


def test_what_is_recovered_beyond_the_frozen_decoder_is_paired_by_cell():
    """Cells differ far more than the two SAEs do: unpaired, no difference could be seen."""
    rng = np.random.default_rng(1)
    clean = rng.normal(5, 2, 30)
    room = rng.uniform(1, 9, 30)
    about = {"cell": np.tile(np.arange(30), 2), "sae": np.repeat(["sae", "frozen"], 30)}
    losses = pd.DataFrame(about | {"clean": np.tile(clean, 2), "ablated": np.tile(clean + room, 2)})
    lost = np.concatenate([0.3 * room, 0.36 * room + rng.normal(0, 0.02, 30)])
    losses["spliced"] = losses["clean"] + lost
    gain = sae_report.recovery_gain(losses.sample(frac=1, random_state=0))
    assert 0.05 < gain.low < 0.06 < gain.high < 0.07 and gain.over == "cells"


def unit_rows(n: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 64))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_seeds_that_learned_the_same_agree_and_random_directions_do_not():
    first = unit_rows(20, 0)
    pairs = sae_report.seed_agreement({2: [first, first[::-1]]})
    by = pairs.groupby("kind")["cosine"]
    assert by.min()["seeds"] == pytest.approx(1) and by.max()["random"] < 0.8
    assert set(pairs["layer"]) == {2} and len(pairs) == 40
    table = sae_report.agreement(pairs).set_index("kind")
    assert table.at["seeds", "share"] == 1 and table.at["random", "share"] < 0.2


def test_the_share_counts_latents_found_again_where_a_mean_cosine_would_not_tell():
    """Half the latents the same and half unlike, or all of them half alike: nearly the same mean, another share."""
    first, other, far = unit_rows(40, 0), unit_rows(40, 1), unit_rows(40, 2)
    half = np.where(np.arange(40)[:, None] < 20, first, other)
    alike = first + 1.2 * far
    pairs = sae_report.seed_agreement({0: [first, half]}, {0: [first, alike], 1: [far, far]})
    assert set(pairs["layer"]) == {0}, "layers of the control alone are nobody's control"
    table = sae_report.agreement(pairs).set_index("kind")
    assert table.at["seeds", "share"] == pytest.approx(0.5) and table.at["untrained", "share"] < 0.2
    assert abs(table.at["seeds", "cosine"] - table.at["untrained", "cosine"]) < 0.1
    assert (table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all()


def test_a_latent_without_a_partner_is_not_found_again(monkeypatch):
    from biosae_utils.analysis import matching

    monkeypatch.setattr(matching, "HUNGARIAN_LIMIT", 10)  # pairs are mutual nearest neighbours, and some have none
    first = unit_rows(20, 0)
    pairs = sae_report.seed_agreement({0: [first, np.concatenate([first[:10], np.repeat(first[:1], 10, axis=0)])]})
    seeds = pairs[pairs["kind"] == "seeds"]
    assert len(seeds) == 20 and seeds["cosine"].isna().sum() >= 5
    table = sae_report.agreement(pairs).set_index("kind")
    assert table.at["seeds", "share"] == pytest.approx(0.5)
