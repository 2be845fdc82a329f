"""05_svd on states that are sparse mixtures of planted atoms, and on dictionaries that hold these atoms."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosae_utils.book.page import Result
from biosae_utils.phases.readers import Saes
from biosae_utils.phases.run import compute
from biosae_utils.phases.svd import AXES, LATENTS, LISTS, PHASE, Params
from biosae_utils.sae.formats import save_sae
from phases.layered_project import (
    ABOUT,
    FILLER,
    LAYERS,
    OWN,
    SHARED,
    WIDTH,
    F,
    K,
    atoms,
    leave_states,
    params,
)
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


def test_atoms_lie_inside_the_axes_and_the_rest_does_not(found):
    expected = (SHARED + OWN + FILLER * N_AXES / WIDTH) / F
    assert found.facts.inside_latents == pytest.approx(expected, abs=0.05)
    assert found.facts.inside_random == pytest.approx(N_AXES / WIDTH, abs=0.02) and found.facts.inside_shaped > 0.98
    claim = found.claims["latents_prefer_leading_axes"]
    assert claim["value"] > N_AXES / WIDTH + 0.1  # more than random directions, and yet
    assert claim["verdict"] == "not_supported" and claim["interval_over"] == "latents"
    assert claim["control"] == pytest.approx(found.facts.inside_shaped) and found.facts.below_shaped == len(LAYERS)
    shares, marks = found.table("subspace"), found.table("subspace_marks")
    assert np.allclose(shares.query("rank == @WIDTH")["share"], 1)
    assert (shares["low"] <= shares["high"]).all() and set(shares["which"]) == {"latents", "random", "shaped"}
    exact = marks.query("which == 'random, exact'")
    assert np.allclose(exact["share"], exact["rank"] / WIDTH) and marks["low"].notna().sum() == len(exact)


def test_latents_along_the_loudest_axes_are_found_to_prefer_them(elsewhere):
    """Every decoder row is one of the loudest atoms, and these are nearly the leading axes."""
    import torch

    from biosae_utils.sae.topk import TopKSAE

    shutil.rmtree(f"results/planted/{ABOUT['model']}/02_sae")
    with left_by("02_sae", **ABOUT) as out:
        for layer in LAYERS:
            sae = TopKSAE(WIDTH, F, K)
            with torch.no_grad():
                sae.W_dec.copy_(torch.from_numpy(np.resize(atoms(layer)[SHARED - 4 : SHARED], (F, WIDTH))).float())
            save_sae(out.dir / Saes.place(layer), sae)
    found = Result(compute(PHASE, Params(**params(n_axes=SHARED, n_random=400, n_boot=100))))
    assert found.claims["latents_prefer_leading_axes"]["verdict"] == "supported"
    assert found.facts.inside_shaped < found.facts.inside_latents and found.facts.below_shaped == 0


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
