"""Where a run keeps what its phases leave: one folder per (phase, model, layer)."""

from __future__ import annotations

from pathlib import Path

from biosae_utils.params import PageParams, Scope

Node = tuple[str, str | None, int | None]
"""A page: (phase, model, layer)."""

PAGES = "pages.json"
"""In a run's folder: the pages of its config, so that a phase knows what belongs to the run and what is left over."""


def node_of(phase: str, params: PageParams) -> Node:
    """The page that these parameters are about."""
    return phase, getattr(params, "model", None), getattr(params, "layer", None)


def place(scope: Scope, model: str | None, layer: int | None) -> Path:
    """Folder of a scope below a run: ``.``, ``<model>`` or ``<model>/layer_03``."""
    if scope == "run":
        return Path()
    if model is None or (scope == "layer" and layer is None):
        raise ValueError(f"a page per {scope} is of a model" + (" and a layer" if scope == "layer" else ""))
    return Path(model) / f"layer_{layer:02d}" if scope == "layer" else Path(model)


def scope_of_node(node: Node) -> Scope:
    """Scope of a page, from what it is about."""
    return "run" if node[1] is None else "model" if node[2] is None else "layer"


def phase_dir(results: Path | str, run: str, phase: str, model: str | None = None, layer: int | None = None) -> Path:
    """Folder that a page owns, for instance ``results/demo/mini-scgpt/layer_03/04_annotate``."""
    return Path(results) / run / place(scope_of_node((phase, model, layer)), model, layer) / phase


def log_path(run: str, phase: str, model: str | None = None, layer: int | None = None) -> Path:
    """Stem of what a page's last run said: ``.log``, ``.error.json`` and ``.failed.ipynb`` are beside each other."""
    return Path("logs") / run / place(scope_of_node((phase, model, layer)), model, layer) / phase


def title(phase: str, model: str | None = None, layer: int | None = None) -> str:
    """A page in words."""
    return phase + (f" of {model}" if model else "") + (f", layer {layer}" if layer is not None else "")


def default_command(phase: str, model: str | None = None, layer: int | None = None) -> str:
    """The command that computes a page of the demo run."""
    return (
        f"biosae run {phase}"
        + (f" --model {model}" if model else "")
        + (f" --layer {layer}" if layer is not None else "")
    )
