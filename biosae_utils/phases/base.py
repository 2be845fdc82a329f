"""What a phase declares about itself. Everything else that knows about phases asks these declarations.

A module of this room is a phase when it ends with ``PHASE = Phase(...)``. From that are derived: the list of phases,
the block of the config, what needs what, the rules of Snakemake, tracked files, the table of contents, config/README.md
and the parameter cell of the notebook.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from biosae_utils.params import PageParams, Scope, scope_of

ALL = ("*",)
"""As `Phase.reads`: every other phase of the run."""

Part = Literal["cells", "model", "layer", "layers", "across", "published"]
"""Where a page stands in the book: the cells; a model, before its layers; a layer; a model, after its layers, about all
of them; across models; the published analysis."""

SCOPE_OF_PART: dict[Part, Scope] = {
    "cells": "run", "model": "model", "layer": "layer", "layers": "model", "across": "run", "published": "run",
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How big the work of a run is: what `Resources` may depend on. What is not known is 0."""

    cells: int = 0
    positions: int = 0
    layers: int = 0
    d_model: int = 0
    d_sae: int = 0
    k: int = 0


@dataclass(frozen=True)
class Resources:
    """What one job takes: threads (0 for its model's share of them), memory (MB), minutes, device slots."""

    threads: int = 1
    mem_mb: int = 2_000
    runtime: int = 60
    gpu: int = 0


@dataclass(frozen=True)
class Phase:
    """One analysis: a module of this room, a notebook, a test, and its name in the configs.

    Parameters
    ----------
    name : str
        Two digits and the module's name, for instance ``07_modules``; the notebook is ``notebooks/07_modules.py``.
    params : type of PageParams
        Its base says whether there is a page per run, per model, or per model and layer.
    compute : callable
        ``compute(params, read, out)``: `Inputs` in; tables, arrays and claims into `Output`.
    title : str
        Name of the page in the table of contents.
    part : str
        Where the page stands in the book.
    reads : tuple of str
        Phases whose files it reads, directly; `ALL` for every other phase of the run.
    control : str, optional
        Phase that is also read of the same model with random weights, where the run has one. The parameters then
        derive from `Controlled`.
    fetched : tuple of str
        What is used where it was fetched; a later ``biosae fetch`` makes the result stale.
    min_layers : int
        Layers that a model must have in the run.
    resources : Resources or callable
        What a job takes, or a function of `Size` that says so.
    """

    name: str
    params: type[PageParams]
    compute: Callable[[Any, Any, Any], None]
    title: str
    part: Part
    reads: tuple[str, ...]
    control: str | None = None
    fetched: tuple[str, ...] = ()
    min_layers: int = 1
    resources: Resources | Callable[[Size], Resources] = Resources()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d\d_[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"phase {self.name!r}: a name is two digits, _ and the module's name")
        if SCOPE_OF_PART[self.part] != self.scope:
            raise ValueError(f"phase {self.name}: part {self.part!r} is for a page per {SCOPE_OF_PART[self.part]}")
        if (self.control is not None) != ("control" in self.params.model_fields):
            raise ValueError(f"phase {self.name}: `control` is declared and its parameters are Controlled, or neither")

    @property
    def short(self) -> str:
        """The name without its number: module, block of the config, rule of Snakemake."""
        return self.name[3:]

    @property
    def scope(self) -> Scope:
        """Whether there is one page per run, per model, or per model and layer."""
        return scope_of(self.params)

    def takes(self, size: Size) -> Resources:
        """What one job takes at that size."""
        return self.resources(size) if callable(self.resources) else self.resources
