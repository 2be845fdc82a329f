"""The scorecard counts findings, lists every claim, and follows what its pages say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from biosae_utils.errors import BiosaeError
from biosae_utils.phases.output import Output
from biosae_utils.phases.registry import find
from biosae_utils.phases.run import compute
from biosae_utils.phases.scorecard import N_NAMED, PHASE, Params, not_held
from biosae_utils.phases.state import why_stale
from biosae_utils.runconfig import RunConfig
from biosae_utils.store import read_json, read_table

CLAIM = {
    "title": "Something is larger than its control", "value": 12.0, "unit": "% of latents", "interval": (10.0, 14.0),
    "interval_over": "cells", "control": 3.0, "control_kind": "nothing", "rule": "larger than nothing",
    "minimum": 2.0, "verdict": "supported",
}  # fmt: skip
UNTESTED = {"title": "STRING edges are found", "rule": CLAIM["rule"], "verdict": "not_tested", "reason": "no network"}


@pytest.fixture
def leave(tmp_path, monkeypatch) -> Callable[..., None]:
    """Leave a complete page with the claims given."""
    monkeypatch.chdir(tmp_path)

    def page(phase: str, *claims: dict[str, Any], **params: Any) -> None:
        declared = find(phase)
        out = Output(declared, declared.params(**params), f"biosae run {phase}")
        for fields in claims:
            out.claim(**fields)
        out.close()

    return page


def test_controls_and_checks_are_listed_and_not_counted(leave):
    untested = UNTESTED | {"id": "edges"}
    leave("00_data", CLAIM | {"id": "differ", "unit": "genes"})
    lost = CLAIM | {"id": "loss", "verdict": "not_supported"}
    leave("01_extract", CLAIM | {"id": "edit", "check": True}, lost, model="a")
    leave("01_extract", CLAIM | {"id": "loss"}, untested, model="a.random", variant="random-weights")
    small = [CLAIM | {"id": "variance", "layer": layer, "verdict": "trivial"} for layer in (0, 3)]
    leave("02_sae", *small, untested, model="a")
    folder = compute(PHASE, Params(rules_hash="abc"))
    facts = read_json(folder / "facts.json")
    assert facts["n_claims"] == 8 and facts["n_findings"] == 5
    assert [facts[v] for v in ("supported", "trivial", "not_supported", "not_tested")] == [1, 2, 1, 1]
    assert facts["kinds"] == ["share", "other"] and facts["n_drawn"] == {"share": 3, "other": 1}
    assert facts["drawn_verdicts"]["share"] == "2 above control, trivially, 1 not supported"
    assert facts["n_not_held"] == 1 and facts["not_held"] == "something is larger than its control"
    run = read_table(folder / "run.parquet").set_index("what")["value"]
    assert run["claims on pages of controls, not counted above"] == "2" and run["findings"] == "5"
    assert run["checks of the software, not counted above"] == "1"
    assert run["hash of the configuration (thresholds)"] == "abc" and run["pages that make them"] == "3"
    tally = read_table(folder / "tally.parquet").set_index("phase")
    assert tally.loc["02_sae"].tolist() == [0, 2, 0, 1] and len(read_table(folder / "claims.parquet")) == 8
    assert read_table(folder / "scaled.parquet")["label"].is_unique
    assert read_json(folder / "claims.json") == []  # it lists the claims of others and makes none


def test_a_claim_of_any_page_makes_the_scorecard_stale(leave):
    leave("00_data", CLAIM | {"id": "differ"})
    compute(PHASE, Params())
    assert why_stale(PHASE, Params())[0] == "done"
    leave("00_data", CLAIM | {"id": "differ", "verdict": "not_supported"})
    assert why_stale(PHASE, Params()) == ("stale", "its input 00_data changed")
    assert read_json(compute(PHASE, Params()) / "facts.json")["not_supported"] == 1


def test_a_run_without_a_number_to_draw_says_so(leave):
    leave("00_data", UNTESTED | {"id": "edges"})
    facts = read_json(compute(PHASE, Params()) / "facts.json")
    assert facts["kinds"] == [] and facts["not_tested"] == 1 and facts["not_held"] == "none"


def test_a_run_without_claims_is_refused_in_a_sentence(leave):
    leave("01_extract", model="a")
    with pytest.raises(BiosaeError, match="No page of this run has made a claim"):
        compute(PHASE, Params())


def test_many_claims_that_did_not_hold_are_named_in_part():
    lost = [{"title": f"Thing {i} holds", "verdict": "not_supported"} for i in range(N_NAMED + 3)]
    said = not_held([*lost, *lost])
    assert said["n_not_held"] == N_NAMED + 3 and said["not_held"].endswith("thing 3 holds; and 3 more")


def test_the_hash_of_the_configuration_follows_thresholds_and_not_the_place():
    raw = {"run": "mine", "phases": ["02_sae", PHASE.name], "models": {"a": {"source": "nowhere", "layers": [0]}}}
    config = RunConfig(**raw)
    assert RunConfig(**raw, results="elsewhere").rules_hash() == config.rules_hash()
    assert RunConfig(**raw, sae={"k": 7}).rules_hash() != config.rules_hash()
    assert config.phase_params(PHASE.name).rules_hash == config.rules_hash()
