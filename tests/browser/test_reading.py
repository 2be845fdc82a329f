"""Reading the rendered book: on a phone, with a screen reader, over a slow line."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_pages import Visit, pages

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "height": 800}
MOST = 4_000_000
"""Bytes of a page with figures."""


def one_of_each(book: Path) -> list[str]:
    """Pages that differ in kind: the prose, and one page of each analysis."""
    kinds = {name.rsplit("/", 1)[-1]: name for name in pages(book)}
    return sorted(kinds.values())


def visit(chromium, book: Path, name: str, theme: str = "light", size: dict | None = None) -> Visit:
    """A page with everything drawn."""
    opened = Visit(chromium, book.as_uri() + "/", name)
    if size:
        opened.page.set_viewport_size(size)
    opened.page.evaluate("t => { document.documentElement.dataset.theme = t }", theme)
    for figure in opened.page.query_selector_all(".biosae-figure"):
        figure.evaluate("f => f.scrollIntoView()")
        opened.page.wait_for_function("f => f.querySelector('.modebar')", arg=figure)
    for table in opened.page.query_selector_all(".biosae-table"):
        opened.page.wait_for_function("t => t.dataset.drawn", arg=table)
    return opened


def serious(opened: Visit, script: str, contrast: bool) -> dict[str, str]:
    """Serious findings of axe on an open page; the drawings, which are hidden from screen readers, left out."""
    opened.page.evaluate(script)
    options = {
        "resultTypes": ["violations"],
        "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "experimental"]},
        "rules": {"color-contrast": {"enabled": contrast}},
        "preload": False,
    }
    result = opened.page.evaluate("o => axe.run({exclude: [['svg.main-svg']]}, o)", options)
    bad = [v for v in result["violations"] if v["impact"] in ("serious", "critical")]
    return {v["id"]: v["nodes"][0]["html"][:200] for v in bad}


@pytest.mark.parametrize(("theme", "size"), [("light", None), ("dark", None), ("light", PHONE)])
def test_axe_finds_nothing_serious(chromium, book: Path, theme: str, size: dict | None):
    axe = pytest.importorskip("axe_playwright_python", reason="not run: axe-playwright-python is not installed")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text()
    kinds = ("biosae-figure", "biosae-table", "biosae-claims")
    whole = [n for n in one_of_each(book) if all(f'"{k}' in (book / n).read_text() for k in kinds)][:2]
    found = {}
    for name in one_of_each(book) if theme == "light" and size is None else whole:
        opened = visit(chromium, book, name, theme, size)
        found |= {(name, what): html for what, html in serious(opened, script, contrast=name in whole).items()}
        opened.close()
    assert whole and found == {}


CUT_OFF = """() => [...document.querySelectorAll('.biosae-claims .biosae-verdict, .biosae-claims .biosae-control')]
  .filter(e => { const r = e.getBoundingClientRect(); return !r.width || r.left < 0 || r.right > innerWidth })
  .map(e => e.textContent)"""
MOVED = """t => { const s = t.querySelector('.dt-layout-table > .dt-layout-cell');
  if (s.scrollWidth <= s.clientWidth) return 0;
  const c = s.querySelector('tbody td'), before = c.getBoundingClientRect().left;
  s.scrollLeft = 200;
  return Math.abs(c.getBoundingClientRect().left - before) }"""


@pytest.fixture(scope="module")
def on_a_phone(chromium, book: Path) -> dict[str, dict]:
    """How wide every page is on a phone, which verdicts and controls cannot be seen, which first columns move away."""
    found = {}
    for name in one_of_each(book):
        opened = visit(chromium, book, name, size=PHONE)
        tables = opened.page.query_selector_all(".biosae-table")
        found[name] = {
            "width": opened.page.evaluate("() => document.documentElement.scrollWidth"),
            "cut off": opened.page.evaluate(CUT_OFF),
            "moved": [t.get_attribute("data-name") for t in tables if t.evaluate(MOVED) > 1],
        }
        opened.close()
    return found


def test_a_phone_scrolls_down_only(on_a_phone):
    assert {name: about["width"] for name, about in on_a_phone.items() if about["width"] > PHONE["width"]} == {}


def test_a_phone_shows_verdict_and_control_of_every_claim(on_a_phone):
    assert {name: about["cut off"] for name, about in on_a_phone.items() if about["cut off"]} == {}


def test_the_first_column_stays_while_a_wide_table_scrolls(on_a_phone):
    assert {name: about["moved"] for name, about in on_a_phone.items() if about["moved"]} == {}


def test_a_claim_opens_from_the_keyboard(chromium, book: Path):
    name = next(n for n in pages(book) if "biosae-claims" in (book / n).read_text())
    opened = visit(chromium, book, name)
    opened.page.focus(".biosae-claims summary")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector(".biosae-claims details[open] dl")
    assert "Rule" in opened.page.inner_text(".biosae-claims details[open] dl")
    opened.close()


def test_pages_are_light(chromium, book: Path, server: str):
    heavy = {}
    for name in one_of_each(book):
        sizes: dict[str, int] = {}
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.on("response", lambda r, sizes=sizes: sizes.__setitem__(r.url, len(r.body())))
        page.goto(server + name, wait_until="load")
        for figure in page.query_selector_all(".biosae-figure"):
            figure.evaluate("f => f.scrollIntoView()")
            page.wait_for_function("f => f.querySelector('.modebar')", arg=figure)
        body = (book / name).read_text()
        if any("mathjax" in url for url in sizes) and 'class="math' not in body:
            heavy[name] = "MathJax without a formula"
        icons = sum(n for url, n in sizes.items() if "fontawesome" in url)
        if sum(sizes.values()) > MOST or icons > 10_000:
            heavy[name] = sizes
        context.close()
    assert heavy == {}


def test_icons_are_drawn_without_the_theme_s_scripts(chromium, book: Path):
    opened = visit(chromium, book, "book/intro.html")
    font = opened.page.evaluate(
        "async () => { await document.fonts.ready; return [...document.fonts].filter(f => /Awesome/.test(f.family) &&"
        " f.status === 'loaded').length }"
    )
    widths = opened.page.evaluate(
        "() => [...document.querySelectorAll('.fa-solid')].map(i => i.getBoundingClientRect().width)"
    )
    assert font == 1 and max(widths) > 5, "only the forty glyphs of icons.css"
    assert opened.wrong == []
    opened.close()
