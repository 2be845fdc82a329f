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
