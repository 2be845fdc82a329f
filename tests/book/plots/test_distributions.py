"""Histograms, boxes and violins."""

from __future__ import annotations

import numpy as np
import pandas as pd
from plotted import GROUPS

from biosae_utils.book import plots


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
