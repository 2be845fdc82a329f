"""Latents seen from cells, against scikit-learn."""

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
    codes = np.where(np.arange(CELLS) % 3 == 0, 2, np.arange(CELLS) % 2)
    scores = celltypes.auroc(means, celltypes.membership(codes[None], 3))
    for group in range(3):
        for f in range(F):
            by_hand = roc_auc_score(codes == group, means[:, [f]].toarray().ravel())
            assert scores[group, f] == pytest.approx(by_hand)
    assert scores[1, 19] == 0.5
    assert np.isnan(celltypes.auroc(means, celltypes.membership(np.zeros((1, CELLS), int), 2))).all()


def test_labels_of_several_draws_are_scored_as_if_each_stood_alone(world):
    store, _, cell, *_ = world
    means, rng = celltypes.cell_means(store, cell, CELLS), np.random.default_rng(0)
    drawn = rng.integers(0, 3, (4, CELLS))
    together = celltypes.auroc(means, celltypes.membership(drawn, 3)).reshape(4, 3, F)
    for draw, codes in zip(together, drawn, strict=True):
        np.testing.assert_array_equal(draw, celltypes.auroc(means, celltypes.membership(codes[None], 3)))


def test_groups_must_be_there_on_both_sides():
    cells = np.arange(240)
    heldout, condition = cells % 3 == 0, np.where(cells % 2, "stimulated", "control")
    cohort = pd.DataFrame({"heldout": heldout, "condition": condition, "barcode": [f"cell{i}" for i in cells]})
    is_told = celltypes.in_groups
    assert is_told(cohort, "condition") and not is_told(cohort, "batch") and not is_told(cohort, "barcode")
    one_sided = cohort.assign(condition=np.where(heldout, "control", condition))
    assert not is_told(one_sided, "condition")
    assert not is_told(cohort.assign(condition=cohort["condition"] + cohort["heldout"].astype(str)), "condition")
