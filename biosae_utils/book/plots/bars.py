"""Bars: grouped, stacked, or stacked within groups; upright or lying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd

from biosae_utils.book.figures import ACCENT, CONTROL
from biosae_utils.book.plots.canvas import Canvas, Look, whiskers

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PATTERNS = ("", "/", ".", "x")


def bars(
    table: pd.DataFrame,
    x: str,
    y: str,
    by: str | None = None,
    *,
    low: str | None = None,
    high: str | None = None,
    dash: str | None = None,
    dash_name: str = "",
    hatch: str | None = None,
    text: str | None = None,
    facet: str | None = None,
    choice: str | None = None,
    stacked: bool = False,
    horizontal: bool = False,
    **look: Unpack[Look],
) -> Figure:
    """Bars of `y` at each `x`, side by side for each value of `by`.

    Parameters
    ----------
    table : DataFrame
        One row a bar.
    x, y : str
        Column that says where a bar stands (categories, or few whole numbers), and how long it is.
    by, facet, choice : str, optional
        Columns that give the colour, the panel, and the view that a button shows.
    low, high : str, optional
        Columns with the ends of the interval of `y`; drawn as whiskers, left out where missing.
    dash : str, optional
        Column with a level to compare each bar with; drawn as a dash across the bar, left out where missing.
    dash_name : str
        What the dash is, for the legend and on hovering.
    hatch : str, optional
        Column whose values are stacked within a bar, in order, told apart by hatching; the first has none.
    text : str, optional
        d3 format in which the value is written at the end of each bar, for instance ".0%".
    stacked : bool
        Stack the values of `by` instead of setting them side by side.
    horizontal : bool
        Lay the bars down, first row at the top, for long names: `x` then runs down the page.
    **look : Look

    Raises
    ------
    BiosaeError
        The table is empty, or lacks a column.
    """
    import plotly.graph_objects as go

    columns, width = [x, y, low, high, dash, hatch], 30 if horizontal else 13
    left = width if horizontal else 0
    canvas = Canvas(table, columns, by=by, facet=facet, choice=choice, left=left, look=look)
    says = canvas.categories(x, width)
    order = list(says.values())
    along, across = ("y", "x") if horizontal else ("x", "y")
    named: set[Any] = set()
    for at, part in canvas.parts():
        for key, group in canvas.groups(part):
            base = pd.Series(0.0, index=pd.Index(order))
            group_name = "all" if stacked else str(key)
            for i, (layer, rows) in enumerate(_layers(canvas, group, hatch)):
                where = rows[x].map(says).tolist()
                bar = go.Bar(orientation="h" if horizontal else "v", offsetgroup=group_name)
                bar.update(
                    {along: where, across: rows[y], f"error_{across}": whiskers(rows[y], *_ends(rows, low, high))}
                )
                bar.marker.update(color=canvas.colours.get(key), opacity=1 if i == 0 else 0.55)
                if hatch is not None:
                    bar.update(base=base[where].to_numpy() if i else None)
                    bar.marker.pattern.shape = PATTERNS[i % len(PATTERNS)]
                    base.loc[where] += rows[y].to_numpy()
                if hatch is not None:
                    bar.hovertemplate = f"{canvas.shown(layer)}: %{{{across}}}"
                canvas.add(bar, key, at)
            if text is not None:
                ends = group[high].fillna(group[y]) if high is not None else group[y]
                written = _texts(group[x].map(says).tolist(), ends, group[y], along, across, group_name, text)
                canvas.add(written, key, at, legend=False)
            if dash is not None and group[dash].notna().any():
                rows = group[group[dash].notna()]
                where = rows[x].map(says).tolist()
                level = _dashes(where, rows[dash], along, across, group_name)
                canvas.add(level, key, at, legend=False, name=dash_name or dash)
                canvas.fig.data[-1].update(showlegend=(at["view"] not in named), legendgroup="dash", legendrank=2000)
                named.add(at["view"])
    for i, layer in enumerate(canvas.order(hatch)[1:] if hatch else [], start=1):
        marker = {"color": CONTROL, "opacity": 0.55, "pattern": {"shape": PATTERNS[i % len(PATTERNS)]}}
        canvas.entry(go.Bar(x=[None], y=[None], marker=marker), layer, str(hatch))
    fig = canvas.finish(**{along: x, across: y}, barmode="stack" if stacked else "group", scattermode="group")
    kind = {"type": "category", "categoryorder": "array", "categoryarray": order}
    (fig.update_yaxes if horizontal else fig.update_xaxes)(**kind, dtick=None)
    if horizontal:
        fig.update_yaxes(autorange="reversed")
    return fig


def _layers(canvas: Canvas, group: pd.DataFrame, hatch: str | None) -> list[tuple[Any, pd.DataFrame]]:
    """What is stacked within the bars of a group."""
    if hatch is None:
        return [(None, group)]
    return [(v, group[group[hatch] == v]) for v in canvas.order(hatch) if (group[hatch] == v).any()]


def _ends(rows: pd.DataFrame, low: str | None, high: str | None) -> tuple[pd.Series | None, pd.Series | None]:
    return (None, None) if low is None or high is None else (rows[low], rows[high])


def _texts(where: list[str], ends: Any, level: Any, along: str, across: str, group: str, format: str) -> Any:
    """Values of a group of bars, each beyond the whisker of its bar."""
    import plotly.graph_objects as go

    side = "top center" if across == "y" else "middle right"
    look = {"mode": "text", "textposition": side, "cliponaxis": False, "hoverinfo": "skip", "offsetgroup": group}
    look["orientation"] = "h" if across == "x" else "v"
    template = f" %{{customdata:{format}}} "
    return go.Scatter(**{along: where, across: ends}, customdata=level, texttemplate=template, **look)


def _dashes(where: list[str], level: pd.Series, along: str, across: str, group: str) -> Any:
    """Dashes across the bars of a group."""
    import plotly.graph_objects as go

    turned = "h" if across == "x" else "v"
    symbol = "line-ew-open" if across == "y" else "line-ns-open"
    marker = {"symbol": symbol, "size": 14, "color": ACCENT, "line": {"width": 3, "color": ACCENT}}
    return go.Scatter(
        **{along: where, across: level}, mode="markers", marker=marker, offsetgroup=group, orientation=turned
    )
