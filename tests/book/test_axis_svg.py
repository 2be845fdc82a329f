"""The small axis of a claim: where things stand on it, and what it says to who cannot see it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from biosae_utils.book.axis_svg import EDGE, WIDTH, Mark, axis_svg, ends


def centre(svg: str) -> float:
    return float(re.search(r'cx="([\d.]+)"', svg)[1])


def test_the_axis_begins_at_zero_unless_that_would_hide_the_difference():
    assert ends([0.2, 0.5]) == (0.0, 0.5) and ends([0.0, 0.52]) == pytest.approx((0.0, 0.6))
    assert ends([-3, -1]) == (-3, 0.0) and ends([0.0]) == (0.0, 1.0)
    low, high = ends([100.0, 101.0])
    assert 99 < low < 100 and 101 < high < 102
    assert ends([-1.0, 1.0]) == (-1.0, 1.0) and ends([3.0])[0] < 3 < ends([3.0])[1]
    assert ends([-0.01, 0.9]) == (0.0, 1.0), "a little below zero"


def test_value_and_interval_are_where_they_should_be():
    svg = axis_svg([Mark("control", 0.0), Mark("supported", 0.5, (0.25, 1.0))], "share", "50 %")
    room = WIDTH - 2 * EDGE
    assert centre(svg) == pytest.approx(EDGE + room / 2)
    assert f"M{EDGE + room / 4:.1f} 8.0H{EDGE + room:.1f}" in svg and 'class="control"' in svg


def test_it_is_an_image_with_an_alternative_and_labelled_ends():
    svg = axis_svg([Mark("not_supported", 0.5), Mark("published", 1.0)], "share", 'says "so" <here>')
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img" and root.get("aria-label") == 'says "so" <here>; axis from 0 to 100 %'
    assert [e.text for e in root.iter() if e.tag.endswith("text")] == ["0", "100 %"]


def test_equal_numbers_do_not_break_it():
    assert centre(axis_svg([Mark("supported", 3.0), Mark("control", 3.0)], "", "3")) > EDGE
