"""The planted state of cells is told by one latent: a finding only where no single gene tells it as well."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from biosae_utils.book.page import Result
from biosae_utils.phases.catalogue import PHASE, Params
from biosae_utils.phases.catalogue_cells import SHOWN
from biosae_utils.phases.run import compute
from phases.planted_project import LAYER, MODEL, RUN, STATE, leave_rivals, left_by

ABOUT = {**RUN, "model": MODEL, "source": "nowhere", "layer": LAYER, "min_count": 3}


@pytest.fixture
def elsewhere(upstream, tmp_path, monkeypatch) -> Path:
    """A copy of the project whose cohort and rivals a test may change."""
    shutil.copytree(upstream.root / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_planted_state_tells_the_cells_apart_where_no_gene_does(catalogued, monkeypatch):
    monkeypatch.chdir(catalogued.root)
    found = Result(Path(f"results/planted/{MODEL}/layer_00/03_catalogue"))
    claim, facts = found.claims["cells_separate/stimulated"], found.facts
    assert facts.best_latent == STATE and facts.best_group == "stimulated"
    assert facts.best_rival == "the expression of GENE0" and claim["control"] == facts.best_rival_heldout < 0.8
    assert claim["value"] > 0.95 and claim["verdict"] == "supported" and claim["interval_over"] == "cells"
    assert claim["minimum"] == 0.02 and claim["control_kind"].startswith("GENE0, one gene")
    shown, best = found.table("best_latents_shown"), found.table("best_latents")
    assert len(shown) == len(SHOWN) * len(best) and set(best["column"]) == {"condition", "cell_type"}
    assert shown["low"].notna().sum() == len(best)
    assert (best["ahead_low"] <= best["ahead"]).all() and facts.best_n_groups == len(best) == 5
    assert (found.folder / "cell_means.npz").is_file()


def test_a_gene_that_tells_them_as_well_leaves_nothing_to_support(elsewhere, upstream):
    """Beside relabelled cells alone, the same latent with the same AUROC was called supported."""
    with left_by("00_data") as out:
        out.table(upstream.cohort, "cohort")
        leave_rivals(upstream.cohort, out, strength=40)
    found = Result(compute(PHASE, Params(**ABOUT)))
    claim = found.claims["cells_separate/stimulated"]
    assert claim["value"] > 0.95 > found.facts.best_by_chance and claim["interval"][0] > found.facts.best_by_chance
    assert claim["control"] == 1 and claim["verdict"] == "not_supported"


def test_without_held_out_cells_it_is_not_tested(elsewhere, upstream):
    with left_by("00_data") as out:
        out.table(upstream.cohort.assign(heldout=False), "cohort")
    found = Result(compute(PHASE, Params(**ABOUT)))
    claim = found.claims["cells_separate"]
    assert claim["verdict"] == "not_tested" and "both in training and in held-out" in claim["reason"]
    assert claim["value"] is None and not found.has("best_latents")
