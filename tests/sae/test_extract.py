"""Extraction: canonical order, samples, codes against a dense reference, resuming, memory, sources."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import FoundationModel, Tokens
from biosae_utils.sae.batching import Budget, Drain, device_report, map_batches
from biosae_utils.sae.codes import CodeStore
from biosae_utils.sae.extract import sample_activations, stream_codes, weights_hash
from biosae_utils.sae.positions import Layout, Positions, sample_rows, tokenise
from biosae_utils.store import read_json

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dense(tiny_model, tiny_tokens) -> dict[int, np.ndarray]:
    """All hidden states by the obvious loop: one cell at a time, special tokens cut off by hand."""
    out: dict[int, list[np.ndarray]] = {layer: [] for layer in range(tiny_model.info.n_layers)}
    with torch.inference_mode():
        for cell in range(tiny_tokens.n_cells):
            states = tiny_model.hidden(tiny_model.collate(tiny_tokens, [cell]))
            for layer, state in states.items():
                out[layer].append(state[0, 1 : int(tiny_tokens.lengths[cell]) - 1].numpy())
    return {layer: np.concatenate(states) for layer, states in out.items()}


def test_the_fixture_is_a_foundation_model(tiny_model):
    assert isinstance(tiny_model, FoundationModel)


# ---- positions


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


# ---- first pass


def test_sample_equals_the_dense_reference(tiny_model, tiny_tokens, dense, tmp_path):
    rows = np.sort(np.random.default_rng(0).choice(len(dense[0]), 150, replace=False))
    memory = sample_activations(tiny_model, tiny_tokens, rows, dtype=np.float32, max_tokens=200)
    disk = sample_activations(tiny_model, tiny_tokens, rows, [1], folder=tmp_path)
    assert sorted(memory) == [0, 1, 2] and sorted(disk) == [1]
    for layer, array in memory.items():
        np.testing.assert_allclose(array, dense[layer][rows], atol=1e-5)
    assert disk[1].dtype == np.float16 and sorted(p.name for p in tmp_path.iterdir()) == ["layer_01.npy"]
    np.testing.assert_allclose(disk[1], dense[1][rows], atol=4e-3)


def test_sample_runs_only_the_cells_that_it_needs(tiny_model, tiny_tokens, monkeypatch):
    seen = []
    hidden = tiny_model.hidden
    monkeypatch.setattr(
        tiny_model, "hidden", lambda b, layers, **kw: (seen.extend(b.cells), hidden(b, layers, **kw))[1]
    )
    starts = Layout(tiny_tokens, tiny_model.info).starts
    rows = np.array([starts[3], starts[8], starts[8] + 2])
    sample_activations(tiny_model, tiny_tokens, rows)
    assert sorted(seen) == [3, 8], "cell 7 is empty and shares its start with cell 8"


def test_sample_refuses_unsorted_rows(tiny_model, tiny_tokens):
    for rows in ([3, 1], [1, 1], []):
        with pytest.raises(BiosaeError, match="ascending, unique"):
            sample_activations(tiny_model, tiny_tokens, np.array(rows, int))


def test_nan_weights_are_told_and_leave_no_file(tiny_model, tiny_tokens, tmp_path, monkeypatch):
    embed = tiny_model.embed
    monkeypatch.setattr(tiny_model, "embed", lambda batch: embed(batch) * float("nan"))
    with pytest.raises(BiosaeError, match="not finite"):
        sample_activations(tiny_model, tiny_tokens, np.arange(20), folder=tmp_path)
    assert not list(tmp_path.iterdir())


# ---- second pass


def reference_codes(saes, dense, layer) -> np.ndarray:
    """Dense codes of all positions at once, in the order of the obvious loop."""
    with torch.no_grad():
        return saes[layer].encode_dense(torch.from_numpy(dense[layer])).numpy()


def folders(path) -> dict[int, object]:
    return {layer: path / f"layer_{layer:02d}" for layer in range(3)}


def test_codes_equal_the_dense_reference(tiny_model, tiny_saes, tiny_tokens, dense, tmp_path):
    stores = stream_codes(tiny_model, tiny_saes, tiny_tokens, folders(tmp_path), chunk=9, max_tokens=150)
    for layer, store in stores.items():
        expected = reference_codes(tiny_saes, dense, layer)
        got = store.csr().toarray()
        # two latents within rounding of each other at the k-th place may swap; elsewhere codes are equal
        swapped = ((got > 0) != (expected > 0)).any(1)
        assert swapped.mean() < 0.01
        np.testing.assert_allclose(got[~swapped], expected[~swapped], atol=2e-3)
        assert store.identity["sae"] == weights_hash(tiny_saes[layer])


def test_resume_after_a_kill_redoes_only_the_rest(tiny_model, tiny_saes, tiny_tokens, tmp_path, monkeypatch):
    whole = stream_codes(tiny_model, tiny_saes, tiny_tokens, folders(tmp_path / "whole"), chunk=10)
    calls = []
    hidden = tiny_model.hidden

    def killed_at_the_third_chunk(batch, layers):
        calls.append(batch.cells)
        if min(batch.cells) >= 20:
            raise KeyboardInterrupt
        return hidden(batch, layers)

    monkeypatch.setattr(tiny_model, "hidden", killed_at_the_third_chunk)
    with pytest.raises(KeyboardInterrupt):
        stream_codes(tiny_model, tiny_saes, tiny_tokens, folders(tmp_path / "cut"), chunk=10)
    with pytest.raises(BiosaeError, match="incomplete"):
        CodeStore.open(tmp_path / "cut" / "layer_00")

    calls.clear()
    monkeypatch.setattr(
        tiny_model, "hidden", lambda b, layers, **kw: (calls.append(b.cells), hidden(b, layers, **kw))[1]
    )
    resumed = stream_codes(tiny_model, tiny_saes, tiny_tokens, folders(tmp_path / "cut"), chunk=10)
    assert set(np.concatenate(calls)) == set(range(20, 40))
    for layer in whole:
        np.testing.assert_array_equal(whole[layer].values, resumed[layer].values)
        np.testing.assert_array_equal(whole[layer].indices, resumed[layer].indices)


def test_a_damaged_chunk_of_one_layer_is_redone_alone(tiny_model, tiny_saes, tiny_tokens, tmp_path, monkeypatch):
    where = folders(tmp_path)
    stores = stream_codes(tiny_model, tiny_saes, tiny_tokens, where, chunk=10)
    good = np.array(stores[1].values)
    raw = bytearray((where[1] / "values.npy").read_bytes())
    raw[-2:] = b"\x00\x11"
    (where[1] / "values.npy").write_bytes(raw)
    asked = []
    hidden = tiny_model.hidden
    monkeypatch.setattr(
        tiny_model, "hidden", lambda b, layers, **kw: (asked.append(list(layers)), hidden(b, layers, **kw))[1]
    )
    again = stream_codes(tiny_model, tiny_saes, tiny_tokens, where, chunk=10)
    assert asked == [[1]]
    np.testing.assert_array_equal(again[1].values, good)
    asked.clear()
    stream_codes(tiny_model, tiny_saes, tiny_tokens, where, chunk=10)
    assert asked == [], "a complete run has nothing left to do"


def test_errors_of_the_writing_thread_surface(tiny_model, tiny_saes, tiny_tokens, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(CodeStore, "write", full)
    with pytest.raises(OSError, match="No space left"):
        stream_codes(tiny_model, tiny_saes, tiny_tokens, folders(tmp_path))
    assert read_json(tmp_path / "layer_00" / "meta.json")["chunks"] == [], "a chunk that failed is not in the ledger"


# ---- memory


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_out_of_memory_halves_the_batch(tiny_model, tiny_tokens, monkeypatch, dense, error):
    tried = []
    hidden = tiny_model.hidden

    def small_memory(batch, layers, **kw):
        tried.append(batch.ids.numel())
        if batch.ids.numel() > 150:
            raise error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return hidden(batch, layers, **kw)

    monkeypatch.setattr(tiny_model, "hidden", small_memory)
    rows = np.arange(len(dense[0]))
    states = sample_activations(tiny_model, tiny_tokens, rows, dtype=np.float32)
    np.testing.assert_allclose(states[2], dense[2], atol=1e-5)
    widest = int(tiny_tokens.lengths.max())
    assert tried[:4] == [39 * widest, 19 * widest, 9 * widest, 4 * widest] and max(tried[4:]) <= 150


def test_other_errors_are_not_taken_for_memory(tiny_model, tiny_tokens, monkeypatch):
    monkeypatch.setattr(tiny_model, "hidden", lambda *_, **__: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match=r"inconsistent tensor size|size mismatch"):
        sample_activations(tiny_model, tiny_tokens, np.arange(5))


def test_one_cell_too_large_is_a_sentence(tiny_model, tiny_tokens, monkeypatch):
    def none(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tiny_model, "hidden", none)
    with pytest.raises(BiosaeError, match=r"One cell of [0-9]+ tokens does not fit"):
        sample_activations(tiny_model, tiny_tokens, np.arange(50))


def test_budget_and_buckets(tiny_model, tiny_tokens):
    assert Budget(tiny_model.info, CPU, 123).max_tokens == 123
    assert Budget(tiny_model.info, CPU).max_tokens >= 1024
    assert Budget(tiny_model.info, CPU, extra=1 << 60).max_tokens == 1, "memory asked for by the caller counts"
    shapes = [
        (b.ids.shape, b.cells)
        for b in map_batches(tiny_model, tiny_tokens, np.arange(40), lambda b: b, Budget(tiny_model.info, CPU, 150))
    ]
    assert all(rows * width <= 150 for (rows, width), _ in shapes)
    assert sorted(np.concatenate([c for _, c in shapes])) == list(range(40))
    widths = [width for (_, width), _ in shapes]
    assert widths == sorted(widths, reverse=True)


def test_device_report_names_the_threads_really_used():
    assert f"{torch.get_num_threads()} threads" in device_report("cpu")


def test_drain_keeps_order_and_raises():
    seen = []
    with Drain(CPU, depth=2) as drain:
        for i in range(20):
            drain.push([torch.tensor(i)], lambda a: seen.append(int(a)))
    assert seen == list(range(20))

    def fail(*_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Drain(CPU) as drain:
        drain.push([], fail)
