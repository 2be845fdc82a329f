"""The control that needs no other weights: every model on cells whose genes are shuffled."""

from __future__ import annotations

import numpy as np
import torch

from biosae_utils.models.base import FoundationModel, Tokens
from biosae_utils.models.registry import load_model
from biosae_utils.models.variants import shuffle_genes


def test_shuffled_genes_permute_within_cells(folder, model, counts, genes):
    shuffled = load_model(folder, variant="shuffled-genes", device="cpu")
    assert isinstance(shuffled, FoundationModel)
    assert shuffled.info.slug == f"{model.info.name}.shuffled-genes"
    true, mixed = model.encode(counts, genes), shuffled.encode(counts, genes)
    np.testing.assert_array_equal(true.offsets, mixed.offsets)
    if true.values is not None:
        np.testing.assert_array_equal(true.values, mixed.values)
    special, moved = np.isin(true.ids, model.info.special_ids), 0
    np.testing.assert_array_equal(true.ids[special], mixed.ids[special])
    for start, stop in zip(true.offsets[:-1], true.offsets[1:], strict=True):
        assert sorted(true.ids[start:stop]) == sorted(mixed.ids[start:stop])
        moved += int((true.ids[start:stop] != mixed.ids[start:stop]).sum())
    assert moved > 0.7 * (~special).sum()
    np.testing.assert_array_equal(shuffled.encode(counts, genes).ids, mixed.ids)
    assert shuffled.encode(counts, genes, seed=1).ids.tolist() != mixed.ids.tolist()
    # a cell's shuffle does not depend on where the cell stands
    last = shuffled.encode(counts[11:], genes)
    assert last.ids.tolist() == mixed.ids[mixed.offsets[11] :].tolist()


def test_shuffled_genes_keep_the_weights(folder, model, counts, genes):
    shuffled = load_model(folder, variant="shuffled-genes", device="cpu")
    batch = model.collate(model.encode(counts, genes), [11, 4])
    assert torch.equal(shuffled.hidden(batch)[2], model.hidden(batch)[2])
    assert shuffled.info.sha256 == model.info.sha256 and shuffled.device == model.device


def test_special_tokens_and_values_stay_and_the_input_is_left_alone():
    ids = np.array([0, 5, 6, 7, 8, 9, 1, 0, 5, 1], np.int32)
    tokens = Tokens(ids.copy(), np.arange(10, dtype=np.float32), np.array([0, 7, 10]))
    mixed = shuffle_genes(tokens, (0, 1), seed=3)
    assert mixed.ids[[0, 6, 7, 8, 9]].tolist() == [0, 1, 0, 5, 1], "one gene alone cannot move"
    assert sorted(mixed.ids[1:6]) == [5, 6, 7, 8, 9]
    np.testing.assert_array_equal(tokens.ids, ids)
    np.testing.assert_array_equal(mixed.values, tokens.values)
