"""Heatmaps of a number over two categorical keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import pandas as pd

from biosae_utils.book.plots.canvas import Canvas, Look

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_WITH_TEXT = 12
"""Columns up to which the number is written into a field."""


def heatmap(
    table: pd.DataFrame,
    x: str,
    y: str,
    z: str,
    *,
    format: str = ".2~f",
    ztitle: str = "",
    zrange: tuple[float, float] | None = None,
    own_scale: bool = False,
    facet: str | None = None,
    choice: str | None = None,
    **look: Unpack[Look],
) -> Figure:
    """Fields coloured by `z` over `x` and `y`, both read as categories, the first `y` at the top.

    Parameters
    ----------
    table : DataFrame
        One row a field; pairs that are missing stay empty.
    x, y, z : str
        Columns of the two keys and of the number.
    facet, choice : str, optional
        Columns that give the panel, and the view that a button shows.
    format : str
        d3 format of the number in its field and on hovering, for instance ".0%". Fields of wide grids hold no number.
    ztitle : str
        Title of the colour bar.
    zrange : (float, float), optional
        Ends of the colour scale; those of the data when not given.
    own_scale : bool
        Give every panel a colour scale of its own.
    **look : Look

    Raises
    ------
    BiosaeError
        The table is empty, or lacks a column.
    """
    import plotly.graph_objects as go

    canvas = Canvas(table, [x, y, z], facet=facet, choice=choice, look=look)
    columns, rows = canvas.categories(x, 18), canvas.categories(y, 30)
    for at, part in canvas.parts():
        grid = part.pivot(index=y, columns=x, values=z).reindex(index=list(rows), columns=list(columns))
        field = go.Heatmap(
            z=grid.to_numpy(float),
            x=list(columns.values()),
            y=list(rows.values()),
            texttemplate=f"%{{z:{format}}}" if len(columns) <= MOST_WITH_TEXT else None,
            hovertemplate=f"%{{y}}, %{{x}}: %{{z:{format}}}<extra></extra>",
            hoverongaps=False,
            xgap=1,
            ygap=1,
        )
        shared = not own_scale or len(canvas.facets) == 1
        low, high = zrange or _ends(table[z] if shared else part[z])
        # one bar serves all panels; with scales of their own, numbers and hovering tell what a colour means
        bar = {"title": {"text": ztitle, "side": "right"}, "tickformat": format, "thickness": 14, "outlinewidth": 0}
        field.update(zmin=low, zmax=high, showscale=shared and at["panel"] == 0, colorbar=bar, colorscale="Cividis")
        canvas.add(field, None, at)
    fig = canvas.finish(x=x, y=y)
    fig.update_xaxes(type="category", showgrid=False, dtick=None)
    return fig.update_yaxes(type="category", showgrid=False, dtick=None, autorange="reversed")


def _ends(column: pd.Series) -> tuple[float, float]:
    """Ends of a colour scale: from zero for numbers that are not negative."""
    return min(0.0, float(column.min())), float(column.max())
