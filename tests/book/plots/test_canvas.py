"""What all figures share: colours, panels, choices, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plotted import CURVES, GROUPS

from biosae_utils.book import plots
from biosae_utils.book.figures import OKABE_ITO
from biosae_utils.errors import BiosaeError


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


def test_numbers_come_by_size_and_say_whose_they_are():
    table = pd.DataFrame({"x": [0, 1] * 3, "y": range(6), "layer": [2, 2, 10, 10, 1, 1]})
    assert [t.name for t in plots.lines(table, "x", "y", by="layer").data] == ["layer 1", "layer 2", "layer 10"]
    titles = [a.text for a in plots.lines(table, "x", "y", facet="layer", names={2: "middle"}).layout.annotations]
    assert titles == ["<b>middle</b>", "<b>layer 1</b>", "<b>layer 10</b>"]
    assert list(plots.heatmap(table, "layer", "x", "y").data[0].x) == ["1", "2", "10"]
