"""Enrichment against plain loops, scipy and statsmodels; false discoveries and power where the truth is known."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from biosae_utils.analysis import annotation_rates, annotation_rules, enrich, fdr, nulls, power
from biosae_utils.analysis.genesets import GeneSets, load_genesets
from biosae_utils.analysis.hypergeom import HypergeometricTable
from biosae_utils.errors import BiosaeError

ROOT = Path(__file__).parents[2]


def random_sets(rng, n_terms, n_genes, low=5, high=60):
    sizes = rng.integers(low, high, n_terms)
    genes = np.array([f"G{i}" for i in range(n_genes)], dtype=object)
    columns = np.concatenate([rng.choice(n_genes, s, replace=False) for s in sizes])
    membership = sp.csr_matrix(
        (np.ones(len(columns), np.uint8), columns, np.r_[0, np.cumsum(sizes)]), (n_terms, n_genes)
    )
    membership.sort_indices()
    terms = pd.DataFrame({"collection": "X", "term_id": [f"T{i}" for i in range(n_terms)], "name": "term"})
    return GeneSets(membership, genes, terms.assign(size=sizes, size_source=sizes))


def random_lists(rng, n_features, n_genes, n_top=20):
    genes = np.concatenate([rng.choice(n_genes, n_top, replace=False) for _ in range(n_features)])
    return enrich.make_lists(np.repeat(np.arange(n_features), n_top), genes, (n_features, n_genes))


def as_problem(lists, sets):
    return enrich.Problem(lists, sets, sets.terms["size"].to_numpy())


# ---- p-values and overlaps ---------------------------------------------------------------------------------------


def test_table_equals_scipy_in_every_cell():
    rng = np.random.default_rng(0)
    for background in (37, 400, 15_000):
        lists = rng.integers(1, 30, 6)
        terms = np.r_[rng.integers(1, min(500, background), 25), background]
        table = HypergeometricTable(background, lists, terms)
        n, k, x = np.meshgrid(table.n_values, table.k_values, np.arange(table.tail.shape[2]), indexing="ij")
        expected = stats.hypergeom.sf(x - 1, background, k, n)
        np.testing.assert_allclose(table.tail, expected, rtol=1e-9, atol=1e-300)


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


def test_smallest_overlap_is_where_the_tail_falls_below_the_cutoff():
    table = HypergeometricTable(500, np.array([5, 20]), np.arange(5, 100))
    least = table.smallest_overlap(1e-3, np.arange(5, 100), 20)
    for k, x in zip(range(5, 100), least, strict=True):
        assert stats.hypergeom.sf(x - 1, 500, k, 20) <= 1e-3 < stats.hypergeom.sf(x - 2, 500, k, 20)


# ---- Benjamini-Hochberg ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(0, 500), st.sampled_from([0.01, 0.05, 0.3]))
def test_bh_equals_scipy_and_statsmodels_on_the_written_out_family(p, ones, alpha):
    p = np.array(p)
    family = np.r_[p, np.ones(ones)]
    adjusted = fdr.bh_adjust(p, len(family))
    np.testing.assert_allclose(adjusted, stats.false_discovery_control(family)[: len(p)], rtol=1e-12, atol=1e-300)
    rejected = multipletests(family, alpha, method="fdr_bh")[0][: len(p)]
    np.testing.assert_array_equal(fdr.bh_reject(p, len(family), alpha), rejected)


def test_bh_by_group_equals_one_call_per_group():
    rng = np.random.default_rng(3)
    group, p = rng.integers(0, 40, 3000), rng.random(3000) ** 3
    size = np.bincount(group)[group] + rng.integers(0, 100, 40)[group]
    adjusted, rejected = fdr.bh_adjust(p, size, group), fdr.bh_reject(p, size, 0.05, group)
    assert rejected.any() and not rejected.all()
    for g in range(40):
        here = group == g
        np.testing.assert_allclose(adjusted[here], fdr.bh_adjust(p[here], size[here][0]))
        np.testing.assert_array_equal(rejected[here], adjusted[here] <= 0.05)


def test_bh_refuses_what_is_no_family():
    with pytest.raises(BiosaeError, match="more p-values than its size"):
        fdr.bh_adjust(np.array([0.1, 0.2, 0.3]), 2)
    with pytest.raises(BiosaeError, match=r"\[0, 1\]"):
        fdr.bh_adjust(np.array([0.1, 1.2]), 5)
    assert fdr.bh_adjust(np.array([]), 5).shape == (0,) and fdr.bh_reject(np.array([]), 5, 0.1).shape == (0,)


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


# ---- rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [r for r in annotation_rules.RULES if not r.network], ids=lambda r: r.name)
def test_every_rule_equals_its_written_out_definition(rule):
    rng = np.random.default_rng(5)
    sets, lists = random_sets(rng, 80, 900), random_lists(rng, 40, 900)
    lists = lists.tolil()
    for f in range(12):  # real overlaps, so that something is annotated
        lists[f, sets.membership[f].indices[: 3 + f % 3]] = 1
    lists = lists.tocsr().astype(np.uint8)
    problem, columns = annotation_rules.make_problem(lists, sets, rule.arena)
    counted = annotation_rules.masks(problem, problem.lists, [rule], 0.05)[0]
    # written out
    background = set(np.unique(lists.indices)) if rule.background == "listed" else set(range(900))
    assert len(columns) == len(background)
    expected, pooled = np.zeros(40, bool), []
    for f in range(40):
        listed = set(lists[f].indices) & background
        family = []
        for t in range(80):
            members = set(sets.membership[t].indices)
            k = len(members & background) if rule.cut_terms else len(members)
            if not 5 <= k <= 500 or not members & background:
                continue
            x = len(listed & members)
            if rule.selected and x < rule.selected:
                continue
            family.append((f, stats.hypergeom.sf(x - 1, len(background), k, len(listed))))
        if rule.family == "feature" and family:
            expected[f] = (stats.false_discovery_control([p for _, p in family]) <= 0.05).any()
        pooled += family
    if rule.family == "layer":
        adjusted = stats.false_discovery_control([p for _, p in pooled])
        expected[[f for (f, _), q in zip(pooled, adjusted, strict=True) if q <= 0.05]] = True
    np.testing.assert_array_equal(counted, expected)
    assert expected.any()


def test_the_published_rule_with_its_factors_and_edges_equals_its_written_out_definition():
    rng = np.random.default_rng(6)
    sets, lists = random_sets(rng, 30, 300), random_lists(rng, 12, 300)
    factors = np.zeros(300, bool)
    factors[rng.choice(300, 30, replace=False)] = True
    lists = lists.tolil()
    lists[5, np.flatnonzero(factors)[:14]] = 1  # a latent of transcription factors
    lists[6, sets.membership[2].indices[:8]] = 1  # and one of a term
    lists = lists.tocsr().astype(np.uint8)
    joined = sp.lil_matrix((300, 300), dtype=np.int32)
    a, b = lists[3].indices[:2]
    joined[a, b] = joined[b, a] = 1
    network = annotation_rules.Network(joined.tocsr(), factors)
    with_edge = [bool(joined.tocsr()[lists[f].indices][:, lists[f].indices].nnz) for f in range(12)]
    np.testing.assert_array_equal(annotation_rules.has_edge(lists, network.edges), with_edge)

    published = annotation_rules.RULES[0]
    assert published.name == "published_edges" and published.network
    problem, columns = annotation_rules.make_problem(lists, sets, published.arena)
    background, pooled = set(columns), []
    for f in range(12):
        listed = set(lists[f].indices)
        terms = [(set(sets.membership[t].indices), sets.membership[t].nnz) for t in range(30)]
        among = set(np.flatnonzero(factors)) & background
        for members, size in [*[t for t in terms if t[0] & background], (among, len(among))]:
            if (x := len(listed & members)) >= 2:
                pooled.append((f, stats.hypergeom.sf(x - 1, len(background), size, len(listed))))
    adjusted = stats.false_discovery_control([p for _, p in pooled])
    significant = {f for (f, _), q in zip(pooled, adjusted, strict=True) if q <= 0.05}
    expected = [f in significant or with_edge[f] for f in range(12)]
    got = annotation_rules.masks(problem, problem.lists, [published], 0.05, network.on(columns))[0]
    np.testing.assert_array_equal(got, expected)
    assert with_edge[3] and 5 in significant and not all(expected)
    with pytest.raises(BiosaeError, match="needs STRING and TRRUST"):
        annotation_rules.masks(problem, problem.lists, [published], 0.05)

    table = annotation_rates.compare_rules({"latents": lists}, sets, network=network, n_permutations=3, n_matched=2)
    real = table[table["source"] == "latents"].set_index("rule")["share"]
    assert real["published_edges"] == np.mean(expected) > real["published"]
    without = annotation_rates.compare_rules({"latents": lists}, sets, n_permutations=3, n_matched=2)
    assert "published_edges" not in set(without["rule"]) and "published" in set(without["rule"])


def test_nulls_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(7)
    problem = as_problem(random_lists(rng, 50, 400), random_sets(rng, 60, 400))
    draw = nulls.permuted_labels(problem, 3)
    one = annotation_rules.null_counts(problem, annotation_rules.RULES[-2:], 0.3, draw, 8)
    two = annotation_rules.null_counts(problem, annotation_rules.RULES[-2:], 0.3, draw, 8, n_jobs=2)
    np.testing.assert_array_equal(one, two)
    assert one.shape == (8, 2) and len(np.unique(one[:, 0])) > 1


def test_short_lists_are_not_tested_but_counted():
    rng = np.random.default_rng(8)
    sets, lists = random_sets(rng, 30, 300), random_lists(rng, 10, 300)
    lists = enrich.make_lists(*lists[:8].nonzero(), (10, 300))  # two lists are empty now
    lists = sp.vstack([lists, enrich.make_lists(np.zeros(2, int), np.array([5, 9]), (1, 300))], format="csr")
    problem = as_problem(lists, sets)
    assert problem.n_tested == 8 and problem.lists[10].nnz == 0
    found = annotation_rates.compare_rules({"latents": lists}, sets, n_permutations=2, n_matched=2)
    assert set(found["n_lists"]) == {11} and set(found["n_tested"]) == {8}


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


# ---- honest statistics -------------------------------------------------------------------------------------------


def test_null_lists_give_at_most_the_nominal_share_of_false_discoveries():
    rng = np.random.default_rng(10)
    sets, alpha, repeats = random_sets(rng, 150, 600), 0.05, 200
    per_feature, layers = [], []
    for _ in range(repeats):
        problem = as_problem(random_lists(rng, 30, 600), sets)
        masks = annotation_rules.masks(problem, problem.lists, annotation_rules.RULES[-2:], alpha)
        per_feature.append(masks[0].mean())
        layers.append(masks[1].any())
    # every discovery is false here: the share of families with one is the false discovery rate
    error = np.sqrt(alpha * (1 - alpha) / (repeats * 30))
    assert np.mean(per_feature) <= alpha + 3 * error
    assert np.mean(layers) <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / repeats)
    assert np.mean(per_feature) > 0  # the test can fail


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


def shared_folder():
    folder = Path(os.environ.get("BIOSAE_SHARED", ROOT.parent / "shared"))
    return folder / "data" / "published_atlas" / "geneformer-v2-316m"


@pytest.mark.skipif(
    not (shared_folder() / "layer_08_annotations.json.gz").is_file(),
    reason="the published atlas is not here: set BIOSAE_SHARED to the folder that holds data/published_atlas",
)
def test_published_lists_are_annotated_a_little_above_chance():
    atlas = json.loads(gzip.open(shared_folder() / "layer_08_annotations.json.gz").read())
    pairs = [(i, gene["n"].upper()) for i, entry in enumerate(atlas.values()) for gene in entry["genes"]]
    genes, column = np.unique([g for _, g in pairs], return_inverse=True)
    lists = enrich.make_lists(np.array([f for f, _ in pairs]), column, (len(atlas), len(genes)))
    sets = load_genesets(ROOT / "data/demo/genesets.parquet", ["GO_BP"]).on_genes(genes)
    found = annotation_rates.compare_rules({"latents": lists}, sets, n_permutations=5, n_matched=3)
    share = found.set_index(["rule", "source"])["share"]
    assert 0.03 <= share["feature", "latents"] <= 0.06
    assert share["feature", "permuted labels"] < 0.015
    assert share["layer", "permuted labels"] < 0.002 < share["layer", "latents"]
    # the rule decides the headline: terms cut to the background and the family still selected annotates anything
    assert share["cut", "latents"] > 0.9 and share["cut", "permuted labels"] > 0.85


def test_planting_keeps_list_sizes_and_puts_the_genes_in():
    rng = np.random.default_rng(12)
    lists, sets = random_lists(rng, 40, 300), random_sets(rng, 20, 300)
    members = [sets.membership[t].indices for t in range(10)]
    drawn, where = power.plant(lists, members, 6, rng)
    np.testing.assert_array_equal(np.diff(drawn.indptr), np.diff(lists.indptr))
    assert len(set(where)) == 10
    for i, term in zip(where, members, strict=True):
        assert len(np.intersect1d(drawn[i].indices, term)) == min(6, len(term))
    untouched = np.setdiff1d(np.arange(40), where)
    assert (drawn[untouched] != lists[untouched]).nnz == 0


def test_power_grows_with_strength_and_false_discoveries_stay_below_the_level():
    rng = np.random.default_rng(13)
    problem = as_problem(random_lists(rng, 200, 3000), random_sets(rng, 400, 3000, 5, 150))
    table = power.power_table(problem, sizes=((5, 15), (51, 150)), strengths=(2, 3, 4, 6, 8))
    assert table["false_layer"].mean() <= 0.06
    for _, part in table.groupby("size"):
        assert (np.diff(part["power_layer"]) > -0.1).all() and part["power_layer"].iloc[-1] > 0.95
    by_size = table[table["strength"] == 4].set_index("size")["power_layer"]
    assert by_size["5-15"] > by_size["51-150"] + 0.3
    pd.testing.assert_frame_equal(
        table, power.power_table(problem, sizes=((5, 15), (51, 150)), strengths=(2, 3, 4, 6, 8))
    )
