"""Heatmaps: numbers, gaps, scales."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from biosae_utils.book import plots


def test_heatmap_writes_numbers_keeps_gaps_and_shares_a_scale():
    table = pd.DataFrame({"a": [0, 0, 1], "b": [0, 1, 1], "z": [0.5, 0.25, 1.0], "by": ["p", "p", "q"]})
    fig = plots.heatmap(table, "a", "b", "z", format=".0%", facet="by")
    assert fig.data[0].z.tolist()[1] == [0.25, pytest.approx(math.nan, nan_ok=True)]
    assert fig.data[0].texttemplate == "%{z:.0%}" and fig.layout.yaxis.autorange == "reversed"
    assert [t.showscale for t in fig.data] == [True, False] and {t.zmax for t in fig.data} == {1.0}
    own = plots.heatmap(table, "a", "b", "z", facet="by", own_scale=True)
    assert [t.zmax for t in own.data] == [0.5, 1.0]
