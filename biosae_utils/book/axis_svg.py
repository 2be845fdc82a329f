"""A small axis, as SVG, on which a value stands beside its control."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from biosae_utils.numbers import decimals, scale, written

WIDTH, HEIGHT, EDGE = 160.0, 40.0, 8.0
ROWS = {"control": 19.0}
"""Height of a mark from the top by its kind; what is not a control stands on the first row."""
FIRST, BASE = 8.0, 27.0


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
    places = decimals([factor * (high - low)])
    sign = " %" if unit.startswith("%") else ""
    labels = [written(factor * v, max(0, places - 1)) + sign * (v == high) for v in (low, high)]

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
    """Ends of an axis for some numbers: with zero, unless they fill less than a seventh of the axis then."""
    low, high = min(values), max(values)
    if 0 <= low and high - low >= high / 7:
        low = 0.0
    elif high <= 0 and high - low >= -low / 7:
        high = 0.0
    else:
        room = (high - low) / 8 or abs(high) / 8 or 1.0
        low, high = low - room, high + room
    return (low, high) if high > low else (0.0, 1.0)


def _shape(kind: str, x: float, y: float, line: str) -> str:
    """A dot for a value, a cross for a control, a diamond for a published value, over the line of its interval."""
    if kind == "control":
        return f'<path d="{line}M{x - 3.5:.1f} {y - 3.5}l7 7m0 -7l-7 7"/>'
    if kind == "published":
        return f'<path d="M{x:.1f} {y - 5}l5 5l-5 5l-5 -5z"/>'
    return f'<path d="{line}"/><circle cx="{x:.1f}" cy="{y}" r="4"/>'
