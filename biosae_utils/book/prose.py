"""The door between text and HTML: everything is escaped, and the little Markdown that a sentence holds becomes tags."""

from __future__ import annotations

import html
import re

CODE = re.compile(r"`+([^`]+)`+")
STRONG = re.compile(r"(?<![\w*])\*\*([^\s*](?:[^*]*[^\s*])?)\*\*(?![\w*])")
EMPHASIS = re.compile(r"(?<![\w*])\*([^\s*](?:[^*]*[^\s*])?)\*(?![\w*])")


def inline(text: str) -> str:
    """A sentence as HTML: escaped, with `code`, *emphasis* and **strong** as tags, on one line."""
    parts = CODE.split(" ".join(text.split()))  # every second part was between backticks
    return "".join(
        f"<code>{html.escape(p)}</code>" if i % 2 else _emphasis(html.escape(p)) for i, p in enumerate(parts)
    )


def plain(text: str) -> str:
    """A sentence without Markdown, for attributes."""
    return EMPHASIS.sub(r"\1", STRONG.sub(r"\1", CODE.sub(r"\1", " ".join(text.split()))))


def _emphasis(text: str) -> str:
    return EMPHASIS.sub(r"<em>\1</em>", STRONG.sub(r"<strong>\1</strong>", text))
