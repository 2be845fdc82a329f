"""Axes: reference lines and ranges are data values on any scale."""

from __future__ import annotations

import pytest
from plotted import CURVES

from biosae_utils.book import plots


def test_a_reference_line_on_a_logarithmic_axis_and_its_name_are_at_the_same_place():
    fig = plots.lines(CURVES, "x", "y", log="x", xmarks=[(10.0, "here")])
    line, text = fig.layout.shapes[0], fig.layout.annotations[0]
    assert line.x0 == line.x1 == 10.0 and text.x == pytest.approx(1.0) and text.text == "here"
    linear = plots.lines(CURVES, "x", "y", xmarks=[(10.0, "here")])
    assert linear.layout.shapes[0].x0 == linear.layout.annotations[0].x == 10.0


def test_ranges_are_data_values_on_any_scale():
    fig = plots.lines(CURVES, "x", "y", log="x", xrange=(1, 1000), yrange=(0, None))
    assert list(fig.layout.xaxis.range) == [0.0, 3.0] and list(fig.layout.yaxis.range) == [0, None]
