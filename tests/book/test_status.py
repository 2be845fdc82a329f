"""What is shown of a run: every page and the book, with the reason when something is not as it should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from biosae_utils import store
from biosae_utils.book import page_state, site
from biosae_utils.book.page_state import record, states
from biosae_utils.book.paths import page_path
from biosae_utils.book.status import status
from biosae_utils.phases import sources
from biosae_utils.phases.registry import find
from biosae_utils.phases.run import compute
from biosae_utils.runconfig import RunConfig

ROWS = [("71_two_words", "m", 0), ("71_two_words", "m", 2)]


@pytest.fixture
def config(project) -> RunConfig:
    """The tiny run, computed, with pages as a job leaves them, but executed by no kernel."""
    config = RunConfig.load("config/tiny.yaml")
    for node, params in config.all_params().items():
        compute(find(node[0]), params)
        out = page_path(config.run, *node)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"cells": []}))
        record(find(node[0]), params, out)
    return config


def report(config: RunConfig) -> dict[tuple, str]:
    rows = status(config)["phases"]
    return {(r["phase"], r["model"], r["layer"]): f"{r['state']}: {r['reason']}" for r in rows}


def test_all_done_and_not_rendered(config):
    assert list(report(config).values()) == ["done: "] * 3 + ["not_run: "]
    first = status(config)["phases"][0]
    assert (
        set(first) == {"phase", "model", "layer", "state", "reason", "seconds", "max_rss_mb"} and first["seconds"] > 0
    )
    assert status(config)["phases"][-1]["phase"] == "book"


def test_an_edited_sentence_concerns_the_page_and_not_its_result(config):
    path = Path("notebooks/71_two_words.py")
    path.write_text(path.read_text().replace("Which rows come first?", "Which rows are the first?"))
    page_state.page_code.cache_clear()
    sources._meaning.cache_clear()
    for node, (result, page) in states(config).items():
        assert result == ("done", "")
        assert page[0] == ("stale" if node in ROWS else "done")
    assert report(config)[ROWS[0]] == "stale: its notebook or the page framework was edited"


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda out: out.unlink(), "not_run: the page was not executed"),
        (lambda out: out.write_text("{}"), "missing: 71_two_words.ipynb was changed"),
        (lambda out: out.with_name(f".{out.stem}.json").unlink(), "not_run: the page was not executed"),
    ],
)
def test_a_page_that_is_not_what_was_executed_is_seen(config, break_it, says):
    break_it(page_path("tiny", *ROWS[1]))
    assert report(config)[ROWS[1]] == says and report(config)[ROWS[0]] == "done: "


def test_the_last_try_that_failed_is_told(config):
    store.write_json("logs/tiny/m/layer_00/71_two_words.error.json", {"message": "Out of genes.", "seconds": 3.0})
    assert report(config)[ROWS[0]] == "failed: Out of genes."


def test_the_rendered_book_is_judged_by_its_pages_its_prose_and_its_files(config):
    html = site.html_dir("tiny")
    html.mkdir(parents=True)
    (html / "index.html").write_text("<p>the book</p>")
    Path("book/intro.md").write_text("# Intro\n")
    Path("_config.yml").write_text("title: x\n")

    def rendered() -> None:
        files = {"index.html": store.hash_of(html / "index.html")}
        store.write_json(html.parent / f"html{site.STATE}", {"key": site.book_key(config), "files": files})

    rendered()
    book = ("book", None, None)
    assert report(config)[book] == "done: "
    Path("book/intro.md").write_text("# Another intro\n")
    assert report(config)[book] == "stale: book/intro.md changed since"
    rendered()
    (html / "index.html").write_text("<p>somebody's book</p>")
    assert report(config)[book] == "missing: _build/tiny/html/index.html was changed after it was rendered"
    (html / "index.html").unlink()
    assert report(config)[book] == "missing: _build/tiny/html/index.html is gone"


def test_nothing_run(project):
    assert set(report(RunConfig.load("config/tiny.yaml")).values()) == {"not_run: "}
