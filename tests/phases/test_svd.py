"""05_svd on states that are sparse mixtures of planted atoms, and on dictionaries that hold these atoms."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosae_utils.book.page import Result
from biosae_utils.phases.run import compute
from biosae_utils.phases.svd import AXES, LATENTS, LISTS, PHASE, Params
from phases.layered_project import ABOUT, FILLER, LAYERS, OWN, SHARED, WIDTH, F, K, leave_states, params
from phases.planted_project import left_by

N_AXES = SHARED + OWN  # the dimensions that the states have
NAMED = "latents_are_named_more_than_axes"


@pytest.fixture(scope="module")
def found(layered) -> Iterator[Result]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(layered)
        yield Result(compute(PHASE, Params(**params(n_axes=N_AXES, n_random=400))))


@pytest.fixture
def elsewhere(layered, tmp_path, monkeypatch) -> Path:
    """A copy of the project in which a test may leave other inputs."""
    shutil.copytree(layered / "results", tmp_path / "results", ignore=shutil.ignore_patterns("05_svd"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sparse_mixtures_need_an_axis_for_each_atom(found):
    compared = found.table("variance")
    assert list(compared.columns) == [
        "name", "explained", "low", "high", "layer", "rank_for_same_variance", "active_for_same_variance",
    ]  # fmt: skip
    value = found.table("variance_wide").set_index("layer")
    assert list(value.index) == LAYERS and (value["sae"] > 0.9).all() and (value["leading_50"] > 0.99).all()
    assert (value["largest_k"] > value["leading_k"] + 0.2).all()  # a choice of one's own is worth more
    assert (value["leading_k"] < 0.6).all() and (value["largest_bits"] < value["largest_k"]).all()
    assert (value["rank_for_same_variance"] > 3 * K).all() and (value["active_for_same_variance"] > K).all()
    curves = found.table("curves")
    assert curves.query("kept == 0")["explained"].abs().max() < 0.01
    assert curves.groupby(["layer", "which"])["explained"].apply(lambda c: c.is_monotonic_increasing).all()
    claim = found.claims["variance_at_equal_bits"]
    assert claim["verdict"] == "supported" and claim["interval_over"] == "cells"
    assert claim["value"] == pytest.approx(value["sae"].mean()) == pytest.approx(found.facts.sae_mean)
    assert claim["control"] == pytest.approx(value[["leading_bits", "largest_bits"]].max(axis=1).mean())


def test_codes_of_equal_size_are_compared(found):
    from biosae_utils.analysis.geometry import code_bits

    facts = found.facts
    assert (facts.d, facts.d_sae, facts.k, facts.n_axes) == (WIDTH, F, K, N_AXES)
    assert facts.bits == pytest.approx(code_bits(F, K))
    assert 16 * facts.leading_at_bits <= facts.bits < 16 * (facts.leading_at_bits + 1)
    assert code_bits(WIDTH, facts.largest_at_bits) <= facts.bits < code_bits(WIDTH, facts.largest_at_bits + 1)
    marks = found.table("variance_marks")
    assert (marks["kept"] > 0).all() and set(marks["which"]) == {"leading", "largest", "sae", "bits"}
    assert set(marks.query("which == 'sae'")["kept"]) == {K}
    assert set(marks.query("which == 'bits'")["kept"]) == {facts.largest_at_bits}


def test_atoms_lie_inside_the_axes_and_the_rest_does_not(found):
    expected = (SHARED + OWN + FILLER * N_AXES / WIDTH) / F
    assert found.facts.inside_latents == pytest.approx(expected, abs=0.05)
    assert found.facts.inside_random == pytest.approx(N_AXES / WIDTH, abs=0.02) and found.facts.inside_shaped > 0.98
    claim = found.claims["latents_prefer_leading_axes"]
    assert claim["verdict"] == "supported" and claim["interval_over"] == "latents"
    shares, marks = found.table("subspace"), found.table("subspace_marks")
    assert np.allclose(shares.query("rank == @WIDTH")["share"], 1)
    assert (shares["low"] <= shares["high"]).all() and set(shares["which"]) == {"latents", "random", "shaped"}
    exact = marks.query("which == 'random, exact'")
    assert np.allclose(exact["share"], exact["rank"] / WIDTH) and marks["low"].notna().sum() == len(exact)


def test_the_published_rule_calls_random_directions_novel_and_axes_not(found):
    novel = found.table("novel").set_index(["layer", "which"])["novel"]
    assert set(novel.index.get_level_values("which")) == {"latents", "random", "shaped", "inside", "axes"}
    assert (novel.xs("axes", level="which") == 0).all() and (novel.xs("random", level="which") > 0.95).all()
    assert (novel.xs("inside", level="which") > 0.5).all()  # though all of their length is inside the axes
    claim = found.claims["invisible_to_svd"]
    assert claim["verdict"] == "not_supported"  # the loudest atoms are axes of their own
    assert claim["value"] == pytest.approx(100 * found.facts.novel_latents) and claim["published"] == 99.771
    assert claim["control"] == pytest.approx(100 * found.facts.novel_random) and claim["interval_over"] == "latents"


def test_without_annotation_pages_names_are_not_compared(found):
    assert found.claims[NAMED]["verdict"] == "not_tested" and found.claims[NAMED]["value"] is None
    assert "no annotation page" in found.claims[NAMED]["reason"] and not found.has("annotated")


@pytest.mark.parametrize(("latents", "verdict"), [(0.6, "supported"), (0.35, "not_supported")])
def test_lists_are_compared_above_their_own_chance(elsewhere, latents, verdict):
    leave_states(family="scgpt")
    for layer in LAYERS[:2]:
        share = [latents, 0.3, 0.2, 0.2, 0.9]
        rules = pd.DataFrame({"rule": "feature", "source": [*LISTS, "other"], "n_lists": 100, "share": share})
        rules = rules.assign(low=rules["share"] - 0.1, high=rules["share"] + 0.1, matched=[0.2, 0.1, 0.1, 0.1, 0.1])
        with left_by("04_annotate", **ABOUT, layer=layer) as out:
            out.table(pd.concat([rules, rules.assign(rule="page", share=1.0)]), "rules")
    found = Result(compute(PHASE, Params(**params(n_axes=500, n_random=20, n_boot=100))))
    claim, table = found.claims[NAMED], found.table("annotated")
    assert claim["value"] == pytest.approx(100 * (latents - 0.2)) and claim["control"] == pytest.approx(20)
    assert claim["interval_over"] == "lists" and claim["verdict"] == verdict
    assert claim["interval"][0] < claim["value"] < claim["interval"][1]
    assert set(table["rule"]) == {"feature"} and set(table["source"]) == set(LISTS) and set(table["layer"]) == {0, 1}
    assert np.allclose(table.loc[table["source"] == AXES, "share_above"], 20)
    assert np.allclose(table.loc[table["source"] == LATENTS, "low_above"], 100 * (latents - 0.3))
    assert found.facts.n_axes == WIDTH  # no more axes than the width
    assert found.claims["invisible_to_svd"]["published"] is None  # stated for another family alone
