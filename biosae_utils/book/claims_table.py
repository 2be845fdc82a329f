"""Claims as an HTML table: the same on every page, on the intro and on the scorecard."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

VERDICTS = {"supported": "supported", "not_supported": "not supported", "not_tested": "not tested"}


def number(value: float | None, unit: str = "") -> str:
    """A value with three significant digits and its unit; shares as percent, a missing value as a dash."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{100 * value:.3g} %"
    text = f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def interval(claim: dict[str, Any]) -> str:
    """The claim's 95 % interval, or an empty string."""
    if claim["interval"] is None:
        return ""
    low, high = (number(v, claim["unit"]).removesuffix(" %") for v in claim["interval"])
    return f"{low} to {high}" + (" %" if claim["unit"] == "share" else "")


def claims_html(claims: Sequence[dict[str, Any]], *, where: bool = False, caption: str = "Claims of this page") -> str:
    """Table of claims: value with interval, control, rule, verdict, published value.

    Parameters
    ----------
    claims : sequence of dict
        As in claims.json.
    where : bool
        Whether to show phase, model and layer (on pages that gather claims of others).
    caption : str
    """
    head = ["Claim", "Value (95 % interval)", "Control", "Verdict", "Rule fixed beforehand"]
    published = any(c["published"] is not None for c in claims)
    head += ["Published"] * published + ["Page"] * where
    rows = []
    for c in claims:
        low_high = interval(c)
        value = html.escape(number(c["value"], c["unit"])) + (
            f"<br><small>{html.escape(low_high)}</small>" if low_high else ""
        )
        control = html.escape(number(c["control"], c["unit"])) + f"<br><small>{html.escape(c['control_kind'])}</small>"
        verdict = f'<span class="biosae-verdict {c["verdict"]}">{VERDICTS[c["verdict"]]}</span>'
        cells = [html.escape(c["title"]), value, control, verdict, html.escape(c["rule"])]
        if published:
            cells.append(html.escape(number(c["published"], c["unit"])))
        if where:
            cells.append(html.escape(page_name(c)))
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    header = "".join(f'<th scope="col">{h}</th>' for h in head)
    return (
        f'<div class="biosae-claims" tabindex="0" role="region" aria-label="{html.escape(caption, quote=True)}"><table>'
        f"<caption>{html.escape(caption)}</caption><thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def page_name(about: dict[str, Any]) -> str:
    """``04_annotate, mini-scgpt, layer 3``."""
    parts = [about["phase"], about["model"], None if about["layer"] is None else f"layer {about['layer']}"]
    return ", ".join(p for p in parts if p)
