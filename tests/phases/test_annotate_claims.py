"""Sentences of claims: no number in them, and everything that a claim needs."""

from __future__ import annotations

import pytest

from biosae_utils.claims import Claim
from biosae_utils.phases.annotate_claims import WORDS


@pytest.mark.parametrize("name", WORDS)
def test_words_make_a_claim(name):
    claim = Claim(**WORDS[name], phase="04_annotate", verdict="not_tested", reason="a test", command="biosae")
    assert claim.id == name and claim.unit and not any(character.isdigit() for character in claim.title)
