"""All claims of a run in one table and one kind of figure: value against control, with the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from biosae_utils.book.claims_strip import interval, page_name
from biosae_utils.book.numbers import number
from biosae_utils.claims import VERDICTS
from biosae_utils.store import fingerprint

NUMBERS = ("value", "low", "high", "control", "control_low", "control_high", "published")


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
    """Tested claims as numbers on one axis, as `plots.forest` draws them.

    Shares (unit ``share ...`` or ``% ...``) are in percent. Other units are divided by the largest of value, control
    and intervals of the claim, so that they can be drawn beside each other; `scale` says by what.

    Returns
    -------
    DataFrame
        label, group ("share" or "other"), verdict, value, low, high, control, control_low, control_high, published,
        scale, hover.
    """
    rows = []
    for c in claims:
        if c["value"] is None or c["control"] is None:
            continue
        ends = [*(c["interval"] or [c["value"]] * 2), c["control"], *(c["control_interval"] or [c["control"]] * 2)]
        numbers = np.array([c["value"], *ends, np.nan if c["published"] is None else c["published"]])
        is_share = c["unit"].startswith(("share", "%"))
        scale = (1 if c["unit"].startswith("%") else 0.01) if is_share else float(np.abs(numbers[:6]).max()) or 1.0
        about = {
            "label": ": ".join([page_name(c), "/".join(part for part in (c["id"], c["group"]) if part)]),
            "group": "share" if is_share else "other",
            "verdict": c["verdict"],
            "scale": scale,
            "hover": f"{c['title']}<br>{number(c['value'], c['unit'])} against {number(c['control'], c['unit'])} "
            f"({c['control_kind']})",
        }
        rows.append(about | dict(zip(NUMBERS, (numbers / scale).tolist(), strict=True)))
    return pd.DataFrame(rows, columns=["label", "group", "verdict", *NUMBERS, "scale", "hover"])
