"""What the published work stated, beside our claims of the same name: one file, looked up in one place.

The figures are of the full-size models on other cells than a run of this book has, so they stand beside a claim for
orientation. A family for which the published work made no such statement has none, and so has a control of a model.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from biosae_utils.errors import BiosaeError

FILE = Path(__file__).with_suffix(".json")
FAMILIES = ("geneformer", "scgpt")


@dataclass(frozen=True)
class PublishedFigure:
    """One published figure.

    Attributes
    ----------
    value : float
    unit : str
        The unit of the claim that it stands beside.
    where : str
        Which table or file of the published work states it.
    note : str
        In what it differs from the claim.
    """

    value: float
    unit: str
    where: str
    note: str


@functools.cache
def figures(path: Path = FILE) -> Mapping[tuple[str, str], PublishedFigure]:
    """All figures, by claim id and family of models.

    Raises
    ------
    BiosaeError
        An entry has another form, or a family that is not in `FAMILIES`.
    """
    found = {}
    for claim_id, entry in json.loads(path.read_text(encoding="utf-8")).items():
        for family in entry.keys() - {"unit"}:
            try:
                if family not in FAMILIES:
                    raise ValueError(f"no family {family!r}")
                found[claim_id, family] = PublishedFigure(unit=entry["unit"], **entry[family])
            except (KeyError, TypeError, ValueError) as e:
                raise BiosaeError(
                    f"A published figure cannot be read ({e})",
                    where=f"{path.name}, {claim_id}",
                    do="give the claim a unit, and each of its families value, where and note",
                ) from e
    return found


def figure(claim_id: str, family: str | None) -> PublishedFigure | None:
    """The published figure beside a claim.

    Parameters
    ----------
    claim_id : str
        As on the page; the layer at its end (``variance.layer_03``) does not matter.
    family : str or None
        "geneformer" or "scgpt", as in `ModelInfo.family`; None for any other model.
    """
    return figures().get((claim_id.split(".layer_")[0], family or ""))


def published(claim_id: str, family: str | None, variant: str = "trained") -> float | None:
    """Value of `figure` for a claim about a trained model; None for controls, and where nothing was published."""
    found = figure(claim_id, family) if variant == "trained" else None
    return found.value if found else None
