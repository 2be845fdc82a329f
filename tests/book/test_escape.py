"""Data in Markdown and HTML: whatever a name holds, the page shows these letters and nothing happens."""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from biosae_utils.book import escape

HOSTILE = [
    "<svg onload=alert(1)>",
    "<img src=x onerror=alert(1)>",
    "</p><script>alert(1)</script>",
    "<!-- a",
    "a`b``c",
    "`",
    "{{ run }}",
    "$(rm -rf x)$",
    "$$x$$",
    "](javascript:alert(1))",
    "[a](javascript:alert(1))",
    "![x](http://x/y.png)",
    "<javascript:alert(1)>",
    "http://example.org",
    "{ref}`x`",
    "{raw}`<b>`",
    ":::{note}",
    "```{raw} html",
    "# heading",
    "- item",
    "+ item",
    "* item",
    "1. item",
    "> quote",
    "---",
    "===",
    "| a | b |",
    "a|b",
    "a\\|b",
    "\\",
    "\\\\|",
    "% note",
    "(target)=",
    "[^1]: foot",
    "&lt;b&gt;",
    "&#60;b&#62;",
    "a\nb",
    "a\n\n# b",
    "\ta",
    "    a",
    "a\"b'c",
    "a\u202eb",
    "a\u2028b",
    "a\x00b",
    "*a* **b** _c_ __d__",
    "(c) (tm) +- ...",
    "{#id .class}",
    "[x]{onclick=alert(1)}",
    "\\begin{align}x\\end{align}",
    ":field: value",
    "- [ ] task",
    "term\n: definition",
    "\ud800",
    "\u00a0a\u00a0",
]
PIECES = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=12), st.text("<>[](){}`*_$\\|&!#:.-+=%^~\"' \nabc1", max_size=12)
)
NAMES = st.lists(PIECES, min_size=1, max_size=4).map("".join)


@cache
def parser():
    """The Markdown of the book, with every extension that its config enables and some more."""
    extensions = {
        "amsmath",
        "attrs_block",
        "attrs_inline",
        "colon_fence",
        "deflist",
        "dollarmath",
        "fieldlist",
        "html_admonition",
        "html_image",
        "replacements",
        "strikethrough",
        "substitution",
        "tasklist",
    }
    return create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML)


class Seen(HTMLParser):
    """Tags with their attributes, and text, of a piece of HTML as a browser would see it."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.tags.append("comment")

    def handle_decl(self, decl):
        self.tags.append("declaration")


def seen(markdown: str) -> Seen:
    return Seen(parser().render(markdown))


@given(NAMES)
@settings(max_examples=400, deadline=None)
def test_data_in_markdown_are_text(value):
    shown = escape.one_line(value)
    found = seen(f"before {escape.md(value)} after")
    assert found.tags == ["p"] and found.text == f"before {shown} after\n"
    if not shown:
        return
    assert seen(escape.md(value)).tags == ["p"]  # at the start of a line too
    assert seen(escape.md(value)).text.strip("\n") == shown
    heading, item = seen(f"# {escape.md(value)}"), seen(f"- {escape.md(value)}")
    assert (heading.tags, heading.text.strip("\n")) == (["h1"], shown)
    assert (item.tags, item.text.strip("\n")) == (["ul", "li"], shown)
    table = seen(f"| a | b |\n|---|---|\n| {escape.md(value)} | {escape.code(value, cell=True)} |\n")
    assert table.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td", "code"]
    assert table.text.split() == ["a", "b", *shown.split(), *shown.split()]


@given(NAMES)
@settings(max_examples=400, deadline=None)
def test_data_in_code_are_text(value):
    shown = escape.one_line(value)
    found = seen(f"before {escape.code(value)} after")
    assert found.tags == (["p", "code"] if shown else ["p"])
    assert found.text.split() == ["before", *shown.split(), "after"]
    fenced = Seen(parser().render(f"{escape.block(value, 'bash')}\n\nafter\n"))
    assert fenced.tags == ["pre", "code", "p"]
    assert fenced.text.endswith("\nafter\n") and "alert" not in fenced.attributes.get("class", "")


@given(st.lists(NAMES, min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_a_sentence_keeps_emphasis_and_code_and_nothing_else(values):
    found = seen(escape.sentence("The **bold** and *soft* words with `code`: " + " and ".join(values)) or "x")
    assert set(found.tags) <= {"p", "em", "strong", "code"} and not found.attributes
    assert found.text.startswith("The bold and soft words with code:")


def test_a_sentence_of_ours_is_shown_as_it_was_meant():
    found = parser().render(
        escape.sentence("**12,938 cells** of `a|b.h5ad`, *not* 3 < 4 & 5 * 6 (95 % interval 1 to 2).")
    )
    said = "<strong>12,938 cells</strong> of <code>a|b.h5ad</code>, <em>not</em> 3 &lt; 4 &amp; 5 * 6"
    assert found == f"<p>{said} (95 % interval 1 to 2).</p>\n"
    assert (
        seen(escape.sentence(f"The gene `{'<img src=x>'}` of {'<svg onload=x>'}")).text
        == "The gene <img src=x> of <svg onload=x>\n"
    )


@given(NAMES)
@settings(max_examples=300, deadline=None)
def test_data_in_html_are_text(value):
    shown = escape.one_line(value)
    found = Seen(f'<a title="{escape.attr(value)}">{escape.text(value)}</a>')
    assert found.tags == ["a"] and found.attributes == {"title": shown} and found.text == shown


@pytest.mark.parametrize(
    "value", ["ISG15", "HLA-DRB1*15:01", "CD4+ T", "Sj\u00f6gren", "5' UTR", "T cell \U0001f9d1\u200d\U0001f52c"]
)
def test_honest_names_are_shown_as_they_are(value):
    assert seen(escape.md(value)).text == f"{value}\n"
    assert escape.one_line(value) == value


def test_what_cannot_be_seen_is_marked():
    assert escape.one_line("a\u202eb\x07\u200bc\ud800") == "a\ufffdb\ufffd\ufffdc\ufffd"
    assert escape.one_line("  a \n\t b\u2028c ") == "a b c"
    assert escape.one_line(3) == "3" and escape.md(None) == "None"
