"""Figures as they are drawn: nothing covers anything, on a desk and on a phone, in the light and in the dark."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosae_utils.book import plots
from biosae_utils.book.figures import PLOTLY_MIME, figure_bundle, template
from biosae_utils.book.render import figure_html

pytestmark = pytest.mark.browser

STATIC = Path(__file__).resolve().parents[2] / "book" / "_static"
DESK, PHONE = 800, 360
XTITLES = "[class^=x][class$=title]"
RATES = pd.DataFrame({"lr": [0.001, 0.01, 0.1], "fvu": [0.3, 0.1, 0.2]})
CURVES = pd.DataFrame(
    {
        "x": np.tile([1.0, 10.0, 100.0], 8),
        "y": np.linspace(0.1, 0.9, 24),
        "kind": np.tile(np.repeat(["leading axes of the data", "largest coefficients of each vector"], 3), 4),
        "layer": np.repeat(["layer 0", "layer 1", "layer 2", "layer 3"], 6),
    }
)
RULES = pd.DataFrame(
    {
        "rule": ["as published, without single edges", "all tests of a layer, measured background"] * 4,
        "share": [0.9, 0.1, 0.5, 0.05, 0.8, 0.2, 0.4, 0.1],
        "source": np.tile(np.repeat(["latents", "permuted"], 2), 2),
        "sets": np.repeat(["GO", "all sets"], 4),
    }
)


@pytest.fixture
def drawn(chromium, tmp_path: Path) -> Iterator[Callable]:
    """Draw a figure on a page of its own, of a given width; returns the page."""
    shutil.copytree(STATIC, tmp_path / "_static")
    contexts = []

    def draw(fig, width: int = DESK, theme: str = "light"):
        content = figure_bundle(fig, name="one", alt="A figure that is looked at by a test", caption="So.")
        head = (
            f"<script>window.biosaeTemplate={json.dumps(template().to_plotly_json())}</script>"
            "<link rel=stylesheet href=_static/biosae.css><script defer src=_static/biosae.js></script>"
            "<meta charset=utf-8><style>body{margin:0;--pst-color-primary:#0a7d91;--pst-color-background:#fff}"
            "*{box-sizing:border-box}</style>"
        )
        page_html = (
            f"<!doctype html><html data-theme={theme}><head>{head}</head><body>{figure_html(content[PLOTLY_MIME])}"
        )
        (tmp_path / "page.html").write_text(page_html)
        contexts.append(chromium.new_context(viewport={"width": width, "height": 900}))
        page = contexts[-1].new_page()
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector(".modebar", state="attached")
        page.wait_for_function("() => !document.querySelector('.pending')")
        page.wait_for_timeout(150)  # Plotly settles the margins after it has drawn
        return page

    yield draw
    for context in contexts:
        context.close()


def boxes(page, selector: str) -> list[dict[str, float]]:
    """Left, top, right and bottom of everything that a selector finds."""
    return page.evaluate(
        "s => [...document.querySelectorAll(s)].map(e => e.getBoundingClientRect())"
        ".map(r => ({left: r.left, top: r.top, right: r.right, bottom: r.bottom}))",
        selector,
    )


def box(page, selector: str) -> dict[str, float]:
    return boxes(page, selector)[0]


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    beside = a["right"] <= b["left"] or b["right"] <= a["left"]
    return not (beside or a["bottom"] <= b["top"] or b["bottom"] <= a["top"])


def test_a_reference_line_on_a_logarithmic_axis_stands_at_its_value_with_its_name_beside(drawn):
    page = drawn(plots.lines(RATES, "lr", "fvu", markers=True, log="x", xmarks=[(0.01, "used here")]))
    point, line, name = boxes(page, ".points path")[1], box(page, ".shapelayer path"), box(page, ".annotation")
    assert line["left"] + line["right"] == pytest.approx(point["left"] + point["right"], abs=4)
    assert 0 <= name["left"] - line["right"] < 15


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_legend_titles_and_panels_keep_clear_of_each_other(drawn, width):
    fig = plots.lines(CURVES, "x", "y", by="kind", facet="layer", log="x", xtitle="numbers kept", ytitle="explained")
    page = drawn(fig, width)
    legend, titles = box(page, ".legend"), boxes(page, XTITLES)
    if width == DESK:
        assert legend["bottom"] <= box(page, ".annotation")["top"] + 1, "above the title of the first panel"
    else:
        assert legend["top"] >= max(t["bottom"] for t in titles) - 1, "under the last axis"
        assert legend["bottom"] <= box(page, ".svg-container")["bottom"] + 1 and legend["right"] <= PHONE


def test_panels_are_stacked_on_a_phone_and_side_by_side_again_on_a_desk(drawn):
    domains = (
        "() => Object.entries(document.querySelector('.js-plotly-plot')._fullLayout).filter(([k]) => /^xaxis/.test(k))"
        ".map(([, a]) => a.domain[1] - a.domain[0])"
    )
    page = drawn(plots.lines(CURVES, "x", "y", by="kind", facet="layer", ytitle="explained"), PHONE)
    assert page.evaluate(domains) == [1, 1, 1, 1]
    texts = boxes(page, f".annotation, {XTITLES}")
    assert len(texts) == 5 and not any(overlap(a, b) for a, b in combinations(texts, 2)), "titles of panels and axes"
    page.set_viewport_size({"width": DESK, "height": 900})
    page.wait_for_function(f"() => ({domains})()[0] < 0.6")


def test_long_names_stand_above_their_bars_on_a_phone(drawn):
    table = RULES[RULES["sets"] == "GO"]
    page = drawn(plots.bars(table, "rule", "share", by="source", horizontal=True, xrange=(0, 1)), PHONE)
    area = page.evaluate("() => document.querySelector('.js-plotly-plot')._fullLayout._size.w")
    assert area > 0.85 * PHONE, "the data have the width"
    names, bars = boxes(page, ".annotation"), boxes(page, ".trace.bars:first-child path")
    assert len(names) == len(bars) == 2
    assert all(n["bottom"] <= b["top"] + 5 for n, b in zip(names, bars, strict=True)), "a box has some padding"


def test_upright_bars_with_long_names_lie_down_on_a_phone_and_stand_again(drawn):
    table = RULES[RULES["sets"] == "GO"].assign(high=lambda t: t["share"] + 0.05, low=lambda t: t["share"] - 0.05)
    page = drawn(plots.bars(table, "rule", "share", by="source", low="low", high="high", yrange=(0, 1)), PHONE)
    bars = boxes(page, ".trace.bars:first-child .point > path")
    assert all(abs(b["left"] - bars[0]["left"]) < 1 for b in bars) and bars[0]["top"] < bars[1]["top"]
    lengths = [b["right"] - b["left"] for b in bars]
    assert lengths[0] / lengths[1] == pytest.approx(9, rel=0.1), "0.9 and 0.1"
    page.set_viewport_size({"width": DESK, "height": 900})
    page.wait_for_function("() => document.querySelector('.js-plotly-plot').data[0].orientation === 'v'")


def test_a_figure_follows_its_box_whatever_changes_it(drawn):
    page = drawn(plots.lines(RATES, "lr", "fvu"))
    page.evaluate("() => { document.querySelector('.biosae-figure').style.width = '600px' }")
    page.wait_for_function(
        "() => Math.abs(document.querySelector('.main-svg').getBoundingClientRect().width - 600) < 2"
    )


def test_the_mode_bar_covers_nothing_and_is_there_when_it_is_looked_for(drawn):
    page = drawn(plots.lines(CURVES, "x", "y", by="kind"))
    opacity = "() => getComputedStyle(document.querySelector('.modebar')).opacity"
    page.mouse.move(5, 890)
    page.wait_for_function(f"() => ({opacity})() === '0'")
    page.hover(".js-plotly-plot .main-svg", position={"x": 300, "y": 200})
    page.wait_for_function(f"() => ({opacity})() === '1'")
    bar, plot, caption = box(page, ".modebar"), box(page, ".svg-container"), box(page, "figcaption")
    assert bar["top"] >= plot["bottom"] - 1 and bar["bottom"] <= caption["top"] + 1
    page.mouse.move(5, 890)
    page.focus(".modebar-btn")
    page.wait_for_function(f"() => ({opacity})() === '1'")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_buttons_show_one_view_and_say_which(drawn, theme):
    page = drawn(plots.bars(RULES, "rule", "share", by="source", choice="sets"), theme=theme)
    pressed = "() => [...document.querySelectorAll('.biosae-choice button')].map(b => b.getAttribute('aria-pressed'))"
    seen = "() => document.querySelector('.js-plotly-plot').data.map(t => t.visible)"
    assert page.evaluate(pressed) == ["false", "true"] and page.evaluate(seen) == [False, False, True, True]
    page.click(".biosae-choice button >> nth=0")
    page.wait_for_function(f"() => JSON.stringify(({seen})()) === '[true,true,false,false]'")
    assert page.evaluate(pressed) == ["true", "false"]
    style = "() => { const s = getComputedStyle(document.querySelector('[aria-pressed=true]'));"
    colours = page.evaluate(style + " return [s.color, s.backgroundColor] }")
    assert colours[0] != colours[1]
    assert page.query_selector(".updatemenu-container") is None


def test_the_drawing_is_hidden_from_screen_readers_that_get_its_alternative(drawn):
    page = drawn(plots.lines(RATES, "lr", "fvu"))
    assert page.get_attribute(".biosae-plotly", "aria-label") == "A figure that is looked at by a test"
    hidden = page.evaluate(
        "() => [...document.querySelectorAll('svg.main-svg')].map(s => s.getAttribute('aria-hidden'))"
    )
    assert hidden and set(hidden) == {"true"}
