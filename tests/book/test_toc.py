"""The table of contents is made from the config; the committed one is the demo's."""

from __future__ import annotations

from pathlib import Path

import yaml

from biosae_utils.book.toc import TITLES, toc, write_toc
from biosae_utils.params import PHASES
from biosae_utils.runconfig import RunConfig

ROOT = Path(__file__).resolve().parents[2]


def files(entry) -> list[str]:
    """All files of a table of contents, in reading order."""
    if isinstance(entry, list):
        return [f for e in entry for f in files(e)]
    found = [entry["file"]] if "file" in entry else []
    return found + [f for key in ("parts", "chapters", "sections") for f in files(entry.get(key, []))]


def test_committed_toc_is_the_demos(tmp_path):
    config = RunConfig.load(ROOT / "config" / "demo.yaml")
    write_toc(config, tmp_path / "_toc.yml")
    assert (ROOT / "_toc.yml").read_text() == (tmp_path / "_toc.yml").read_text(), "run `make book`, or write_toc"


def test_every_page_is_there_once(project):
    config = RunConfig.load("config/tiny.yaml")
    found = files(toc(config))
    assert len(found) == len(set(found))
    assert "book/executed/tiny/m/layer_02/03_catalogue" in found
    assert len([f for f in found if "/executed/" in f]) == len(config.pages())


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


def test_every_phase_has_a_title():
    assert set(TITLES) == set(PHASES)
