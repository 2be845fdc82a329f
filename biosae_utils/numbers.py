"""Numbers as a page writes them: sensible digits, the unit once, no minus zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

DIGITS, MOST_PLACES = 3, 6


def number(value: float | None, unit: str = "") -> str:
    """A value with three significant digits and its unit: a "share of X" as "% of X", a missing value as a dash."""
    if value is None:
        return "–"
    factor, unit = scale(unit)
    text = written(factor * value, decimals([factor * value]))
    return f"{_plain(text)} {unit}".strip()


def span(values: Sequence[float | None], unit: str = "", places: int | None = None) -> str:
    """Lowest to highest value, with the unit once; a single number if they look alike.

    `places` are the decimals, where the numbers are read beside others; by default those of the largest.
    """
    factor, unit = scale(unit)
    known = sorted(factor * v for v in values if v is not None)
    if not known:
        return "–"
    places = decimals(known) if places is None else places
    low, high = _plain(written(known[0], places)), _plain(written(known[-1], places))
    return f"{low if low == high else f'{low} to {high}'} {unit}".strip()


def scale(unit: str) -> tuple[float, str]:
    """By what a value is multiplied to be written, and in which unit: a "share of X" becomes "% of X"."""
    if unit == "share" or unit.startswith("share "):
        return 100.0, "%" + unit.removeprefix("share")
    return 1.0, unit


def decimals(values: Sequence[float | None]) -> int:
    """Decimals for numbers that are read side by side: three digits of the largest."""
    largest = max((abs(v) for v in values if v), default=0.0)
    return max(0, DIGITS - 1 - math.floor(math.log10(largest))) if largest else 0


def written(value: float, places: int) -> str:
    """A value with so many decimals; one that would be written as zero, and is none, as smaller than the last digit."""
    if places > MOST_PLACES:
        return f"{value:.2g}".replace("-", "−")
    text = f"{abs(value):,.{places}f}"
    if not any(c in "123456789" for c in text):
        return "0" if value == 0 else f"< {10.0**-places:.{places}f}" if value > 0 else f"> −{10.0**-places:.{places}f}"
    return ("−" if value < 0 else "") + text


def _plain(text: str) -> str:
    """Without zeros at the end of the decimals."""
    return (
        text.rstrip("0").rstrip(".")
        if "." in text and "<" not in text and ">" not in text and "e" not in text
        else text
    )
