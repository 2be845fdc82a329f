from __future__ import annotations

import pytest
from pydantic import ValidationError

from biosae_utils.claims import Claim, verdict, weighed

COMMON = dict(
    id="annotated_share",
    phase="04_annotate",
    title="More features are annotated than relabelled lists would be",
    rule="the interval of value minus control excludes zero",
    command="biosae run 04_annotate",
)


def test_a_tested_claim_needs_its_control():
    with pytest.raises(ValidationError, match="needs value, control and control_kind"):
        Claim(**COMMON, value=0.3, verdict="supported")
    claim = Claim(
        **COMMON,
        value=0.3,
        control=0.01,
        control_kind="permuted gene labels",
        verdict=verdict(0.3 > 0.01),
        minimum=0.02,
    )
    assert claim.verdict == "supported"


def test_a_finding_names_the_smallest_difference_that_counts_and_a_check_need_not():
    tested = {"value": 0.3, "control": 0.01, "control_kind": "permuted gene labels", "verdict": "supported"}
    with pytest.raises(ValidationError, match="smallest difference that counts"):
        Claim(**COMMON, **tested)
    assert Claim(**COMMON, **tested, check=True).minimum is None
    assert weighed("supported", 0.3, 0.29, 0.02) == "trivial"
    assert weighed("supported", 0.26, 0.29, 0.02) == weighed("supported", 0.3, 0.01, 0.02) == "supported"
    assert weighed("not_supported", 0.3, 0.29, 0.02) == "not_supported"


def test_what_was_not_tested_has_no_number():
    assert Claim(**COMMON, verdict="not_tested", reason="the file is not fetched").value is None
    with pytest.raises(ValidationError, match="has no value"):
        Claim(**COMMON, value=0.3, verdict="not_tested", reason="the file is not fetched")
    with pytest.raises(ValidationError, match="says why"):
        Claim(**COMMON, verdict="not_tested")


def test_an_interval_says_what_was_resampled():
    tested = {
        "value": 0.3,
        "control": 0.01,
        "control_kind": "permuted gene labels",
        "verdict": "supported",
        "minimum": 0,
    }
    assert Claim(**COMMON, **tested, interval=(0.2, 0.4), interval_over="cells").interval == (0.2, 0.4)
    with pytest.raises(ValidationError, match="what was resampled"):
        Claim(**COMMON, **tested, interval=(0.2, 0.4))
