"""A claim: one headline number, its control, the rule fixed beforehand, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["supported", "not_supported", "not_tested"]


class Claim(BaseModel):
    """One headline number beside its control.

    A claim without a control cannot be built, except as ``not_tested``: then `value` is None and `title` says why.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9_.-]+$", description="stable name; unique within (phase, model, layer)")
    phase: str
    model: str | None = None
    layer: int | None = None
    title: str = Field(min_length=8, description="the claim as a sentence with no number in it")
    value: float | None = None
    unit: str = ""
    interval: tuple[float, float] | None = Field(None, description="95 % interval of value")
    control: float | None = None
    control_kind: str = Field("", description="what the control is, for instance 'permuted gene labels'")
    rule: str = Field(min_length=8, description="the rule that decides the verdict, fixed before looking")
    verdict: Verdict
    published: float | None = Field(None, description="the published figure in the same unit, if there is one")
    command: str = Field(description="the command that reproduces it")

    def model_post_init(self, _context: object) -> None:
        tested = self.verdict != "not_tested"
        if tested and (self.value is None or self.control is None or not self.control_kind):
            raise ValueError(f"claim {self.id!r}: a tested claim needs value, control and control_kind")
        if not tested and self.value is not None:
            raise ValueError(f"claim {self.id!r}: a claim that was not tested has no value")


def verdict(holds: bool) -> Verdict:
    """Name of the outcome of a tested rule."""
    return "supported" if holds else "not_supported"


CONTROLS = {
    "random-weights": "Control with random weights",
    "shuffled-genes": "Control with shuffled genes",
}
"""How claims of a model that is itself a control begin. They are comparisons for others, and count as no finding."""


def of_control(claim: Mapping[str, Any]) -> bool:
    """Whether a claim was made on a page of a control."""
    return claim["title"].startswith(tuple(CONTROLS.values()))
