"""Figures and tables as data: JSON in the notebook, drawn by one shared script in the book.

The notebook stores no JavaScript. Colours are those of Okabe and Ito (2008), which people with
any of the common colour vision deficiencies can tell apart; text and grid colours are replaced in the browser by those
of the light or dark theme.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from biosae_utils.errors import BiosaeError

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure
    from plotly.graph_objects.layout import Template

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7F7F7F")
"""Categorical colours; the last one, grey, stands for controls."""

REAL, CONTROL, ACCENT = OKABE_ITO[0], OKABE_ITO[7], OKABE_ITO[5]
"""The trained model; its control; what the reader should look at."""

PLOTLY_MIME = "application/vnd.plotly.v1+json"
TABLE_MIME = "application/vnd.biosae.table+json"
MAX_ROWS = 5_000

LIGHT = frozenset(
    "bar box contour heatmap histogram histogram2d histogram2dcontour image pie scatter scatterternary violin".split()
)
"""Kinds of traces that Plotly's cartesian bundle, a third of the whole, can draw."""


def template() -> Template:
    """The "biosae" template; the book ships it once, in the page's head, instead of with every figure."""
    from plotly.graph_objects import layout

    axis = {"gridcolor": "rgba(127,127,127,.25)", "zerolinecolor": "rgba(127,127,127,.5)", "automargin": True}
    return layout.Template(
        layout={
            "colorway": OKABE_ITO,
            "colorscale": {"sequential": "Cividis", "sequentialminus": "Cividis_r", "diverging": "PuOr"},
            "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 14},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 60, "r": 20, "t": 20, "b": 55},
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
            "hoverlabel": {"align": "left"},
        }
    )


def use_template() -> None:
    """Make "biosae" the default Plotly template and store figures as JSON only."""
    import plotly.io as pio

    if "biosae" not in pio.templates:
        pio.templates["biosae"] = template()
    pio.templates.default = "biosae"
    pio.renderers.default = "plotly_mimetype"


def light(content: dict[str, Any]) -> bool:
    """Whether the small bundle of Plotly can draw a figure, given as JSON."""
    return all(trace.get("type", "scatter") in LIGHT for trace in content.get("data", []))


def figure_bundle(fig: Figure, *, name: str, alt: str, caption: str) -> dict[str, Any]:
    """What the notebook stores of a figure: its JSON with name, alternative text and caption, and plain text.

    Parameters
    ----------
    fig : plotly Figure
    name : str
        Short identifier, unique on the page.
    alt : str
        What the figure shows, in words; at least 20 characters.
    caption : str
        How to read it.

    Raises
    ------
    BiosaeError
        The figure holds no data, or its alternative text says nothing.
    """
    if len(alt.strip()) < 20:
        raise BiosaeError("A figure needs alternative text that says what it shows", where=f"figure {name}")
    if not caption.strip():
        raise BiosaeError("A figure needs a caption that says how to read it", where=f"figure {name}")
    if not any(_has_points(trace) for trace in fig.data):
        raise BiosaeError("A figure is empty", where=f"figure {name}", do="say in prose that there is nothing to show")
    fig.update_layout(meta={"name": name, "alt": alt.strip(), "caption": caption.strip()})
    content = json.loads(fig.to_json())
    content["layout"].pop("template", None)  # the same on every figure; the book ships it once
    return {PLOTLY_MIME: content, "text/plain": f"[figure] {alt.strip()}"}


def _has_points(trace: Any) -> bool:
    """Whether a Plotly trace holds at least one value."""
    for key in ("x", "y", "z", "values", "r", "lat", "header", "node", "dimensions"):
        value = trace[key] if key in trace else None
        if value is not None and (not hasattr(value, "__len__") or len(value) > 0):
            return True
    return False


def table_bundle(df: pd.DataFrame, *, name: str, caption: str, max_rows: int = MAX_ROWS) -> dict[str, Any]:
    """What the notebook stores of a table: columns and the first `max_rows` rows as JSON, and a plain-text head."""
    if not caption.strip():
        raise BiosaeError("A table needs a caption", where=f"table {name}")
    if df.shape[1] == 0 or len(df) == 0:
        raise BiosaeError("A table is empty", where=f"table {name}", do="say in prose that there is nothing to show")
    head = df.head(max_rows)
    data = [[_cell(v) for v in row] for row in head.itertuples(index=False, name=None)]
    columns = [_column(str(c), head.iloc[:, i], [row[i] for row in data]) for i, c in enumerate(df.columns)]
    content = {"name": name, "caption": caption.strip(), "columns": columns, "data": data, "n_rows": len(df)}
    return {TABLE_MIME: content, "text/plain": f"[table] {caption.strip()}\n{head.head(5).to_string(index=False)}"}


def _column(title: str, values: pd.Series, cells: list[Any]) -> dict[str, Any]:
    """Title, kind, width in characters, and digits of a column.

    All its numbers have as many decimals, three digits for the largest; where many of them would be zero then, as
    p-values would, each is written by itself.
    """
    about: dict[str, Any] = {"title": title, "numeric": values.dtype.kind in "iuf"}
    words = [len(str(c)) for c in cells if c is not None]
    about["width"] = max(len(title), min(40, max(words, default=0)))
    about["long"] = not about["numeric"] and max(words, default=0) > 40
    if about["numeric"]:
        sizes = [abs(c) for c in cells if isinstance(c, int | float) and c]
        small = sum(c < 1e-3 * max(sizes) for c in sizes) > len(sizes) / 5
        whole = values.dtype.kind in "iu" or all(float(c).is_integer() for c in sizes)
        about["significant"] = values.dtype.kind == "f" and small
        about["decimals"] = 0 if whole or not sizes else min(6, max(0, 3 - math.ceil(math.log10(max(sizes)))))
        about["width"] = max(len(title), 8)
    return about


def _cell(value: Any) -> Any:
    """A value as JSON: four significant digits, lists joined, missing as null."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, list | tuple) or (hasattr(value, "__len__") and hasattr(value, "tolist")):
        return ", ".join(str(_cell(v)) for v in value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None if math.isnan(value) else ("∞" if value > 0 else "−∞")
        return float(f"{value:.4g}") + 0.0  # no minus zero
    return value if isinstance(value, int | bool) else None if str(value) in ("<NA>", "NaT") else str(value)


def show(bundle: dict[str, Any]) -> None:
    """Put a bundle into the output of the current cell."""
    from IPython.display import display

    display(bundle, raw=True)
