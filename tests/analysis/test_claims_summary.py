"""Claims are counted, scaled and written out whole; the hash of their wording follows the wording and nothing else."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from biosae_utils.analysis import claims_summary
from biosae_utils.claims import Claim


def claim(**fields: Any) -> dict[str, Any]:
    base = {
        "id": "one", "phase": "04_annotate", "model": "m", "layer": 2, "title": "Latents are annotated", "value": 12.0,
        "unit": "% of latents", "interval": (10.0, 14.0), "interval_over": "lists", "control": 3.0,
        "control_kind": "permuted labels", "rule": "supported if the interval lies above the control",
        "minimum": 2.0, "verdict": "supported", "command": "biosae run",
    }  # fmt: skip
    return Claim(**{**base, **fields}).model_dump(mode="json")


UNTESTED = {
    "value": None, "interval": None, "interval_over": "", "control": None, "control_kind": "", "verdict": "not_tested",
    "reason": "there is one seed",
}  # fmt: skip


@pytest.fixture
def claims() -> list[dict[str, Any]]:
    two = {"id": "two", "unit": "share", "value": 0.4, "interval": (0.3, 0.5), "control": 0.6, "published": 0.9}
    three = {"id": "three", "phase": "05_svd", "layer": None, "unit": "AUROC", "value": 0.8, "control": 0.5}
    return [
        claim(),
        claim(**two, control_interval=(0.55, 0.65), verdict="not_supported"),
        claim(**three, interval=None, interval_over="", group="T cells"),
        claim(id="four", phase="05_svd", **UNTESTED),
    ]


def test_tally_counts_every_verdict(claims):
    assert claims_summary.tally(claims) == {"supported": 2, "trivial": 0, "not_supported": 1, "not_tested": 1}
    assert set(claims_summary.tally([]).values()) == {0}
    table = claims_summary.by_phase(claims).set_index("phase")
    assert table.loc["05_svd"].tolist() == [1, 0, 0, 1] and table.to_numpy().sum() == len(claims)


def test_shares_are_percent_and_the_rest_is_relative(claims):
    table = claims_summary.scaled(claims).set_index("label")
    assert len(table) == 3  # what was not tested has no number to draw
    two = table.loc["04_annotate, m, layer 2: two"]
    assert two["kind"] == "share" and two[list(claims_summary.NUMBERS)].tolist() == pytest.approx(
        [40, 30, 50, 60, 55, 65, 90]
    )
    three = table.loc["05_svd, m: three, T cells"]
    assert three["kind"] == "other" and three["value"] == 1 and three["control"] == pytest.approx(0.625)
    assert three[["low", "high", "control_low", "published"]].isna().all()  # no interval is not one of no width
    assert "0.8 AUROC against 0.5 AUROC (permuted labels)" in three["hover"]
    assert len(claims_summary.scaled(claims[3:])) == 0


def test_the_text_leaves_no_claim_out(claims):
    table = claims_summary.as_text(claims)
    assert table["verdict"].tolist() == ["supported", "not supported", "supported", "not tested"]
    assert table["value"].tolist() == ["12 % of latents", "40 %", "0.8 AUROC", "–"]
    assert table["95 % interval"].tolist() == ["10 to 14 %", "30 to 50 %", "", ""]
    assert table["which"].tolist() == ["", "", "T cells", ""]
    assert table["why not tested"].tolist() == ["", "", "", "there is one seed"]


def test_the_hash_of_the_wording_ignores_results_and_follows_rules(claims):
    before = claims_summary.wording(claims)
    other_numbers = [c | {"value": 99.0, "verdict": "supported", "layer": 0} for c in claims]
    assert claims_summary.wording(other_numbers + claims[::-1]) == before
    check = claims[0] | {"minimum": None, "check": True}  # a check has no smallest difference
    assert claims_summary.wording([*claims, check]) == claims_summary.wording([check, *claims]) != before
    assert claims_summary.wording([c | {"rule": "supported if we like it"} for c in claims]) != before


def test_page_and_interval_in_words():
    assert claims_summary.page_name(claim()) == "04_annotate, m, layer 2"
    assert claims_summary.page_name(claim(layer=None)) == "04_annotate, m"
    assert claims_summary.interval(claim()) == "10 to 14 %"
    auroc = claim(unit="AUROC", control_interval=(0.005, 0.02))
    assert claims_summary.interval(auroc, "control_interval") == "0.005 to 0.02"
    assert claims_summary.interval(claim(interval=None, interval_over="")) == ""


def test_a_title_after_a_colon_keeps_its_abbreviations():
    assert claims_summary.as_clause("Latents fire together") == "latents fire together"
    assert claims_summary.as_clause("A latent fires") == "a latent fires"
    for kept in ("STRING edges are found", "TopK latents fire", "SVD explains more"):
        assert claims_summary.as_clause(kept) == kept


def test_every_pair_of_claims_has_a_label_of_its_own(claims):
    groups = [claim(group=name) for name in ("whole lists", "first five genes")]
    labels = claims_summary.scaled([*claims, *groups])["label"]
    assert labels.is_unique and isinstance(labels, pd.Series)
