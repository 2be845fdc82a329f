"""Lines and points over two axes of numbers, with whiskers or bands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd

from biosae_utils.book.figures import CONTROL
from biosae_utils.book.plots.canvas import Canvas, Look, whiskers

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

DASHES = ("solid", "dash", "dot", "dashdot")


def lines(
    table: pd.DataFrame,
    x: str,
    y: str,
    by: str | None = None,
    *,
    low: str | None = None,
    high: str | None = None,
    band: bool = False,
    dash: str | None = None,
    split: str | None = None,
    symbols: Mapping[Any, str] | None = None,
    markers: bool = False,
    steps: bool = False,
    hover: str | None = None,
    facet: str | None = None,
    choice: str | None = None,
    **look: Unpack[Look],
) -> Figure:
    """Lines of `y` over `x`, one colour for each value of `by`.

    Parameters
    ----------
    table : DataFrame
        One row a point, in the order in which points are joined. A missing `y` leaves a gap.
    x, y : str
        Columns of the axes.
    by, facet, choice : str, optional
        Columns that give the colour, the panel, and the view that a button shows.
    low, high : str, optional
        Columns with the ends of the interval of `y`.
    band : bool
        Draw the interval as a band instead of as whiskers; rows without it have none.
    dash : str, optional
        Column whose values, in order, are drawn solid, dashed, dotted; the legend names them apart from the colours.
    split : str, optional
        Column that splits a colour into several lines, the first thick and the others thin.
    symbols : mapping, optional
        Values of `by` that are drawn as points on top of the lines -> the symbol.
    markers : bool
        Whether to mark each point of a line.
    steps : bool
        Draw steps, as of a histogram.
    hover : str, optional
        Column with what hovering over a point says beside its values.
    **look : Look

    Raises
    ------
    BiosaeError
        The table is empty, or lacks a column.
    """
    import plotly.graph_objects as go

    canvas = Canvas(table, [x, y, low, high, dash, split, hover], by=by, facet=facet, choice=choice, look=look)
    dashes, symbols = canvas.order(dash), symbols or {}
    for at, part in canvas.parts():
        for key, group in canvas.groups(part):
            colour = canvas.colours.get(key)
            for number, (style, rows) in enumerate(_pieces(group, dash, split, dashes)):
                ends = rows[[low, high]].notna().all(axis=1) if low and high else None
                if band and low and high and ends is not None and ends.any():
                    canvas.add(_band(rows[ends], x, low, high, colour), key, at, legend=False)
                trace = go.Scatter(x=rows[x], y=rows[y], mode="lines", **_hover(rows, hover))
                if key in symbols:
                    trace.update(mode="markers", marker={"color": colour, "size": 11, "symbol": symbols[key]})
                else:
                    width = 2.5 if number == 0 or split is None else 1
                    trace.line.update(color=colour, width=width, dash=style, shape="hvh" if steps else "linear")
                    if markers:
                        trace.update(mode="lines+markers", marker={"size": 6})
                if ends is not None and not band:
                    trace.error_y = whiskers(rows[y], rows[low], rows[high])
                canvas.add(trace, key, at)
    if dash is not None:
        for value, style in zip(dashes, DASHES, strict=False):
            line = {"color": CONTROL, "dash": style, "width": 2.5}
            canvas.entry(go.Scatter(x=[None], y=[None], mode="lines", line=line), value, dash)
    return canvas.finish(x=x, y=y)


def points(
    table: pd.DataFrame,
    x: str,
    y: str,
    by: str | None = None,
    *,
    low: str | None = None,
    high: str | None = None,
    hover: str | None = None,
    symbols: Mapping[Any, str] | None = None,
    size: float = 7,
    facet: str | None = None,
    choice: str | None = None,
    **look: Unpack[Look],
) -> Figure:
    """Points at (`x`, `y`), one colour for each value of `by`; values that come first lie below.

    Parameters
    ----------
    table : DataFrame
        One row a point.
    x, y : str
        Columns of the axes; `x` may hold categories.
    by, facet, choice : str, optional
        Columns that give the colour, the panel, and the view that a button shows.
    low, high : str, optional
        Columns with the ends of the interval of `y`; no whiskers where they are missing.
    hover : str, optional
        Column with what hovering over a point says beside its values.
    symbols : mapping, optional
        Value of `by` -> symbol of its points.
    size : float
        Diameter of a point in pixels.
    **look : Look

    Raises
    ------
    BiosaeError
        The table is empty, or lacks a column.
    """
    import plotly.graph_objects as go

    canvas = Canvas(table, [x, y, low, high, hover], by=by, facet=facet, choice=choice, look=look)
    says = None if pd.api.types.is_numeric_dtype(table[x]) else canvas.categories(x, 18)
    for at, part in canvas.parts():
        for key, rows in canvas.groups(part):
            where = rows[x] if says is None else rows[x].map(says).tolist()
            marker = {"color": canvas.colours.get(key), "size": size, "symbol": (symbols or {}).get(key, "circle")}
            trace = go.Scatter(x=where, y=rows[y], mode="markers", marker=marker, **_hover(rows, hover))
            trace.marker.opacity = 0.75 if len(rows) > 100 else 1
            if low and high:
                trace.error_y = whiskers(rows[y], rows[low], rows[high])
            canvas.add(trace, key, at)
    fig = canvas.finish(x=x, y=y)
    if says is not None:
        fig.update_xaxes(type="category", categoryorder="array", categoryarray=list(says.values()))
    return fig


def _pieces(
    group: pd.DataFrame, dash: str | None, split: str | None, dashes: list[Any]
) -> list[tuple[str, pd.DataFrame]]:
    """Lines of one colour, each with its dash."""
    keys = [c for c in (dash, split) if c is not None]
    if not keys:
        return [("solid", group)]
    style = dict(zip(dashes, DASHES, strict=False)) if dash else {}
    pieces = group.groupby(keys, sort=False, observed=True)
    return [(style.get(key[0], "solid") if dash else "solid", rows) for key, rows in pieces]


def _band(rows: pd.DataFrame, x: str, low: str, high: str, colour: str | None) -> Any:
    """A filled band between two columns."""
    import plotly.graph_objects as go

    outline = {"x": np.r_[rows[x], rows[x][::-1]], "y": np.r_[rows[high], rows[low][::-1]]}
    look = {"fill": "toself", "fillcolor": colour, "line": {"width": 0}, "opacity": 0.22, "hoverinfo": "skip"}
    return go.Scatter(**outline, mode="lines", **look)


def _hover(rows: pd.DataFrame, hover: str | None) -> dict[str, Any]:
    if hover is None:
        return {}
    return {"text": rows[hover].astype(str), "hovertemplate": "%{text}<br>%{x}: %{y}<extra></extra>"}
