"""Scores of labels against scikit-learn; labels that are right, of chance, and of another latent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from firing_world import GENES, F, firing_of
from sklearn.metrics import f1_score, roc_auc_score

from biosae_utils.analysis import catalogue, enrich, label_scores
from biosae_utils.analysis.genesets import from_dict

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


def test_the_control_is_always_an_unrelated_label_of_another_latent_of_its_kind():
    rng = np.random.default_rng(9)
    near = {"a": range(10), "almost a": range(1, 11), "b": range(20, 30), "c": range(40, 50), "d": range(60, 70)}
    sets = from_dict({name: [f"S{i}" for i in genes] for name, genes in near.items()}, "X").on_genes(
        np.array([f"S{i}" for i in range(80)], dtype=object)
    )
    term, kind = np.array([0, 1, 2, 0, 3, 4, 4]), np.array([0, 0, 0, 0, 1, 1, 1])
    draws = [draw for _ in range(30) for draw in label_scores._unrelated(term, kind, sets, rng)]
    seen = {(own, got) for other, counts in draws for own, got, c in zip(term, other, counts, strict=True) if c}
    assert seen == {(0, 2), (1, 2), (2, 0), (2, 1), (3, 4), (4, 3)}  # never the own term, nor the one almost like it


def test_a_latent_without_another_of_its_kind_has_no_control():
    sets = from_dict({"a": ["S0"], "b": ["S1"]}, "X")
    term, kind = np.array([0, 1, 1]), np.array([5, 2, 2])
    for _, counts in label_scores._unrelated(term, kind, sets, np.random.default_rng(0)):
        assert not counts.any()
    table = pd.DataFrame({"auroc": [0.5, 0.6, np.nan]})
    mean = label_scores._mean_of([table, table + 0.2], [np.array([False, True, True]), np.array([False, True, True])])
    np.testing.assert_allclose(mean["auroc"], [np.nan, 0.7, np.nan])
