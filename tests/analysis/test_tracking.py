"""Planted counterparts and lifetimes are recovered; floors keep what they say; what is no chain is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from biosae_utils.analysis import matching, tracking
from biosae_utils.errors import BiosaeError


def decoder(f: int, d: int, seed: int) -> np.ndarray:
    w = np.random.default_rng(seed).standard_normal((f, d))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


def test_lifetimes_recover_planted_persistence() -> None:
    """Ten latents live through all of five layers, ten through the middle three, the rest are new in each layer."""
    d, f, layers = 128, 40, [0, 3, 6, 9, 12]
    kept, middle = decoder(10, d, 1), decoder(10, d, 2)
    rng = np.random.default_rng(3)
    decoders = []
    for step in range(5):
        w = decoder(f, d, 100 + step)
        w[:10] = kept
        if 1 <= step <= 3:
            w[10:20] = middle
        decoders.append(w[rng.permutation(f)])
    matches = [matching.match_one_to_one(matching.decoder_similarity(a, b)) for a, b in itertools.pairwise(decoders)]
    table = tracking.lifetimes(matches, layers, [np.ones(f, bool)] * 5, threshold=0.7)
    assert table["length"].sum() == 5 * f  # every latent of every layer is in one chain
    assert (table["length"] == 5).sum() == 10 and (table["length"] == 3).sum() == 10
    assert set(table.loc[table["length"] == 3, "layer"]) == {3}
    assert (table["length"] == 1).sum() == len(table) - 20
    first = table[table["length"] == 5].iloc[0]
    path = [int(p) for p in first["path"].split()]
    for step, latent in enumerate(path):
        np.testing.assert_allclose(decoders[step][latent], decoders[0][path[0]])
    assert first["weakest"] == pytest.approx(1, abs=1e-5) and table.loc[table["length"] == 1, "weakest"].isna().all()


def test_lifetimes_refuse_what_is_not_a_chain() -> None:
    w = decoder(5, 8, 0)
    match = matching.match_one_to_one(matching.decoder_similarity(w, w))
    with pytest.raises(BiosaeError, match="adjacent pair"):
        tracking.lifetimes([match], [0], [np.ones(5, bool)], 0.7)
    with pytest.raises(BiosaeError, match="hand over"):
        tracking.lifetimes([match], [0, 1], [np.zeros(5, bool), np.ones(5, bool)], 0.7)


def dictionary(layer: int, codes: np.ndarray, seed: int, fires: np.ndarray | None = None) -> tracking.Dictionary:
    rows = decoder(codes.shape[1], 16, seed)
    return tracking.Dictionary(layer, rows, sp.csr_matrix(codes), np.ones(len(rows), bool) if fires is None else fires)


@pytest.fixture
def positions() -> tuple[np.ndarray, np.ndarray]:
    """Gene of 400 positions, and codes: two latents that fire on one gene each, two that ignore genes."""
    rng = np.random.default_rng(0)
    gene = rng.integers(0, 4, 400)
    by_gene = np.column_stack([gene == 0, gene == 1]) * 2.0
    by_cell = np.column_stack([rng.random(400) < 0.2, rng.random(400) < 0.2]) * 3.0
    return gene, np.hstack([by_gene, by_cell])


def test_a_pair_is_compared_in_four_ways(positions) -> None:
    _, codes = positions
    a = dictionary(2, codes, 1, fires=np.array([True, True, True, False]))
    b = dictionary(5, codes[:, [2, 0, 3, 1]], 1)
    found = tracking.Comparisons({"decoder": 0.7, "activation": 0.5}, min_count=5)
    found.add("layers", a, b)
    table = found.table([(2, 5)])
    assert list(zip(table["by"], table["matching"], strict=True)) == [
        (by, way) for by in ("decoder", "activation") for way in tracking.WAYS
    ]
    assert (table["n_latents"] == 3).all() and table["adjacent"].all() and (table["share"] == 1).all()
    assert not found.table([(2, 3)])["adjacent"].any()
    match = found.found["layers", "activation", "one-to-one", 2, 5]
    assert dict(zip(match.a.tolist(), match.b.tolist(), strict=True)) == {0: 1, 1: 3, 2: 0}
    same = found.found["layers", "decoder", "one-to-one", 2, 5]
    assert (same.a == same.b).all() and same.score == pytest.approx(1)


def test_the_floor_keeps_genes_and_breaks_cells(positions) -> None:
    gene, codes = positions
    a, b = dictionary(0, codes, 1), dictionary(1, codes, 2)
    found = tracking.Comparisons({"decoder": 0.99, "activation": 0.9}, min_count=5)
    vectors = np.random.default_rng(1).normal(size=(300, 16))
    found.add_floor(a, b, vectors, gene, np.random.default_rng(2))
    match = found.found["floor", "activation", "one-to-one", 0, 1]
    score = dict(zip(match.a.tolist(), match.score.tolist(), strict=True))
    assert score[0] == score[1] == pytest.approx(1, abs=1e-5) and max(score[2], score[3]) < 0.5
    assert found.has_counterpart("floor", "activation", "one-to-one", [(0, 1)]).tolist() == [1, 1, 0, 0]
    assert found.has_counterpart("floor", "decoder", "one-sided", [(0, 1)]).sum() == 0


def test_counterparts_are_pooled_over_pairs_of_layers(positions) -> None:
    _, codes = positions
    rng = np.random.default_rng(3)
    a, b = dictionary(0, codes, 1), dictionary(1, codes, 1)
    c = dictionary(2, codes[rng.permutation(len(codes))], 4)
    found = tracking.Comparisons({"decoder": 0.99, "activation": 0.5}, min_count=5)
    found.add("layers", a, b)
    found.add("layers", b, c)
    for by in ("decoder", "activation"):
        assert found.has_counterpart("layers", by, "one-to-one", [(0, 1), (1, 2)]).tolist() == [1] * 4 + [0] * 4
