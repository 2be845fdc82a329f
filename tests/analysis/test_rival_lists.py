"""The same list rules for trained and untrained autoencoders, against means written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gene_lists import random_lists, random_sets

from biosae_utils.analysis import rival_lists
from biosae_utils.analysis.catalogue import top_genes
from biosae_utils.analysis.rival_lists import LIST_RULES, RANDOM, TRAINED, Listed
from biosae_utils.intervals import wilson
from biosae_utils.sae.topk import TopKSAE

N, D, F, K, GENES, TOP = 3000, 8, 12, 3, 50, 5


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    gene = rng.integers(-1, GENES, N)
    vectors = (rng.standard_normal((N, D)) + rng.standard_normal((GENES, D))[gene]).astype(np.float16)
    saes = [TopKSAE(D, F, K, seed=seed).eval() for seed in (3, 4)]
    return vectors, gene, saes


@pytest.fixture(scope="module")
def listed(world):
    vectors, gene, saes = world
    return rival_lists.rival_lists(vectors, gene, GENES, saes, n_top=TOP, min_count=5, shrinkage=10.0)


def test_both_sides_go_through_every_list_rule_with_every_seed(listed):
    found, candidates = listed
    assert len(candidates) == GENES
    every = {(one.rule, one.source, one.seed) for one in found}
    assert every == {(rule, source, seed) for rule in LIST_RULES for source in (TRAINED, RANDOM) for seed in (0, 1)} | {
        ("far end", name, 0) for name in ("raw coordinates", "principal axes")
    }
    assert all(one.lists.shape == (len(one.energy), GENES) for one in found)


def test_lists_are_those_of_means_written_out(world, listed):
    vectors, gene, saes = world
    x = vectors.astype(np.float32)
    with torch.no_grad():
        code = saes[1].encode_dense(torch.from_numpy(x)).numpy()
    fires = np.flatnonzero((code > 0).any(axis=0))
    by = {(one.rule, one.source, one.seed): one for one in listed[0]}
    np.testing.assert_allclose(by["firing", TRAINED, 1].energy, (code**2).sum(axis=0)[fires], rtol=1e-5)
    for row, latent in enumerate(fires):
        everywhere = np.array([code[gene == g, latent].mean() for g in range(GENES)])
        assert set(by["all positions", TRAINED, 1].lists[row].indices) == set(np.argsort(-everywhere)[:TOP])
        count = np.array([(code[gene == g, latent] > 0).sum() for g in range(GENES)])
        total = np.array([code[gene == g, latent].sum() for g in range(GENES)])
        mean = total.sum() / count.sum()
        score = np.where(count >= 5, (total + 10 * mean) / (count + 10), -np.inf)
        expected = set(np.argsort(-score)[: min(TOP, (count >= 5).sum())])
        assert set(by["firing", TRAINED, 1].lists[row].indices) == expected


def test_firing_leaves_positions_without_a_gene_out(world):
    vectors, gene, saes = world
    codes = rival_lists._codes(saes[0], vectors.astype(np.float32), block=700)
    firing = rival_lists.firing_of(codes, gene, GENES)
    assert firing.counts.sum() == codes[gene >= 0].nnz and firing.positions.sum() == (gene >= 0).sum()
    assert len(top_genes(firing, n_top=TOP)) <= F * TOP


def test_planted_lists_lie_above_their_matched_lists_and_random_ones_do_not():
    rng = np.random.default_rng(2)
    sets, chance = random_sets(rng, 60, 800, 15, 25), random_lists(rng, 60, 800)
    lists = chance.tolil()
    for f in range(0, 60, 2):
        lists.rows[f] = sorted(set(lists.rows[f][:10]) | set(sets.membership[f].indices[:8]))
        lists.data[f] = [1] * len(lists.rows[f])
    planted = lists.tocsr().astype(np.uint8)
    energy = np.where(np.arange(60) % 2 == 0, 3.0, 1.0)
    found = [Listed("firing", TRAINED, seed, planted, energy) for seed in (0, 1)]
    found.append(Listed("firing", RANDOM, 0, chance, np.ones(60)))
    table = rival_lists.side_by_side(found, sets, n_matched=4)
    ours, theirs = table.iloc[0], table.iloc[2]
    assert ours["above"] > 30 > 10 > abs(theirs["above"]) and ours["terms"] >= 25
    assert ours["annotated"] - ours["matched"] == pytest.approx(ours["above"])
    hits = round(ours["annotated"] * 60 / 100)
    low, high = wilson(hits, 60).pair
    assert ours["high"] - ours["low"] == pytest.approx(100 * (high - low))
    assert ours["by_energy"] > ours["annotated"]  # the annotated ones carry three times the energy
    both = rival_lists.over_seeds(table, "firing")
    assert both[TRAINED][0].value == pytest.approx(ours["above"]) and both[TRAINED][1] == [ours["above"]] * 2
    assert list(both) == [TRAINED, RANDOM] and both[RANDOM][0].over == "lists"
