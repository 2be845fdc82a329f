"""Every rule against its definition written out as loops; false discoveries where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from gene_lists import as_problem, random_lists, random_sets
from scipy import stats

from biosae_utils.analysis import annotation_rates, annotation_rules, nulls
from biosae_utils.errors import BiosaeError


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


def test_decoys_are_counted_once_each_and_stand_beside_the_real_lists():
    rng = np.random.default_rng(31)
    sets, lists = random_sets(rng, 80, 300, 10, 20), random_lists(rng, 30, 300).tolil()
    for f in range(30):  # every real list is a term, every decoy is not
        lists.rows[f] = sorted(sets.membership[f].indices)
        lists.data[f] = [1] * len(lists.rows[f])
    problem = as_problem(lists.tocsr().astype(np.uint8), sets)
    rules = annotation_rules.RULES[-2:]
    same = annotation_rules.decoy_counts(problem, rules, 0.05, lambda _: problem.lists, 3)
    assert (same == 30).all()
    decoys = annotation_rules.decoy_counts(problem, rules, 0.05, nulls.permuted_labels(problem, 0), 4)
    assert (decoys < 10).all()
    again = annotation_rules.decoy_counts(problem, rules, 0.05, nulls.permuted_labels(problem, 0), 4, n_jobs=2)
    np.testing.assert_array_equal(decoys, again)
    swapped = np.arange(30) % 3 == 0
    mixed = annotation_rules.exchanged(problem.lists, problem.lists[::-1], swapped)
    for i in range(30):
        assert set(mixed[i].indices) == set(problem.lists[29 - i if swapped[i] else i].indices)
