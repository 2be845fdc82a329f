"""Bars: grouped, lying, hatched, with whiskers where there is an interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from plotted import GROUPS, traces

from biosae_utils.book import plots
from biosae_utils.book.figures import CONTROL, REAL


def test_bars_are_grouped_coloured_named_and_have_whiskers_only_where_there_is_an_interval():
    fig = plots.bars(
        GROUPS, "layer", "share", by="which", low="low", high="high", colours={"real": REAL, "chance": CONTROL},
        names={"chance": "permuted labels"}, dash="matched", dash_name="same frequencies", percent="y",
    )  # fmt: skip
    real, control = traces(fig, "real")[0], traces(fig, "permuted labels")[0]
    assert list(real.x) == ["layer 0", "layer 1"] and list(real.y) == [0.6, 0.5]
    assert real.marker.color == REAL and control.marker.color == CONTROL
    assert np.allclose(real.error_y.array, [0.1, 0.2]) and np.allclose(real.error_y.arrayminus, [0.1, 0.1])
    assert np.isnan(control.error_y.array).all()
    dash = traces(fig, "same frequencies")
    assert len(dash) == 1 and list(dash[0].y) == [0.3, 0.3] and dash[0].offsetgroup == real.offsetgroup
    assert fig.layout.barmode == "group" and fig.layout.yaxis.tickformat == ".2~%"


def test_order_is_that_of_the_names():
    fig = plots.bars(GROUPS, "layer", "share", by="which", names={"layer 1": "second", "chance": "c", "real": "r"})
    assert [t.name for t in fig.data] == ["c", "r"]
    assert fig.layout.xaxis.categoryarray == ("second", "layer 0")


def test_lying_bars_run_down_the_page():
    fig = plots.bars(GROUPS, "layer", "share", by="which", horizontal=True, high="high", low="low", text=".0%")
    written = [t for t in fig.data if t.type == "scatter"]
    assert list(written[0].x) == [0.7, 0.7] and list(written[0].customdata) == [0.6, 0.5], "beyond the whisker"
    assert fig.data[0].orientation == "h" and list(fig.data[0].y) == ["layer 0", "layer 1"]
    assert fig.layout.yaxis.autorange == "reversed" and fig.layout.xaxis.title.text == "share"


def test_hatching_stacks_within_a_group():
    table = pd.DataFrame(
        {"type": ["B"] * 4, "state": ["s", "s", "t", "t"], "part": ["in", "out"] * 2, "n": [8, 2, 9, 1]}
    )
    fig = plots.bars(table, "type", "n", by="state", hatch="part")
    drawn = [t for t in fig.data if t.y[0] is not None]
    assert [(t.y[0], (t.base or [0])[0]) for t in drawn] == [(8, 0), (2, 8), (9, 0), (1, 9)]
    assert {t.name for t in fig.data if t.showlegend} == {"s", "t", "out"}
