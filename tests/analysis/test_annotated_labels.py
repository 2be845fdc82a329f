"""Labels of planted lists: which terms pass, what they stand for, and what describes only the list."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from gene_lists import as_problem, random_lists, random_sets

from biosae_utils.analysis.annotated_labels import COLUMNS, annotated_labels, coarse_terms, ranked_terms
from biosae_utils.analysis.catalogue import GeneFiring
from biosae_utils.analysis.genesets import concat, from_dict

N_GENES, N_LATENTS = 300, 12


@pytest.fixture(scope="module")
def planted():
    """Twelve lists; those of the first four are half of a term, whose other half only the first two latents fire on."""
    rng = np.random.default_rng(0)
    sets, lists = random_sets(rng, 30, N_GENES, 30, 31), random_lists(rng, N_LATENTS, N_GENES, 15).tolil()
    rate = np.full((N_GENES, N_LATENTS + 2), 0.05)
    for i in range(4):
        own = sets.membership[i].indices
        lists.rows[i], lists.data[i] = sorted(own[:15]), [1] * 15
        rate[own[:15], i + 2] = 0.8
        if i < 2:
            rate[own[15:], i + 2] = 0.8
    counts = rng.binomial(100, rate)
    firing = GeneFiring(sp.csr_matrix(counts.astype(float)), sp.csr_matrix(counts), np.full(N_GENES, 100))
    lists = lists.tocsr().astype(np.uint8)
    listed = sp.vstack([sp.csr_matrix((2, N_GENES), dtype=np.uint8), lists], format="csr")
    return as_problem(lists, sets), np.arange(N_LATENTS) + 2, firing, listed


def test_labels_are_described_and_scored_beyond_their_list(planted):
    problem, latents, firing, listed = planted
    labels = annotated_labels(problem, latents, firing, listed, alpha=0.01)
    assert list(labels.columns) == list(COLUMNS) and (labels["q_feature"] <= 0.01).all()
    first = labels.drop_duplicates("latent").set_index("latent")
    assert [first.at[i + 2, "term_id"] for i in range(4)] == ["T0", "T1", "T2", "T3"]
    assert (first.loc[2:5, "overlap"] == 15).all() and first.at[2, "genes"].count("G") == 15
    # a label that holds beyond the list is told from one that describes the list only
    assert first.loc[[2, 3], "auroc"].min() > 0.95 and first.loc[[4, 5], "auroc"].between(0.3, 0.7).all()


def test_no_label_is_an_empty_table_with_its_columns(planted):
    labels = annotated_labels(*planted, alpha=1e-30)
    assert len(labels) == 0 and list(labels.columns) == list(COLUMNS)


def test_coarse_terms_are_hallmarks_or_the_largest(planted):
    sets = planted[0].sets
    assert len(coarse_terms(sets, most=7)) == 7
    hallmark = from_dict({"H": sets.genes[:20]}, "Hallmark")
    both = concat([sets, hallmark])
    assert coarse_terms(both).terms["name"].tolist() == ["H"]
    sizes = from_dict({"small": ["A", "B"], "large": ["A", "B", "C"]}, "X")
    assert coarse_terms(sizes, most=1).terms["name"].tolist() == ["large"]


def test_terms_gather_at_the_top_of_the_latent_that_reads_them(planted):
    problem, latents, firing, listed = planted
    labels = annotated_labels(problem, latents, firing, listed, alpha=0.01)
    sets = from_dict({f"T{i}": problem.sets.members(i) for i in range(6)}, "Hallmark")
    ranked = ranked_terms(labels, firing.mean(), sets.on_genes(problem.sets.genes), n_latents=2, n_terms=3)
    assert list(ranked.columns) == ["latent", "name", "nes", "p", "q", "leading"]
    best = ranked.drop_duplicates("latent")
    assert len(best) == 2 and (best["name"] == "T" + (best["latent"] - 2).astype(str)).all()
    assert ranked["leading"].str.count(", ").max() <= 11 and (ranked.groupby("latent").size() <= 3).all()
