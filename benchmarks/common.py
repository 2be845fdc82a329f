"""What all benchmarks share: timing, the name of the machine, and the table that they leave behind."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks import table
from biosae_utils.store import write_json

RESULTS = table.RESULTS
PACKAGES = ("torch", "transformers", "numpy", "scipy")


@dataclass(frozen=True)
class Timing:
    """Wall times of repeated runs of one thing, in seconds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median."""
        return (max(self.seconds) - min(self.seconds)) / self.median


@dataclass(frozen=True)
class Row:
    """One line of a benchmark: ours against the reference, in the same unit, in the same run."""

    case: str
    ours: float
    reference: float | None
    reference_name: str
    ratio: float | None
    bound: float | None
    unit: str
    runs: int
    spread: float | None


def row(
    case: str,
    ours: Timing,
    reference: Timing | None,
    reference_name: str,
    *,
    per: float = 1.0,
    reference_per: float | None = None,
    scale: float = 1e3,
    unit: str = "ms",
    bound: float | None = None,
) -> Row:
    """A row of times per item.

    Parameters
    ----------
    per, reference_per : float
        Items that one run handled: ours, the reference's.
    scale, unit : float, str
        Factor from seconds to `unit`.
    bound : float, optional
        What the hardware allows, in `unit`.
    """
    mine = ours.median / per * scale
    theirs = None if reference is None else reference.median / (reference_per or per) * scale
    ratio = None if theirs is None else theirs / mine
    return Row(case, mine, theirs, reference_name, ratio, bound, unit, len(ours.seconds), ours.spread)


def measure(work: Callable[[], object], runs: int = 3, *, warm: int = 1, device: torch.device | None = None) -> Timing:
    """Time `work`, after `warm` untimed calls; on CUDA the clock stops when the device is done."""
    seconds = []
    for i in range(warm + runs):
        start = time.perf_counter()
        work()
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        if i >= warm:
            seconds.append(time.perf_counter() - start)
    return Timing(tuple(seconds))


def machine_name(device: torch.device) -> str:
    """Readable name of what the benchmark ran on: the accelerator, or CPU model and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        cpu = found.group(1) if found else cpu
    return f"{cpu}, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the speed, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def print_rows(device: torch.device, rows: Sequence[Row]) -> None:
    """Print the table."""
    print(f"\n{machine_name(device)}")
    for r in rows:
        times = "" if r.ratio is None else f", {r.ratio:.1f} times ours"
        against = "" if r.reference is None else f"; {r.reference_name}: {r.reference:.2f}{times}"
        share = "" if r.bound is None else f"; bound {r.bound:.2f}, {r.bound / r.ours:.0%} of it reached"
        spread = "" if r.spread is None else f"spread {r.spread:.0%}, "
        print(f"{r.case}: {r.ours:.2f} {r.unit} ({spread}{r.runs} runs){against}{share}")


def write_results(name: str, device: torch.device, rows: Sequence[Row]) -> Path:
    """Write ``benchmarks/results/<name>.<machine>.json``, and the table of all results."""
    machine = machine_name(device)
    slug = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    path = RESULTS / f"{name}.{slug}.json"
    date = dt.datetime.now(dt.UTC).date().isoformat()
    write_json(path, {"machine": machine, "versions": versions(), "date": date, "rows": [asdict(r) for r in rows]})
    (RESULTS / "README.md").write_text(table.page())
    print(f"written: {path.relative_to(RESULTS.parents[1])}, and the table in {RESULTS.name}/README.md")
    return path
