"""HTML of figures, tables, claims and switcher, without Sphinx."""

from __future__ import annotations

import json
import re

from biosae_utils.book.claims_table import claims_html, number, overview_html, summary_html
from biosae_utils.book.render import figure_html, table_html
from biosae_utils.book.switcher import switcher_html

EVIL = '</script><script>alert("x")</script>'


def payload(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.S)[1])


def test_figure_has_alt_caption_and_intact_data():
    layout = {"meta": {"name": "n", "alt": f"Bars {EVIL}", "caption": "How to read it: higher is more."}, "height": 300}
    text = figure_html({"data": [{"type": "bar", "y": [1], "text": [EVIL]}], "layout": layout, "config": {}})
    assert payload(text)["data"][0]["text"] == [EVIL] and text.count("<script") == 1
    assert 'role="img" aria-label="Bars &lt;/script&gt;' in text and "min-height:300px" in text
    assert "<strong>How to read it.</strong> Higher is more." in text


def test_table_says_when_rows_were_left_out():
    content = {"name": "t", "caption": "Cells <b>", "columns": [{"title": "a", "numeric": True}], "data": [[1]]}
    assert "first 1 of 7 rows" in table_html({**content, "n_rows": 7})
    whole = table_html({**content, "n_rows": 1})
    assert "first" not in whole and "Cells &lt;b&gt;" in whole and payload(whole)["data"] == [[1]]


def claim(**other) -> dict:
    return {
        "id": "a", "phase": "04_annotate", "model": "m", "layer": 1, "title": "Labels <beat> chance", "value": 0.25,
        "unit": "share", "interval": [0.2, 0.3], "control": 0.01, "control_kind": "permuted", "rule": "above control",
        "verdict": "supported", "published": 0.524, "command": "x", **other,
    }  # fmt: skip


def test_claims_show_value_interval_control_verdict_and_published():
    text = claims_html([claim()], where=True)
    for part in (
        "25 %",
        "20 to 30 %",
        "1 %",
        "permuted",
        ">supported<",
        "52.4 %",
        "04_annotate, m, layer 1",
        "&lt;beat&gt;",
    ):
        assert part in text, part
    untested = claims_html([claim(value=None, control=None, interval=None, verdict="not_tested", published=None)])
    assert "not tested" in untested and "Published" not in untested and "–" in untested


def test_summary_counts_pages_and_spans_values():
    text = summary_html(
        [
            claim(),
            claim(layer=2, value=0.4, verdict="not_supported"),
            claim(title="Another", verdict="not_tested", value=None, control=None),
        ]
    )
    assert "1 of 2" in text and "25 to 40 %" in text and ">not tested<" in text


def test_overview_counts_verdicts_by_phase():
    claims = [claim(), claim(layer=2, value=0.4, verdict="not_supported"), claim(phase="00_data", title="Cells differ")]
    claims.append(claim(title="Control with random weights: all is well", value=0.9))  # counts as no finding
    text = overview_html(claims, {"00_data": "Cells"})
    assert text.index(">Cells<") < text.index(">04_annotate<") and text.count("<tr>") == 3
    assert "1 supported" in text and "1 not supported" in text and "25 to 40 %; control 1 %" in text


def test_numbers():
    assert number(None) == "–" and number(0.5, "share") == "50 %" and number(12345.0) == "12,345"
    assert number(0.12345, "nats") == "0.123 nats" and number(-0.0) == "0"
    assert number(0.25, "share of variance") == "25 % of variance"


def test_switcher_links_layers_models_and_phases():
    base = "book/executed/r"
    pages = {
        f"{base}/{m}/layer_{n:02d}/{p}"
        for m, n in (("a", 0), ("a", 3), ("b", 1), ("b", 5))
        for p in ("03_catalogue", "04_annotate")
    }
    pages |= {f"{base}/00_data", "book/intro", "book/executed/other/a/layer_09/03_catalogue"}
    text = switcher_html(f"{base}/a/layer_03/04_annotate", pages, lambda doc: doc + ".html")
    links = set(re.findall(r'href="([^"]+)\.html"', text))
    assert links == {
        f"{base}/a/layer_00/04_annotate",
        f"{base}/a/layer_03/03_catalogue",
        f"{base}/b/layer_01/04_annotate",
    }
    assert text.count('aria-current="page"') == 3
    assert switcher_html("book/intro", pages, str) == "" and switcher_html(f"{base}/00_data", pages, str) == ""
