"""Extraction: a sample and the codes of all positions against dense references, resuming, damage."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import FoundationModel
from biosae_utils.sae.codes import CodeStore
from biosae_utils.sae.extract import sample_activations, stream_codes, weights_hash
from biosae_utils.sae.positions import Layout
from biosae_utils.store import read_json


def test_the_fixture_is_a_foundation_model(tiny_model):
    assert isinstance(tiny_model, FoundationModel)


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
