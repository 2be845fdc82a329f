"""03_catalogue on codes with planted programmes, a planted state of cells and a latent that never fires."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from biosae_utils.book.page import Result
from biosae_utils.phases.base import Size
from biosae_utils.phases.catalogue import LEAST_LISTED, LEAST_SHARE, PHASE, Params
from biosae_utils.phases.run import compute
from phases.planted_project import (
    DEAD,
    IN_PROGRAMME,
    LAYER,
    MODEL,
    N_PROGRAMMES,
    RUN,
    STATE,
    UNTRAINED,
    left_by,
    programme,
)

ABOUT = {**RUN, "model": MODEL, "source": "nowhere", "layer": LAYER, "min_count": 3}


@pytest.fixture
def found(catalogued, monkeypatch) -> Result:
    monkeypatch.chdir(catalogued.root)
    return Result(Path(f"results/planted/{MODEL}/layer_00/03_catalogue"))


@pytest.fixture
def elsewhere(upstream, tmp_path, monkeypatch) -> Path:
    """A copy of the project whose cohort a test may change."""
    shutil.copytree(upstream.root / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lists_hold_the_genes_of_the_planted_programmes(found):
    top = found.table("top_genes")
    assert list(top.columns) == [
        "latent", "position", "gene", "mean", "shrunken", "count", "coverage", "token", "gene_index",
    ]  # fmt: skip
    for latent in range(N_PROGRAMMES):
        assert set(top.loc[top["latent"] == latent, "gene_index"]) == set(
            np.flatnonzero(programme(np.arange(240)) == latent)
        )
    assert (top["token"] == top["gene_index"] + 2).all() and (
        top["gene"] == "GENE" + top["gene_index"].astype(str)
    ).all()
    without = found.table("top_genes_without_block")
    assert sorted(without["block"].unique()) == list(range(10)) and len(without) > 9 * len(top)


def test_programmes_are_read_from_the_gene_and_the_state_is_not(found):
    features = found.table("features").set_index("latent")
    assert (features["gene_share"][:N_PROGRAMMES] > 0.5).all() and abs(features.at[STATE, "gene_share"]) < 0.05
    assert features.at[DEAD, "state"] == "dead" and features.at[STATE, "state"] == "dense"
    assert features["rank_share"].abs().max() < 0.05
    assert found.facts.n_dead >= 1 and found.facts.n_firing + found.facts.n_dead == found.facts.n_latents == len(
        features
    )
    shown = found.table("latents")
    assert shown["latent"].iloc[0] in range(N_PROGRAMMES) and shown["state"].iloc[-1] == "dense"
    assert DEAD not in set(shown["latent"])
    control = found.table("gene_share").query("which == 'gene names dealt out anew'")["gene_share"]
    assert abs(control.median()) < 0.05 and len(control) == found.facts.n_firing


def test_a_latent_that_the_gene_explains_may_be_about_many_genes(found):
    features, facts = found.table("features").set_index("latent"), found.facts
    assert features["effective_genes"][:N_PROGRAMMES].median() == pytest.approx(IN_PROGRAMME, rel=0.25)
    mostly = features[(features["gene_share"] > 0.5) & (features["state"] != "dead")]
    assert facts.n_mostly_gene == len(mostly) >= N_PROGRAMMES and facts.n_one_gene == 0
    assert facts.effective_genes == pytest.approx(mostly["effective_genes"].median())
    assert np.isnan(features.at[DEAD, "effective_genes"])


def test_claims_stand_beside_their_controls(found):
    share, lists = found.claims["gene_share"], found.claims["lists_replicate"]
    assert abs(share["control"]) < 0.05 and share["interval_over"] == "blocks of cells"
    assert share["value"] == pytest.approx(found.facts.gene_share)
    both = found.table("replication").groupby("which")["share"].mean()
    assert lists["value"] == pytest.approx(100 * both["same latent"])
    assert lists["control"] == pytest.approx(100 * both["list of another latent"])
    assert (share["minimum"], lists["minimum"]) == (LEAST_SHARE, LEAST_LISTED) == (0.05, 5)
    planted = found.table("replication").query("latent < @N_PROGRAMMES and which == 'same latent'")["share"]
    assert planted.mean() > 0.9 and lists["verdict"] == "supported"


def test_codes_that_ignore_the_gene_have_no_gene_share(catalogued, monkeypatch):
    monkeypatch.chdir(catalogued.root)
    untrained = Result(Path(f"results/planted/{UNTRAINED}/layer_00/03_catalogue"))
    assert abs(untrained.facts.gene_share) < 0.02
    assert untrained.claims["gene_share"]["variant"] == "random-weights"


def test_without_held_out_cells_what_needs_them_is_not_tested(elsewhere, upstream):
    with left_by("00_data") as out:
        out.table(upstream.cohort.assign(heldout=False), "cohort")
    found = Result(compute(PHASE, Params(**ABOUT)))
    claim = found.claims["lists_replicate"]
    assert claim["verdict"] == "not_tested" and "no held-out cells" in claim["reason"] and claim["value"] is None
    assert not found.has("replication") and not found.has("best_latents") and "replicated" not in found.facts
    assert (found.table("genes")["n_positions_heldout"] == 0).all()


def test_lists_that_no_other_latent_has_are_not_tested(elsewhere):
    found = Result(compute(PHASE, Params(**ABOUT | {"min_count": 400})))
    assert "fewer than two latents" in found.claims["lists_replicate"]["reason"]


def test_memory_follows_the_codes():
    assert PHASE.takes(Size()).mem_mb == PHASE.takes(Size(positions=1_000_000, k=16)).mem_mb == 2_000
    assert 5_500 < PHASE.takes(Size(positions=4_000_000, k=32)).mem_mb < 6_500
