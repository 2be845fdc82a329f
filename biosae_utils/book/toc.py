"""The table of contents of a run, made from its config: prose, pages of the run, of each model and of each layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from biosae_utils.book.paths import page_path
from biosae_utils.params import scope
from biosae_utils.runconfig import RunConfig
from biosae_utils.store import atomic_path

START = ["how-to-read", "primer", "all-claims"]
TEACH = ["exercises"]
BACK = ["reviewers-guide", "rerun", "adding-a-model", "glossary", "references"]
ACROSS = "05_svd"
"""From this phase on, pages per run come after the models' pages."""

TITLES = {
    "00_data": "Cells",
    "01_extract": "Extraction",
    "02_sae": "Sparse autoencoders",
    "03_catalogue": "Catalogue",
    "04_annotate": "Annotation",
    "05_svd": "SAE against SVD",
    "06_tracking": "Latents across layers",
    "15_scorecard": "Scorecard",
    "16_published": "The published atlas",
}


def toc(config: RunConfig) -> dict[str, Any]:
    """Table of contents in jupyter-book's format; every page of the config is in it, computed or not."""
    pages = config.pages()
    runs = [p for p in pages if scope(p[0]) == "run"]
    parts: list[dict[str, Any]] = [_part("Start here", [_prose(name) for name in START])]
    parts.append(_part("The cells", [_entry(config, p) for p in runs if p[0] < ACROSS]))
    for model in config.models:
        own = [p for p in pages if p[1] == model]
        chapters = [_entry(config, p) for p in own if p[2] is None and p[0] < ACROSS]
        for layer in config.models[model].layers:
            mine = [_entry(config, p) for p in own if p[2] == layer]
            if mine:
                first, *more = mine
                chapters.append(
                    {
                        **first,
                        "title": f"Layer {layer}: {first['title'].lower()}",
                        **({"sections": more} if more else {}),
                    }
                )
        chapters += [_entry(config, p) for p in own if p[2] is None and p[0] >= ACROSS]
        parts.append(_part(model, chapters))
    parts.append(_part("Across models", [_entry(config, p) for p in runs if p[0] >= ACROSS]))
    parts.append(_part("Practice", [_prose(name) for name in TEACH]))
    parts.append(_part("Reference", [_prose(name) for name in BACK]))
    return {"format": "jb-book", "root": "book/intro", "parts": [p for p in parts if p["chapters"]]}


def _part(caption: str, chapters: list[dict[str, Any]]) -> dict[str, Any]:
    return {"caption": caption, "chapters": chapters}


def _prose(name: str) -> dict[str, Any]:
    return {"file": f"book/{name}"}


def _entry(config: RunConfig, page: tuple[str, str | None, int | None]) -> dict[str, Any]:
    phase = page[0]
    return {"file": page_path(config.run, *page).with_suffix("").as_posix(), "title": TITLES.get(phase, phase[3:])}


def write_toc(config: RunConfig, path: Path | str) -> None:
    """Write the table of contents, atomically and only if it changed (Sphinx reads everything again when it did)."""
    text = f"# Generated from the config of run {config.run} by biosae_utils/book/toc.py; do not edit.\n"
    text += yaml.safe_dump(toc(config), sort_keys=False, allow_unicode=True)
    path = Path(path)
    if not path.is_file() or path.read_text() != text:
        with atomic_path(path) as tmp:
            tmp.write_text(text)
