"""Which page needs which: the graph that Snakemake runs and that `biosae status` judges by."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from biosae_utils.book.paths import notebook
from biosae_utils.errors import BiosaeError
from biosae_utils.params import PHASES, AnnotateParams, PageParams, PublishedParams, scope
from biosae_utils.runconfig import RunConfig

Node = tuple[str, str | None, int | None]
"""A page: (phase, model, layer)."""

READS: dict[str, tuple[str, ...]] = {
    "00_data": (),
    "01_extract": ("00_data",),
    "02_sae": ("00_data", "01_extract"),
    "03_catalogue": ("00_data", "01_extract", "02_sae"),
    "04_annotate": ("01_extract", "03_catalogue"),
    "05_svd": ("01_extract", "02_sae", "04_annotate"),
    "06_tracking": ("01_extract", "02_sae"),
    "16_published": (),
}
"""Phases whose files a phase reads; a test holds this to the notebooks. The scorecard, not listed, reads all others."""


@dataclass(frozen=True)
class Resources:
    """What one job of a phase takes: threads (0 for its model's share of them), memory (MB), minutes, device slots."""

    threads: int = 1
    mem_mb: int = 2_000
    runtime: int = 60
    gpu: int = 0


RESOURCES: dict[str, Resources] = {
    "01_extract": Resources(threads=0, mem_mb=4_000, runtime=240, gpu=1),
    "02_sae": Resources(threads=0, mem_mb=4_000, runtime=240, gpu=1),
}


def resources(phase: str) -> Resources:
    """What one job of `phase` takes."""
    return RESOURCES.get(phase, Resources())


def reads(phase: str) -> tuple[str, ...]:
    """Phases whose files `phase` reads, directly."""
    return READS[phase] if phase in READS else tuple(p for p in PHASES if p != phase)


def needs(config: RunConfig, node: Node) -> list[Node]:
    """Pages that must be complete before `node` can run: same layer, else same model, else all of the run.

    A page per layer needs its own layer of an earlier page per layer, and that of its random-weights twin where the
    run has one; a page per model needs all layers of its model; a page per run needs all of them.
    """
    phase, model, layer = node
    wanted = set(reads(phase))
    control = getattr(config.phase_params(*node), "control", None)
    found: list[Node] = [] if control is None else [("03_catalogue", control, layer)]
    for other in config.pages():
        if other[0] not in wanted or other == node:
            continue
        if model is not None and other[1] not in (None, model):
            continue
        if layer is not None and other[2] not in (None, layer):
            continue
        found.append(other)
    return found


def by_name(config: RunConfig, phase: str, model: str | None = None, layer: int | None = None) -> Node:
    """The page of that name in the run, or an error that lists what there is."""
    if phase not in config.phases:
        raise BiosaeError(
            f"This run has no phase {phase!r}", where="phases", do=f"use one of {', '.join(config.phases)}"
        )
    kind = scope(phase)
    if kind == "run":
        return phase, None, None
    if model not in config.models:
        raise BiosaeError(
            f"{phase} has a page per {kind}; there is no model {model!r}",
            do=f"use --model with one of {', '.join(config.models)}",
        )
    if kind == "model":
        return phase, model, None
    layers = config.models[model].layers
    if layer not in layers:
        raise BiosaeError(
            f"{phase} has a page per layer; there is no layer {layer!r}",
            do=f"use --layer with one of {', '.join(map(str, layers))}",
        )
    return phase, model, layer


# ---- sources: what an edit makes stale ------------------------------------------------------------------------------

PACKAGE = Path(__file__).resolve().parents[1]
NOT_TRACKED = {"params.py", "runconfig.py", "errors.py", "book/dag.py", "book/paths.py", "__init__.py"}
"""Sources whose edits make no result stale: parameter values are compared themselves, the others compute nothing."""


def sources(phase: str, *, root: Path | str = ".") -> list[Path]:
    """Files whose edit makes `phase` stale: its notebook and every package module that it imports, directly or not."""
    start = notebook(phase, root=root)
    modules: set[str] = set()
    todo = sorted(_imports(start))
    while todo:
        name = todo.pop()
        if name not in modules:
            modules.add(name)
            todo += sorted(_imports(PACKAGE / name) - modules)
    here = Path.cwd()
    package = (
        PACKAGE.relative_to(here) if PACKAGE.is_relative_to(here) else PACKAGE
    )  # so that a moved project is the same
    return [start, *[package / m for m in sorted(modules) if m not in NOT_TRACKED]]


FETCHED: dict[type[PageParams], tuple[str, ...]] = {
    AnnotateParams: ("kegg", "string-v12", "trrust-v2"),
    PublishedParams: ("atlas-geneformer",),
}
"""Used where fetched: a later `biosae fetch` makes the page stale, through the lock that it leaves."""


def data_files(params: PageParams) -> list[Path]:
    """Files from outside that a page reads: cells, gene sets and checkpoints in its parameters, and what is fetched."""
    from biosae_utils.cells import fetch

    found = [p for name in FETCHED.get(type(params), ()) if (p := fetch.ROOT / name / "lock.json").is_file()]
    for name in ("path", "data", "genesets", "source", "summary"):
        value = getattr(params, name, None)
        if value and (path := Path(value)).exists():
            found += sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    return found


@cache
def _imports(path: Path) -> frozenset[str]:
    """Modules of this package that a file names, relative to the package; lazy imports and names in strings count."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *[f"{node.module}.{a.name}" for a in node.names]}
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"biosae_utils(\.\w+)+", node.value)
        ):
            found.add(node.value)
    files = (
        name.removeprefix("biosae_utils.").replace(".", "/") + ".py"
        for name in found
        if name.startswith("biosae_utils.")
    )
    return frozenset(f for f in files if (PACKAGE / f).is_file())
