"""Ours, the published loop and the peers on the CPU: every training is a process with one thread."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from benchmarks.common import Row

RATES = (1e-3, 3e-3, 1e-2, 2e-2)
HERE, PEERS = ("ours", "naive"), ("sparsify", "dictionary-learning", "sae-lens")
LIMIT = 900  # seconds for one training


def run(python: str, method: str, lr: float, seed: int, steps: int) -> dict[str, float]:
    """One training in a process of its own; raises with the last line of its errors."""
    command = [python, "-m", "benchmarks.sae_parts.worker", method, str(lr), str(seed), str(steps)]
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads}, timeout=LIMIT)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def best_of_grid(pool: ThreadPoolExecutor, python: str, method: str, steps: int, n_seeds: int) -> dict[str, float]:
    """Median over seeds at the rate whose first seed has the lowest held-out FVU."""
    first = list(pool.map(lambda lr: run(python, method, lr, 0, steps), RATES))
    best = min(range(len(RATES)), key=lambda i: first[i]["fvu"])
    more = pool.map(lambda seed: run(python, method, RATES[best], seed, steps), range(1, n_seeds))
    runs = [first[best], *more]
    found = {"lr": RATES[best]}
    for name in runs[0]:
        values = [r[name] for r in runs]
        found[name] = statistics.median(values)
        found[f"spread of {name}"] = (max(values) - min(values)) / found[name] if found[name] else 0.0
    print(method, {name: round(value, 4) for name, value in found.items()}, flush=True)
    return found


def main(peers: str, *, steps: int, n_seeds: int, workers: int = 2) -> list[Row]:
    """All methods; a peer that cannot be run is named and left out."""
    found = {}
    with ThreadPoolExecutor(workers) as pool:
        for method in HERE + PEERS:
            try:
                found[method] = best_of_grid(pool, sys.executable if method in HERE else peers, method, steps, n_seeds)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
                print(f"{method}: not run ({e})", flush=True)
    ours, rows = found.pop("ours"), []
    for method, other in found.items():
        name = f"{method}, lr {other['lr']:g} of {RATES}"
        for column, scale, unit in (
            ("vectors_per_cpu_second", 1.0, "vectors per CPU-second"),
            ("fvu", 100.0, "% of held-out variance unexplained"),
            ("dead", 100.0, "% of latents"),
            ("recovery", 1.0, "mean max cosine with planted directions"),
        ):
            a, b = ours[column] * scale, other[column] * scale
            rows.append(Row(column, a, b, name, b / a if a else None, None, unit, n_seeds, ours[f"spread of {column}"]))
    return rows
