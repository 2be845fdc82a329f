"""Every page of the rendered book in a browser without a network: it draws, is readable, asks nobody for anything."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.browser

NOT_PAGES = {"genindex.html", "search.html", "index.html"}

DRAWN = """figure => {
  const plot = figure.querySelector('.js-plotly-plot .main-svg');
  if (!plot) return false;
  const kinds = ['.mlayer path', '.mlayer text', '.mlayer image', '.gl-canvas', '.sankey', '.pielayer path', '.table'];
  const marks = figure.querySelectorAll(kinds.join(', '));
  const box = plot.getBoundingClientRect();
  return marks.length > 0 && box.width > 100 && box.height > 100;
}"""
FONT = "() => document.querySelector('.js-plotly-plot')._fullLayout.font.color"
ROWS = "table => [...table.querySelectorAll('tbody tr')].filter(r => !r.querySelector('.dt-empty')).length"
NO_ALT = """() => {
  const images = [...document.querySelectorAll('img')].filter(i => !i.hasAttribute('alt')).map(i => i.src);
  const plots = [...document.querySelectorAll('.biosae-plotly')];
  return images.concat(plots.filter(p => (p.getAttribute('aria-label') || '').length < 20).map(p => 'figure'));
}"""


def documents(book: Path) -> set[str]:
    """Pages that the book's own search knows: each text and each executed notebook."""
    index = (book / "searchindex.js").read_text()
    return {f"{name}.html" for name in json.loads(index[index.index("{") : index.rindex("}") + 1])["docnames"]}


def pages(book: Path) -> list[str]:
    """Names of all pages, the generated ones of Sphinx left out."""
    names = sorted(p.relative_to(book).as_posix() for p in book.rglob("*.html"))
    return [n for n in names if n not in NOT_PAGES and not n.startswith(("_static", "_sources"))]


class Visit:
    """A page of the book, open in the browser, with all that went wrong."""

    def __init__(self, browser, base: str, name: str) -> None:
        self.context = browser.new_context(viewport={"width": 1300, "height": 900}, color_scheme="light")
        self.wrong: list[str] = []
        self.context.route("**/*", lambda route: self._request(route, base))
        self.page = self.context.new_page()
        self.page.on("console", lambda m: self.wrong.append(f"console: {m.text}") if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.wrong.append(f"script error: {e}"))
        self.page.on("requestfailed", lambda r: self.wrong.append(f"failed request: {r.url}"))
        self.page.goto(base + name, wait_until="load")

    def _request(self, route, base: str) -> None:
        url = route.request.url
        if url.startswith((base, "data:", "blob:")):
            route.continue_()
        else:
            self.wrong.append(f"request that leaves the machine: {url}")
            route.abort()

    def look(self) -> None:
        """Scroll to every figure and table, in both themes."""
        for summary in self.page.query_selector_all("details:not([open]) > summary"):
            summary.evaluate("s => s.parentElement.open = true")
        for theme in ("light", "dark"):
            self.page.evaluate("t => { document.documentElement.dataset.theme = t }", theme)
            for figure in self.page.query_selector_all(".biosae-figure"):
                figure.evaluate("f => f.scrollIntoView({block: 'center'})")
                try:
                    self.page.wait_for_function(DRAWN, arg=figure, timeout=15_000)
                except Exception:
                    self.wrong.append(f"figure {figure.get_attribute('data-name')} is empty ({theme})")
            for table in self.page.query_selector_all(".biosae-table"):
                try:
                    self.page.wait_for_function("t => t.dataset.drawn", arg=table, timeout=15_000)
                except Exception:
                    self.wrong.append(f"table {table.get_attribute('data-name')} was not drawn ({theme})")
                if not table.evaluate(ROWS):
                    self.wrong.append(f"table {table.get_attribute('data-name')} is empty ({theme})")
        self.wrong += [f"no alternative text: {what}" for what in self.page.evaluate(NO_ALT)]
        if (n := len(self.page.query_selector_all("article h1"))) != 1:
            self.wrong.append(f"{n} H1 headings")

    def close(self) -> None:
        self.context.close()


@pytest.fixture(scope="module")
def seen(chromium, book: Path) -> dict[str, dict]:
    """What was found on every page, opened from the disk."""
    base, found = book.as_uri() + "/", {}
    for name in pages(book):
        visit = Visit(chromium, base, name)
        visit.look()
        links = visit.page.evaluate("() => [...document.querySelectorAll('a[href]')].map(a => a.href)")
        found[name] = {"wrong": visit.wrong, "h1": visit.page.inner_text("article h1"), "links": links}
        visit.close()
    return found


def test_every_page_draws_and_stays_offline(seen, book: Path):
    assert set(seen) >= documents(book) != set()
    assert {name: about["wrong"] for name, about in seen.items() if about["wrong"]} == {}


def test_titles_are_unique(seen):
    titles = [about["h1"] for about in seen.values()]
    assert sorted(titles) == sorted(set(titles))


def test_links_lead_somewhere(seen, book: Path):
    broken = {
        (name, link)
        for name, about in seen.items()
        for link in about["links"]
        if link.startswith("file:") and not Path(unquote(urlsplit(link).path)).exists()
    }
    assert broken == set()


def test_some_page_has_a_figure_a_table_and_claims(chromium, book: Path):
    kinds = (".biosae-figure", ".biosae-table", ".biosae-claims", ".biosae-switcher", ".biosae-provenance")
    texts = [(book / name).read_text() for name in pages(book)]
    for kind in kinds:
        assert any(f'{kind[1:]}"' in t or f"{kind[1:]} " in t for t in texts), f"no page has {kind}"


def test_over_http_it_is_the_same(chromium, book: Path, server: str):
    with_figure = [name for name in pages(book) if "biosae-figure" in (book / name).read_text()]
    for name in ["index.html", *with_figure[:2]]:
        visit = Visit(chromium, server, name)
        if name == "index.html":
            visit.page.wait_for_url("**/intro.html")
        visit.look()
        wrong = visit.wrong
        visit.close()
        assert wrong == [], name


def test_a_table_is_searched_from_the_keyboard(chromium, book: Path):
    name = next(n for n in pages(book) if "03_catalogue" in n)  # a long table: short ones have nothing to search
    visit = Visit(chromium, book.as_uri() + "/", name)
    visit.page.wait_for_selector(".biosae-table[data-drawn] input[type=search]").focus()
    visit.page.keyboard.type("no such cell at all")
    visit.page.wait_for_selector(".biosae-table .dt-empty")
    assert visit.wrong == []
    visit.close()


def test_dark_theme_changes_the_figures(chromium, book: Path):
    name = next(n for n in pages(book) if "biosae-figure" in (book / n).read_text())
    visit = Visit(chromium, book.as_uri() + "/", name)
    visit.page.evaluate("() => { document.documentElement.dataset.theme = 'light' }")
    visit.page.query_selector(".biosae-figure").scroll_into_view_if_needed()
    visit.page.wait_for_selector(".js-plotly-plot .main-svg")
    light = visit.page.evaluate(FONT)
    visit.page.evaluate("() => { document.documentElement.dataset.theme = 'dark' }")
    visit.page.wait_for_function(f"light => ({FONT})() !== light", arg=light, timeout=15_000)
    assert visit.page.evaluate(FONT) != light
    visit.close()
