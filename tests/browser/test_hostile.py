"""A whole book of hostile names, in a browser that listens: nothing runs, nothing is asked for, the names are shown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from building import build_command, copy_tree, tail
from hostile_run import FILE, PLACES, hostile, write_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ACTIVE = """() => {
  const ours = ['toggleFullScreen()', 'window.print()'];
  const runs = a => (a.name.startsWith('on') && !ours.includes(a.value)) || /^\\s*javascript:/i.test(a.value);
  return [...document.querySelectorAll('*')].filter(e => [...e.attributes].some(runs) ||
    (e.tagName === 'SCRIPT' && e.type !== 'application/json' && /alert\\(/.test(e.textContent)) ||
    (e.tagName === 'IMG' && e.getAttribute('src') === 'x')).map(e => e.outerHTML.slice(0, 200));
}"""
WORDS = """() => {
  const folded = document.querySelectorAll('details:not([open]), .biosae-plotly text');
  return [document.title, document.body.innerText, ...[...folded].map(e => e.textContent)].join(' ');
}"""


@pytest.fixture(scope="module")
def hostile_book(tmp_path_factory) -> Path:
    """The rendered book of a run whose names are hostile; that it is built at all is half of the test.

    BIOSAE_HOSTILE_BOOK names one that was built before.
    """
    if given := os.environ.get("BIOSAE_HOSTILE_BOOK"):
        return Path(given).resolve()
    project = copy_tree(tmp_path_factory.mktemp("hostile"))
    config = write_run(project)
    command = build_command("--config", config.relative_to(project).as_posix(), "--cores", "2")
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, tail(done)
    return project / "_build" / "hostile" / "html"


@pytest.fixture(scope="module")
def seen(chromium, hostile_book: Path) -> dict[str, dict[str, object]]:
    """What every page did when it was opened from the disk, scrolled through and searched."""
    found: dict[str, dict[str, object]] = {}
    names = sorted(p.relative_to(hostile_book).as_posix() for p in hostile_book.rglob("*.html"))
    names = [n for n in names if not n.startswith("_") and n != "index.html"]  # which only leads to the first page
    for name in [*names, "search.html?q=svg", "search.html?q=alert"]:
        context = chromium.new_context(viewport={"width": 1300, "height": 900})
        page, wrong = context.new_page(), []
        page.on("dialog", lambda d, wrong=wrong: (wrong.append(f"dialog: {d.message}"), d.dismiss()))
        page.on("pageerror", lambda e, wrong=wrong: wrong.append(f"script error: {e}"))
        page.on("console", lambda m, wrong=wrong: wrong.append(f"console: {m.text}") if m.type == "error" else None)
        page.on(
            "request", lambda r, wrong=wrong: wrong.append(f"request: {r.url}") if alien(r.url, hostile_book) else None
        )
        page.goto(f"{hostile_book.as_uri()}/{name}", wait_until="load")
        for fold in page.query_selector_all("details:not([open]) > summary"):
            fold.evaluate("s => s.parentElement.open = true")
        for part in page.query_selector_all(".biosae-figure, .biosae-table"):
            part.scroll_into_view_if_needed()
            page.wait_for_timeout(150)
        for plot in page.query_selector_all(".biosae-plotly"):
            plot.hover(force=True)
        page.wait_for_timeout(300)
        found[name] = {"wrong": wrong, "active": page.evaluate(ACTIVE), "text": page.evaluate(WORDS)}
        context.close()
    return found


def alien(url: str, book: Path) -> bool:
    """Whether a request leaves the book, or asks for what a hostile name names."""
    own = url.startswith((book.as_uri() + "/", "data:", "blob:"))
    return not own or url.split("?")[0].endswith("/x")


def test_nothing_runs_and_nothing_is_asked_for(seen):
    assert len(seen) >= 10
    assert {name: about["wrong"] for name, about in seen.items() if about["wrong"]} == {}


def test_nothing_that_could_run_is_in_a_page(seen):
    assert {name: about["active"] for name, about in seen.items() if about["active"]} == {}


@pytest.mark.parametrize("place", PLACES)
def test_the_names_are_shown_as_they_are(seen, place):
    """Each place reached the book: else the test would show nothing."""
    start = hostile(place).split(" <img")[0]
    assert any(start in str(about["text"]) for about in seen.values()), f"no page shows the {place}"


def test_the_file_is_named(seen):
    assert any(FILE in str(about["text"]) for about in seen.values())
