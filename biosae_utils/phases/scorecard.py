"""15_scorecard: every headline number of the run, gathered from its pages, beside its control."""

from __future__ import annotations

from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from biosae_utils.claims import VERDICTS, is_finding, of_control
from biosae_utils.errors import BiosaeError
from biosae_utils.params import Filled, PageParams
from biosae_utils.phases import readers
from biosae_utils.phases.base import ALL, Phase
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output
from biosae_utils.phases.registry import find

N_NAMED = 4
"""Claims that did not hold and that the takeaways name."""


class Params(PageParams):
    """Every claim of the run."""

    rules_hash: Annotated[str, Filled()] = Field(
        "", description="hash of the parameters of all pages; filled by the runner"
    )


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Count the findings, put them on one axis, and list every claim."""
    from biosae_utils.analysis import claims_summary

    claims = readers.claims(read)
    if not claims:
        raise BiosaeError("No page of this run has made a claim yet", where=p.run, do="run the other phases first")
    findings = [c for c in claims if is_finding(c)]
    out.table(claims_summary.by_phase(findings), "tally")
    scaled = claims_summary.scaled(findings)
    out.table(scaled, "scaled")
    out.table(claims_summary.as_text(claims), "claims")
    counts = claims_summary.tally(findings)
    out.table(numbers_of_the_run(p, claims, findings, counts), "run", download=False)
    out.facts(n_claims=len(claims), n_findings=len(findings), **counts, **drawn(scaled), **not_held(findings))


def numbers_of_the_run(
    p: Params, claims: list[dict[str, Any]], findings: list[dict[str, Any]], counts: dict[str, int]
) -> pd.DataFrame:
    """What the run is, in a few rows: what, value."""
    from biosae_utils.analysis.claims_summary import wording

    controls = sum(of_control(c) for c in claims)
    pages = {(c["phase"], c["model"], c["layer"] if find(c["phase"]).scope == "layer" else None) for c in findings}
    facts = {
        "findings": len(findings),
        "pages that make them": len(pages),
        **{words: counts[verdict] for verdict, words in VERDICTS.items()},
        "claims on pages of controls, not counted above": controls,
        "checks of the software, not counted above": len(claims) - len(findings) - controls,
        "hash of the configuration (thresholds)": p.rules_hash or "not run from a configuration",
        "hash of the claims' wording and rules": wording(claims),
    }
    return pd.DataFrame({"what": facts.keys(), "value": [str(value) for value in facts.values()]})


def drawn(scaled: pd.DataFrame) -> dict[str, Any]:
    """How many claims of each kind of unit there are to draw, with verdicts; shares first, where there are some."""
    kinds = [kind for kind in ("share", "other") if (scaled["kind"] == kind).any()]
    verdicts = {kind: scaled.loc[scaled["kind"] == kind, "verdict"].value_counts() for kind in kinds}
    return {
        "kinds": kinds,
        "n_drawn": {kind: int(n.sum()) for kind, n in verdicts.items()},
        "drawn_verdicts": {
            kind: ", ".join(f"{n[v]} {VERDICTS[v]}" for v in VERDICTS if v in n) for kind, n in verdicts.items()
        },
    }


def not_held(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Titles of claims that did not hold on at least one page, as one clause, and how many of them there are."""
    from biosae_utils.analysis.claims_summary import as_clause

    titles = list(dict.fromkeys(c["title"] for c in findings if c["verdict"] in ("not_supported", "trivial")))
    more = f"; and {len(titles) - N_NAMED} more" if len(titles) > N_NAMED else ""
    return {"n_not_held": len(titles), "not_held": "; ".join(as_clause(t) for t in titles[:N_NAMED]) + more or "none"}


PHASE = Phase("15_scorecard", Params, compute, title="Scorecard", part="across", reads=ALL)
