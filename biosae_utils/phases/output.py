"""What a phase leaves: tables, arrays, facts and claims in one folder that is complete once its manifest is written."""

from __future__ import annotations

import datetime as dt
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biosae_utils import store
from biosae_utils.claims import Claim, weighed
from biosae_utils.errors import BiosaeError
from biosae_utils.intervals import Interval
from biosae_utils.params import PageParams, checked
from biosae_utils.phases import manifest
from biosae_utils.phases.base import Phase
from biosae_utils.phases.places import node_of
from biosae_utils.phases.state import folder_of, key

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

STATE = ".state.json"


class Output:
    """The folder of one page while it is being computed.

    Attributes
    ----------
    dir : Path
        For work in pieces that can be resumed: it is emptied when parameters, code, data or inputs changed, so what is
        found in it may be continued.
    """

    def __init__(self, phase: Phase, params: PageParams, command: str) -> None:
        self._phase, self._params, self._command = phase, params, command
        self.dir = folder_of(phase, params)
        self._started = time.time()
        self._key = key(phase, params)
        self._claims: list[Claim] = []
        self._tables: list[str] = []
        self._steps: dict[str, float] = {}
        self._prepare()

    def _prepare(self) -> None:
        """Mark the folder incomplete; drop what something else left in it."""
        path = self.dir / STATE
        if self.dir.exists():
            (self.dir / manifest.NAME).unlink(missing_ok=True)
            if not path.is_file() or store.read_json(path) != self._key:
                shutil.rmtree(self.dir)
        self.dir.mkdir(parents=True, exist_ok=True)
        store.sweep_partial(self.dir)
        store.write_json(path, self._key)

    def table(self, df: pd.DataFrame, name: str, *, download: bool = True) -> None:
        """Write ``<name>.parquet``; with `download`, the page offers it."""
        store.write_table(self.dir / f"{name}.parquet", df)
        if download and f"{name}.parquet" not in self._tables:
            self._tables.append(f"{name}.parquet")

    def array(self, array: np.ndarray, name: str) -> None:
        """Write ``<name>.npy``."""
        import numpy as np

        with self.file(f"{name}.npy") as tmp:
            np.save(tmp, array)

    def file(self, name: str) -> AbstractContextManager[Path]:
        """Path to write a file to, which gets its name when the block succeeds."""
        return store.atomic_path(self.dir / name)

    def facts(self, **values: Any) -> None:
        """Write ``facts.json``: numbers and words that the page's sentences need."""
        store.write_json(self.dir / "facts.json", {name: plain(value) for name, value in values.items()})

    def claim(self, **fields: Any) -> Claim:
        """Record a claim; phase, model, layer, variant and command are filled in. See `biosae_utils.claims.Claim`.

        `value` and `control` may be intervals (`value`, `low`, `high`, `over`), which fill the fields of that name.
        With a `minimum`, a verdict "supported" of a claim that is closer to its control becomes "trivial".
        """
        given = dict(fields)
        for name, wide in (("value", "interval"), ("control", "control_interval")):
            found = given.get(name)
            if isinstance(found, Interval):
                given |= {name: found.value, wide: found.pair}
                if name == "value":
                    given["interval_over"] = found.over
        if all(given.get(name) is not None for name in ("minimum", "value", "control")):
            given["verdict"] = weighed(given["verdict"], given["value"], given["control"], given["minimum"])
        _, model, layer = node_of(self._phase.name, self._params)
        values: dict[str, Any] = {
            "phase": self._phase.name, "model": model, "layer": layer, "command": self._command,
            "variant": getattr(self._params, "variant", "trained"),
        }  # fmt: skip
        values |= {name: plain(value) for name, value in given.items()}
        values |= {
            name: tuple(values[name]) for name in ("interval", "control_interval") if values.get(name) is not None
        }
        claim = checked(Claim, values, where=f"claim {fields.get('id')!r} of {self._phase.name}")
        if any((c.id, c.layer, c.group) == (claim.id, claim.layer, claim.group) for c in self._claims):
            raise BiosaeError(f"Two claims are called {claim.id!r}", where=self._phase.name, do="give each its own id")
        self._claims.append(claim)
        return claim

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a part of the work; the page's provenance shows how long each took."""
        started = time.time()
        yield
        self._steps[name] = self._steps.get(name, 0) + time.time() - started

    def close(self) -> Path:
        """Write claims and, last, the manifest; returns its path."""
        store.write_json(self.dir / manifest.CLAIMS, [c.model_dump(mode="json") for c in self._claims])
        files = manifest.outputs(self.dir)
        _, model, layer = node_of(self._phase.name, self._params)
        about = {
            "phase": self._phase.name, "run": self._params.run, "model": model, "layer": layer,
            "params": self._params.model_dump(mode="json"), "key": self._key,
            "outputs": files, "content": manifest.content(files), "tables": self._tables,
            "command": self._command, "code_version": manifest.code_version(),
            "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self._started, 2),
            "steps": {name: round(seconds, 2) for name, seconds in self._steps.items()},
            "max_rss_mb": max_rss_mb(), "threads": int(os.environ.get("OMP_NUM_THREADS") or 0),
        }  # fmt: skip
        store.write_json(self.dir / manifest.NAME, about)
        store.hash_of.save()
        return self.dir / manifest.NAME


def plain(value: Any) -> Any:
    """NumPy scalars and arrays, and what holds them, as values of JSON; NaN as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, dict):
        return {str(name): plain(v) for name, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def max_rss_mb() -> float:
    """Largest resident memory that this process has had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
