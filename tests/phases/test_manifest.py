"""A manifest says that a folder is complete, what is in it, and what is no longer what it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from biosae_utils.errors import BiosaeError
from biosae_utils.phases import manifest


@pytest.fixture
def folder(tmp_path) -> Path:
    """A page with a table, a file within a folder, one claim, and what is no output."""
    page = tmp_path / "04_annotate"
    (page / "lists").mkdir(parents=True)
    (page / "a.parquet").write_bytes(b"a table")
    (page / "lists" / "b.npy").write_bytes(b"an array")
    (page / manifest.CLAIMS).write_text(json.dumps([{"id": "one"}]))
    (page / ".state.json").write_text("{}")
    write(page)
    return page


def write(page: Path) -> None:
    files = manifest.outputs(page)
    about = {"phase": page.name, "run": "r", "key": {}, "outputs": files, "content": manifest.content(files)}
    (page / manifest.NAME).write_text(json.dumps(about))


def test_outputs_are_all_files_but_hidden_ones_and_the_manifest(folder):
    files = manifest.read(folder)["outputs"]
    assert sorted(files) == ["a.parquet", "claims.json", "lists/b.npy"]
    assert files["lists/b.npy"]["bytes"] == 8 and len(files["lists/b.npy"]["sha256"]) == 64


def test_the_content_that_others_read_is_all_but_the_claims(folder):
    before = manifest.content(manifest.outputs(folder))
    (folder / manifest.CLAIMS).write_text("[]")
    assert manifest.content(manifest.outputs(folder)) == before
    (folder / "a.parquet").write_bytes(b"b table")
    assert manifest.content(manifest.outputs(folder)) != before


def test_what_changed_is_named_with_how(folder):
    about = manifest.read(folder)
    assert list(manifest.changed(folder, about)) == []
    (folder / "a.parquet").write_bytes(b"A table")
    (folder / manifest.CLAIMS).write_text("[]")
    (folder / "lists" / "b.npy").unlink()
    assert dict(manifest.changed(folder, about)) == {
        "a.parquet": "holds something else than when it was computed",
        "claims.json": "has 2 bytes and not 15",
        "lists/b.npy": "is gone",
    }
    assert [name for name, _ in manifest.changed(folder, about, "lists")] == ["lists/b.npy"]
    assert [name for name, _ in manifest.changed(folder, about, "a.parquet")] == ["a.parquet"]
    assert list(manifest.changed(folder, about, "list")) == [], "a name is no prefix"


def test_an_incomplete_page_names_the_command(tmp_path):
    assert not manifest.is_complete(tmp_path)
    with pytest.raises(BiosaeError, match=r"02_sae has not finished.*biosae run 02_sae"):
        manifest.require(tmp_path, "02_sae")


@pytest.mark.parametrize("text", ["[]", "{}", '{"phase": "04_annotate"}', "{"])
def test_what_is_no_manifest_is_refused(folder, text):
    (folder / manifest.NAME).write_text(text)
    with pytest.raises(BiosaeError, match=r"no manifest|damaged"):
        manifest.require(folder, "04_annotate")


def test_claims_come_from_complete_pages_in_reading_order(folder, tmp_path):
    later, unfinished = tmp_path / "15_scorecard", tmp_path / "05_svd"
    for page, name in ((later, "two"), (unfinished, "three")):
        page.mkdir()
        (page / manifest.CLAIMS).write_text(json.dumps([{"id": name}]))
    write(later)
    assert [c["id"] for c in manifest.claims_of([later, unfinished, folder])] == ["one", "two"]
    (later / manifest.CLAIMS).write_text("[]")
    with pytest.raises(BiosaeError, match=r"claims\.json has 2 bytes"):
        manifest.claims_of([folder, later])


def test_parameters_without_the_place_of_results():
    base = manifest.params_hash({"k": 8, "results": "here"})
    assert manifest.params_hash({"results": "there", "k": 8}) == base != manifest.params_hash({"k": 9})


def test_the_code_has_a_version():
    assert manifest.code_version().split(" ")[0]
