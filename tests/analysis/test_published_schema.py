"""What a published atlas may hold: its own keys, read with limits, and nothing beyond them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from biosae_utils.analysis import published_schema as schema

GENE = {"n": "CD3E", "a": 1.5}
FEATURE = {"i": 0, "d": False, "f": 0.25, "tg": [GENE]}


def test_what_is_missing_has_a_default_and_what_is_unknown_is_ignored():
    row = schema.Feature.model_validate(FEATURE | {"colour": "blue"})
    assert (row.fc, row.na, row.m, row.sv, row.lb) == (0, 0, -1, False, "")
    assert not hasattr(row, "colour") and row.tg[0].n == "CD3E" and row.tg[0].fc is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("i", schema.MAX_ROWS),
        ("i", -1),
        ("f", 1.01),
        ("fc", -1),
        ("m", -2),
        ("lb", "x" * 401),
        ("tg", [GENE] * 201),
        ("tg", [GENE | {"n": ""}]),
        ("tg", [GENE | {"a": float("inf")}]),
        ("d", None),
    ],
)
def test_a_value_beyond_its_limit_is_refused_and_named(key, value):
    with pytest.raises(ValidationError) as caught:
        schema.Feature.model_validate(FEATURE | {key: value})
    assert caught.value.errors()[0]["loc"][0] == key


@pytest.mark.parametrize("key", ["i", "d", "f", "tg"])
def test_a_field_that_is_used_must_be_there(key):
    with pytest.raises(ValidationError, match=key):
        schema.Feature.model_validate({k: v for k, v in FEATURE.items() if k != key})


def test_rows_cannot_be_changed_after_they_were_checked():
    with pytest.raises(ValidationError, match="frozen"):
        schema.Feature.model_validate(FEATURE).f = 7
