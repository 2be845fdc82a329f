"""Where pages of the book lie: one executed notebook per (phase, model, layer), beside the book's prose."""

from __future__ import annotations

from pathlib import Path

from biosae_utils.phases.places import place, scope_of_node


def page_path(
    run: str, phase: str, model: str | None = None, layer: int | None = None, *, root: Path | str = "."
) -> Path:
    """Executed notebook of a page, for instance ``book/executed/demo/mini-scgpt/layer_03/04_annotate.ipynb``."""
    where = place(scope_of_node((phase, model, layer)), model, layer)
    return Path(root) / "book" / "executed" / run / where / f"{phase}.ipynb"


def notebook(phase: str, *, root: Path | str = ".") -> Path:
    """The text notebook of a phase."""
    return Path(root) / "notebooks" / f"{phase}.py"
