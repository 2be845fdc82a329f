"""Positions: cells encoded in chunks, the canonical order, ranks, uniform samples that share no cell."""

from __future__ import annotations

import numpy as np
import pytest

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Tokens
from biosae_utils.sae.positions import Layout, Positions, sample_rows, tokenise


def test_tokenise_by_chunks_equals_at_once(tiny_model, tiny_cells, tiny_tokens):
    tiny_cells.asked.clear()
    rows = np.arange(tiny_cells.counts.shape[0])
    tokens = tokenise(tiny_cells, rows, tiny_model, chunk=7)
    assert max(tiny_cells.asked) == 7, "never more than a chunk of cells in memory"
    np.testing.assert_array_equal(tokens.ids, tiny_tokens.ids)
    np.testing.assert_array_equal(tokens.offsets, tiny_tokens.offsets)
    backwards = tokenise(tiny_cells, rows[::-1], tiny_model)
    np.testing.assert_array_equal(backwards.lengths, tiny_tokens.lengths[::-1])


def test_no_cells_is_an_error(tiny_model, tiny_cells):
    with pytest.raises(BiosaeError, match="no cells"):
        tokenise(tiny_cells, np.array([], int), tiny_model)


def test_positions_are_canonical(tiny_model, tiny_cells, tiny_tokens):
    table = Positions.of(tiny_tokens, tiny_model.info)
    counts = tiny_cells.counts.toarray()
    i = 0
    for cell, row in enumerate(counts):
        order = np.argsort(-row, kind="stable")
        for rank, gene in enumerate(order[row[order] > 0]):
            assert (table.cell[i], table.token[i], table.rank[i]) == (cell, gene + 4, rank)
            i += 1
    assert i == len(table)
    assert (table.cell.dtype, table.token.dtype, table.rank.dtype) == (np.int32, np.int32, np.uint16)


def test_rank_follows_the_values_where_a_model_has_them(tiny_model):
    ids = np.array([2, 5, 6, 7, 3, 2, 8, 9, 3], np.int32)
    values = np.array([0, 1, 9, 4, 0, 0, 3, 3, 0], np.float32)
    table = Positions.of(Tokens(ids, values, np.array([0, 5, 9])), tiny_model.info)
    assert table.token.tolist() == [5, 6, 7, 8, 9] and table.rank.tolist() == [2, 0, 1, 0, 1]


def test_positions_round_trip_and_damage(tiny_model, tiny_tokens, tmp_path):
    table = Positions.of(tiny_tokens, tiny_model.info)
    table.save(tmp_path)
    np.testing.assert_array_equal(Positions.load(tmp_path).token, table.token)
    np.save(tmp_path / "rank.npy", table.rank[:-1])
    with pytest.raises(BiosaeError, match="differ in length"):
        Positions.load(tmp_path)
    (tmp_path / "cell.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(BiosaeError, match="cannot be read"):
        Positions.load(tmp_path)


def test_layout_refuses_a_model_that_pads_on_the_left(tiny_model, tiny_tokens):
    layout = Layout(tiny_tokens, tiny_model.info)
    batch = tiny_model.collate(tiny_tokens, [0, 1])
    layout.check(batch)
    batch.is_gene = batch.is_gene.flip(1)
    with pytest.raises(BiosaeError, match="sequence order"):
        layout.check(batch)


def test_samples_are_uniform_disjoint_and_reproducible(tiny_model, tiny_tokens):
    table = Positions.of(tiny_tokens, tiny_model.info)
    heldout = np.zeros(tiny_tokens.n_cells, bool)
    heldout[::4] = True
    train, test = sample_rows(table, heldout, 200, 50, seed=5)
    again, _ = sample_rows(table, heldout, 200, 50, seed=5)
    other, _ = sample_rows(table, heldout, 200, 50, seed=6)
    np.testing.assert_array_equal(train, again)
    assert not np.array_equal(train, other)
    assert len(np.unique(train)) == 200 and len(np.unique(test)) == 50
    assert not heldout[table.cell[train]].any() and heldout[table.cell[test]].all()
    hits = np.zeros(len(table))
    for seed in range(400):
        hits[sample_rows(table, heldout, 200, 1, seed=seed)[0]] += 1
    pool = ~heldout[table.cell]
    rate = hits[pool] / 400
    expected = 200 / pool.sum()
    deviation = np.sqrt(expected * (1 - expected) / 400)
    assert abs(rate - expected).max() < 5 * deviation, "each training position is equally likely"


def test_asking_for_more_than_there_is_gives_all(tiny_model, tiny_tokens):
    table = Positions.of(tiny_tokens, tiny_model.info)
    heldout = np.arange(tiny_tokens.n_cells) < 10
    train, test = sample_rows(table, heldout, 10**6, 10**6)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(table)))
