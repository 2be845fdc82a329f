"""Links from a page to its siblings."""

from __future__ import annotations

import re

from biosae_utils.book.switcher import switcher_html


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


def test_names_are_text_and_addresses_are_attributes():
    pages = ["book/executed/r/a/04_annotate", "book/executed/r/a-b/04_annotate"]
    text = switcher_html(pages[0], pages, lambda doc: f'{doc}?a="1"&b')
    assert 'href="book/executed/r/a-b/04_annotate?a=&quot;1&quot;&amp;b">a-b</a>' in text


def test_a_page_without_siblings_has_no_navigation():
    assert switcher_html("book/executed/r/a/04_annotate", ["book/executed/r/a/04_annotate"], str) == ""
