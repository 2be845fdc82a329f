"""The results of all benchmarks as one readable page: ``python -m benchmarks.table`` writes ``results/README.md``."""

from __future__ import annotations

import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
HEAD = """# What was measured

Written by `python -m benchmarks.table` from the JSON files beside it; `make bench` measures again and rewrites it.
Ours and the reference ran in the same process, on the same input. A bound is what the hardware allows by count of its
bytes or multiplications, at ceilings measured in the same run. Medians; spread is (slowest - fastest) / median.
"""


def number(value: float | None) -> str:
    """Three significant digits."""
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def section(path: Path) -> str:
    """One benchmark on one machine."""
    result = json.loads(path.read_text())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"\n## {path.name.split('.')[0]}: {result['machine']}\n",
        f"{result['date']}; {versions}\n",
        "| case | ours | reference | reference / ours | bound | unit | runs | spread |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for r in result["rows"]:
        reference = "" if r["reference"] is None else f"{number(r['reference'])} ({r['reference_name']})"
        ratio = "" if r["ratio"] is None else f"{r['ratio']:,.1f}"
        spread = "" if r["runs"] == 1 else f"{r['spread']:.0%}"
        indent = "&ensp;" * (len(r["case"]) - len(r["case"].lstrip()))
        cells = [indent + r["case"].strip(), number(r["ours"]), reference, ratio, number(r["bound"]), r["unit"]]
        lines.append("| " + " | ".join([*cells, str(r["runs"]), spread]) + " |")
    return "\n".join(lines) + "\n"


def page(folder: Path = RESULTS) -> str:
    """All of them."""
    return HEAD + "".join(section(path) for path in sorted(folder.glob("*.json")))


if __name__ == "__main__":
    (RESULTS / "README.md").write_text(page())
