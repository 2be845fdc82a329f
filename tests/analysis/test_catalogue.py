"""The catalogue against plain loops over positions; label scores and cell-level AUROC against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score, roc_auc_score
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from biosae_utils.analysis import baselines, catalogue, celltypes, enrich, label_scores
from biosae_utils.analysis.genesets import from_dict
from biosae_utils.errors import BiosaeError
from biosae_utils.sae.codes import CodeStore, group_sums, latent_stats

N, K, F, GENES, CELLS = 1200, 4, 20, 15, 60


def store_of(folder, values, indices, d_sae):
    store = CodeStore.create(folder, n=len(values), k=values.shape[1], d_sae=d_sae, identity={"test": "catalogue"})
    store.write(slice(0, len(values)), values, indices)
    store.commit(0, len(values))
    return store.finish()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Codes of 1,200 positions: latent 0 reads gene 0, latent 1 the rank, latent 2 the cell; 19 never fires."""
    rng = np.random.default_rng(0)
    cell = np.sort(rng.integers(0, CELLS, N))
    gene = rng.choice(GENES, N, p=rng.dirichlet(np.ones(GENES) * 3))
    rank = np.concatenate([np.arange(n) for n in np.bincount(cell)])
    values = rng.gamma(2, 1, (N, K)).astype(np.float16)
    indices = np.argsort(rng.random((N, F - 4)), axis=1)[:, :K] + 3
    values[gene == 0, 0], indices[gene == 0, 0] = 5, 0
    indices[:, 1], values[:, 1] = 1, np.where(rank < 5, 3 - rank / 2, 0).astype(np.float16)
    indices[:, 2], values[:, 2] = 2, np.where(cell % 2, 1 + rng.random(N), 0).astype(np.float16)
    store = store_of(tmp_path_factory.mktemp("codes"), values, indices.astype(np.uint16), F)
    return store, store.csr().toarray().astype(np.float64), cell, gene, rank


def by_hand(dense, groups, n_groups):
    sums, counts = np.zeros((n_groups, F)), np.zeros((n_groups, F), int)
    for x, g in zip(dense, groups, strict=True):
        sums[g] += x
        counts[g] += x > 0
    return sums, counts


def firing_of(dense, gene, rows=slice(None)):
    sums, counts = by_hand(dense[rows], gene[rows], GENES)
    return catalogue.GeneFiring(sp.csr_matrix(sums), sp.csr_matrix(counts), np.bincount(gene[rows], minlength=GENES))


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


def test_cell_means_count_the_zeros(world):
    store, dense, cell, *_ = world
    means = celltypes.cell_means(store, cell, CELLS).toarray()
    for c in (0, 7, 59):
        np.testing.assert_allclose(means[c], dense[cell == c].mean(axis=0), rtol=1e-5)


def test_auroc_equals_scikit_learn_with_ties(world):
    store, _, cell, *_ = world
    means = celltypes.cell_means(store, cell, CELLS)
    label = np.array(["even", "odd", "third"])[np.where(np.arange(CELLS) % 3 == 0, 2, np.arange(CELLS) % 2)]
    scores = celltypes.auroc(means, label)
    for group in scores:
        for f in range(F):
            assert scores[group][f] == pytest.approx(roc_auc_score(label == group, means[:, [f]].toarray().ravel()))
    assert scores["odd"][19] == 0.5
    assert celltypes.auroc(means, np.full(CELLS, "same")).shape == (F, 0)


def test_best_latents_are_chosen_on_one_side_and_scored_on_the_other(world):
    store, _, cell, *_ = world
    means = celltypes.cell_means(store, cell, CELLS)
    odd = np.where(np.arange(CELLS) % 2, "odd", "even")
    noise = np.random.default_rng(3).permutation(odd)
    heldout = np.arange(CELLS) % 3 == 0
    scores = celltypes.best_latents(means, pd.DataFrame({"truth": odd, "noise": noise}), heldout, n_bootstrap=100)
    best = scores.best.set_index(["column", "group"])
    assert best.loc[("truth", "odd"), "latent"] == 2 and best.loc[("truth", "odd"), "heldout"] == 1
    assert abs(best.loc[("truth", "odd"), "control"] - 0.5) < 0.4
    assert best.loc[("noise", "odd"), "heldout"] < best.loc[("noise", "odd"), "training"]
    chosen = scores.all.query("column == 'noise' and group == 'odd'")
    assert chosen["training"].argmax() == best.loc[("noise", "odd"), "latent"]
    assert (best["low"] <= best["heldout"]).all() and (best["heldout"] <= best["high"]).all()


# ---- labels ------------------------------------------------------------------------------------------------------

SYMBOLS = np.array([f"S{i}" for i in range(GENES)], dtype=object)


def test_label_scores_equal_scikit_learn(world):
    _, dense, _, gene, _ = world
    firing = firing_of(dense, gene)
    sets = from_dict({"a": ["S0", "S1"], "b": ["S2", "S5", "S9"], "all": SYMBOLS}, "X").on_genes(SYMBOLS)
    feature, term = np.array([0, 0, 7, 8, 2, 3]), np.array([0, 1, 1, 0, 1, 2])
    skip = sp.csr_matrix((F, GENES), dtype=np.uint8).tolil()
    skip[0, 0] = skip[7, 2] = skip[7, 4] = skip[8, 7] = 1
    some = np.ones(GENES, bool)
    some[11] = False
    for leave_out, genes in ((None, None), (skip.tocsr(), None), (skip.tocsr(), some)):
        scores = label_scores.score_labels(firing, sets, feature, term, leave_out=leave_out, genes=genes)
        for i, (f, t) in enumerate(zip(feature, term, strict=True)):
            use = (firing.positions >= label_scores.MIN_POSITIONS) & (some if genes is not None else True)
            if leave_out is not None:
                use &= skip.toarray()[f] == 0
            member = sets.membership[t].toarray().ravel() > 0
            if member[use].all():
                assert np.isnan(scores["auroc"][i]) and np.isnan(scores["f1"][i])
                continue
            mean = np.array([dense[gene == g, f].mean() for g in range(GENES)])
            assert scores["auroc"][i] == pytest.approx(roc_auc_score(member[use], mean[use]))
            at = use[gene]
            assert scores["f1"][i] == pytest.approx(f1_score(dense[at, f] > 0, member[gene[at]]))


def test_split_scores_find_a_programme_and_not_its_absence():
    rng = np.random.default_rng(4)
    n_genes, n_latents = 400, 60
    symbols = np.array([f"S{i}" for i in range(n_genes)], dtype=object)
    programmes = {f"P{i}": rng.choice(symbols, 40, replace=False) for i in range(60)}
    sets = from_dict(programmes, "X").on_genes(symbols)
    rate = np.full((n_genes, n_latents), 0.05)
    for f in range(30):  # half of the latents read a programme
        rate[sets.membership[f].indices, f] = 0.5

    def fire(n):
        counts = rng.binomial(n, rate)
        sums = rng.gamma(np.maximum(counts, 1e-9), 1) * (counts > 0) * (1 + rate)
        sums[counts > 0] = np.maximum(sums[counts > 0], 1e-6)
        return catalogue.GeneFiring(sp.csr_matrix(sums), sp.csr_matrix(counts), np.full(n_genes, n))

    split = label_scores.split_scores(fire(200), fire(60), sets, min_count=5)
    assert set(split["half"]) == {0, 1}
    labelled = split[split["labelled"]]
    right = labelled["term"] == labelled["feature"]
    assert right.mean() > 0.9 and labelled["feature"].nunique() >= 25
    assert labelled.loc[right, "auroc"].mean() > 0.9 and labelled.loc[right, "f1"].mean() > 0.5
    assert abs(labelled["control_auroc"].mean() - 0.5) < 0.08
    difference = labelled["auroc"] - labelled["control_auroc"]
    assert difference.mean() > 0.2 and not difference.isna().any()
    again = label_scores.split_scores(fire(200), fire(60), sets, min_count=5, seed=1)
    assert not again["term"].equals(split["term"])  # another seed halves the genes elsewhere


def test_a_label_of_chance_scores_half_when_its_list_is_left_out():
    rng = np.random.default_rng(7)
    n_genes, n_latents = 500, 80
    symbols = np.array([f"S{i}" for i in range(n_genes)], dtype=object)
    sets = from_dict({f"T{i}": rng.choice(symbols, 20, replace=False) for i in range(150)}, "X").on_genes(symbols)
    sums = sp.csr_matrix(
        rng.gamma(1, 1, (n_genes, n_latents)) * 50
    )  # a gene's mean is the same in all cells: the worst case
    counts = sp.csr_matrix((np.full(sums.nnz, 50), sums.indices, sums.indptr), sums.shape)
    firing = catalogue.GeneFiring(sums, counts, np.full(n_genes, 100))
    top = catalogue.top_genes(firing)
    lists = enrich.make_lists(top["latent"].to_numpy(), top["gene"].to_numpy(), (n_latents, n_genes))
    best = enrich.score_all(enrich.Problem(lists, sets, sets.terms["size"].to_numpy())).drop_duplicates("feature")
    pair = best["feature"].to_numpy(), best["term"].to_numpy()
    fair = label_scores.score_labels(firing, sets, *pair, leave_out=lists)["auroc"]
    unfair = label_scores.score_labels(firing, sets, *pair)["auroc"]
    assert abs(fair.mean() - 0.5) < 3 * fair.std() / np.sqrt(n_latents)
    assert unfair.mean() > 0.5 + 6 * unfair.std() / np.sqrt(n_latents)  # what leaving them out protects against


def test_prerank_finds_the_term_at_the_top_and_is_repeatable():
    rng = np.random.default_rng(5)
    symbols = np.array([f"S{i}" for i in range(600)], dtype=object)
    sets = from_dict({f"T{i}": rng.choice(symbols, 25, replace=False) for i in range(12)}, "X").on_genes(symbols)
    scores = np.where(rng.random(600) < 0.2, rng.random(600), 0)
    scores[sets.membership[3].indices] += 1
    table = label_scores.prerank(scores, sets, n_permutations=50)
    assert table.iloc[0]["term_id"] == "T3" and table.iloc[0]["q"] < 0.05 < table.iloc[3]["q"]
    assert set(table["term_id"]) == set(sets.terms["term_id"])
    pd.testing.assert_frame_equal(table, label_scores.prerank(scores, sets, n_permutations=50))


# ---- baselines ---------------------------------------------------------------------------------------------------


def test_lists_of_dense_directions_equal_projected_gene_means():
    rng = np.random.default_rng(6)
    sample = rng.standard_normal((3000, 8)).astype(np.float16)
    gene = rng.integers(-1, 50, 3000)
    sample[gene == 7, 2] += 9
    lists, candidates = baselines.direction_lists(sample, gene, 50, n_top=5, min_count=10, n_random=11)
    np.testing.assert_array_equal(candidates, np.arange(50))
    few = np.where(gene == 3, -1, gene)
    assert 3 not in baselines.direction_lists(sample, few, 50, n_top=5, n_random=2)[1]
    small = baselines.direction_lists(sample[:200], gene[:200], 50, n_top=5, min_count=10, n_random=2)[1]
    assert len(small) >= 25  # a small sample lowers the minimum instead of leaving nothing to list
    with pytest.raises(BiosaeError, match="n_positions"):
        baselines.direction_lists(sample, gene, 50, n_top=30, n_random=2)
    assert {k: v.shape for k, v in lists.items()} == {
        "raw coordinates": (16, 50), "principal axes": (16, 50), "random directions": (11, 50),
    }  # fmt: skip
    assert all((np.diff(v.indptr) == 5).all() for v in lists.values())
    x = sample.astype(float) - sample[gene >= 0].astype(float).mean(axis=0)
    mean = np.array([x[gene == g, 2].sum() / ((gene == g).sum() + 10) for g in range(50)])
    assert set(lists["raw coordinates"][2].indices) == set(np.argsort(-mean)[:5])
    assert set(lists["raw coordinates"][10].indices) == set(np.argsort(mean)[:5])
    assert any(7 in lists["principal axes"][i].indices for i in (0, 8))  # the planted gene makes the first axis
    with pytest.raises(BiosaeError, match="sampled positions"):
        baselines.gene_means(sample, gene[:-1], 50)


def test_group_sums_leave_out_negative_groups(world):
    store, dense, _, gene, _ = world
    group = np.where(gene < 3, gene, -1)
    sums, counts = group_sums(store, group, 3)
    expected, fired = by_hand(dense[gene < 3], gene[gene < 3], 3)
    np.testing.assert_allclose(sums.toarray(), expected, rtol=1e-6)
    np.testing.assert_array_equal(counts.toarray(), fired)
