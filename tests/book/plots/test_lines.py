"""Lines and points: legends, bands, dashes, symbols."""

from __future__ import annotations

import numpy as np
import pytest
from plotted import CURVES, GROUPS, traces

from biosae_utils.book import plots


def test_lines_of_a_panel_each_with_one_legend_entry():
    fig = plots.lines(CURVES, "x", "y", by="kind", facet="layer", log="x", names={0: "layer 0"})
    assert len(fig.data) == 4 and [t.name for t in fig.data if t.showlegend] == ["a", "b"]
    assert {t.xaxis for t in fig.data} == {"x", "x2"}
    titles = [a for a in fig.layout.annotations if a.xref == "x domain"]
    assert titles[0].text == "<b>layer 0</b>" and titles[0].yref == "y domain"
    assert fig.layout.xaxis.type == fig.layout.xaxis2.type == "log"
    assert list(fig.layout.xaxis.ticktext)[:3] == ["1", "10", "100"]


def test_bands_dashes_symbols_and_split_lines():
    table = CURVES.assign(low=CURVES["y"] - 0.1, high=np.where(CURVES["kind"] == "a", CURVES["y"] + 0.1, np.nan))
    fig = plots.lines(
        table, "x", "y", by="kind", low="low", high="high", band=True, dash="layer", names={0: "first", 1: "second"}
    )
    bands = [t for t in fig.data if t.fill == "toself"]
    assert len(bands) == 2 and len(bands[0].x) == 6, "only the kind with an interval has bands"
    assert {t.line.dash for t in fig.data if t.name == "a" and t.fill is None} == {"solid", "dash"}
    assert [t.name for t in fig.data if t.showlegend] == ["a", "b", "first", "second"]
    marked = plots.lines(CURVES, "x", "y", by="kind", split="layer", symbols={"b": "diamond"})
    assert [t.line.width for t in traces(marked, "a")] == [2.5, 1]
    assert {t.mode for t in traces(marked, "b")} == {"markers"}


def test_points_with_words_on_an_axis_and_on_hovering():
    table = GROUPS.assign(says="more")
    fig = plots.points(table, "layer", "share", by="which", low="low", high="high", hover="says", symbols={"real": "x"})
    assert fig.data[0].marker.symbol == "x" and "%{text}" in fig.data[0].hovertemplate
    assert fig.layout.xaxis.type == "category" and fig.data[0].error_y.array[0] == pytest.approx(0.1)
