"""The table of contents is made from the config: every page once, where its phase says."""

from __future__ import annotations

from pathlib import Path

import yaml

from biosae_utils.book.toc import toc, write_toc
from biosae_utils.runconfig import RunConfig

ROOT = Path(__file__).resolve().parents[2]


def files(entry) -> list[str]:
    """All files of a table of contents, in reading order."""
    if isinstance(entry, list):
        return [f for e in entry for f in files(e)]
    found = [entry["file"]] if "file" in entry else []
    return found + [f for key in ("parts", "chapters", "sections") for f in files(entry.get(key, []))]


def test_every_page_is_there_once(project):
    config = RunConfig.load("config/tiny.yaml")
    found = files(toc(config))
    assert len(found) == len(set(found))
    assert "book/executed/tiny/m/layer_02/71_two_words" in found
    assert len([f for f in found if "/executed/" in f]) == len(config.pages())


def test_pages_stand_where_their_phase_says():
    config = RunConfig.load(ROOT / "config" / "demo.yaml")
    parts = {part["caption"]: files(part) for part in toc(config)["parts"]}
    assert parts["The cells"] == ["book/executed/demo/00_data"]
    assert parts["Across models"] == ["book/executed/demo/15_scorecard"]
    assert parts["The published analysis"] == ["book/executed/demo/16_published"]
    own = [Path(f).name for f in parts["mini-scgpt"]]
    assert own == ["01_extract", "02_sae", *["03_catalogue", "04_annotate"] * 4, "05_svd", "06_tracking"]


def test_all_prose_is_in_the_book():
    listed = set(files(toc(RunConfig.load(ROOT / "config" / "demo.yaml")))) | {"book/intro"}
    assert {f"book/{p.stem}" for p in (ROOT / "book").glob("*.md")} == {f for f in listed if "/executed/" not in f}


def test_written_only_when_changed(project):
    config = RunConfig.load("config/tiny.yaml")
    write_toc(config, "_toc.yml")
    before = Path("_toc.yml").stat().st_mtime_ns
    write_toc(config, "_toc.yml")
    assert Path("_toc.yml").stat().st_mtime_ns == before
    assert yaml.safe_load(Path("_toc.yml").read_text()) == toc(config)
