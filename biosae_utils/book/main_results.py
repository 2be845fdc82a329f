"""The five main results of a run in five sentences, made from its claims; those that did not hold come first."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from biosae_utils.analysis.claims_summary import page_name, sign
from biosae_utils.claims import is_finding
from biosae_utils.numbers import span

Claims = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Question:
    """One question that the book answers, and its answer either way.

    Attributes
    ----------
    phase, id : str
    group : str or None
        Which of the claims of that id.
    held, failed : str
        Sentences with ``{value}`` and ``{control}``; which one is said depends on most of the pages that tested it.
    """

    phase: str
    id: str
    group: str | None
    held: str
    failed: str


QUESTIONS = (
    Question(
        "04_annotate", "annotated_beyond_directions", "firing",
        held="Latents are named by biology more often than random directions of the same states, listed by the same "
        "rule: {value} above lists of the same gene frequencies, random directions {control}.",
        failed="Random directions of the same states, listed by the same rule, are named by biology as often as "
        "latents or more often: {control} above lists of the same gene frequencies, latents {value}. What is "
        "named is there in the states, before any autoencoder.",
    ),
    Question(
        "05_svd", "variance_at_equal_bits", None,
        held="With as many bits a vector, autoencoders explain more variance than one mean vector per gene, principal "
        "components or both: {value}, the best of these {control}.",
        failed="With as many bits a vector, one mean vector per gene and principal components explain as much variance "
        "as an autoencoder or more: {control}, autoencoder {value}.",
    ),
    Question(
        "03_catalogue", "cells_separate", None,
        held="One latent tells unseen cells apart better than the best single gene or depth: {value}, the best rival "
        "{control}.",
        failed="One latent tells unseen cells apart no better, or hardly better, than the best single gene or depth: "
        "{value}, the best rival {control}.",
    ),
    Question(
        "06_tracking", "turnover_of_directions", None,
        held="Fewer latents have their direction in the next layer than in another training of the same layer: "
        "{value}, another training {control}.",
        failed="Latents have their direction in the next layer as often as in another training of the same layer: "
        "{value}, another training {control}.",
    ),
    Question(
        "04_annotate", "annotated_layer", None,
        held="Under the strictest rule some latents stand for known biology: {value}, of lists that mean nothing "
        "{control}.",
        failed="Under the strictest rule latents are not annotated more often than lists that mean nothing: {value}, "
        "of those {control}.",
    ),
)  # fmt: skip


def main_results_html(claims: Claims) -> str:
    """The sentences as a list; a question that no page tested is left out, controls and checks of software too.

    Returns
    -------
    str
        HTML; empty where none of the questions was tested.
    """
    answers = [a for q in QUESTIONS if (a := _answer(q, claims)) is not None]
    items = "".join(f"<li>{html.escape(text)}</li>" for _, text in sorted(answers, key=lambda answer: answer[0]))
    return f'<ol class="biosae-results">{items}</ol>' if items else ""


def _answer(question: Question, claims: Claims) -> tuple[bool, str] | None:
    """Whether the claim held on most of its pages, and the sentence that says so."""
    same = [
        c for c in claims
        if is_finding(c) and c["value"] is not None and (c["phase"], c["id"]) == (question.phase, question.id)
        and question.group in (None, c["group"])
    ]  # fmt: skip
    if not same:
        return None
    held = [c for c in same if c["verdict"] == "supported"]
    most = 2 * len(held) > len(same)
    unit = sign(same[0]["unit"]) or same[0]["unit"].split(",")[0]
    numbers = {name: span([c[name] for c in same], unit) for name in ("value", "control")}
    where = f"on {len(held)} of {len(same)} pages" if len(same) > 1 else f"on {page_name(same[0])}"
    verdict = f" Supported {where}." if held or len(same) > 1 else f" Not supported {where}."
    return most, (question.held if most else question.failed).format(**numbers) + verdict
