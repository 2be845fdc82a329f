"""All claims of a run in one table and one kind of figure: value against control, with the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from biosae_utils.book.claims_table import VERDICTS, interval, number, page_name
from biosae_utils.book.figures import ACCENT, CONTROL, OKABE_ITO, REAL
from biosae_utils.store import fingerprint

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = {"supported": REAL, "not_supported": ACCENT}
NUMBERS = ("value", "low", "high", "control", "published")


def tally(claims: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many claims are supported, not supported, not tested; every verdict has an entry."""
    return {verdict: sum(c["verdict"] == verdict for c in claims) for verdict in VERDICTS}


def by_phase(claims: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Tally of every phase, one row each."""
    phases = list(dict.fromkeys(c["phase"] for c in claims))
    rows = [{"phase": p, **tally([c for c in claims if c["phase"] == p])} for p in phases]
    return pd.DataFrame(rows, columns=["phase", *VERDICTS]).rename(columns=VERDICTS)


def wording(claims: Sequence[dict[str, Any]]) -> str:
    """Hash of what every claim says and by which rule it is judged, without any result.

    It changes when somebody rewords a claim or its rule, and only then: two runs with the same hash were judged alike.
    """
    return fingerprint(sorted({(c["phase"], c["id"], c["title"], c["rule"], c["control_kind"]) for c in claims}))


def claims_table(claims: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Every claim as text, for the searchable table: nothing is left out, not even what was not tested."""
    return pd.DataFrame(
        [
            {
                "claim": c["title"],
                "page": page_name(c),
                "value": number(c["value"], c["unit"]),
                "95 % interval": interval(c),
                "control": number(c["control"], c["unit"]),
                "control kind": c["control_kind"],
                "verdict": VERDICTS[c["verdict"]],
                "published": number(c["published"], c["unit"]),
                "rule fixed beforehand": c["rule"],
                "command": c["command"],
            }
            for c in claims
        ]
    )


def scaled(claims: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Tested claims as numbers on one axis.

    Shares (unit ``share ...`` or ``% ...``) are in percent. Other units are divided by the largest of value, control
    and interval of the claim, so that they can be drawn beside each other; `scale` says by what.

    Returns
    -------
    DataFrame
        label, group ("share" or "other"), verdict, value, low, high, control, published, scale, hover.
    """
    rows = []
    for c in claims:
        if c["value"] is None or c["control"] is None:
            continue
        low, high = c["interval"] or (c["value"], c["value"])
        numbers = np.array([c["value"], low, high, c["control"], np.nan if c["published"] is None else c["published"]])
        is_share = c["unit"].startswith(("share", "%"))
        scale = (1 if c["unit"].startswith("%") else 0.01) if is_share else float(np.abs(numbers[:4]).max()) or 1.0
        about = {
            "label": f"{page_name(c)}: {c['id']}",
            "group": "share" if is_share else "other",
            "verdict": c["verdict"],
            "scale": scale,
            "hover": f"{c['title']}<br>{number(c['value'], c['unit'])} against {number(c['control'], c['unit'])} "
            f"({c['control_kind']})",
        }
        rows.append(about | dict(zip(NUMBERS, (numbers / scale).tolist(), strict=True)))
    return pd.DataFrame(rows, columns=["label", "group", "verdict", *NUMBERS, "scale", "hover"])


def forest(table: pd.DataFrame, axis: str) -> Figure:
    """Value with its interval (coloured by verdict) against the control (grey) and the published value (diamond).

    Parameters
    ----------
    table : DataFrame
        Rows of `scaled` that share an axis.
    axis : str
        Title of that axis.
    """
    import plotly.graph_objects as go

    fig = go.Figure()
    for row in table.itertuples():
        thin = {"color": "rgba(127,127,127,.4)", "width": 1}
        ends = {"x": [row.control, row.value], "y": [row.label] * 2}
        fig.add_scatter(**ends, mode="lines", line=thin, showlegend=False, hoverinfo="skip")

    def points(part: pd.DataFrame, column: str, name: str, marker: dict[str, Any], **more: Any) -> None:
        text = {"hovertext": part["hover"], "hoverinfo": "text"}
        fig.add_scatter(x=part[column], y=part["label"], mode="markers", name=name, marker=marker, **text, **more)

    points(table, "control", "control", {"color": CONTROL, "symbol": "x", "size": 8})
    for verdict, colour in COLOURS.items():
        part = table[table["verdict"] == verdict]
        if len(part):
            bars = {"array": part["high"] - part["value"], "arrayminus": part["value"] - part["low"]}
            error = {"type": "data", "symmetric": False, **bars}
            points(part, "value", VERDICTS[verdict], {"color": colour, "size": 9}, error_x=error)
    stated = table[table["published"].notna()]
    if len(stated):
        points(stated, "published", "published", {"symbol": "diamond-open", "size": 9, "color": OKABE_ITO[1]})
    labels = list(dict.fromkeys(table["label"]))
    fig.update_yaxes(categoryorder="array", categoryarray=labels[::-1], automargin=True, tickfont={"size": 11})
    fig.update_xaxes(title=axis)
    fig.update_layout(height=140 + 22 * len(labels), legend={"y": 1 + 30 / (140 + 22 * len(labels))})
    return fig
