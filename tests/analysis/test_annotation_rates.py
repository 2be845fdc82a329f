"""Annotated shares: who is counted, what stands beside whom, and what the published lists give."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from gene_lists import as_problem, random_lists, random_network, random_sets

from biosae_utils.analysis import annotation_rates, annotation_rules, enrich
from biosae_utils.analysis.genesets import load_genesets
from biosae_utils.errors import BiosaeError
from biosae_utils.intervals import jackknife

ROOT = Path(__file__).parents[2]


def test_short_lists_are_not_tested_but_counted():
    rng = np.random.default_rng(8)
    sets, lists = random_sets(rng, 30, 300), random_lists(rng, 10, 300)
    lists = enrich.make_lists(*lists[:8].nonzero(), (10, 300))  # two lists are empty now
    lists = sp.vstack([lists, enrich.make_lists(np.zeros(2, int), np.array([5, 9]), (1, 300))], format="csr")
    problem = as_problem(lists, sets)
    assert problem.n_tested == 8 and problem.lists[10].nnz == 0
    found = annotation_rates.compare_rules({"latents": lists}, sets, n_permutations=2, n_matched=2)
    assert set(found["n_lists"]) == {11} and set(found["n_tested"]) == {8}


@pytest.mark.parametrize("what", ["no list", "short lists", "no term of the listed genes"])
def test_a_control_without_a_term_or_a_list_fails_no_page(what):
    rng = np.random.default_rng(3)
    sets, real, network = random_sets(rng, 30, 300), random_lists(rng, 12, 300), random_network(rng, 300)
    poor = {
        "no list": sp.csr_matrix((5, 300), dtype=np.uint8),
        "short lists": enrich.make_lists(np.repeat(np.arange(5), 2), rng.choice(300, 10), (5, 300)),
        "no term of the listed genes": enrich.make_lists(np.repeat(np.arange(5), 3), np.tile([0, 1, 2], 5), (5, 300)),
    }[what]
    both = annotation_rules.Network(network, rng.random(300) < 0.1)
    lists = {"latents": real, "control": poor}
    found = annotation_rates.compare_rules(lists, sets, n_permutations=2, n_matched=2, network=both)
    alone = annotation_rates.compare_rules({"latents": real}, sets, n_permutations=2, n_matched=2, network=both)
    pd.testing.assert_frame_equal(found[found.source != "control"].reset_index(drop=True), alone, check_like=True)
    control = found[found.source == "control"].set_index("rule")
    assert (control["n_lists"] == 5).all() and len(control) == len(annotation_rules.RULES)
    listed = control.loc[["published", "cut", "full_listed"]]
    assert (listed[["n_terms", "n_tested"]].min(axis=1) == 0).loc[["cut", "full_listed"]].all()
    assert (listed.loc[["cut", "full_listed"], ["share", "matched"]] == 0).all(axis=None)
    shares = annotation_rates.leave_out_shares([real, poor], sets)
    assert shares.loc[1, ["cut", "full_listed"]].eq(0).all()


def test_the_lists_in_question_must_have_terms():
    rng = np.random.default_rng(3)
    sets, real = random_sets(rng, 30, 300), random_lists(rng, 12, 300)
    with pytest.raises(BiosaeError, match="No gene set is left"):
        annotation_rates.compare_rules({"latents": real}, sets.select(np.array([], int)), n_permutations=2)
    with pytest.raises(BiosaeError, match="No list has 3 genes"):
        annotation_rates.compare_rules({"latents": sp.csr_matrix((5, 300), dtype=np.uint8)}, sets, n_permutations=2)


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


def programmes(rng, n_lists=60, n_genes=800):
    """Lists of which every second one holds eight genes of a term."""
    sets, lists = random_sets(rng, 60, n_genes, 15, 25), random_lists(rng, n_lists, n_genes).tolil()
    for f in range(0, n_lists, 2):
        lists.rows[f] = sorted(set(lists.rows[f][:12]) | set(sets.membership[f].indices[:8]))
        lists.data[f] = [1] * len(lists.rows[f])
    return lists.tocsr().astype(np.uint8), sets


def test_lists_hold_latents_that_fire_and_genes_of_the_background():
    features = pd.DataFrame({"latent": range(4), "state": ["alive", "dead", "rare", "dense"]})
    top = pd.DataFrame({"latent": [0, 0, 2, 2, 3], "token": [7, 9, 5, 99, 9]})
    got = annotation_rates.lists_over(features, top, np.array([9, 5, 7])).toarray()
    assert got.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 0]]  # token 99 is not in the background


def test_the_headline_is_the_share_with_its_jackknife_beside_the_null():
    lists, sets = programmes(np.random.default_rng(20))
    shares = annotation_rates.compare_rules({annotation_rates.LATENTS: lists}, sets, n_permutations=8, n_matched=2)
    rng = np.random.default_rng(22)
    parts = [lists.multiply(rng.random(lists.shape) < 0.98).tocsr().astype(np.uint8) for _ in range(6)]
    over = annotation_rates.leave_out_shares(parts, sets)
    assert list(over) == [rule.name for rule in annotation_rules.RULES if not rule.network] and len(over) == 6
    got = annotation_rates.headline(shares, over, "layer")
    part = shares[shares["rule"] == "layer"].set_index("source")
    expected = jackknife(over["layer"].to_numpy(), part.at[annotation_rates.LATENTS, "share"])
    assert got.real.value == pytest.approx(100 * expected.value) and 40 < got.real.value <= 60
    assert got.real.pair == pytest.approx((100 * max(expected.low, 0), 100 * expected.high))
    nulls = part.loc[[annotation_rates.PERMUTED, annotation_rates.MATCHED], "share"]
    assert got.null.value == pytest.approx(100 * nulls.max()) and got.kind == nulls.idxmax()
    assert got.null.low <= got.null.value <= got.null.high < got.real.low


def test_an_end_below_zero_is_told_as_zero():
    sources = [annotation_rates.LATENTS, annotation_rates.PERMUTED, annotation_rates.MATCHED]
    shares = pd.DataFrame({"rule": "layer", "source": sources, "share": [0.01, 0.0, 0.001]}).assign(low=0.0, high=0.1)
    got = annotation_rates.headline(shares, pd.DataFrame({"layer": [0.0, 0.02, 0.0, 0.03]}), "layer")
    assert got.real.low == 0 < got.real.value < got.real.high and got.kind == annotation_rates.MATCHED


def test_a_pooled_rule_that_is_clean_alone_is_not_clean_beside_real_lists():
    rng = np.random.default_rng(23)
    lists, sets = programmes(rng)
    published = next(rule for rule in annotation_rules.RULES if rule.name == "published")
    found = annotation_rates.compare_rules({"latents": lists}, sets, rules=[published], n_permutations=10, n_matched=4)
    problem, _ = annotation_rules.make_problem(lists, sets, published.arena)
    draw = annotation_rates.permuted_labels(problem, 0)
    alone = annotation_rules.null_counts(problem, [published], 0.05, draw, 10).mean() / 60
    beside = found.set_index("source").at[annotation_rates.PERMUTED, "share"]
    assert alone == 0 < 0.02 < beside
