"""`Page`: what a notebook needs to know about itself, and the only way in which it leaves something behind.

A page owns one folder of results. The folder is complete once `Page.close` has written ``manifest.json``, the last
file; until then no other page reads it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from biosae_utils import store
from biosae_utils.book import figures, manifest
from biosae_utils.book.dag import reads
from biosae_utils.book.paths import phase_dir
from biosae_utils.claims import CONTROLS, Claim
from biosae_utils.errors import BiosaeError
from biosae_utils.params import PHASES, PageParams, checked, scope

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

IPYTHON_NAMES = {"In", "Out", "exit", "quit", "get_ipython", "open"}
STATE = ".state.json"


class Page:
    """One page of the book while it is being computed.

    Attributes
    ----------
    phase : str
        For instance ``04_annotate``.
    params : PageParams
        Typed parameters of the phase.
    model, layer : str or None, int or None
        What the page is about.
    dir : Path
        Folder that the page owns, for chunked and resumable work. It is emptied when parameters or inputs changed, so
        what is found in it may be continued.
    command : str
        The command that computes this page again.
    """

    def __init__(self, phase: str, params: PageParams) -> None:
        self.phase, self.params = phase, params
        self.model: str | None = getattr(params, "model", None)
        self.layer: int | None = getattr(params, "layer", None)
        self.dir = phase_dir(params.results, params.run, phase, self.model, self.layer)
        self.command = os.environ.get("BIOSAE_COMMAND") or default_command(phase, self.model, self.layer)
        self._control = CONTROLS.get(getattr(params, "variant", "trained"), "")
        self._started = psutil.Process().create_time() if os.environ.get("BIOSAE_RUNNER") else time.time()
        self._claims: list[Claim] = []
        self._shown: list[str] = []
        self._tables: list[str] = []
        self._inputs: dict[str, str] = {}

    @classmethod
    def open(cls, phase: str, namespace: Mapping[str, Any]) -> Page:
        """Check the notebook's parameters, prepare its folder, set the figure template.

        Parameters
        ----------
        phase : str
        namespace : mapping
            ``globals()`` of the notebook, right after its parameter cell. Plain values in it that are no parameter of
            the phase are refused: they would silently do nothing. (When the cell is run a second time, the notebook's
            own variables are there too, and only the parameters are read.)
        """
        if phase not in PHASES:
            raise BiosaeError(f"No phase called {phase!r}", do=f"use one of {', '.join(PHASES)}")
        if os.environ.get("BIOSAE_RUNNER"):
            _die_with_parent()
        elif Path.cwd().name == "notebooks" and (Path.cwd().parent / "pyproject.toml").is_file():
            os.chdir("..")  # a Jupyter session starts beside the notebook; paths count from the project
        page = cls(phase, checked(PHASES[phase], _parameters(phase, namespace), where=f"parameters of {phase}"))
        page._prepare()
        figures.use_template()
        return page

    def _prepare(self) -> None:
        """Mark the folder incomplete; drop what other parameters left in it."""
        state = {"params": manifest.params_hash(self.params.model_dump(mode="json")), "inputs": self._upstream()}
        path = self.dir / STATE
        if self.dir.exists():
            (self.dir / manifest.NAME).unlink(missing_ok=True)
            if not path.is_file() or store.read_json(path) != state:
                shutil.rmtree(self.dir)
        self.dir.mkdir(parents=True, exist_ok=True)
        store.write_json(path, state)

    def _upstream(self) -> dict[str, str]:
        """Content of the phases that this one reads, as far as they are complete."""
        found = {}
        for phase in reads(self.phase):
            several = scope(phase) == "layer" and self.layer is None
            for layer in self.layers(phase) if several and self.model else [self.layer]:
                if self.model is None and scope(phase) != "run":
                    continue  # pages about the whole run do no resumable work
                folder = phase_dir(self.params.results, self.params.run, phase, self.model, layer)
                if manifest.is_complete(folder):
                    found[folder.as_posix()] = store.read_json(folder / manifest.NAME)["content"]
        return found

    # ---- what earlier phases left -------------------------------------------------------------------------------

    def input(self, phase: str, name: str = "", *, model: str | None = None, layer: int | None = None) -> Path:
        """Path of a file of an earlier, complete phase: of the same layer, else of the same model, else of the run.

        Parameters
        ----------
        phase : str
            Phase that wrote it.
        name : str
            File or folder within that phase's folder; the folder itself when empty.
        model, layer : optional
            Another model or layer than this page's.
        """
        if phase not in PHASES:
            raise BiosaeError(f"No phase called {phase!r}", do=f"use one of {', '.join(PHASES)}")
        model = self.model if model is None else model
        layer = self.layer if layer is None else layer
        kind = scope(phase)
        if (kind != "run" and model is None) or (kind == "layer" and layer is None):
            raise BiosaeError(f"{phase} has one folder per {kind}: say which", where=f"{self.phase}: page.input")
        folder = phase_dir(self.params.results, self.params.run, phase, model, layer)
        self._inputs[folder.as_posix()] = manifest.require(folder, phase)["content"]
        path = folder / name
        if not path.exists():
            raise BiosaeError(f"{phase} left no {name}", where=str(folder), do=f"rerun it with `biosae run {phase}`")
        return path

    def layers(self, phase: str, *, model: str | None = None) -> list[int]:
        """Layers of a model for which `phase` is complete, in order."""
        base = Path(self.params.results) / self.params.run / str(model or self.model)
        return sorted(int(f.parent.name[6:]) for f in base.glob(f"layer_*/{phase}") if manifest.is_complete(f))

    # ---- what this page leaves ----------------------------------------------------------------------------------

    def save(self, df: pd.DataFrame, name: str) -> Path:
        """Write a table to ``<name>.parquet`` in the page's folder, atomically, and list it under Downloads."""
        path = self.dir / f"{name}.parquet"
        store.write_table(path, df)
        if path.name not in self._tables:
            self._tables.append(path.name)
        return path

    def figure(self, fig: Figure, name: str, alt: str, caption: str) -> None:
        """Show a Plotly figure with alternative text (for who cannot see it) and a caption (how to read it)."""
        self._once(name)
        figures.show(figures.figure_bundle(fig, name=name, alt=alt, caption=caption))

    def table(self, df: pd.DataFrame, name: str, caption: str) -> None:
        """Show a searchable table; the first 5,000 rows go into the book."""
        self._once(name)
        figures.show(figures.table_bundle(df, name=name, caption=caption))

    def _once(self, name: str) -> None:
        if name in self._shown:
            raise BiosaeError(
                f"Two figures or tables are called {name!r}", where=self.phase, do="give each its own name"
            )
        self._shown.append(name)

    def claim(self, **fields: Any) -> Claim:
        """Record a claim; phase, model, layer and command are filled in. See `biosae_utils.claims.Claim`."""
        plain = {k: _plain(v) for k, v in fields.items()}
        if self._control and "title" in plain:
            plain["title"] = f"{self._control}: {plain['title'][0].lower()}{plain['title'][1:]}"
        where = {"phase": self.phase, "model": self.model, "layer": self.layer, "command": self.command}
        claim = checked(Claim, {**where, **plain}, where=f"claim {fields.get('id')!r} of {self.phase}")
        if claim.id in {c.id for c in self._claims}:
            raise BiosaeError(f"Two claims are called {claim.id!r}", where=self.phase, do="give each its own id")
        self._claims.append(claim)
        return claim

    def close(self, takeaways: Sequence[str]) -> None:
        """Write claims and, last, the manifest; show the takeaways and the claims.

        Parameters
        ----------
        takeaways : sequence of str
            Sentences, in Markdown, with the computed numbers in them.
        """
        if not takeaways or isinstance(takeaways, str):
            raise BiosaeError("A page needs key takeaways: a list of sentences", where=self.phase)
        if self._control:
            note = "what this page shows is owed to input, shape and method: no finding, but what one must beat"
            takeaways = [f"**{self._control}**: {note}.", *takeaways]
        claims = [c.model_dump(mode="json") for c in self._claims]
        store.write_json(self.dir / "claims.json", claims)
        params = self.params.model_dump(mode="json")
        files = manifest.outputs(self.dir)
        store.write_json(
            self.dir / manifest.NAME,
            {
                "phase": self.phase,
                "run": self.params.run,
                "model": self.model,
                "layer": self.layer,
                "params": params,
                "params_hash": manifest.params_hash(params),
                "inputs": self._inputs,
                "outputs": files,
                "content": store.fingerprint([manifest.params_hash(params), files]),
                "tables": self._tables,
                "takeaways": list(takeaways),
                "command": self.command,
                "code_version": manifest.code_version(),
                "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                "seconds": round(time.time() - self._started, 2),
                "max_rss_mb": max_rss_mb(),
            },
        )
        lines = ["**Key takeaways**", "", *[f"- {t}" for t in takeaways]]
        lines += ["", *[f"- *{c.verdict.replace('_', ' ')}*: {c.title}" for c in self._claims]]
        figures.show({"text/markdown": "\n".join(lines), "text/plain": "\n".join(lines)})


def default_command(phase: str, model: str | None, layer: int | None) -> str:
    """The command that computes a page of the demo run."""
    return (
        f"biosae run {phase}"
        + (f" --model {model}" if model else "")
        + (f" --layer {layer}" if layer is not None else "")
    )


def max_rss_mb() -> float:
    """Largest resident memory that this process has had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _parameters(phase: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values of a notebook's namespace that its parameter cell can have set."""
    fields = PHASES[phase].model_fields
    found = {name: value for name, value in namespace.items() if name in fields}
    if any(isinstance(value, Page) for value in namespace.values()):
        return found
    for name, value in namespace.items():
        plain = isinstance(value, str | int | float | list | dict | None)
        constant = name.startswith("_") or name.isupper() or name in IPYTHON_NAMES
        if plain and not constant:
            found[name] = value  # what is not a parameter is refused by `checked`, which names the right ones
    return found


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python values; NaN as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and value != value:
        return None
    return tuple(_plain(v) for v in value) if isinstance(value, list | tuple) else value


def _die_with_parent() -> None:
    """Ask the kernel of the operating system to end this process when the runner that started it dies (Linux)."""
    if sys.platform != "linux":
        return  # ipykernel's own poller notices, a little later
    import ctypes
    import signal

    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)


def read_claims(folder: Path) -> list[dict[str, Any]]:
    """Claims that a complete phase left."""
    return json.loads((folder / "claims.json").read_text())
