"""Axes of a figure: scales, ticks, titles, and reference lines that stand where they should on any scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from biosae_utils.book.figures import ACCENT

if TYPE_CHECKING:
    from biosae_utils.book.plots.canvas import Canvas


def finish(canvas: Canvas, titles: dict[str, str]) -> None:
    """Apply the look of a canvas to all its axes, and draw its reference lines."""
    look: Mapping[str, Any] = canvas.look
    for letter in "xy":
        update = canvas.fig.update_xaxes if letter == "x" else canvas.fig.update_yaxes
        update(**_scale(canvas, letter))
        for panel in range(len(canvas.facets)):
            row, col = divmod(panel, canvas.n_columns)
            if (col == 0) if letter == "y" else (panel + canvas.n_columns >= len(canvas.facets)):
                update(title_text=titles[letter], row=row + 1, col=col + 1)
            for value, text in look.get(f"{letter}marks", ()):
                _mark(canvas, letter, panel, value, text)


def extent(canvas: Canvas, letter: str) -> tuple[float, float] | None:
    """Lowest and highest number on an axis, whiskers included; None if the axis holds no numbers."""
    found = []
    for trace in canvas.fig.data:
        if letter == "y" and trace.type == "box" and trace.lowerfence is not None:
            found += [np.asarray(trace.lowerfence, float), np.asarray(trace.upperfence, float)]
        data = trace[letter]
        if data is None or not np.issubdtype(np.asarray(data).dtype, np.number):
            continue
        data, error = np.asarray(data, float), trace[f"error_{letter}"] if f"error_{letter}" in trace else None
        found.append(data)
        for name, sign in (("array", 1), ("arrayminus", -1)):
            if error is not None and error[name] is not None:
                found.append(data + sign * np.nan_to_num(np.asarray(error[name], float)))
    numbers = np.concatenate(found) if found else np.array([])
    numbers = numbers[np.isfinite(numbers)]
    if letter in canvas.look.get("log", ""):
        numbers = numbers[numbers > 0]
    return (float(numbers.min()), float(numbers.max())) if len(numbers) else None


def _scale(canvas: Canvas, letter: str) -> dict[str, Any]:
    """Type, ticks and range of an axis."""
    look: Mapping[str, Any] = canvas.look
    ends = extent(canvas, letter)
    axis: dict[str, Any] = {}
    log = letter in look.get("log", "")
    if log:
        axis["type"] = "log"
        if ends:
            axis |= _log_ticks(*ends, percent=letter in look.get("percent", ""))
    elif letter in look.get("percent", ""):
        axis["tickformat"] = ".2~%"
    elif ends and _are_layers(canvas, letter, ends):
        axis["dtick"] = max(1, math.ceil((ends[1] - ends[0]) / 12))
    if letter in look.get("zero", ""):
        axis["rangemode"] = "tozero"
    if (given := look.get(f"{letter}range")) is not None:
        axis["range"] = [None if v is None else math.log10(v) if log else v for v in given]
    return axis


def _are_layers(canvas: Canvas, letter: str, ends: tuple[float, float]) -> bool:
    """Whether an axis holds few whole numbers, so that ticks between them would mislead."""
    whole = [t[letter] for t in canvas.fig.data if t[letter] is not None]
    return ends[1] - ends[0] <= 24 and all(np.issubdtype(np.asarray(v).dtype, np.integer) for v in whole)


def _log_ticks(low: float, high: float, *, percent: bool) -> dict[str, Any]:
    """Ticks at powers of ten, or at 1, 2 and 5 of them when there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    span = math.log10(high / low)
    steps = (1, 2, 3, 5, 7) if span < 0.8 else (1, 2, 5) if span < 1.6 else (1,)
    ticks = [s * 10.0**e for e in range(first, last + 1) for s in steps]
    return {"tickvals": ticks, "ticktext": [_number(t, percent) for t in ticks]}


def _number(value: float, percent: bool) -> str:
    shown = 100 * value if percent else value
    if 1e-4 <= shown < 1e6:
        return f"{shown:,.10g}" + "%" * percent
    exponent = math.floor(math.log10(shown))
    factor = shown / 10.0**exponent
    return ("" if math.isclose(factor, 1) else f"{factor:.0f}·") + f"10<sup>{exponent}</sup>" + "%" * percent


def _mark(canvas: Canvas, letter: str, panel: int, value: float, text: str) -> None:
    """A reference line with its name; on a log axis shapes take the data value, but annotations its exponent."""
    number = panel + 1 if panel else ""
    own, other = f"{letter}{number}", f"{'y' if letter == 'x' else 'x'}{number} domain"
    log, ends = letter in canvas.look.get("log", ""), extent(canvas, letter)
    line = {"color": ACCENT, "dash": "dot", "width": 2}
    across = "y" if letter == "x" else "x"
    place = {f"{letter}0": value, f"{letter}1": value, f"{across}0": 0, f"{across}1": 1}
    canvas.fig.add_shape(type="line", **place, **{f"{letter}ref": own, f"{across}ref": other}, line=line)
    at = {letter: math.log10(value) if log else value, across: 1, f"{letter}ref": own, f"{across}ref": other}
    if letter == "x":
        left = ends is not None and _share(value, *ends, log=log) > 0.6
        side = {"xanchor": "right" if left else "left", "xshift": -4 if left else 4, "yanchor": "top"}
    else:
        side = {"xanchor": "right", "yanchor": "bottom"}
    canvas.fig.add_annotation(text=text, showarrow=False, font={"color": ACCENT, "size": 12}, **at, **side)


def _share(value: float, low: float, high: float, *, log: bool) -> float:
    """Where a value lies between two others, 0 to 1."""
    if log:
        value, low, high = math.log10(value), math.log10(low), math.log10(high)
    return (value - low) / (high - low) if high > low else 0.5
