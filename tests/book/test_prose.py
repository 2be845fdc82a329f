"""Text becomes HTML at one door: escaped, with the little Markdown of a sentence."""

from __future__ import annotations

from biosae_utils.book.prose import inline, plain


def test_everything_is_escaped_also_in_code():
    assert inline("a <b> & `<i>`") == "a &lt;b&gt; &amp; <code>&lt;i&gt;</code>"


def test_code_emphasis_and_strong_become_tags():
    assert inline("`dead`: *all* of **it**") == "<code>dead</code>: <em>all</em> of <strong>it</strong>"
    assert plain("`dead`: *all* of **it**\nhere") == "dead: all of it here"


def test_stars_that_are_no_emphasis_stay():
    assert inline("2 * 3 * 4 and a*b*c") == "2 * 3 * 4 and a*b*c"


def test_a_sentence_is_one_line_so_that_markdown_does_not_end_it():
    assert "\n" not in inline("one\n\ntwo")
