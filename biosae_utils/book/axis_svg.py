"""A small axis, as SVG, on which a value stands beside its control."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

from biosae_utils.numbers import decimals, scale, written

WIDTH, HEIGHT, EDGE = 160.0, 40.0, 8.0
ROWS = {"control": 19.0}
"""Height of a mark from the top by its kind; what is not a control stands on the first row."""
FIRST, BASE = 8.0, 27.0
STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


class Mark(NamedTuple):
    """A number on the axis: its kind (``control``, ``published`` or a verdict), and the ends of its interval."""

    kind: str
    value: float
    interval: Sequence[float] | None = None


def axis_svg(marks: Sequence[Mark], unit: str, says: str) -> str:
    """Marks on an axis of their own, with its ends written below.

    The axis begins at zero, unless all numbers lie so far from it that they could not be told apart.

    Parameters
    ----------
    marks : sequence of Mark
    unit : str
        Unit of the numbers; a share is written in percent.
    says : str
        What the drawing says, for who cannot see it.
    """
    low, high = ends([n for m in marks for n in (m.value, *(m.interval or ()))])
    factor, unit = scale(unit)
    if unit.startswith("%") and max(m.value for m in marks) * factor <= 100:
        high = min(high, 100 / factor)
    sign = " %" if unit.startswith("%") else ""
    places = decimals([factor * (high - low)])
    rounded = [f"{factor * v:,.6g}".replace("-", "−") for v in (low, high)]  # as `ends` made them
    labels = rounded if low <= 0 else [written(factor * v, places) for v in (low, high)]
    labels[1] += sign

    def at(value: float) -> float:
        return EDGE + (WIDTH - 2 * EDGE) * (value - low) / (high - low)

    parts = [f'<path class="axis" d="M{EDGE} {BASE}H{WIDTH - EDGE}M{EDGE} {BASE}v3M{WIDTH - EDGE} {BASE}v3"/>']
    for mark in marks:
        y = ROWS.get(mark.kind, FIRST)
        line = f"M{at(mark.interval[0]):.1f} {y}H{at(mark.interval[1]):.1f}" if mark.interval else ""
        parts.append(f'<g class="{mark.kind}">{_shape(mark.kind, at(mark.value), y, line)}</g>')
    for x, anchor, text in ((EDGE, "start", labels[0]), (WIDTH - EDGE, "end", labels[1])):
        parts.append(f'<text x="{x}" y="{HEIGHT - 2}" text-anchor="{anchor}">{html.escape(text)}</text>')
    label = html.escape(f"{says}; axis from {labels[0]} to {labels[1]}", quote=True)
    box = f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}" width="{WIDTH:g}" height="{HEIGHT:g}"'
    return f'<svg class="biosae-axis" {box} role="img" aria-label="{label}">{"".join(parts)}</svg>'


def ends(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis for some numbers: zero and a round number, unless they fill less than a seventh of the axis then.

    A number that is a little below zero, as a share that was adjusted for chance can be, does not move the axis.
    """
    low, high = min(values), max(values)
    if low == high == 0:
        return 0.0, 1.0
    if high <= 0:
        start, end = ends([-v for v in values])
        return -end, -start or 0.0
    if low > 0 and high - low < high / 7:
        room = (high - low) / 8 or high / 8
        return low - room, high + room
    return (0.0 if low > -high / 20 else -_round_up(-low)), _round_up(high)


def _round_up(size: float) -> float:
    """The next number that is easily read."""
    unit = 10.0 ** math.floor(math.log10(size))
    return unit * next(s for s in STEPS if s * unit >= size * (1 - 1e-9))


def _shape(kind: str, x: float, y: float, line: str) -> str:
    """A dot for a value, a cross for a control, a diamond for a published value, over the line of its interval."""
    if kind == "control":
        return f'<path d="{line}M{x - 3.5:.1f} {y - 3.5}l7 7m0 -7l-7 7"/>'
    if kind == "published":
        return f'<path d="M{x:.1f} {y - 5}l5 5l-5 5l-5 -5z"/>'
    return f'<path d="{line}"/><circle cx="{x:.1f}" cy="{y}" r="4"/>'
