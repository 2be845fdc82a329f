"""Planted counterparts and lifetimes are recovered; floors keep what they say; what is no chain is refused."""

from __future__ import annotations

import dataclasses
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


def test_the_next_layer_and_a_control_are_paired_by_latent(positions) -> None:
    """Half of the latents have a counterpart on each side, and they are not the same half."""
    _, codes = positions
    rng = np.random.default_rng(4)
    other = rng.random(codes.shape) * (rng.random(codes.shape) < 0.2)
    a = dictionary(0, codes, 1)
    following = dictionary(1, np.hstack([codes[:, [1, 0]], other[:, :2]]), 2)
    again = dictionary(0, np.hstack([other[:, 2:], codes[:, [3, 1]]]), 3)
    found = tracking.Comparisons({"decoder": 0.99, "activation": 0.5}, 5, block=np.arange(400) // 40)
    found.add("layers", a, following, by_block=True)
    found.add("seed", a, again, by_block=True)
    paired = found.paired("seed", "activation", "one-to-one", [(0, 1)])
    assert paired.following.tolist() == [True, True, False, False]
    assert paired.control.tolist() == [False, True, False, True]
    assert paired.without.shape == (10,) and (paired.without == 0).all()
    assert found.paired("seed", "decoder", "one-sided", [(0, 1)]).without is None


def test_a_block_that_carries_a_counterpart_is_missed(positions) -> None:
    """Two latents fire together in one block of cells alone, and are counterparts because of it."""
    rng = np.random.default_rng(5)
    codes = (rng.random((400, 3)) < 0.1) * 1.0
    here, there = codes.copy(), codes[rng.permutation(400)]
    there[:, 1:] = here[:, 1:]
    here[:40, 0], there[:40, 0] = 5.0 * (np.arange(40) % 2), 5.0 * (np.arange(40) % 2)
    found = tracking.Comparisons({"decoder": 0.99, "activation": 0.5}, 5, block=np.arange(400) // 40)
    found.add("layers", dictionary(0, here, 1), dictionary(1, there, 2), by_block=True)
    without = found.without["layers", 0, 1]
    assert without[:, 0].tolist() == [False] + [True] * 9 and without[:, 1:].all()


def test_different_latents_are_not_paired(positions) -> None:
    _, codes = positions
    some = dictionary(0, codes, 1, fires=np.array([True, True, True, False]))
    found = tracking.Comparisons({"decoder": 0.7, "activation": 0.5}, min_count=5)
    found.add("layers", dictionary(0, codes, 1), dictionary(1, codes, 2))
    found.add("seed", some, dictionary(0, codes, 3))
    with pytest.raises(BiosaeError, match="4 latents of layer 0 meet the next layer and 3 meet 'seed'"):
        found.paired("seed", "decoder", "one-sided", [(0, 1)])


def test_seeds_take_turns() -> None:
    of = {
        (layer, seed): dictionary(layer, np.ones((3, 2)), 10 * layer + seed) for layer in (2, 4, 7) for seed in (0, 1)
    }
    at = dict.fromkeys((2, 4, 7), np.zeros((3, 16)))
    trained = tracking.Trained([2, 4, 7], 2, of, at, np.zeros(3, int), np.arange(3))
    assert trained.adjacent == [(2, 4), (4, 7)]
    assert [trained.turn(layer) for layer in (2, 4, 7)] == [0, 1, 0]
    exchanged = dataclasses.replace(trained, first=1)
    for a, b in trained.adjacent:
        assert trained.other(b, than=a) is of[b, 1 - trained.turn(a)]
        assert exchanged.own(a) is trained.other(a, than=a) and exchanged.other(b, than=a) is of[b, trained.turn(a)]
