"""Figures from tidy tables: what is drawn, where, in which colour, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from biosae_utils.book import plots
from biosae_utils.book.figures import CONTROL, OKABE_ITO, REAL
from biosae_utils.errors import BiosaeError

GROUPS = pd.DataFrame(
    {
        "layer": ["layer 0", "layer 0", "layer 1", "layer 1"],
        "which": ["real", "chance", "real", "chance"],
        "share": [0.6, 0.2, 0.5, 0.1],
        "low": [0.5, np.nan, 0.4, np.nan],
        "high": [0.7, np.nan, 0.7, np.nan],
        "matched": [0.3, np.nan, 0.3, np.nan],
    }
)
CURVES = pd.DataFrame(
    {
        "x": np.tile([1.0, 10.0, 100.0], 4),
        "y": np.linspace(0.1, 0.9, 12),
        "kind": np.repeat(["a", "b"], 6),
        "layer": np.tile(np.repeat([0, 1], 3), 2),
    }
)


def traces(fig, name: str) -> list:
    return [t for t in fig.data if t.name == name]


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


def test_lines_of_a_panel_each_with_one_legend_entry():
    fig = plots.lines(CURVES, "x", "y", by="kind", facet="layer", log="x", names={0: "layer 0"})
    assert len(fig.data) == 4 and [t.name for t in fig.data if t.showlegend] == ["a", "b"]
    assert {t.xaxis for t in fig.data} == {"x", "x2"}
    titles = [a for a in fig.layout.annotations if a.xref == "x domain"]
    assert titles[0].text == "<b>layer 0</b>" and titles[0].yref == "y domain"
    assert fig.layout.xaxis.type == fig.layout.xaxis2.type == "log"
    assert list(fig.layout.xaxis.ticktext)[:3] == ["1", "10", "100"]


def test_a_reference_line_on_a_logarithmic_axis_and_its_name_are_at_the_same_place():
    fig = plots.lines(CURVES, "x", "y", log="x", xmarks=[(10.0, "here")])
    line, text = fig.layout.shapes[0], fig.layout.annotations[0]
    assert line.x0 == line.x1 == 10.0 and text.x == pytest.approx(1.0) and text.text == "here"
    linear = plots.lines(CURVES, "x", "y", xmarks=[(10.0, "here")])
    assert linear.layout.shapes[0].x0 == linear.layout.annotations[0].x == 10.0


def test_ranges_are_data_values_on_any_scale():
    fig = plots.lines(CURVES, "x", "y", log="x", xrange=(1, 1000), yrange=(0, None))
    assert list(fig.layout.xaxis.range) == [0.0, 3.0] and list(fig.layout.yaxis.range) == [0, None]


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


def test_histogram_stores_counts_and_not_values():
    table = pd.DataFrame({"v": np.r_[np.zeros(70), np.ones(30), np.nan], "set": ["t"] * 60 + ["h"] * 41})
    fig = plots.histogram(table, "v", by="set", bins=[-0.5, 0.5, 1.5], stacked=True)
    assert [list(t.y) for t in fig.data] == [[60, 0], [10, 30]]
    assert list(fig.data[0].x) == [0.0, 1.0] and fig.layout.barmode == "stack"


def test_boxes_of_values_and_of_quantiles():
    raw = plots.boxes(GROUPS, "which", "share", by="which", horizontal=True, dots=True)
    assert list(raw.data[0].x) == [0.6, 0.5] and raw.data[0].boxpoints == "all" and not raw.layout.showlegend
    names = ["q0", "q1", "q2", "q3", "q4"]
    table = pd.DataFrame([["a", 1, 2, 3, 4, 500]], columns=["k", *names])
    fig = plots.boxes(table, "k", quantiles=names, log="y")
    assert fig.data[0].q1[0] == 2 and fig.data[0].upperfence[0] == 500
    assert {"1", "10", "100"} <= set(fig.layout.yaxis.ticktext)


def test_two_kinds_share_a_violin_and_many_values_are_thinned():
    table = pd.DataFrame({"layer": "layer 0", "which": np.repeat(["a", "b"], 5_000), "v": np.linspace(0, 1, 10_000)})
    fig = plots.violins(table, "layer", "v", by="which")
    assert [t.side for t in fig.data] == ["negative", "positive"] and len(fig.data[0].y) == 5_000 / 3 // 1 + 1
    assert fig.layout.violinmode == "overlay"


def test_heatmap_writes_numbers_keeps_gaps_and_shares_a_scale():
    table = pd.DataFrame({"a": [0, 0, 1], "b": [0, 1, 1], "z": [0.5, 0.25, 1.0], "by": ["p", "p", "q"]})
    fig = plots.heatmap(table, "a", "b", "z", format=".0%", facet="by")
    assert fig.data[0].z.tolist()[1] == [0.25, pytest.approx(math.nan, nan_ok=True)]
    assert fig.data[0].texttemplate == "%{z:.0%}" and fig.layout.yaxis.autorange == "reversed"
    assert [t.showscale for t in fig.data] == [True, False] and {t.zmax for t in fig.data} == {1.0}
    own = plots.heatmap(table, "a", "b", "z", facet="by", own_scale=True)
    assert [t.zmax for t in own.data] == [0.5, 1.0]


def test_forest_shows_value_control_and_both_intervals():
    table = pd.DataFrame(
        {
            "label": ["one", "two"], "value": [3.0, 1.0], "low": [2.0, 0.5], "high": [4.0, 1.5], "control": [1.0, 1.0],
            "control_low": [0.5, np.nan], "control_high": [1.5, np.nan], "verdict": ["supported", "not_supported"],
            "hover": "h",
        }
    )  # fmt: skip
    fig = plots.forest(table, names={"not_supported": "not supported"})
    control = traces(fig, "control")[0]
    assert list(control.x) == [1.0, 1.0] and control.error_x.array[0] == 0.5
    assert traces(fig, "supported")[0].error_x.arrayminus[0] == 1.0 and traces(fig, "not supported")
    assert fig.layout.yaxis.categoryarray == ("two", "one") and not traces(fig, "published")
    assert fig.layout.yaxis.range == (-0.7, 1.7)  # a long forest has no wide margins


def test_a_choice_shows_one_view_and_names_its_keys_once_in_each():
    table = pd.concat([GROUPS.assign(sets="GO"), GROUPS.assign(sets="all")])
    fig = plots.bars(table, "layer", "share", by="which", choice="sets")
    assert [t.visible for t in fig.data] == [False, False, True, True] and all(t.showlegend for t in fig.data)
    buttons = fig.layout.updatemenus[0].buttons
    assert [b.label for b in buttons] == ["GO", "all"] and buttons[0].args[0]["visible"] == [True, True, False, False]


def test_many_keys_get_an_ordered_scale_and_few_the_palette():
    many = pd.DataFrame({"x": np.tile([0, 1], 12), "y": np.arange(24), "layer": np.repeat(np.arange(12), 2)})
    colours = [t.line.color for t in plots.lines(many, "x", "y", by="layer").data]
    assert len(set(colours)) == 12 and colours[0] == "rgb(0,114,178)" and colours[-1] == "rgb(213,94,0)"
    few = [t.line.color for t in plots.lines(many[many["layer"] < 2], "x", "y", by="layer").data]
    assert few == list(OKABE_ITO[:2])


def test_panels_wrap_and_only_the_outer_ones_have_titles():
    table = pd.concat([CURVES.assign(part=f"part {i}") for i in range(3)])
    fig = plots.lines(table, "x", "y", by="kind", facet="part", ytitle="how much")
    assert (
        fig.layout.yaxis.title.text == fig.layout.yaxis3.title.text == "how much"
        and fig.layout.yaxis2.title.text is None
    )
    assert fig.layout.xaxis.title.text is None and fig.layout.xaxis2.title.text == fig.layout.xaxis3.title.text == "x"
    assert fig.layout.xaxis4.visible is False and fig.layout.height > 600


@pytest.mark.parametrize(
    "draw",
    [
        lambda t: plots.bars(t, "layer", "nothing"),
        lambda t: plots.lines(t, "nothing", "share"),
        lambda t: plots.points(t, "share", "low", by="nothing"),
        lambda t: plots.histogram(t, "nothing"),
        lambda t: plots.boxes(t, "layer", "nothing"),
        lambda t: plots.violins(t, "layer", "share", facet="nothing"),
        lambda t: plots.heatmap(t, "layer", "which", "nothing"),
        lambda t: plots.forest(t),
    ],
)
def test_unknown_columns_are_refused_with_those_there_are(draw):
    with pytest.raises(BiosaeError, match="use one of layer, which, share"):
        draw(GROUPS)


def test_empty_tables_and_unknown_options_are_refused():
    with pytest.raises(BiosaeError, match="empty table"):
        plots.bars(GROUPS.head(0), "layer", "share")
    with pytest.raises(BiosaeError, match="no option 'titel'"):
        plots.bars(GROUPS, "layer", "share", titel="Bars")
