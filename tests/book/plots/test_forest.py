"""Forests: value, control, and the interval of each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from plotted import traces

from biosae_utils.book import plots


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
