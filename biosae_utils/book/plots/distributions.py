"""Distributions: histograms of binned counts, boxes, and split violins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
import pandas as pd

from biosae_utils.book.plots.canvas import Canvas, Look

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST = 2_000
"""Values of one violin that a page stores; of more, every n-th in order is kept."""


def histogram(
    table: pd.DataFrame,
    x: str,
    by: str | None = None,
    *,
    bins: int | Sequence[float] = 40,
    count: str | None = None,
    stacked: bool = False,
    facet: str | None = None,
    choice: str | None = None,
    **look: Unpack[Look],
) -> Figure:
    """How many rows lie in each bin of `x`. The page stores counts, not values.

    Parameters
    ----------
    table : DataFrame
        One row a value; missing values are not counted.
    x : str
        Column of the values.
    by, facet, choice : str, optional
        Columns that give the colour, the panel, and the view that a button shows.
    bins : int or sequence of float
        Number of bins over the range of all values, or their edges. Values beyond the edges are not counted.
    count : str, optional
        Column with how often a row counts.
    stacked : bool
        Stack the values of `by` instead of laying them over each other.
    **look : Look

    Raises
    ------
    BiosaeError
        The table is empty, or lacks a column.
    """
    import plotly.graph_objects as go

    canvas = Canvas(table, [x, count], by=by, facet=facet, choice=choice, look=look)
    edges = np.histogram_bin_edges(table[x].dropna(), bins) if isinstance(bins, int) else np.asarray(bins, float)
    for at, part in canvas.parts():
        for key, rows in canvas.groups(part):
            rows = rows[rows[x].notna()]
            counts, _ = np.histogram(rows[x], edges, weights=None if count is None else rows[count])
            ends = [f"{a:.3g} to {b:.3g}" for a, b in pairwise(edges)]
            bar = go.Bar(x=(edges[1:] + edges[:-1]) / 2, y=counts, width=np.diff(edges), customdata=ends)
            bar.update(marker={"color": canvas.colours.get(key), "opacity": 1 if stacked or by is None else 0.7})
            bar.update(hovertemplate="%{customdata}: %{y:,}")
            canvas.add(bar, key, at)
    return canvas.finish(x=x, y="rows" if count is None else count, barmode="stack" if stacked else "overlay", bargap=0)


def boxes(
    table: pd.DataFrame,
    x: str,
    y: str | None = None,
    by: str | None = None,
    *,
    quantiles: Sequence[str] | None = None,
    dots: bool = False,
    horizontal: bool = False,
    facet: str | None = None,
    choice: str | None = None,
    **look: Unpack[Look],
) -> Figure:
    """Boxes of `y` for each `x`, side by side for each value of `by`.

    Parameters
    ----------
    table : DataFrame
        One row a value; with `quantiles`, one row a box.
    x : str
        Column of the categories.
    y : str, optional
        Column of the values; not needed with `quantiles`.
    by, facet, choice : str, optional
        Columns that give the colour, the panel, and the view that a button shows.
    quantiles : sequence of five str, optional
        Columns with lower whisker, lower quartile, median, upper quartile and upper whisker.
    dots : bool
        Show every value over its box.
    horizontal : bool
        Lay the boxes down, first category at the top.
    **look : Look

    Raises
    ------
    BiosaeError
        The table is empty, or lacks a column.
    """
    import plotly.graph_objects as go

    needed: Sequence[str | None] = quantiles or [y]
    canvas = Canvas(table, [x, *needed], by=by, facet=facet, choice=choice, look=look)
    along, across = ("y", "x") if horizontal else ("x", "y")
    says = canvas.categories(x, 18)
    for at, part in canvas.parts():
        for key, rows in canvas.groups(part):
            box = go.Box(
                orientation="h" if horizontal else "v", marker={"color": canvas.colours.get(key)}, offsetgroup=str(key)
            )
            box.update({along: rows[x].map(says).tolist()})
            if quantiles is None:
                box.update({across: rows[y], "boxpoints": "all" if dots else "outliers", "jitter": 0.5})
                box.pointpos = 0 if dots else None
            else:
                names = ("lowerfence", "q1", "median", "q3", "upperfence")
                box.update({n: rows[c] for n, c in zip(names, quantiles, strict=True)})
            canvas.add(box, key, at)
    fig = canvas.finish(**{along: x, across: y or ""}, boxmode="overlay" if by in (None, x) else "group")
    kind = {"type": "category", "categoryorder": "array", "categoryarray": list(says.values())}
    (fig.update_yaxes(autorange="reversed", **kind) if horizontal else fig.update_xaxes(**kind))
    if by == x:
        fig.update_layout(showlegend=False)
    return fig


def violins(
    table: pd.DataFrame,
    x: str,
    y: str,
    by: str | None = None,
    *,
    facet: str | None = None,
    choice: str | None = None,
    **look: Unpack[Look],
) -> Figure:
    """Density of `y` for each `x`; two values of `by` share a violin, the first on its left half.

    Parameters
    ----------
    table : DataFrame
        One row a value.
    x, y : str
        Columns of the categories and of the values.
    by, facet, choice : str, optional
        Columns that give the colour, the panel, and the view that a button shows.
    **look : Look

    Raises
    ------
    BiosaeError
        The table is empty, or lacks a column.
    """
    import plotly.graph_objects as go

    canvas = Canvas(table, [x, y], by=by, facet=facet, choice=choice, look=look)
    says = canvas.categories(x, 18)
    sides: dict[Any, Literal["negative", "positive"]] = {}
    if len(canvas.keys) == 2:
        sides = {canvas.keys[0]: "negative", canvas.keys[1]: "positive"}
    for at, part in canvas.parts():
        for key, rows in canvas.groups(part):
            rows = rows[rows[y].notna()]
            kept = pd.concat(
                [own.iloc[:: -(-len(own) // MOST)] for _, own in rows.groupby(x, sort=False, observed=True)]
            )
            violin = go.Violin(x=kept[x].map(says).tolist(), y=kept[y], side=sides.get(key, "both"))
            violin.update(line={"color": canvas.colours.get(key)}, points=False, spanmode="hard", scalegroup=str(key))
            violin.update(meanline={"visible": True}, hoverinfo="y+name")
            canvas.add(violin, key, at)
    fig = canvas.finish(x=x, y=y, violinmode="overlay" if sides else "group")
    return fig.update_xaxes(type="category", categoryorder="array", categoryarray=list(says.values()))
