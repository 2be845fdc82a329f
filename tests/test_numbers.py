"""Numbers on a page: sensible digits, the unit once, and never a minus zero."""

from __future__ import annotations

import pytest

from biosae_utils.numbers import decimals, number, scale, span, written


def test_a_number_has_three_digits_and_its_unit():
    assert number(None) == "–" and number(0.5, "share") == "50 %" and number(12345.0) == "12,345"
    assert number(0.12345, "nats") == "0.123 nats" and number(0.25, "share of variance") == "25 % of variance"
    assert number(-1.5) == "−1.5" and number(0.0000521, "share") == "0.00521 %" and number(3e-9) == "3e−09"


@pytest.mark.parametrize("value", [-0.0, 0.0])
def test_zero_has_no_sign(value):
    assert number(value) == "0" and written(value, 1) == "0"


def test_what_would_be_written_as_zero_and_is_none_says_so():
    assert written(0.004, 1) == "< 0.1" and written(-0.004, 1) == "> −0.1" and written(-0.06, 1) == "−0.1"


def test_numbers_side_by_side_have_the_decimals_of_the_largest():
    assert decimals([52.2, 0.005]) == 1 and decimals([0.5, None]) == 3 and decimals([0, None]) == 0
    assert decimals([12345.0]) == 0 and decimals([-0.04]) == 4


def test_a_span_names_its_unit_once():
    assert span([0.4, None, 0.25], "share") == "25 to 40 %" and span([1.0, 1.0001]) == "1" and span([None]) == "–"


def test_a_share_is_written_in_percent():
    assert scale("share of variance") == (100.0, "% of variance") and scale("shares sold") == (1.0, "shares sold")
