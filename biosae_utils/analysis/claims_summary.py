"""All claims of a run as numbers and as text: how many held, what each says, each against its control on one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from biosae_utils.claims import VERDICTS
from biosae_utils.numbers import number, span
from biosae_utils.store import fingerprint

NUMBERS = ("value", "low", "high", "control", "control_low", "control_high", "published")

# ---- a claim in words --------------------------------------------------------------------------------------------


def sign(unit: str) -> str:
    """The unit where there is no room for what it is a share of."""
    return "share" if unit.startswith("share") else "%" if unit.startswith("%") else ""


def interval(claim: Mapping[str, Any], name: str = "interval") -> str:
    """The 95 % interval of a claim's value, or of its control, in words; an empty string where there is none."""
    return span(claim[name], sign(claim["unit"])) if claim[name] else ""


def page_name(about: Mapping[str, Any]) -> str:
    """``04_annotate, mini-scgpt, layer 3``."""
    parts = [about["phase"], about["model"], None if about["layer"] is None else f"layer {about['layer']}"]
    return ", ".join(p for p in parts if p)


def as_clause(title: str) -> str:
    """A title as it goes on after a colon: its first letter small, unless the word has other capitals, as STRING."""
    first = title.split(" ", 1)[0]
    return title if first[1:] != first[1:].lower() else title[0].lower() + title[1:]


# ---- many claims -------------------------------------------------------------------------------------------------


def tally(claims: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many claims have each verdict; every verdict has an entry."""
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
    said = {(c["phase"], c["id"], c["title"], c["rule"], str(c["minimum"]), c["control_kind"]) for c in claims}
    return fingerprint(sorted(said))


def as_text(claims: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Every claim as text, one row each: nothing is left out, not even what was not tested."""
    return pd.DataFrame(
        [
            {
                "claim": c["title"],
                "page": page_name(c),
                "which": c["group"] or "",
                "value": number(c["value"], c["unit"]),
                "95 % interval": interval(c),
                "resampled": c["interval_over"],
                "control": number(c["control"], c["unit"]),
                "control kind": c["control_kind"],
                "verdict": VERDICTS[c["verdict"]],
                "published": number(c["published"], c["unit"]),
                "rule": c["rule"],
                "smallest difference that counts": number(c["minimum"], c["unit"]),
                "why not tested": c["reason"],
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
        One row a claim: label, kind ("share" or "other"), verdict, value, low, high, control, control_low,
        control_high, published, scale, hover. Ends of an interval are missing where there is none.
    """
    rows = []
    for c in claims:
        if c["value"] is None or c["control"] is None:
            continue
        nothing = (np.nan, np.nan)
        ends, control_ends = c["interval"] or nothing, c["control_interval"] or nothing
        published = np.nan if c["published"] is None else c["published"]
        numbers = np.array([c["value"], *ends, c["control"], *control_ends, published])
        is_share = c["unit"].startswith(("share", "%"))
        scale = (1 if c["unit"].startswith("%") else 0.01) if is_share else float(np.nanmax(np.abs(numbers[:4]))) or 1.0
        about = {
            "label": ": ".join([page_name(c), ", ".join(filter(None, (c["id"], c["group"])))]),
            "kind": "share" if is_share else "other",
            "verdict": c["verdict"],
            "scale": scale,
            "hover": f"{c['title']}<br>{number(c['value'], c['unit'])} against {number(c['control'], c['unit'])} "
            f"({c['control_kind']})",
        }
        rows.append(about | dict(zip(NUMBERS, (numbers / scale).tolist(), strict=True)))
    return pd.DataFrame(rows, columns=["label", "kind", "verdict", *NUMBERS, "scale", "hover"])
