"""The table of contents of a run, made from its config: prose, pages of the run, of each model and of each layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from biosae_utils.book.paths import page_path
from biosae_utils.phases.places import Node
from biosae_utils.phases.registry import find
from biosae_utils.runconfig import RunConfig
from biosae_utils.store import atomic_path

START = ["how-to-read", "primer", "all-claims"]
TEACH = ["exercises"]
BACK = ["reviewers-guide", "rerun", "adding-a-model", "adding-a-phase", "glossary", "references"]


def toc(config: RunConfig) -> dict[str, Any]:
    """Table of contents in jupyter-book's format; every page of the config is in it, computed or not."""
    pages: dict[str, list[Node]] = {}
    for page in config.pages():
        pages.setdefault(find(page[0]).part, []).append(page)

    def entries(part: str, model: str | None = None, layer: int | None = None) -> list[dict[str, Any]]:
        wanted = [p for p in pages.get(part, []) if p[1] == model and p[2] == layer]
        return [_entry(config, page) for page in wanted]

    parts: list[dict[str, Any]] = [
        _part("Start here", [_prose(name) for name in START]),
        _part("The cells", entries("cells")),
    ]
    for model, about in config.models.items():
        chapters = entries("model", model)
        for layer in about.layers:
            if mine := entries("layer", model, layer):
                first, *more = mine
                first["title"] = f"Layer {layer}: {first['title'].lower()}"
                chapters.append(first | ({"sections": more} if more else {}))
        parts.append(_part(model, chapters + entries("layers", model)))
    parts.append(_part("Across models", entries("across")))
    parts.append(_part("The published analysis", entries("published")))
    parts.append(_part("Practice", [_prose(name) for name in TEACH]))
    parts.append(_part("Reference", [_prose(name) for name in BACK]))
    return {"format": "jb-book", "root": "book/intro", "parts": [p for p in parts if p["chapters"]]}


def _part(caption: str, chapters: list[dict[str, Any]]) -> dict[str, Any]:
    return {"caption": caption, "chapters": chapters}


def _prose(name: str) -> dict[str, Any]:
    return {"file": f"book/{name}"}


def _entry(config: RunConfig, page: Node) -> dict[str, Any]:
    return {"file": page_path(config.run, *page).with_suffix("").as_posix(), "title": find(page[0]).title}


def toc_text(config: RunConfig) -> str:
    """The table of contents as YAML."""
    text = f"# Generated from the config of run {config.run} by biosae_utils/book/toc.py; do not edit.\n"
    return text + yaml.safe_dump(toc(config), sort_keys=False, allow_unicode=True)


def write_toc(config: RunConfig, path: Path | str) -> None:
    """Write the table of contents, atomically and only if it changed (Sphinx reads everything again when it did)."""
    path, text = Path(path), toc_text(config)
    if not path.is_file() or path.read_text() != text:
        with atomic_path(path) as tmp:
            tmp.write_text(text)
