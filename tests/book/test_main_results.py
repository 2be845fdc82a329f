"""The main results say what the claims say: in numbers, in verdicts, and the unwelcome ones first."""

from __future__ import annotations

import re

import pytest

from biosae_utils.book.main_results import QUESTIONS, main_results_html
from biosae_utils.phases.registry import phases


def claims(verdicts: dict[str, list[str]], **other) -> list[dict]:
    """As many claims of each question as there are verdicts, values 10, 11, ... against 1, 2, ..."""
    return [
        {
            "phase": q.phase, "id": q.id, "group": q.group, "model": "m", "layer": layer, "variant": "trained",
            "value": 10.0 + layer, "control": 1.0 + layer, "unit": "points", "verdict": verdict, **other,
        }
        for q in QUESTIONS for layer, verdict in enumerate(verdicts.get(q.id, []))
    ]  # fmt: skip


def said(some: list[dict]) -> list[str]:
    return re.findall(r"<li>(.*?)</li>", main_results_html(some))


def test_what_did_not_hold_comes_first_and_numbers_are_those_of_all_pages():
    first, second = said(claims({
        "annotated_layer": ["supported"] * 3 + ["trivial"], "turnover_of_directions": ["supported", "not_supported"],
    }))  # fmt: skip
    assert first.startswith("Latents have their direction in the next layer as often")
    assert "10 to 11 points" in first and "1 to 2 points" in first and first.endswith("Supported on 1 of 2 pages.")
    assert second.startswith("Under the strictest rule some latents stand for known biology: 10 to 13 points")
    assert second.endswith("Supported on 3 of 4 pages.")


@pytest.mark.parametrize("change", [{"variant": "random-weights"}, {"check": True}, {"value": None}])
def test_controls_checks_and_what_was_not_tested_are_no_results(change):
    assert main_results_html(claims({q.id: ["supported"] for q in QUESTIONS}, **change)) == ""


def test_another_group_of_the_same_claim_is_not_counted():
    some = claims({"annotated_beyond_directions": ["not_supported"]})
    other = {**some[0], "group": "far end", "verdict": "supported", "value": 99.0}
    (only,) = said([*some, other])
    assert "99" not in only and "Not supported on 04_annotate, m, layer 0." in only


def test_every_question_is_of_a_phase_that_exists():
    assert len(QUESTIONS) == 5 and {q.phase for q in QUESTIONS} <= set(phases())
