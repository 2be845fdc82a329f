"""The results of all benchmarks as one readable page: ``python -m benchmarks.table`` writes ``results/README.md``.

First ten lines that say what was measured, ours, and the best of the others; then where we lose; then every figure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TARGET, DEFAULT_RATE = "target", "default rate"
"""References that are nobody else's program: what we set ourselves, and our own default."""

HIGHER = ("per CPU-second", "cosine", "TFLOP/s", "% of directions")
"""Ends of the units of which more is better; of all others less is."""

HEADLINES = (
    ("sae", "one step of 18 layers, 1152 -> 4608, Triton", "One step of training SAEs of 18 layers"),
    ("sae", "18 layers x 1221 steps: held-out FVU", "Held-out variance that those SAEs miss"),
    ("sae", "vectors_per_cpu_second", "Vectors that SAE training takes in"),
    ("sae", "fvu", "Held-out variance missed, each method at its best rate"),
    ("sae", "dead", "Dead latents, the same trainings"),
    ("sae", "recovery", "Planted directions recovered, the same trainings"),
    ("extract", "forward, 100,000 positions of all layers kept", "States of every layer of the 316 M model"),
    ("extract", "mini-geneformer, bfloat16, a tenth of the positions of all layers kept", "States of mini-geneformer"),
    ("extract", "mini-scgpt, bfloat16, a tenth of the positions of all layers kept", "States of mini-scgpt"),
    ("annotate", "4,608 lists x 10,000 terms x 101 labellings, 2 threads", "Gene-set tests of all latents"),
)
"""Benchmark, case, and what that is in words; a line for each machine on which it was measured."""

HEAD = """# What was measured

| what | machine | unit, and which is better | ours | best other | times better |
| --- | --- | --- | ---: | ---: | ---: |
{headlines}

*Times better* is above 1 where ours is better and below 1 where it is worse, whichever way the unit points. The best
other is the best of all that ran beside ours, in the same process or on the same cores, on the same input.

## Where we lose

{losses}

## Every figure

Written by `python -m benchmarks.table` from the JSON files beside it; `make bench` measures again and rewrites it. A
bound is what the hardware allows by count of its bytes or multiplications, at ceilings measured in the same run.
Figures are medians of their runs; spread is (largest - smallest) / median of that very figure.
"""


@dataclass(frozen=True)
class Comparison:
    """One case on one machine: ours, and the best of the others."""

    benchmark: str
    machine: str
    case: str
    unit: str
    ours: float
    other: float
    name: str

    @property
    def times(self) -> float | None:
        """How many times better ours is; None where one of the two is 0."""
        if not (self.ours and self.other):
            return None
        return self.ours / self.other if higher(self.unit) else self.other / self.ours

    @property
    def lost(self) -> bool:
        """Whether the other is better."""
        return self.ours < self.other if higher(self.unit) else self.ours > self.other


def higher(unit: str) -> bool:
    """Whether more is better."""
    return any(end in unit for end in HIGHER)


def number(value: float | None) -> str:
    """Three significant digits."""
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def load(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Name and content of every result."""
    return [(path.name.split(".")[0], json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def comparisons(results: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Comparison]:
    """Every case that somebody else's program ran too, against the best of these."""
    for name, result in results:
        cases: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in result["rows"]:
            if row["reference"] is not None and row["reference_name"] not in (TARGET, DEFAULT_RATE):
                cases.setdefault((row["case"], row["unit"]), []).append(row)
        for (case, unit), rows in cases.items():
            best = (max if higher(unit) else min)(rows, key=lambda row: row["reference"])
            machine = result["machine"].split(",")[0].replace("(R)", "")
            yield Comparison(name, machine, case, unit, best["ours"], best["reference"], best["reference_name"])


def headline(found: Comparison, words: str) -> str:
    """One line of the summary."""
    better = f"{found.unit}, {'higher' if higher(found.unit) else 'lower'}"
    other = f"{number(found.other)} ({re.split(r': | of [(]', found.name)[0]})"
    times = "worse" if found.times is None else number(found.times)
    return f"| {words} | {found.machine} | {better} | **{number(found.ours)}** | {other} | {times} |"


def headlines(found: list[Comparison]) -> list[str]:
    """The summary, one line a case and machine."""
    return [
        headline(c, words) for name, case, words in HEADLINES for c in found if (c.benchmark, c.case) == (name, case)
    ]


def losses(found: list[Comparison], results: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    """Every comparison in which another is better, in words, and what the grids say about our default rate."""
    words = {(name, case): text for name, case, text in HEADLINES}
    lines = [
        f"- {words.get((c.benchmark, c.case), c.case)} ({c.machine}): {number(c.ours)} against {number(c.other)} "
        f"{c.unit} of {c.name}"
        for c in found
        if c.lost
    ]
    return [*lines, *default_rates(results)]


def default_rates(results: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    """How far our default learning rate is from the best of its grid, over all grids; nothing where there are none."""
    grids: dict[str, list[float]] = {}
    for _, result in results:
        for row in result["rows"]:
            if row["reference_name"] == DEFAULT_RATE:
                grids.setdefault(row["case"].rpartition(", lr")[0], []).append(row["ratio"])
    if not grids:
        return []
    beaten = {case: max(ratios) for case, ratios in grids.items() if max(ratios) > 1}
    worst = max(beaten, key=lambda case: beaten[case], default="")
    text = f"- The default learning rate is not the best of its grid in {len(beaten)} of {len(grids)} grids"
    return [text + (f"; at worst the best rate leaves {1 - 1 / beaten[worst]:.0%} less FVU ({worst})" if worst else "")]


def section(name: str, result: dict[str, Any]) -> str:
    """One benchmark on one machine, folded."""
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    lines = [
        f"\n<details>\n<summary>{name}: {result['machine']} ({len(result['rows'])} rows)</summary>\n",
        f"{result['date']}; {versions}\n",
        "| case | ours | reference | reference / ours | bound | unit | runs | spread |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for r in result["rows"]:
        reference = "" if r["reference"] is None else f"{number(r['reference'])} ({r['reference_name']})"
        ratio = "" if r["ratio"] is None else f"{r['ratio']:,.2f}"
        spread = "" if r["runs"] == 1 or r["spread"] is None else f"{r['spread']:.0%}"
        indent = "&ensp;" * (len(r["case"]) - len(r["case"].lstrip()))
        cells = [indent + r["case"].strip(), number(r["ours"]), reference, ratio, number(r["bound"]), r["unit"]]
        lines.append("| " + " | ".join([*cells, str(r["runs"]), spread]) + " |")
    return "\n".join(lines) + "\n\n</details>\n"


def page(folder: Path = RESULTS) -> str:
    """The whole page."""
    results = load(folder)
    found = list(comparisons(results))
    head = HEAD.format(
        headlines="\n".join(headlines(found)), losses="\n".join(losses(found, results)) or "Nowhere in these figures."
    )
    return head + "".join(section(*result) for result in results)


if __name__ == "__main__":
    (RESULTS / "README.md").write_text(page())
