"""Claims as a strip: a line each, with value, control and their intervals on a small axis; the rest behind a fold.

The same on every page, on the intro and on the page of all claims. Everything is HTML and SVG that needs no script.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from biosae_utils.analysis.claims_summary import page_name, sign
from biosae_utils.book.axis_svg import Mark, axis_svg
from biosae_utils.book.prose import inline
from biosae_utils.claims import CONTROLS, VERDICTS, is_finding, of_control
from biosae_utils.numbers import decimals, number, scale, span, written

Claims = Sequence[Mapping[str, Any]]

KEY = {"value": "● value", "control": "× control", "published": "◇ published", "interval": "– 95 % interval"}
"""What the marks of a strip are."""


def claims_html(claims: Claims, *, where: bool = False, caption: str = "Claims of this page") -> str:
    """Strip of claims.

    Parameters
    ----------
    claims : sequence of dict
        As in claims.json.
    where : bool
        Whether to say which page made a claim (where claims of several are gathered).
    caption : str

    Returns
    -------
    str
        HTML without a line break, so that Markdown around it stays out of it.
    """
    there = ["interval", *(["published"] if any(c["published"] is not None for c in claims) else [])]
    return _strip(caption, [_line(c, where=where) for c in claims], there)


def overview_html(claims: Claims, titles: Mapping[str, str]) -> str:
    """One line a phase: how many claims held, did not, were not tested; its first claim is drawn with all its pages.

    Claims of models that are controls, and checks of the software, are left out.

    Parameters
    ----------
    claims : sequence of dict
        As in claims.json.
    titles : mapping
        Name of each phase in words.
    """
    lines = []
    for phase, group in sorted(_grouped((c for c in claims if is_finding(c)), "phase").items()):
        first = next((c for c in group if c["verdict"] != "not_tested"), group[0])
        same = [c for c in group if c["title"] == first["title"]]
        chips = "".join(_chip(v, f"{n} {VERDICTS[v]}") for v in VERDICTS if (n := _count(group, v)))
        title = f"<strong>{html.escape(titles.get(phase, phase))}</strong> {inline(first['title'])}"
        lines.append(_several(title, same, chips))
    return _strip("What this run found", lines)


def summary_html(claims: Claims) -> str:
    """One line for each kind of claim: how often it was tested and held, with value and control of every page.

    Claims of models that are controls are left out.
    """
    lines = []
    own = [c for c in claims if not of_control(c)]
    for _, group in sorted(_grouped(own, "phase", "title").items(), key=lambda item: item[0][0]):
        tested = [c for c in group if c["verdict"] != "not_tested"]
        held = _count(group, "supported")
        verdict = group[0]["verdict"] if len({c["verdict"] for c in group}) == 1 else "mixed"
        chip = _chip(verdict, f"{held} of {len(tested)} supported" if tested else VERDICTS["not_tested"])
        lines.append(_several(inline(group[0]["title"]), group, chip))
    return _strip("What this run found, claim by claim", lines)


def _line(claim: Mapping[str, Any], *, where: bool) -> str:
    """One claim."""
    title = f"{inline(claim['title'])}{_group(claim)}{_variant(claim)}"
    if where:
        title += f"<small>{html.escape(page_name(claim))}</small>"
    chip = _chip(claim["verdict"], VERDICTS[claim["verdict"]])
    if claim["value"] is None:
        reason = claim["reason"] or "no reason was given"
        return _row(title, f'<span class="biosae-reason">{inline(reason)}</span>', chip, _facts(claim))
    text = _Words(claim)
    marks = [
        Mark("control", claim["control"], claim["control_interval"]),
        Mark(claim["verdict"], claim["value"], claim["interval"]),
        *([Mark("published", claim["published"])] if claim["published"] is not None else []),
    ]
    drawn = axis_svg(marks, claim["unit"], f"{text.beside('value')}; control {text.beside('control')}")
    numbers = (
        f'<span class="biosae-value">{_number(text.value, text.within("interval"))}</span>'
        f'<span class="biosae-control">control {_number(text.control, text.within("control_interval"))}</span>'
    )
    return _row(title, f'{drawn}<span class="biosae-numbers">{numbers}</span>', chip, _facts(claim))


def _number(value: str, interval: str) -> str:
    """A number and its interval; each stays on one line."""
    within = f' <span class="biosae-within">{html.escape(interval)}</span>' if interval else ""
    return f"<b>{html.escape(value)}</b>{within}"


class _Words:
    """Numbers of a claim in words, all with the same decimals."""

    def __init__(self, claim: Mapping[str, Any]) -> None:
        self.claim = claim
        self.factor, unit = scale(claim["unit"])
        self.sign = " %" if unit.startswith("%") else ""
        known = [claim[n] for n in ("value", "control") if claim[n] is not None] or [claim["published"] or 0.0]
        ends = [v for n in ("interval", "control_interval") for v in claim[n] or ()]
        self.places = decimals([self.factor * v for v in [*known, *ends]])

    def of(self, value: float) -> str:
        return written(self.factor * value, self.places)

    @property
    def value(self) -> str:
        return self.of(self.claim["value"]) + self.sign

    @property
    def control(self) -> str:
        return self.of(self.claim["control"]) + self.sign

    def beside(self, name: str) -> str:
        """A number with its interval."""
        within = self.within("interval" if name == "value" else f"{name}_interval")
        return f"{self.of(self.claim[name])}{self.sign} {within}".strip()

    def within(self, name: str) -> str:
        ends = self.claim[name]
        return f"({self.of(ends[0])} to {self.of(ends[1])})" if ends else ""


def _several(title: str, group: Claims, chips: str) -> str:
    """One line for claims of one kind on several pages, with the pages behind the fold."""
    tested = [c for c in group if c["value"] is not None]
    if not tested:
        reasons = "; ".join(dict.fromkeys(c["reason"] for c in group if c["reason"]))
        return _row(title, f'<span class="biosae-reason">{inline(reasons)}</span>', chips, _pages(group))
    unit = tested[0]["unit"]
    factor = scale(unit)[0]
    places = decimals([factor * c[n] for c in tested for n in ("value", "control")])
    values, controls = (span([c[n] for c in tested], sign(unit), places) for n in ("value", "control"))
    marks = [m for c in tested for m in (Mark("control", c["control"]), Mark(c["verdict"], c["value"]))]
    drawn = axis_svg(marks, unit, f"{len(tested)} pages: {values}; control {controls}")
    numbers = f"<b>{html.escape(values)}</b>", f"control <b>{html.escape(controls)}</b>"
    spans = f'<span class="biosae-value">{numbers[0]}</span><span class="biosae-control">{numbers[1]}</span>'
    return _row(title, f'{drawn}<span class="biosae-numbers">{spans}</span>', chips, _pages(group))


def _pages(group: Claims) -> str:
    """Every claim of a kind, a line each, and what they share."""
    items = []
    for c in group:
        said = VERDICTS[c["verdict"]]
        if c["value"] is not None:
            text = _Words(c)
            said = f"{text.beside('value')}, control {text.control}: {said}"
        items.append(f"<li>{html.escape(page_name(c))}{_group(c)}: {html.escape(said)}</li>")
    first = next((c for c in group if c["value"] is not None), group[0])
    return f"{_terms(_shared(first))}<ul>{''.join(items)}</ul>"


def _facts(claim: Mapping[str, Any]) -> str:
    """What stands behind the fold of a claim."""
    over = f" (95 % interval over {claim['interval_over']})" if claim["interval_over"] else ""
    facts = _shared(claim)
    if claim["value"] is not None:
        facts["Value"] = html.escape(_full(claim, "value") + over)
    if claim["published"] is not None:
        facts["Published"] = html.escape(_full(claim, "published"))
    facts["Command"] = f"<code>{html.escape(claim['command'])}</code>"
    return _terms(facts)


def _shared(claim: Mapping[str, Any]) -> dict[str, str]:
    """What claims of a kind have in common: the rule, the unit, the control."""
    facts = {"Rule": inline(claim["rule"])}
    if claim["minimum"]:
        facts["Smallest difference that counts"] = html.escape(number(claim["minimum"], claim["unit"]))
    if claim["unit"]:
        facts["Unit"] = html.escape(scale(claim["unit"])[1])
    if claim["control_kind"]:
        facts["Control"] = inline(claim["control_kind"])
    return facts


def _terms(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in facts.items()) + "</dl>"


def _full(claim: Mapping[str, Any], name: str) -> str:
    factor, unit = scale(claim["unit"])
    return f"{written(factor * claim[name], _Words(claim).places)} {unit}".strip()


def _row(title: str, middle: str, chips: str, fold: str) -> str:
    """A line that opens: what is read at a glance, and what it rests on."""
    return (
        f'<li><details><summary><span class="biosae-claim">{title}</span>{middle}'
        f'<span class="biosae-chips">{chips}</span></summary><div class="biosae-fold">{fold}</div></details></li>'
    )


def _strip(caption: str, lines: Iterable[str], there: Sequence[str] = ()) -> str:
    """The lines under a caption that says what their marks mean: of `KEY` the first two, and those that are `there`."""
    name = html.escape(caption, quote=True)
    key = "".join(f'<span class="{k}">{says}</span> ' for k, says in KEY.items() if k in ("value", "control", *there))
    head = f'<div class="biosae-caption">{name}</div><p class="biosae-key">{key}</p>'
    text = f'<section class="biosae-claims" aria-label="{name}">{head}<ul>{"".join(lines)}</ul></section>'
    return " ".join(text.splitlines())


def _chip(verdict: str, text: str) -> str:
    return f'<span class="biosae-verdict {verdict}">{html.escape(text)}</span>'


def _variant(claim: Mapping[str, Any]) -> str:
    """That a claim is a control's, and so no finding."""
    return f"<small>{CONTROLS[claim['variant']]}: no finding</small>" if of_control(claim) else ""


def _group(claim: Mapping[str, Any]) -> str:
    return f" <em>{html.escape(claim['group'])}</em>" if claim["group"] else ""


def _count(claims: Claims, verdict: str) -> int:
    return sum(c["verdict"] == verdict for c in claims)


def _grouped(claims: Iterable[Mapping[str, Any]], *names: str) -> dict[Any, list[Mapping[str, Any]]]:
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for claim in claims:
        key = tuple(claim[name] for name in names) if len(names) > 1 else claim[names[0]]
        groups.setdefault(key, []).append(claim)
    return groups
