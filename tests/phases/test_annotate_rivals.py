"""04_annotate: latents that read programmes beside directions and a network that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from biosae_utils.analysis.rival_lists import LIST_RULES
from biosae_utils.book.page import Result
from biosae_utils.phases.annotate import PHASE, Params
from biosae_utils.phases.annotate_rivals import WITHOUT
from biosae_utils.phases.run import compute
from phases.planted_project import IN_PROGRAMME, LAYER, MODEL, RUN, UNTRAINED
from phases.test_annotate import write_sets

ABOUT = {
    **RUN, "model": MODEL, "source": "nowhere", "layer": LAYER, "genesets": "sets.parquet", "collections": ["Planted"],
    "n_top": IN_PROGRAMME, "n_permutations": 2, "control": UNTRAINED,
}  # fmt: skip


@pytest.fixture(scope="module")
def found(catalogued):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(catalogued.root)
        write_sets(Path("sets.parquet"))
        yield Result(compute(PHASE, Params(**ABOUT)))


def test_one_claim_a_list_rule_names_the_highest_rival(found):
    table = found.table("rivals")
    for rule in LIST_RULES:
        claim, part = found.claims[f"annotated_beyond_directions/{rule}"], table[table["list_rule"] == rule]
        means = part.groupby("source")["above"].mean()
        rivals = means.drop("latents")
        assert claim["value"] == pytest.approx(means["latents"]) and claim["control"] == pytest.approx(rivals.max())
        assert claim["control_kind"].startswith(rivals.idxmax()) and claim["minimum"] == 2
        assert found.facts.points[rule]["rival"] == rivals.idxmax()
        assert set(rivals.index) == ({"raw coordinates", "principal axes"} if rule == "far end" else set()) | {
            "random directions"
        }
    assert table["seed"].max() == 1 and len(found.table("directions")) == 4 + 2 + 2


def test_latents_that_read_programmes_lie_above_random_directions(found):
    above = found.table("rivals").groupby(["list_rule", "source"])["above"].mean()
    assert above["far end", "latents"] > above["far end", "random directions"]
    assert above["far end", "latents"] > 50  # every direction of so few dimensions reads some programme


def test_random_weights_are_compared_with_and_without_the_genes_of_every_cell(found):
    table = found.table("random_weights").set_index(["genes_of", "source"])
    share = found.claims["annotated_beyond_random_weights"]
    assert share["control"] == pytest.approx(table.at[("all genes", "latents of random weights"), "annotated"])
    for group in (None, WITHOUT):  # no gene of the planted cells is ribosomal, so both are alike
        claim = found.claims["excess_beyond_random_weights" + (f"/{group}" if group else "")]
        own = table.loc[group or "all genes"]["above"]
        assert claim["value"] == pytest.approx(own["latents"])
        assert claim["control"] == pytest.approx(own["latents of random weights"])
        assert claim["value"] > claim["control"] + 10 and UNTRAINED in claim["control_kind"]
        assert (claim["verdict"] == "supported") == (claim["interval"][0] > claim["control_interval"][1])
