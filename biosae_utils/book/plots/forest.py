"""Forest plot: numbers with intervals, one a line, each against its control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd

from biosae_utils.book.figures import ACCENT, CONTROL, OKABE_ITO, REAL
from biosae_utils.book.plots.canvas import Canvas, Look, whiskers

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = ("label", "value", "low", "high", "control", "verdict", "hover")
OPTIONAL = ("control_low", "control_high", "published")
VERDICT_COLOURS = {"supported": REAL, "trivial": OKABE_ITO[4], "not_supported": ACCENT}
LINE = 24


def forest(table: pd.DataFrame, **look: Unpack[Look]) -> Figure:
    """Value with its interval (coloured by verdict) against the control (grey cross) and a published value (diamond).

    Parameters
    ----------
    table : DataFrame
        One row a claim: `label`, `value`, `low`, `high`, `control`, `verdict`, `hover`; where there are some,
        `control_low`, `control_high` and `published`.
    **look : Look
        `names` says what a verdict is called.

    Raises
    ------
    BiosaeError
        The table is empty, or lacks a column.
    """
    import plotly.graph_objects as go

    labels = list(dict.fromkeys(table["label"])) if "label" in table else []
    look = {"colours": VERDICT_COLOURS, "height": 150 + LINE * len(labels), "xtitle": "", "ytitle": "", **look}
    canvas = Canvas(
        table.assign(**{c: float("nan") for c in OPTIONAL if c not in table}), COLUMNS, by="verdict", look=look
    )
    at = {"panel": 0, "view": None}
    ends = {"x": table[["control", "value"]].assign(gap=float("nan")).to_numpy().ravel(), "y": table["label"].repeat(3)}
    thread = {"color": "rgba(127,127,127,.45)", "width": 1}
    canvas.add(go.Scatter(**ends, mode="lines", line=thread, hoverinfo="skip"), "thread", at, legend=False)

    def dots(rows: pd.DataFrame, column: str, marker: dict[str, Any]) -> Any:
        says = {"hovertext": rows["hover"], "hoverinfo": "text"}
        return go.Scatter(x=rows[column], y=rows["label"], mode="markers", marker=marker, **says)

    whole = canvas.table
    control = dots(whole, "control", {"color": CONTROL, "symbol": "x", "size": 8})
    control.error_x = whiskers(whole["control"], whole["control_low"], whole["control_high"])
    canvas.add(control, "control", at)
    for verdict, rows in canvas.groups(whole):
        trace = dots(rows, "value", {"color": canvas.colours.get(verdict), "size": 9})
        trace.error_x = whiskers(rows["value"], rows["low"], rows["high"])
        canvas.add(trace, verdict, at)
    if (stated := whole[whole["published"].notna()]).shape[0]:
        canvas.add(
            dots(stated, "published", {"symbol": "diamond-open", "size": 10, "color": OKABE_ITO[1]}), "published", at
        )
    fig = canvas.finish()
    order = {"type": "category", "categoryorder": "array", "categoryarray": labels[::-1], "dtick": None}
    return fig.update_yaxes(**order, range=[-0.7, len(labels) - 0.3], tickfont={"size": 11})
