"""A claim: one headline number, its control, the rule that judges it, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from biosae_utils.params import Variant

Verdict = Literal["supported", "trivial", "not_supported", "not_tested"]

VERDICTS: dict[Verdict, str] = {
    "supported": "supported",
    "trivial": "above control, trivially",
    "not_supported": "not supported",
    "not_tested": "not tested",
}
"""How a verdict is called on a page."""

CONTROLS = {"random-weights": "Control with random weights", "shuffled-genes": "Control with shuffled genes"}
"""What a page of a model that is itself a control is called. Its claims are comparisons for others and no finding."""


class Claim(BaseModel):
    """One headline number beside its control.

    A claim without a control cannot be built, except as ``not_tested``: then `value` is None and `reason` says why.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(
        pattern=r"^[a-z0-9_.-]+$", description="what is claimed; unique within (phase, model, layer, group)"
    )
    phase: str
    model: str | None = None
    layer: int | None = None
    variant: Variant = "trained"
    group: str | None = Field(None, description="which of several of its kind: a cell type, a population of lists")
    title: str = Field(min_length=8, description="the claim as a sentence with no number in it")
    value: float | None = None
    unit: str = ""
    interval: tuple[float, float] | None = Field(None, description="95 % interval of value")
    interval_over: str = Field("", description="what was resampled for the interval, for instance 'cells'")
    control: float | None = None
    control_interval: tuple[float, float] | None = Field(None, description="95 % interval of control")
    control_kind: str = Field("", description="what the control is, for instance 'permuted gene labels'")
    rule: str = Field(min_length=8, description="the rule that decides the verdict")
    minimum: float | None = Field(
        None, ge=0, description="distance from the control, in `unit`, below which a claim that holds is trivial"
    )
    verdict: Verdict
    reason: str = Field("", description="why it was not tested")
    published: float | None = Field(None, description="the published figure in the same unit, if there is one")
    check: bool = Field(False, description="a test of the software itself, which is no finding")
    command: str = Field(description="the command that reproduces it")

    def model_post_init(self, _context: object) -> None:
        tested = self.verdict != "not_tested"
        if tested and (self.value is None or self.control is None or not self.control_kind):
            raise ValueError(f"claim {self.id!r}: a tested claim needs value, control and control_kind")
        if tested and not self.check and self.minimum is None:
            raise ValueError(f"claim {self.id!r}: a finding names the smallest difference that counts, its minimum")
        if not tested and self.value is not None:
            raise ValueError(f"claim {self.id!r}: a claim that was not tested has no value")
        if not tested and not self.reason:
            raise ValueError(f"claim {self.id!r}: a claim that was not tested says why")
        if (self.interval is None) != (not self.interval_over):
            raise ValueError(f"claim {self.id!r}: an interval says what was resampled, and only an interval does")


def verdict(holds: bool) -> Verdict:
    """Name of the outcome of a tested rule."""
    return "supported" if holds else "not_supported"


def weighed(verdict: Verdict, value: float, control: float, minimum: float) -> Verdict:
    """The same, where a claim that holds but is closer to its control than `minimum` is trivial."""
    return "trivial" if verdict == "supported" and abs(value - control) < minimum else verdict


def of_control(claim: Mapping[str, Any]) -> bool:
    """Whether a claim was made on a page of a control."""
    return claim["variant"] != "trained"


def is_finding(claim: Mapping[str, Any]) -> bool:
    """Whether a claim says something about a model or cells: it is of no control, and no check of the software."""
    return not (of_control(claim) or claim.get("check", False))
