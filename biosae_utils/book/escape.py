"""The one door by which data (names of genes, cells, conditions, terms, files) become Markdown or HTML.

Whatever a name holds, it is shown as these letters: no tag, link, role, directive, formula or placeholder comes of it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
"""ASCII punctuation: all that can begin something in Markdown, and all that a backslash can stand before."""
BACKTICKS = re.compile(r"`+")
REPLACED = "\ufffd"


def one_line(value: Any) -> str:
    """Text on one line: every run of blanks as one, and a mark for characters that cannot be seen or turn others round.

    Control characters, marks of writing direction and lone surrogates are such.
    """
    return "".join(c if _visible(c) else REPLACED for c in " ".join(str(value).split()))


def _visible(c: str) -> bool:
    kind = unicodedata.category(c)
    joiner = c in "\u200c\u200d"  # of scripts and emoji
    return joiner or kind not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


# ---- HTML ------------------------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """Data between tags of HTML."""
    return html.escape(one_line(value), quote=False)


def attr(value: Any) -> str:
    """Data inside the quotation marks of an attribute of HTML."""
    return html.escape(one_line(value), quote=True)


# ---- Markdown --------------------------------------------------------------------------------------------------------


def md(value: Any) -> str:
    """Data in running Markdown, in a heading, a list, a cell of a table or the title of a directive.

    Nothing is emphasised and nothing is a link: every punctuation mark has a backslash before it. What stands between
    backticks needs `code` instead.
    """
    return PUNCTUATION.sub(r"\\\1", one_line(value))


def code(value: Any, *, cell: bool = False) -> str:
    """Data as a piece of code in running Markdown, whatever backticks it holds.

    Parameters
    ----------
    cell : bool
        Whether it stands in a table, where a vertical bar would end the cell.
    """
    plain = one_line(value)
    if not plain:
        return ""
    fence = "`" * (1 + max((len(run) for run in BACKTICKS.findall(plain)), default=0))
    if cell:
        plain = plain.replace("|", r"\|")
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def block(value: Any, language: str = "") -> str:
    """Lines of code in a fence that nothing in them can end."""
    lines = ["".join(c if c == "\t" or _visible(c) else REPLACED for c in line) for line in str(value).split("\n")]
    longest = max((len(run) for line in lines for run in BACKTICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}{language}", *lines, fence])


def sentence(markdown: Any) -> str:
    """A sentence that was composed of words of ours and of data: *emphasis*, **strong** and `code` stay, nothing else.

    For sentences that arrive whole, where the data in them cannot be told from the words. Data that may hold asterisks
    or backticks come through `md` or `code` when the sentence is made.
    """
    parsed = _emphasis_only().parseInline(one_line(markdown))
    return "".join(_again(token) for token in parsed[0].children or [])


@cache
def _emphasis_only() -> MarkdownIt:
    return MarkdownIt("zero").enable(["emphasis", "backticks", "escape"])


MARKS = {"em_open": "*", "em_close": "*", "strong_open": "**", "strong_close": "**"}


def _again(token: Token) -> str:
    """A token as Markdown."""
    if token.type == "code_inline":
        return code(token.content)
    return MARKS.get(token.type) or PUNCTUATION.sub(r"\\\1", token.content)
