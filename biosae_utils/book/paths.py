"""Where a run keeps things: one folder per (phase, model, layer), one executed page beside the book's prose."""

from __future__ import annotations

from pathlib import Path

from biosae_utils.params import scope


def place(phase: str, model: str | None, layer: int | None) -> Path:
    """Folder of a page's scope below a run: ``.``, ``<model>`` or ``<model>/layer_03``."""
    kind = scope(phase)
    if kind == "run":
        return Path()
    if model is None:
        raise ValueError(f"{phase} needs a model")
    if kind == "model":
        return Path(model)
    if layer is None:
        raise ValueError(f"{phase} needs a layer")
    return Path(model) / f"layer_{layer:02d}"


def phase_dir(results: Path | str, run: str, phase: str, model: str | None = None, layer: int | None = None) -> Path:
    """Folder that a phase owns, for instance ``results/demo/mini-scgpt/layer_03/04_annotate``."""
    return Path(results) / run / place(phase, model, layer) / phase


def page_path(
    run: str, phase: str, model: str | None = None, layer: int | None = None, *, root: Path | str = "."
) -> Path:
    """Executed notebook of a page, for instance ``book/executed/demo/mini-scgpt/layer_03/04_annotate.ipynb``."""
    return Path(root) / "book" / "executed" / run / place(phase, model, layer) / f"{phase}.ipynb"


def log_path(run: str, phase: str, model: str | None = None, layer: int | None = None) -> Path:
    """Stem of what a page's last run said: ``.log``, ``.error.json`` and ``.failed.ipynb`` are beside each other."""
    return Path("logs") / run / place(phase, model, layer) / phase


def notebook(phase: str, *, root: Path | str = ".") -> Path:
    """The text notebook of a phase."""
    return Path(root) / "notebooks" / f"{phase}.py"
