"""What is shown of a run: every page and the book, with the reason when something is not as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from biosae_utils import store
from biosae_utils.book import page_state, site
from biosae_utils.book.page_state import states
from biosae_utils.book.paths import page_path
from biosae_utils.book.status import status
from biosae_utils.phases import sources
from biosae_utils.runconfig import RunConfig

ROWS = [("71_two_words", "m", 0), ("71_two_words", "m", 2)]


def report(config: RunConfig) -> dict[tuple, str]:
    rows = status(config)["phases"]
    return {(r["phase"], r["model"], r["layer"]): f"{r['state']}: {r['reason']}" for r in rows}


def test_all_done_and_not_rendered(computed):
    assert list(report(computed).values()) == ["done: "] * 3 + ["not_run: "]
    first = status(computed)["phases"][0]
    assert (
        set(first) == {"phase", "model", "layer", "state", "reason", "seconds", "max_rss_mb"} and first["seconds"] > 0
    )
    assert status(computed)["phases"][-1]["phase"] == "book"


def test_an_edited_sentence_concerns_the_page_and_not_its_result(computed):
    path = Path("notebooks/71_two_words.py")
    path.write_text(path.read_text().replace("Which rows come first?", "Which rows are the first?"))
    page_state.page_code.cache_clear()
    sources._meaning.cache_clear()
    for node, (result, page) in states(computed).items():
        assert result == ("done", "")
        assert page[0] == ("stale" if node in ROWS else "done")
    assert report(computed)[ROWS[0]] == "stale: its notebook or the page framework was edited"


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda out: out.unlink(), "not_run: the page was not executed"),
        (lambda out: out.write_text("{}"), "missing: 71_two_words.ipynb was changed"),
        (lambda out: out.with_name(f".{out.stem}.json").unlink(), "not_run: the page was not executed"),
    ],
)
def test_a_page_that_is_not_what_was_executed_is_seen(computed, break_it, says):
    break_it(page_path("tiny", *ROWS[1]))
    assert report(computed)[ROWS[1]] == says and report(computed)[ROWS[0]] == "done: "


def test_the_last_try_that_failed_is_told(computed):
    store.write_json("logs/tiny/m/layer_00/71_two_words.error.json", {"message": "Out of genes.", "seconds": 3.0})
    assert report(computed)[ROWS[0]] == "failed: Out of genes."


def test_the_rendered_book_is_judged_by_its_pages_its_prose_and_its_files(computed):
    html = site.html_dir("tiny")
    html.mkdir(parents=True)
    (html / "index.html").write_text("<p>the book</p>")
    Path("book/intro.md").write_text("# Intro\n")
    Path("_config.yml").write_text("title: x\n")

    def rendered() -> None:
        files = {"index.html": store.hash_of(html / "index.html")}
        store.write_json(html.parent / f"html{site.STATE}", {"key": site.book_key(computed), "files": files})

    rendered()
    book = ("book", None, None)
    assert report(computed)[book] == "done: "
    Path("book/intro.md").write_text("# Another intro\n")
    assert report(computed)[book] == "stale: book/intro.md changed since"
    rendered()
    (html / "index.html").write_text("<p>somebody's book</p>")
    assert report(computed)[book] == "missing: _build/tiny/html/index.html was changed after it was rendered"
    (html / "index.html").unlink()
    assert report(computed)[book] == "missing: _build/tiny/html/index.html is gone"


def test_nothing_run(project):
    assert set(report(RunConfig.load("config/tiny.yaml")).values()) == {"not_run: "}
