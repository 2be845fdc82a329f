"""Rendering: where, from what, with what in place of a page that is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from biosae_utils import store
from biosae_utils.book import site
from biosae_utils.book.paths import page_path
from biosae_utils.errors import BiosaeError
from biosae_utils.runconfig import RunConfig

ROWS = ("71_two_words", "m", 2)


@pytest.fixture
def no_sphinx(monkeypatch) -> list[tuple[str, Path, Path]]:
    """Calls of Sphinx, each of which leaves one file; the last word of a call's title says whether it warned."""
    calls = []

    def render(config: RunConfig, out: Path, toc: Path) -> bool:
        calls.append((config.run, out, toc))
        out.mkdir(parents=True, exist_ok=True)
        (out / "index.html").write_text("<p>a book</p>")
        return config.title.endswith("warned")

    monkeypatch.setattr(site, "_sphinx", render)
    Path("book").mkdir(exist_ok=True)
    Path("_config.yml").write_text("title: x\n")
    return calls


def test_the_demo_is_rendered_where_people_look_for_it(computed):
    demo = computed.model_copy(update={"run": "demo"})
    assert (site.html_dir("demo"), site.html_dir("mine")) == (Path("_build/html"), Path("_build/mine/html"))
    assert (site.toc_path(demo), site.toc_path(computed)) == (Path("_toc.yml"), Path("results/tiny/_toc.yml"))


def test_prose_is_what_no_phase_made(project):
    for name in ("book/intro.md", "book/executed/tiny/70_draws.ipynb", "book/.hidden", "book/_static/a.css"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert [p.as_posix() for p in site.prose()] == ["book/_static/a.css", "book/intro.md", "_config.yml"]


def test_a_book_is_rendered_and_recorded(computed, no_sphinx, capsys):
    assert site.why_not_rendered(computed) == ("not_run", "")
    assert site.render(computed) == Path("_build/tiny/html/index.html")
    assert no_sphinx == [("tiny", Path("_build/tiny/html"), Path("results/tiny/_toc.yml"))]
    assert "3 pages with 1 claims" in capsys.readouterr().out
    assert site.why_not_rendered(computed) == ("done", "") and list(site.html_problems(computed)) == []
    assert [c["id"] for c in json.loads(Path("results/tiny/claims.json").read_text())] == ["mean"]
    renamed = computed.model_copy(update={"title": "Another title"})
    assert site.why_not_rendered(renamed) == ("stale", "its title changed since")


def test_warnings_leave_no_book_that_counts(computed, no_sphinx):
    site.render(computed)
    with pytest.raises(BiosaeError, match="warnings, which count as errors"):
        site.render(computed.model_copy(update={"title": "A book that warned"}))
    assert site.why_not_rendered(computed) == ("not_run", "")
    assert list(site.html_problems(computed)) == [("index.html", "was not rendered to its end")]


def test_a_missing_page_is_refused_or_says_so_itself(computed, no_sphinx):
    executed = page_path("tiny", *ROWS)
    stand_in = executed.with_suffix(".md")
    executed.unlink()
    with pytest.raises(BiosaeError, match=r"1 pages are not current: 71_two_words/m/2"):
        site.render(computed)
    assert no_sphinx == [] and not stand_in.exists()
    store.write_json("logs/tiny/m/layer_02/71_two_words.error.json", {"message": "Out of genes."})
    site.render(computed, config_path="config/tiny.yaml", allow_missing=True)
    text = stand_in.read_text()
    assert text.startswith("# 71_two_words of m, layer 2: not available") and "Out of genes" in text
    assert "biosae run 71_two_words --model m --layer 2 --config config/tiny.yaml" in text


def test_a_page_that_is_there_again_replaces_what_stood_for_it(computed, no_sphinx):
    stand_in = page_path("tiny", *ROWS).with_suffix(".md")
    stand_in.write_text("# not available\n")
    site.render(computed)
    assert not stand_in.exists()


def test_the_command_refuses_in_one_line(project, capsys):
    assert site.main(["--config", "absent.yaml"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("FAILED: There is no such config") and said.count("\n") == 1
