"""The containers that go into models: ragged tokens, and batches of them."""

from __future__ import annotations

import numpy as np
import pytest

from biosae_utils.models.base import ModelInfo, Tokens, batches


def info(variant: str) -> ModelInfo:
    names = np.array(["<pad>", "GENE"])
    return ModelInfo("m", "family", variant, 2, 8, 16, names, names, (0,))


@pytest.fixture
def tokens() -> Tokens:
    """Cells of 3, 0, 4 and 1 tokens."""
    ids = np.arange(8, dtype=np.int32)
    return Tokens(ids, ids.astype(np.float32) / 2, np.array([0, 3, 3, 7, 8]))


def test_the_trained_model_has_the_plain_name():
    assert info("trained").slug == "m" and info("random-weights").slug == "m.random-weights"


def test_cells_are_taken_in_the_order_asked_and_counted_anew(tokens):
    assert tokens.n_cells == 4 and tokens.lengths.tolist() == [3, 0, 4, 1]
    taken = tokens.take(np.array([2, 1, 0, 2]))
    assert taken.offsets.tolist() == [0, 4, 4, 7, 11]
    assert taken.ids.tolist() == [3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6] and taken.values.tolist() == (taken.ids / 2).tolist()
    none = tokens.take(np.array([], int))
    assert none.n_cells == 0 and len(none.ids) == 0
    assert Tokens(tokens.ids, None, tokens.offsets).take(np.array([0])).values is None


@pytest.mark.parametrize("with_values", [True, False])
def test_what_is_saved_is_loaded(tokens, tmp_path, with_values):
    kept = tokens if with_values else Tokens(tokens.ids, None, tokens.offsets)
    kept.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ids.npy", "offsets.npy", *["values.npy"] * with_values]
    again = Tokens.load(tmp_path)
    for name in ("ids", "values", "offsets"):
        left, right = getattr(kept, name), getattr(again, name)
        assert (left is None) == (right is None)
        if left is not None:
            np.testing.assert_array_equal(left, right)
            assert left.dtype == right.dtype


def test_batches_go_from_long_to_short_and_keep_ties_in_order(model, counts, genes):
    encoded = model.encode(counts, genes)
    rows = np.array([11, 3, 7, 9])
    found = [batch.cells.tolist() for batch in batches(model, encoded, 1, rows=rows)]
    assert sorted(np.concatenate(found)) == sorted(rows) and all(len(cells) == 1 for cells in found), (
        "one cell at least"
    )
    lengths = encoded.lengths[np.concatenate(found)]
    assert (np.diff(lengths) <= 0).all()
    (whole,) = batches(model, encoded, 10**6)
    assert sorted(whole.cells) == list(range(12))
