"""The store of codes: what it keeps, what it refuses, and the sparse products."""

from __future__ import annotations

import json

import numpy as np
import pytest

from biosae_utils.errors import BiosaeError
from biosae_utils.sae import codes as codes_module
from biosae_utils.sae.codes import CodeStore, group_sums, index_dtype, latent_stats

N, K, F = 1000, 5, 40


@pytest.fixture
def dense() -> np.ndarray:
    """Dense codes with exactly representable values; about one slot in five is closed."""
    rng = np.random.default_rng(0)
    out = np.zeros((N, F), np.float32)
    for row in out:
        row[rng.choice(F, K, replace=False)] = rng.integers(0, 5, K) / 4
    return out


@pytest.fixture
def store(tmp_path, dense, monkeypatch) -> CodeStore:
    monkeypatch.setattr(codes_module, "CHUNK", 300)
    monkeypatch.setattr(CodeStore.chunks, "__defaults__", (300,))
    return filled(tmp_path / "codes", dense)


def arrays(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slots of a dense code: the positive entries first, then closed slots with arbitrary indices."""
    indices = np.argsort(-dense, axis=1, kind="stable")[:, :K]
    return np.take_along_axis(dense, indices, 1), indices


def filled(path, dense, *, chunks=((0, 400), (400, 1000)), commit=None) -> CodeStore:
    values, indices = arrays(dense)
    store = CodeStore.create(path, n=N, k=K, d_sae=F, identity={"sae": "a"})
    for i, (start, stop) in enumerate(chunks):
        store.write(np.arange(start, stop), values[start:stop], indices[start:stop])
        if commit is None or i < commit:
            store.commit(start, stop)
    return store.finish() if commit is None else store


def test_round_trip_equals_dense(store, dense):
    assert store.values.dtype == np.float16 and store.indices.dtype == np.uint16
    np.testing.assert_array_equal(store.csr().toarray(), dense)
    np.testing.assert_array_equal(store.csr(binary=True).toarray(), dense > 0)
    rows = np.array([5, 999, 5])
    np.testing.assert_array_equal(store.csr(rows).toarray(), dense[rows])
    np.testing.assert_array_equal(store.csc(slice(10, 50)).toarray(), dense[10:50])


def test_closed_slots_are_not_active(store, dense):
    assert (store.values == 0).any(), "the fixture must have closed slots"
    assert store.csr().nnz == (dense > 0).sum() < N * K


def test_negative_values_only_when_asked(tmp_path):
    store = CodeStore.create(tmp_path, n=1, k=3, d_sae=F, identity={})
    store.write(slice(0, 1), np.array([[-1.0, 0.0, 2.0]]), np.array([[1, 2, 3]]))
    store.commit(0, 1)
    store = store.finish()
    assert store.csr().toarray()[0, [1, 2, 3]].tolist() == [0, 0, 2]
    assert store.csr(positive_only=False).toarray()[0, [1, 2, 3]].tolist() == [-1, 0, 2]
    assert store.csr(positive_only=False).nnz == 2


def test_index_type_grows_with_the_dictionary():
    assert index_dtype(65_535) == np.uint16 and index_dtype(65_536) == np.uint32


def test_latent_access_and_statistics(store, dense):
    for latent in (0, 17, F - 1):
        rows, values = store.latent(latent)
        np.testing.assert_array_equal(rows, np.flatnonzero(dense[:, latent]))
        np.testing.assert_array_equal(values, dense[rows, latent])
    stats = latent_stats(store)
    np.testing.assert_array_equal(stats.n_fired, (dense > 0).sum(0))
    np.testing.assert_allclose(stats.total, dense.sum(0))
    np.testing.assert_allclose(stats.squares, (dense**2).sum(0))
    np.testing.assert_array_equal(stats.peak, dense.max(0))


def test_group_sums_equal_a_loop(store, dense):
    groups = np.random.default_rng(3).integers(-1, 12, N)
    sums, counts = group_sums(store, groups, 13)  # group 12 has no members
    expected, expected_counts = np.zeros((13, F)), np.zeros((13, F), np.int64)
    for row, group in zip(dense, groups, strict=True):
        if group >= 0:
            expected[group] += row
            expected_counts[group] += row > 0
    np.testing.assert_allclose(sums.toarray(), expected)
    np.testing.assert_array_equal(counts.toarray(), expected_counts)
    assert counts.dtype == np.int64


def test_group_sums_refuse_wrong_groups(store):
    with pytest.raises(BiosaeError, match="999 groups for 1,000 positions"):
        group_sums(store, np.zeros(999, int), 1)
    with pytest.raises(BiosaeError, match="not below n_groups"):
        group_sums(store, np.full(N, 3), 3)


def test_incomplete_store_is_refused_and_says_how_far_it_came(tmp_path, dense):
    store = filled(tmp_path, dense, commit=1)
    with pytest.raises(BiosaeError, match="incomplete: 400 of 1,000"):
        CodeStore.open(tmp_path)
    with pytest.raises(BiosaeError, match="never written"):
        store.finish()


def test_resume_keeps_finished_chunks_and_forgets_the_half_written_one(tmp_path, dense):
    filled(tmp_path, dense, commit=1)  # the second chunk has bytes in the file, but was never committed
    store = CodeStore.create(tmp_path, n=N, k=K, d_sae=F, identity={"sae": "a"})
    assert store.has(0, 400) and not store.has(400, 1000)


def test_truncated_file_loses_only_the_chunks_in_the_gap(tmp_path, dense):
    filled(tmp_path, dense)
    with open(tmp_path / "values.npy", "r+b") as f:
        f.truncate(128 + 700 * K * 2)
    with pytest.raises(BiosaeError, match="missing or truncated"):
        CodeStore.open(tmp_path)
    store = CodeStore.create(tmp_path, n=N, k=K, d_sae=F, identity={"sae": "a"})
    assert store.has(0, 400) and not store.has(400, 1000) and not store._meta["complete"]


def test_flipped_bytes_are_found(tmp_path, dense):
    store = filled(tmp_path, dense)
    store.verify()
    raw = bytearray((tmp_path / "indices.npy").read_bytes())
    raw[-3] ^= 1
    (tmp_path / "indices.npy").write_bytes(raw)
    with pytest.raises(BiosaeError, match="Rows 400 to 1,000 are damaged"):
        CodeStore.open(tmp_path).verify()


@pytest.mark.parametrize("change", [{"k": 6}, {"d_sae": 41}, {"n": 999}, {"identity": {"sae": "b"}}])
def test_another_identity_starts_anew(tmp_path, dense, change):
    filled(tmp_path, dense)
    store = CodeStore.create(tmp_path, **{"n": N, "k": K, "d_sae": F, "identity": {"sae": "a"}, **change})
    assert not store.has(0, 400)
    with pytest.raises(BiosaeError, match="incomplete: 0 of"):
        CodeStore.open(tmp_path)


def test_other_chunk_boundaries_replace_what_they_overlap(tmp_path, dense):
    filled(tmp_path, dense)
    values, indices = arrays(dense)
    store = CodeStore.create(tmp_path, n=N, k=K, d_sae=F, identity={"sae": "a"})
    store.write(slice(300, 600), values[300:600] * 2, indices[300:600])
    store.commit(300, 600)
    store.verify()
    with pytest.raises(BiosaeError, match="never written"):
        store.finish()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "meta.json").unlink(), "missing"),
        (lambda d: (d / "meta.json").write_text("{"), "damaged"),
        (lambda d: (d / "meta.json").write_text("[]"), "not a store"),
        (lambda d: (d / "values.npy").unlink(), "missing or truncated"),
        (lambda d: (d / "indices.npy").write_bytes(b""), "missing or truncated"),
        (lambda d: np.save(d / "values.npy", np.zeros((3, K), np.float16)), "where meta.json says"),
    ],
)
def test_damage_is_one_clear_error(tmp_path, dense, damage, message):
    filled(tmp_path, dense)
    damage(tmp_path)
    with pytest.raises(BiosaeError, match=message):
        CodeStore.open(tmp_path)


def test_meta_is_plain_json(tmp_path, dense):
    filled(tmp_path, dense)
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["complete"] is True and [c[:2] for c in meta["chunks"]] == [[0, 400], [400, 1000]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_values_that_float16_cannot_hold_are_refused(tmp_path, bad):
    store = CodeStore.create(tmp_path, n=1, k=1, d_sae=F, identity={})
    with pytest.raises(BiosaeError, match="not finite or exceeds"):
        store.write(slice(0, 1), np.array([[bad]], np.float32), np.array([[0]]))


def test_no_positions_is_an_error(tmp_path):
    with pytest.raises(BiosaeError, match="no positions"):
        CodeStore.create(tmp_path, n=0, k=K, d_sae=F, identity={})
