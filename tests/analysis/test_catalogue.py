"""The catalogue against plain loops over positions, and explained shares against an analysis of variance."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from firing_world import CELLS, GENES, F, N, by_hand, firing_of
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from biosae_utils.analysis import catalogue
from biosae_utils.errors import BiosaeError
from biosae_utils.sae.codes import group_sums, latent_stats


def test_sums_by_gene_and_block_equal_a_loop_over_positions(world):
    store, dense, cell, gene, _ = world
    heldout = np.arange(CELLS) % 5 == 0
    block = catalogue.deal_cells(heldout, 4, seed=1)
    assert (block[heldout] == 4).all() and np.ptp(np.bincount(block[~heldout])) <= 1
    parts = catalogue.firing_by_block(store, gene, block[cell], GENES)
    squares = catalogue.squares_by_block(store, block[cell])
    for b, part in enumerate(parts):
        rows = block[cell] == b
        sums, counts = by_hand(dense[rows], gene[rows], GENES)
        np.testing.assert_allclose(part.sums.toarray(), sums, rtol=1e-6)
        np.testing.assert_array_equal(part.counts.toarray(), counts)
        np.testing.assert_array_equal(part.positions, np.bincount(gene[rows], minlength=GENES))
        np.testing.assert_allclose(squares[b], (dense[rows] ** 2).sum(axis=0))
    training = catalogue.total(parts[:4])
    less, rest = training.minus(parts[1]), catalogue.total([parts[0], parts[2], parts[3]])
    np.testing.assert_array_equal(less.counts.toarray(), rest.counts.toarray())
    np.testing.assert_allclose(less.sums.toarray(), rest.sums.toarray(), rtol=1e-9)
    assert less.sums.nnz == less.counts.nnz == rest.counts.nnz
    table = catalogue.firing_table(training, parts[4])
    genes = pd.DataFrame({"n_positions": training.positions, "n_positions_heldout": parts[4].positions})
    for again, original in zip(catalogue.firing_from_table(table, genes, F), (training, parts[4]), strict=True):
        np.testing.assert_array_equal(again.counts.toarray(), original.counts.toarray())
        np.testing.assert_allclose(again.sums.toarray(), original.sums.toarray(), rtol=1e-6)
        np.testing.assert_array_equal(again.positions, original.positions)


def test_some_genes_of_a_firing(world):
    _, dense, _, gene, _ = world
    firing, some = firing_of(dense, gene), np.array([3, 7])
    part = firing.on(some)
    np.testing.assert_array_equal(part.counts.toarray(), firing.counts.toarray()[some])
    np.testing.assert_array_equal(part.sums.toarray(), firing.sums.toarray()[some])
    np.testing.assert_array_equal(part.positions, firing.positions[some])


def test_too_few_cells_for_the_jackknife_is_said():
    with pytest.raises(BiosaeError, match="too few"):
        catalogue.deal_cells(np.zeros(5, bool))


def test_explained_share_is_the_adjusted_r_squared_of_a_one_way_anova(world):
    _, dense, _, gene, rank = world
    for grouping, n in ((gene, GENES), (catalogue.rank_bins(rank), int(catalogue.rank_bins(rank).max()) + 1)):
        sums, _ = by_hand(dense, grouping, n)
        share = catalogue.explained_share(
            sp.csr_matrix(sums), np.bincount(grouping, minlength=n), (dense**2).sum(axis=0)
        )
        for f in (0, 1, 2, 7):
            table = pd.DataFrame({"y": dense[:, f], "g": grouping.astype(str)})
            fit = ols("y ~ C(g)", table).fit()
            assert share[f] == pytest.approx(fit.rsquared_adj, abs=1e-9)
            anova = anova_lm(fit)
            assert fit.rsquared == pytest.approx(anova["sum_sq"].iloc[0] / anova["sum_sq"].sum())
        assert np.isnan(share[19])
    by_gene = catalogue.explained_share(firing_of(dense, gene).sums, np.bincount(gene), (dense**2).sum(axis=0))
    assert by_gene[0] > 0.9 > 0.1 > by_gene[1]


def test_explained_share_of_unrelated_groups_is_zero_on_average(world):
    _, dense, _, gene, _ = world
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(60):
        sums, _ = by_hand(dense, rng.permutation(gene), GENES)
        shares.append(catalogue.explained_share(sp.csr_matrix(sums), np.bincount(gene), (dense**2).sum(axis=0))[:19])
    mean, error = np.mean(shares, axis=0), np.std(shares, axis=0) / np.sqrt(60)
    assert (np.abs(mean) < 4 * error).all() and np.max(mean) < 0.003


def test_states_are_named_by_their_thresholds(world):
    store, dense, *_ = world
    state = catalogue.state(latent_stats(store), store.n)
    fired = (dense > 0).sum(axis=0)
    assert state[19] == "dead" and fired[19] == 0
    assert all(s == "dense" for s, n in zip(state, fired, strict=True) if n > 0.1 * N)
    assert (state == "alive").any()
    rare = np.array([0, 3, 19, 20, 100, 101])
    stats = latent_stats(store).__class__(rare, rare, rare, rare)
    assert catalogue.state(stats, 1000).tolist() == ["dead", "rare", "rare", "alive", "alive", "dense"]


def test_top_genes_are_those_of_a_loop_and_a_gene_seen_twice_cannot_lead():
    sums = np.zeros((6, 2))
    counts = np.zeros((6, 2), int)
    counts[:, 0], sums[:, 0] = [2, 50, 50, 10, 9, 0], [40, 200, 150, 35, 90, 0]  # gene 0: mean 20, seen twice
    counts[1, 1], sums[1, 1] = 30, 30
    firing = catalogue.GeneFiring(sp.csr_matrix(sums), sp.csr_matrix(counts), np.full(6, 100))
    top = catalogue.top_genes(firing, n_top=3, min_count=3, shrinkage=10)
    mean = sums[:, 0].sum() / counts[:, 0].sum()
    shrunken = {g: (sums[g, 0] + 10 * mean) / (counts[g, 0] + 10) for g in range(5) if counts[g, 0] >= 3}
    expected = sorted(shrunken, key=lambda g: -shrunken[g])[:3]
    first = top[top["latent"] == 0]
    assert first["gene"].tolist() == expected and first["position"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(first["shrunken"], [shrunken[g] for g in expected])
    assert first["coverage"].tolist() == [counts[g, 0] / 100 for g in expected]
    assert top[top["latent"] == 1]["gene"].tolist() == [1]
    published = catalogue.top_genes(firing, n_top=3, min_count=1, shrinkage=0)
    assert published.iloc[0]["gene"] == 0 and published.iloc[0]["count"] == 2  # the published rule lets it lead
    pulled = catalogue.top_genes(firing, n_top=3, min_count=1, shrinkage=10)
    assert pulled.iloc[0]["shrunken"] < 20


def test_list_overlap_and_feature_table(world):
    store, dense, _, gene, _ = world
    top = catalogue.top_genes(firing_of(dense, gene), n_top=5, min_count=3)
    assert np.nanmin(catalogue.list_overlap(top, top, F)) == 1 and np.isnan(catalogue.list_overlap(top, top, F)[19])
    half = top[top["position"] <= 2]
    overlap = catalogue.list_overlap(top, half, F)
    assert overlap[3] == pytest.approx(2 / (top["latent"] == 3).sum())
    symbols = np.array([f"S{i}" for i in range(GENES)], dtype=object)
    nan = np.full(F, np.nan)
    table = catalogue.feature_table(latent_stats(store), store.n, nan, nan, top, symbols)
    assert table.loc[0, "top_genes"].split(", ")[0] == "S0" and table.loc[19, "top_genes"] == ""
    np.testing.assert_array_equal(table["n_fired"], (dense > 0).sum(axis=0))
    np.testing.assert_allclose(table["max"], dense.max(axis=0))


def test_group_sums_leave_out_negative_groups(world):
    store, dense, _, gene, _ = world
    group = np.where(gene < 3, gene, -1)
    sums, counts = group_sums(store, group, 3)
    expected, fired = by_hand(dense[gene < 3], gene[gene < 3], 3)
    np.testing.assert_allclose(sums.toarray(), expected, rtol=1e-6)
    np.testing.assert_array_equal(counts.toarray(), fired)


def test_the_effective_number_of_genes_counts_equal_shares():
    sums = sp.csr_matrix(np.array([[8, 2.5, 0], [0, 2.5, 0], [0, 2.5, 0], [0, 2.5, 0]]))
    found = catalogue.effective_genes(catalogue.GeneFiring(sums, sums > 0, np.full(4, 9)))
    np.testing.assert_allclose(found, [1, 4, np.nan])
