"""Enrichment against plain loops, scipy and statsmodels; programmes that were planted are found."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from gene_lists import as_problem, random_lists, random_sets
from scipy import stats

from biosae_utils.analysis import enrich
from biosae_utils.analysis.genesets import GeneSets
from biosae_utils.errors import BiosaeError


def test_p_equals_one_sided_fisher():
    rng = np.random.default_rng(1)
    problem = as_problem(random_lists(rng, 30, 200), random_sets(rng, 25, 200))
    tests = enrich.run_tests(problem, problem.overlaps())
    for feature, term, x, p in list(zip(tests.feature, tests.term, tests.overlap, tests.p, strict=True))[:200]:
        n, k, x = int(problem.list_sizes[feature]), int(problem.term_sizes[term]), int(x)
        expected = stats.fisher_exact([[x, n - x], [k - x, 200 - n - k + x]], "greater").pvalue
        assert p == pytest.approx(expected, rel=1e-8)


def test_overlaps_equal_a_loop_over_sets():
    rng = np.random.default_rng(2)
    sets, lists = random_sets(rng, 40, 300), random_lists(rng, 50, 300)
    problem = as_problem(lists, sets)
    overlap = problem.overlaps().toarray()
    terms = [set(sets.members(t)) for t in range(40)]
    listed = [set(sets.genes[lists[f].indices]) for f in range(50)]
    assert all(overlap[f, t] == len(listed[f] & terms[t]) for f in range(50) for t in range(40))
    tests = enrich.run_tests(problem, problem.overlaps())
    shared = enrich.overlap_genes(problem, tests.feature[:50], tests.term[:50])
    for f, t, text in zip(tests.feature[:50], tests.term[:50], shared, strict=True):
        assert set(text.split(", ")) == listed[f] & terms[t]


def test_both_adjusted_values_are_over_the_full_family():
    rng = np.random.default_rng(4)
    sets, lists = random_sets(rng, 60, 400), random_lists(rng, 25, 400)
    problem = as_problem(lists, sets)
    dense = stats.hypergeom.sf(problem.overlaps().toarray().astype(int) - 1, 400, problem.term_sizes[None, :], 20)
    table = enrich.score_all(problem)
    np.testing.assert_allclose(table["p"], dense[table["feature"], table["term"]], rtol=1e-9)
    by_feature = np.array([stats.false_discovery_control(row) for row in dense])
    by_layer = stats.false_discovery_control(dense.ravel()).reshape(dense.shape)
    np.testing.assert_allclose(table["q_feature"], by_feature[table["feature"], table["term"]], rtol=1e-9)
    np.testing.assert_allclose(table["q_layer"], by_layer[table["feature"], table["term"]], rtol=1e-9)
    short = enrich.score_all(problem, p_max=0.3)
    assert len(short) < len(table)
    exact = table[(table["p"] <= 0.3) & (table["q_feature"] <= 0.3)]
    both = exact.merge(short, on=["feature", "term"], suffixes=("", "_short"))
    assert len(both) == len(exact) > 0
    np.testing.assert_allclose(both["q_feature"], both["q_feature_short"])


def test_nothing_to_test_is_said():
    rng = np.random.default_rng(9)
    sets = random_sets(rng, 10, 100)
    empty = sp.csr_matrix((4, 100), dtype=np.uint8)
    with pytest.raises(BiosaeError, match="No list has 3 genes"):
        as_problem(empty, sets)
    with pytest.raises(BiosaeError, match="No gene set is left"):
        as_problem(random_lists(rng, 4, 100), sets.select(np.zeros(10, bool)))
    with pytest.raises(BiosaeError, match="255"):
        enrich.make_lists(np.zeros(300, int), np.arange(300), (1, 400))


def test_redundant_terms_are_grouped_under_the_best():
    genes = np.array(list("ABCDEFGHIJKLMNOP"), dtype=object)
    rows = [range(0, 8), range(0, 7), range(8, 16), range(1, 9)]  # 0, 1 and 3 are nearly the same term
    membership = enrich.make_lists(np.repeat(range(4), [len(r) for r in rows]), np.concatenate(rows), (4, 16))
    terms = pd.DataFrame(
        {"collection": "X", "term_id": list("abcd"), "name": list("abcd"), "size": 8, "size_source": 8}
    )
    problem = as_problem(enrich.make_lists(np.zeros(4, int), np.arange(4), (2, 16)), GeneSets(membership, genes, terms))
    hits = pd.DataFrame({"feature": [0, 0, 0, 1], "term": [1, 0, 2, 3], "p": [0.1, 0.2, 0.3, 0.4]})
    assert enrich.group_redundant(problem, hits).tolist() == [1, 1, 2, 3]
    assert enrich.group_redundant(problem, hits, jaccard=1.0).tolist() == [1, 0, 2, 3]


def planted(rng, sets, n_features, n_planted, strength, n_top=20):
    """Lists of which the first `n_planted` hold `strength` genes of term f."""
    lists = random_lists(rng, n_features, len(sets.genes), n_top).tolil()
    for f in range(n_planted):
        members = sets.membership[f].indices
        give = rng.choice(members, min(strength, len(members)), replace=False)
        lists.rows[f] = sorted(set(give) | set(rng.choice(np.setdiff1d(lists.rows[f], give), n_top - len(give), False)))
        lists.data[f] = [1] * len(lists.rows[f])
    return lists.tocsr().astype(np.uint8)


@pytest.mark.parametrize(("size", "strength", "least_power"), [(12, 4, 0.8), (12, 6, 0.99), (40, 6, 0.9), (40, 3, 0.0)])
def test_planted_programmes_are_found_at_the_nominal_false_discovery_share(size, strength, least_power):
    rng = np.random.default_rng(11)
    false, power = [], []
    for _ in range(12):
        sets = random_sets(rng, 300, 3000, size, size + 1)
        problem = as_problem(planted(rng, sets, 150, 60, strength), sets)
        table = enrich.score_all(problem, p_max=0.05)
        found = table[table["q_layer"] <= 0.05]
        # terms are random sets: any but the planted one is a false discovery
        true = (found["feature"] == found["term"]) & (found["feature"] < 60)
        false.append(1 - true.mean() if len(found) else 0.0)
        power.append(true.sum() / 60)
    assert np.mean(false) <= 0.06
    assert np.mean(power) >= least_power
    if not least_power:
        assert np.mean(power) < 0.5  # three genes of a large term are too few: the power is reported, not assumed
