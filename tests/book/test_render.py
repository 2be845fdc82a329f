"""HTML of figures, tables and switcher, without Sphinx."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

from biosae_utils.book.render import LIGHT_PLOTLY, figure_html, table_html

ROOT = Path(__file__).resolve().parents[2]
EVIL = '</script><script>alert("x")</script>'


def payload(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.S)[1])


def test_figure_has_alt_caption_and_intact_data():
    layout = {"meta": {"name": "n", "alt": f"Bars {EVIL}", "caption": "How to read it: higher is more."}, "height": 300}
    text = figure_html({"data": [{"type": "bar", "y": [1], "text": [EVIL]}], "layout": layout, "config": {}})
    assert payload(text)["data"][0]["text"] == [EVIL] and text.count("<script") == 1
    assert 'role="group" aria-label="Bars &lt;/script&gt;' in text and "min-height:300px" in text
    assert "<strong>How to read it.</strong> Higher is more." in text


def test_table_says_when_rows_were_left_out():
    content = {"name": "t", "caption": "Cells <b>", "columns": [{"title": "a", "numeric": True}], "data": [[1]]}
    assert "first 1 of 7 rows" in table_html({**content, "n_rows": 7})
    whole = table_html({**content, "n_rows": 1})
    assert "first" not in whole and "Cells &lt;b&gt;" in whole and payload(whole)["data"] == [[1]]


def test_a_wide_table_takes_the_free_width_and_captions_have_no_raw_markdown():
    columns = [{"title": f"column {i}", "numeric": False, "width": 30} for i in range(4)]
    content = {"name": "t", "caption": "`dead` and *all*", "columns": columns, "data": [["a"] * 4], "n_rows": 1}
    text = table_html(content)
    assert 'class="biosae-table full-width"' in text and "<code>dead</code> and <em>all</em>" in text
    assert payload(text)["caption"] == "dead and all", "it becomes a label"
    assert "full-width" not in table_html({**content, "columns": columns[:2]})


def test_the_small_plotly_draws_what_it_can():
    layout = {"meta": {"name": "n", "alt": "Bars of something", "caption": "So."}}
    assert "plotly-cartesian" in figure_html({"data": [{"type": "bar", "y": [1]}, {"y": [2]}], "layout": layout})
    whole = figure_html({"data": [{"type": "bar", "y": [1]}, {"type": "scattergl", "y": [1]}], "layout": layout})
    assert 'data-bundle="plotly.min.js"' in whole


def test_the_small_plotly_is_of_the_same_version_as_the_python_package():
    def version(path: Path) -> str:
        return re.search(r"plotly\.js (?:\(cartesian - minified\) )?v([\d.]+)", path.read_text()[:200])[1]

    small = ROOT / "book" / "_static" / LIGHT_PLOTLY
    assert version(small) == version(Path(str(files("plotly") / "package_data" / "plotly.min.js")))


def test_vendored_files_are_those_of_the_list():
    vendor = ROOT / "book" / "_static" / "vendor"
    listed = dict(re.findall(r"\| `([\w./-]+)` \|.*`([0-9a-f]{64})` \|", (vendor / "README.md").read_text()))
    assert set(listed) >= {"plotly/plotly-cartesian.min.js", "datatables/dataTables.min.js"}
    for name, digest in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name
