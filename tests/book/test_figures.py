"""Figures and tables are stored as plain JSON, and say what they show."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from biosae_utils.book import figures
from biosae_utils.errors import BiosaeError

FIGURE = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
SAID = {"name": "a", "alt": "Two points on a rising line", "caption": "Read it from left to right."}


def test_bundles_are_plain_json():
    bundle = figures.figure_bundle(go.Figure(go.Bar(x=["a"], y=np.array([1.0]))), **SAID)
    content = json.loads(json.dumps(bundle))[figures.PLOTLY_MIME]
    assert content["layout"]["meta"]["alt"] == SAID["alt"] and "template" not in content["layout"]
    df = pd.DataFrame(
        {"x": [1.23456, np.nan, np.inf], "n": [1, 2, 3], "g": [["A", "B"], None, "C"], "b": [True, False, True]}
    )
    table = json.loads(json.dumps(figures.table_bundle(df, name="t", caption="A table")))[figures.TABLE_MIME]
    assert table["data"] == [[1.235, 1, "A, B", True], [None, 2, None, False], ["∞", 3, "C", True]]
    assert [c["numeric"] for c in table["columns"]] == [True, True, False, False]
    assert figures.table_bundle(df, name="t", caption="A table", max_rows=2)[figures.TABLE_MIME]["n_rows"] == 3


@pytest.mark.parametrize(
    ("figure", "change", "says"),
    [
        (FIGURE, {"alt": ""}, "alternative text"),
        (FIGURE, {"caption": " "}, "needs a caption"),
        (go.Figure(go.Scatter(x=[], y=[])), {}, "is empty"),
    ],
)
def test_a_figure_that_says_nothing_is_refused(figure, change, says):
    with pytest.raises(BiosaeError, match=says):
        figures.figure_bundle(figure, **SAID | change)


def test_an_empty_table_is_refused():
    with pytest.raises(BiosaeError, match="A table is empty"):
        figures.table_bundle(pd.DataFrame({"a": []}), name="c", caption="Nothing")


def column(values, name="v", dtype=None) -> dict:
    df = pd.DataFrame({name: pd.Series(values, dtype=dtype)})
    return figures.table_bundle(df, name="t", caption="A table")[figures.TABLE_MIME]["columns"][0]


def test_a_column_has_as_many_decimals_as_tell_its_largest_number():
    assert column([0.5, 0.123456, np.nan])["decimals"] == 3 and column([99.5, 1.0])["decimals"] == 1
    assert column([1234.5, 1.0])["decimals"] == 0 and column([0.02, 0.0])["decimals"] == 4
    assert column([1, 20_000])["decimals"] == 0 and column([1.0, 3.0])["decimals"] == 0, "whole numbers"
    assert column([0.0, np.nan])["decimals"] == 0


def test_p_values_are_written_one_by_one_and_a_few_small_numbers_are_not():
    assert column([1e-9, 1e-4, 0.5])["significant"]
    assert not column([0.5] * 9 + [1e-6])["significant"] and not column([1, 10_000])["significant"]


def test_long_texts_are_marked_and_widths_are_in_characters():
    assert column(["a" * 60])["long"] and not column(["a" * 10])["long"]
    assert column(["a" * 60])["width"] == 40 and column(["a"], name="a long title")["width"] == 12


def test_no_minus_zero():
    content = figures.table_bundle(pd.DataFrame({"a": [-0.0, 0.5]}), name="t", caption="A table")[figures.TABLE_MIME]
    assert str(content["data"][0][0]) == "0.0"


def test_the_small_plotly_is_enough_unless_a_trace_needs_more():
    assert figures.light({"data": [{"type": "bar"}, {}]}) and not figures.light({"data": [{"type": "sankey"}]})
