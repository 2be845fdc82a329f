"""Claims as an HTML table: the same on every page, on the intro and on the scorecard."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from biosae_utils.analysis.claims_summary import interval, number, page_name, percent, span
from biosae_utils.claims import VERDICTS, is_finding


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
    return _table(head, rows, caption)


def overview_html(claims: Sequence[dict[str, Any]], titles: dict[str, str]) -> str:
    """One row per phase: how many claims held, did not, were not tested; and its first claim with value and control.

    Claims of models that are controls, and checks of the software, are left out.

    Parameters
    ----------
    claims : sequence of dict
        As in claims.json.
    titles : dict
        Name of each phase in words.
    """
    rows = []
    for phase, group in sorted(_grouped([c for c in claims if is_finding(c)], "phase").items()):
        counts = [sum(c["verdict"] == verdict for c in group) for verdict in VERDICTS]
        chips = " ".join(
            f'<span class="biosae-verdict {verdict}">{n} {word}</span>'
            for (verdict, word), n in zip(VERDICTS.items(), counts, strict=True)
            if n
        )
        first = next((c for c in group if c["verdict"] != "not_tested"), group[0])
        same = [c for c in group if c["title"] == first["title"] and c["value"] is not None]
        value = html.escape(span([c["value"] for c in same], percent(first["unit"])))
        control = html.escape(span([c["control"] for c in same], percent(first["unit"])))
        beside = f"<br><small>{value}; control {control}</small>" if same else ""
        cells = [html.escape(titles.get(phase, phase)), chips, html.escape(first["title"]) + beside]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return _table(["Analysis", "Claims", "First of them, lowest to highest value"], rows, "What this run found")


def summary_html(claims: Sequence[dict[str, Any]]) -> str:
    """One row per kind of claim: how often it was tested and held, and the range of values and controls."""
    rows = []
    for (phase, title), group in sorted(_grouped(claims, "phase", "title").items(), key=lambda item: item[0][0]):
        tested = [c for c in group if c["verdict"] != "not_tested"]
        held = sum(c["verdict"] == "supported" for c in tested)
        state = "not_tested" if not tested else "supported" if held == len(tested) else "not_supported"
        text = f"{held} of {len(tested)}" if tested else VERDICTS["not_tested"]
        kind = next((c["control_kind"] for c in tested), "")
        cells = [
            html.escape(title),
            f'<span class="biosae-verdict {state}">{text}</span>',
            html.escape(span([c["value"] for c in tested], group[0]["unit"])),
            html.escape(span([c["control"] for c in tested], group[0]["unit"]))
            + (f"<br><small>{html.escape(kind)}</small>" if kind else ""),
            html.escape(phase),
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = ["Claim", "Held", "Value, lowest to highest", "Control", "Phase"]
    return _table(head, rows, "What this run found, claim by claim")


def _grouped(claims: Sequence[dict[str, Any]], *names: str) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for claim in claims:
        key = tuple(claim[name] for name in names) if len(names) > 1 else claim[names[0]]
        groups.setdefault(key, []).append(claim)
    return groups


def _table(head: list[str], rows: list[str], caption: str) -> str:
    header = "".join(f'<th scope="col">{h}</th>' for h in head)
    return (
        f'<div class="biosae-claims" tabindex="0" role="region" aria-label="{html.escape(caption, quote=True)}"><table>'
        f"<caption>{html.escape(caption)}</caption><thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
