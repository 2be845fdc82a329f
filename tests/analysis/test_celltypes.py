"""Latents seen from cells, against scikit-learn; chosen on one side and scored on the other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from firing_world import CELLS, F
from sklearn.metrics import roc_auc_score

from biosae_utils.analysis import celltypes


def test_cell_means_count_the_zeros(world):
    store, dense, cell, *_ = world
    means = celltypes.cell_means(store, cell, CELLS).toarray()
    for c in (0, 7, 59):
        np.testing.assert_allclose(means[c], dense[cell == c].mean(axis=0), rtol=1e-5)


def test_auroc_equals_scikit_learn_with_ties(world):
    store, _, cell, *_ = world
    means = celltypes.cell_means(store, cell, CELLS)
    label = np.array(["even", "odd", "third"])[np.where(np.arange(CELLS) % 3 == 0, 2, np.arange(CELLS) % 2)]
    scores = celltypes.auroc(means, label)
    for group in scores:
        for f in range(F):
            assert scores[group][f] == pytest.approx(roc_auc_score(label == group, means[:, [f]].toarray().ravel()))
    assert scores["odd"][19] == 0.5
    assert celltypes.auroc(means, np.full(CELLS, "same")).shape == (F, 0)


def test_best_latents_are_chosen_on_one_side_and_scored_on_the_other(world):
    store, _, cell, *_ = world
    means = celltypes.cell_means(store, cell, CELLS)
    odd = np.where(np.arange(CELLS) % 2, "odd", "even")
    noise = np.random.default_rng(3).permutation(odd)
    heldout = np.arange(CELLS) % 3 == 0
    scores = celltypes.best_latents(means, pd.DataFrame({"truth": odd, "noise": noise}), heldout, n_bootstrap=100)
    best = scores.best.set_index(["column", "group"])
    assert best.loc[("truth", "odd"), "latent"] == 2 and best.loc[("truth", "odd"), "heldout"] == 1
    assert abs(best.loc[("truth", "odd"), "control"] - 0.5) < 0.4
    assert best.loc[("noise", "odd"), "heldout"] < best.loc[("noise", "odd"), "training"]
    chosen = scores.all.query("column == 'noise' and group == 'odd'")
    assert chosen["training"].argmax() == best.loc[("noise", "odd"), "latent"]
    assert (best["low"] <= best["heldout"]).all() and (best["heldout"] <= best["high"]).all()


def test_cells_without_a_label_are_no_group(world):
    store, _, cell, *_ = world
    means = celltypes.cell_means(store, cell, CELLS)
    odd = pd.Series(np.where(np.arange(CELLS) % 2, "odd", "even"), dtype=object)
    heldout, lost = np.arange(CELLS) % 3 == 0, np.arange(CELLS) % 5 == 0
    scores = celltypes.best_latents(means, pd.DataFrame({"c": odd.mask(lost, None)}), heldout, n_bootstrap=20)
    assert set(scores.best["group"]) == {"odd", "even"}
    alone = celltypes.auroc(means[heldout & ~lost], odd[heldout & ~lost].to_numpy())
    chosen = scores.all.query("group == 'odd'")
    np.testing.assert_allclose(chosen["heldout"], alone["odd"])
