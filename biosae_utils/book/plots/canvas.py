"""What all figures share: checked columns, colours, panels, axes, legend, reference lines, and a choice of views."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import pandas as pd

from biosae_utils.book.figures import OKABE_ITO, use_template
from biosae_utils.errors import BiosaeError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

RAMP = ("#0072B2", "#CC79A7", "#D55E00")
"""Ends and middle of the colours of a key with more than seven values; all are readable on white and on black."""

PANEL, GAP, LINE = 290, 62, 20
"""Height of a panel, of what lies between two rows of panels, and of a line of a panel's title, in pixels."""


class Look(TypedDict, total=False):
    """Options that every kind of figure takes.

    Attributes
    ----------
    colours : mapping
        Value of `by` -> colour; values that are not in it get the house's colours in order.
    names : mapping
        Value of a key or of a categorical axis -> what the figure says; others say themselves. Values come in the
        order of `colours` and `names`, then numbers by size and words as in the table.
    xtitle, ytitle : str
        Titles of the axes; the column's name when not given.
    log : str
        Axes that are logarithmic: "x", "y" or "xy".
    percent : str
        Axes whose values are shares and are written in percent: "x", "y" or "xy".
    xrange, yrange : pair of float
        Ends of the axes, as data values, also on a logarithmic axis. None leaves an end free.
    zero : str
        Axes that begin at 0 although no bar stands on them.
    xmarks, ymarks : sequence of (float, str)
        Reference lines: where, as a data value, and what the line is.
    own : str
        Axes that each panel has of its own; the other ones are shared between panels.
    columns : int
        Panels side by side, at most.
    height : int
        Height of the figure in pixels.
    """

    colours: Mapping[Any, str]
    names: Mapping[Any, str]
    xtitle: str
    ytitle: str
    log: str
    percent: str
    xrange: tuple[float | None, float | None]
    yrange: tuple[float | None, float | None]
    zero: str
    xmarks: Sequence[tuple[float, str]]
    ymarks: Sequence[tuple[float, str]]
    own: str
    columns: int
    height: int


def check(table: pd.DataFrame, *columns: str | None) -> None:
    """Refuse an empty table, and a column that it does not have."""
    missing = [c for c in columns if c is not None and c not in table]
    if missing:
        has = ", ".join(map(str, table.columns))
        raise BiosaeError(f"A figure needs the column {missing[0]!r}, which its table lacks", do=f"use one of {has}")
    if not len(table):
        raise BiosaeError("A figure was asked of an empty table", do="say in prose that there is nothing to show")


def values(table: pd.DataFrame, column: str | None) -> list[Any]:
    """Different values of a column in order of appearance (of its categories, if it has some); [None] without one."""
    if column is None:
        return [None]
    found = table[column].dropna().unique()
    if isinstance(table[column].dtype, pd.CategoricalDtype):
        return [v for v in table[column].cat.categories if v in set(found)]
    return list(found)


def whiskers(value: pd.Series, low: pd.Series | None, high: pd.Series | None) -> dict[str, Any] | None:
    """Error bars from `low` to `high` around `value`; None without both."""
    if low is None or high is None:
        return None
    ends = {"array": high - value, "arrayminus": value - low}
    return {"type": "data", "symmetric": False, "thickness": 1.2, "width": 3, **ends}


def ramp(n: int) -> list[str]:
    """`n` colours from one end of the ordered scale to the other."""
    points = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in RAMP], float)
    at = np.linspace(0, len(points) - 1, n)
    mixed = np.stack([np.interp(at, np.arange(len(points)), points[:, i]) for i in range(3)], 1)
    return [f"rgb({r:.0f},{g:.0f},{b:.0f})" for r, g, b in mixed]


class Canvas:
    """A figure in the making: panels by `facet`, one set of traces per value of `choice`, colours by `by`.

    Parameters
    ----------
    table : DataFrame
        Tidy: one row a mark.
    columns : sequence of str or None
        Columns that the figure needs beside `by`, `facet` and `choice`.
    by, facet, choice : str, optional
        Columns that give the colour, the panel, and the view that a button shows.
    left : int
        Characters that the names on the vertical axis take from the panels.
    look : Look
    """

    def __init__(
        self,
        table: pd.DataFrame,
        columns: Sequence[str | None],
        *,
        by: str | None = None,
        facet: str | None = None,
        choice: str | None = None,
        left: int = 0,
        look: Look,
    ) -> None:
        unknown = set(look) - set(Look.__annotations__)
        if unknown:
            allowed = ", ".join(Look.__annotations__)
            raise BiosaeError(f"A figure has no option {sorted(unknown)[0]!r}", do=f"use one of {allowed}")
        check(table, *columns, by, facet, choice)
        self.table, self.by, self.facet, self.choice, self.look = table, by, facet, choice, look
        self.keys, self.views, self.facets = self.order(by), self.order(choice), self.order(facet)
        self.colours = self._colours()
        self._named: set[tuple[Any, Any]] = set()
        self.views_of_traces: list[Any] = []
        self.fig = self._panels(left)

    def order(self, column: str | None) -> list[Any]:
        """Values of a column in the order in which the figure shows them."""
        found = values(self.table, column)
        if column is None or isinstance(self.table[column].dtype, pd.CategoricalDtype):
            return found
        first = dict.fromkeys([*self.look.get("colours", {}), *self.look.get("names", {})])
        rest = [v for v in found if v not in first]
        if pd.api.types.is_numeric_dtype(self.table[column]):
            rest = sorted(rest)
        return [v for v in first if v in found] + rest

    def categories(self, column: str, width: int) -> dict[Any, str]:
        """What a categorical axis says for each value of a column, in order."""
        return {v: self.wrapped(v, width) for v in self.order(column)}

    def _colours(self) -> dict[Any, str]:
        given = dict(self.look.get("colours", {}))
        free = [k for k in self.keys if k not in given]
        ordered = len(free) > len(OKABE_ITO) - 1
        taken = set(given.values())
        fresh = ramp(len(free)) if ordered else [c for c in OKABE_ITO[:-1] if c not in taken] + list(OKABE_ITO)
        return given | dict(zip(free, fresh, strict=False))

    def _panels(self, left: int) -> Figure:
        from plotly.subplots import make_subplots

        use_template()
        n, own = len(self.facets), self.look.get("own", "")
        self.n_columns = min(n, self.look.get("columns", 2))
        rows = -(-n // self.n_columns)
        room = (84 - left) // self.n_columns
        titles = [self.wrapped(f, room, self.facet) for f in self.facets] if self.facet else []
        lines = max((t.count("<br>") + 1 for t in titles), default=0)
        inner = rows * PANEL + (rows - 1) * (GAP + LINE * lines) if n > 1 else 330
        self.height = self.look.get("height", inner + 90 + LINE * lines)
        shared = {"shared_xaxes": False if "x" in own else "all", "shared_yaxes": False if "y" in own else "all"}
        gaps = {"horizontal_spacing": 0.11 if "y" in own else 0.05, "vertical_spacing": (GAP + LINE * lines) / inner}
        fig = make_subplots(rows, self.n_columns, **(shared | gaps if n > 1 else {}))
        for i, title in enumerate(titles):
            at = {"xref": f"x{i + 1 if i else ''} domain", "yref": f"y{i + 1 if i else ''} domain", "x": 0, "y": 1}
            text = {"text": f"<b>{title}</b>", "showarrow": False, "xanchor": "left", "yanchor": "bottom"}
            fig.add_annotation(**at, **text, align="left", font={"size": 13})
        for i in range(n, rows * self.n_columns):
            fig.update_xaxes(visible=False, row=i // self.n_columns + 1, col=i % self.n_columns + 1)
            fig.update_yaxes(visible=False, row=i // self.n_columns + 1, col=i % self.n_columns + 1)
        fig.update_xaxes(showticklabels=True)
        lift = LINE * lines + 6  # of the legend, over the titles of the panels
        fig.update_layout(height=self.height, margin_t=16 + lift, legend_y=1 + lift / inner)
        return fig

    def shown(self, value: Any, column: str | None = None) -> str:
        """What the figure says for a value; of a number without a name also whose it is, if a column is given."""
        names = self.look.get("names", {})
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        return f"{column} {value}" if column and number and value not in names else str(names.get(value, value))

    def wrapped(self, value: Any, width: int, column: str | None = None) -> str:
        """The same, broken into lines of at most `width` characters."""
        return "<br>".join(textwrap.wrap(self.shown(value, column), width)) or " "

    def parts(self) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
        """Each view of each panel: where its traces go, for `add`, and its rows."""
        for view in self.views:
            of_view = self.table if self.choice is None else self.table[self.table[self.choice] == view]
            for i, facet in enumerate(self.facets):
                part = of_view if self.facet is None else of_view[of_view[self.facet] == facet]
                yield {"panel": i, "view": view}, part

    def groups(self, part: pd.DataFrame) -> Iterator[tuple[Any, pd.DataFrame]]:
        """Rows of each value of `by`, those without rows left out."""
        for key in self.keys:
            rows = part if self.by is None else part[part[self.by] == key]
            if len(rows):
                yield key, rows

    def add(self, trace: Any, key: Any, at: Mapping[str, Any], *, legend: bool = True, name: str = "") -> None:
        """Add a trace of a value of `by`; the legend names each value once."""
        row, col = divmod(at["panel"], self.n_columns)
        first = legend and self.by is not None and (key, at["view"]) not in self._named
        if first:
            self._named.add((key, at["view"]))
        trace.update(name=name or self.shown(key, self.by), legendgroup=str(key), showlegend=first)
        trace.update(visible=at["view"] == self.views[-1])
        self.views_of_traces.append(at["view"])
        self.fig.add_trace(trace, row=row + 1, col=col + 1)

    def entry(self, trace: Any, value: Any, column: str) -> None:
        """Add to the legend what a dash or a hatching means; `trace` shows it and draws nothing."""
        trace.update(name=self.shown(value, column), legendgroup=f"key {value}", showlegend=True, legendrank=2000)
        trace.update(hoverinfo="skip")
        self.views_of_traces.append(None)
        self.fig.add_trace(trace)

    def finish(self, *, x: str = "", y: str = "", **layout: Any) -> Figure:
        """Set axes, reference lines, legend and buttons; return the figure.

        Parameters
        ----------
        x, y : str
            Titles of the axes where the look gives none.
        **layout
            Further attributes of Plotly's layout.
        """
        from biosae_utils.book.plots import axes

        axes.finish(self, {"x": self.look.get("xtitle", x), "y": self.look.get("ytitle", y)})
        self.fig.update_layout(showlegend=any(t.showlegend for t in self.fig.data), **layout)
        if self.choice is not None:
            buttons = [
                {
                    "label": self.shown(v, self.choice),
                    "method": "update",
                    "args": [{"visible": [w in (v, None) for w in self.views_of_traces]}],
                }
                for v in self.views
            ]
            where = {"x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom", "pad": {"b": LINE + 6}}
            menu = {"type": "buttons", "direction": "right", "active": len(buttons) - 1, "buttons": buttons}
            self.fig.update_layout(updatemenus=[menu | where])
        return self.fig
