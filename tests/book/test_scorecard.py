"""The scorecard counts, scales and draws every claim; its hash follows the wording and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from biosae_utils.book import plots, scorecard
from biosae_utils.claims import VERDICTS, Claim
from biosae_utils.runconfig import RunConfig

ROOT = Path(__file__).resolve().parents[2]


def claim(**fields: object) -> dict[str, object]:
    base = {
        "id": "one", "phase": "04_annotate", "model": "m", "layer": 2, "title": "Latents are annotated", "value": 12.0,
        "unit": "% of latents", "interval": (10.0, 14.0), "interval_over": "cells", "control": 3.0,
        "control_kind": "permuted labels",
        "rule": "supported if the interval lies above the control", "verdict": "supported", "command": "biosae run",
    }  # fmt: skip
    if fields.get("interval", ()) is None:
        base["interval_over"] = ""
    if fields.get("verdict") == "not_tested":
        base |= {"reason": "nothing was fetched"}
    return Claim(**{**base, **fields}).model_dump(mode="json")


@pytest.fixture
def claims() -> list[dict[str, object]]:
    return [
        claim(),
        claim(
            id="two", unit="share", value=0.4, interval=(0.3, 0.5), control=0.6, verdict="not_supported", published=0.9
        ),
        claim(id="three", phase="05_svd", layer=None, unit="AUROC", value=0.8, interval=None, control=0.5),
        claim(
            id="four", phase="05_svd", value=None, interval=None, control=None, control_kind="", verdict="not_tested"
        ),
    ]


def test_tally_counts_every_verdict(claims: list[dict[str, object]]) -> None:
    assert scorecard.tally(claims) == {"supported": 2, "trivial": 0, "not_supported": 1, "not_tested": 1}
    assert set(scorecard.tally([]).values()) == {0}
    table = scorecard.by_phase(claims).set_index("phase")
    assert table.loc["05_svd"].tolist() == [1, 0, 0, 1] and table.to_numpy().sum() == len(claims)


def test_shares_are_percent_and_the_rest_is_relative(claims: list[dict[str, object]]) -> None:
    table = scorecard.scaled(claims).set_index("label")
    assert len(table) == 3  # what was not tested has no number to draw
    two = table.loc["04_annotate, m, layer 2: two"]
    assert two["group"] == "share" and two[["value", "low", "high", "control", "published"]].tolist() == pytest.approx(
        [40, 30, 50, 60, 90]
    )
    three = table.loc["05_svd, m: three"]
    assert three["group"] == "other" and three["value"] == 1 and three["control"] == pytest.approx(0.625)
    assert three["low"] == three["high"] == 1 and pd.isna(three["published"])


def test_forest_shows_value_control_interval_and_verdict(claims: list[dict[str, object]]) -> None:
    table = scorecard.scaled(claims)
    fig = plots.forest(table[table["group"] == "share"], names=VERDICTS)
    named = {t.name: t for t in fig.data if t.name}
    assert set(named) == {"thread", "control", "supported", "not supported", "published"}
    assert list(named["control"].x) == [3, 60] and list(named["supported"].x) == [12]
    assert list(named["supported"].error_x.array) == [2] and list(named["supported"].error_x.arrayminus) == [2]
    assert "permuted labels" in named["control"].hovertext[0]


def test_the_table_leaves_no_claim_out(claims: list[dict[str, object]]) -> None:
    table = scorecard.claims_table(claims)
    assert len(table) == len(claims)
    assert table["verdict"].tolist() == ["supported", "not supported", "supported", "not tested"]
    assert table["value"].tolist()[3] == "–" and (table["rule fixed beforehand"].str.len() > 8).all()


def test_the_hash_of_the_wording_ignores_results_and_follows_rules(claims: list[dict[str, object]]) -> None:
    before = scorecard.wording(claims)
    other_numbers = [c | {"value": 99.0, "verdict": "supported", "layer": 0} for c in claims]
    assert scorecard.wording(other_numbers + claims[::-1]) == before
    assert scorecard.wording([c | {"rule": "supported if we like it"} for c in claims]) != before


def test_the_hash_of_the_configuration_follows_thresholds_and_not_the_place() -> None:
    config = RunConfig.load(ROOT / "config" / "demo.yaml")
    raw = config.model_dump()
    assert RunConfig(**{**raw, "results": "elsewhere"}).rules_hash() == config.rules_hash()
    assert RunConfig(**{**raw, "annotate": {"fdr": 0.2}}).rules_hash() != config.rules_hash()
    phases = [*raw["phases"], *(["15_scorecard"] if "15_scorecard" not in raw["phases"] else [])]
    with_card = RunConfig(**{**raw, "phases": phases})
    assert with_card.phase_params("15_scorecard").rules_hash == with_card.rules_hash() == config.rules_hash()


def test_the_committed_summary_is_whole_and_small() -> None:
    folder = ROOT / "data" / "published_summary" / "geneformer-v2-316m"
    made = json.loads((folder / "provenance.json").read_text())
    table = pd.read_csv(folder / "rules.csv")
    assert sum(f.stat().st_size for f in folder.iterdir()) < 60_000
    assert made["features_alive"] == pd.read_csv(folder / "published.csv")["alive"].sum() == 82_525
    gone = {int(row["file"][6:8]) for row in made["problems"] if row["file"].endswith("annotations.json")}
    listed = table[table["population"] == "listed"]
    assert set(listed["layer"]) == set(made["layers_read"]) - gone
    assert set(table.loc[table["population"] == "first five", "layer"]) == set(made["layers_read"])
    assert table[["real", "permuted", "matched"]].to_numpy().min() >= 0 and not table.isna().any().any()
    assert made["code_version"].endswith(")") and "+" not in made["code_version"]  # computed by committed code
