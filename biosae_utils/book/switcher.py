"""Links from a page to its siblings: same analysis, other layer or model; same layer, other analysis."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable

PAGE = re.compile(r"book/executed/(?P<run>[^/]+)(?:/(?P<model>[^/]+))?(?:/layer_(?P<layer>\d+))?/(?P<phase>\d\d_\w+)")


def switcher_html(page: str, pages: Iterable[str], link: Callable[[str], str]) -> str:
    """Navigation of a computed page; empty for prose and for pages without siblings.

    Parameters
    ----------
    page : str
        Name of the page, for instance ``book/executed/demo/mini-scgpt/layer_03/04_annotate``.
    pages : iterable of str
        Names of all pages of the book.
    link : callable
        Address of a page by name, as seen from this page.
    """
    here = PAGE.fullmatch(page)
    if here is None or here["model"] is None:
        return ""
    found = {
        name: m for name in sorted(pages) if (m := PAGE.fullmatch(name)) and m["run"] == here["run"] and m["model"]
    }
    same = {
        "Layer": [
            (n, str(int(m["layer"]))) for n, m in found.items() if m["layer"] and _equal(m, here, "model", "phase")
        ],
        "Model": [
            (n, m["model"]) for n, m in found.items() if _equal(m, here, "phase") and _as_deep(n, m, here, found)
        ],
        "Phase": [(n, m["phase"][3:]) for n, m in found.items() if _equal(m, here, "model", "layer")],
    }
    parts = [_group(name, entries, page, link) for name, entries in same.items() if len(entries) > 1]
    return f'<nav class="biosae-switcher" aria-label="Same analysis elsewhere">{"".join(parts)}</nav>' if parts else ""


def _equal(one: re.Match[str], other: re.Match[str], *names: str) -> bool:
    return all(one[name] == other[name] for name in names)


def _as_deep(name: str, entry: re.Match[str], here: re.Match[str], found: dict[str, re.Match[str]]) -> bool:
    """Whether a page of another model is the one to jump to: the same layer, else that model's nearest one."""
    if here["layer"] is None:
        return True
    layers = [
        (abs(int(m["layer"]) - int(here["layer"])), n) for n, m in found.items() if _equal(m, entry, "model", "phase")
    ]
    return min(layers)[1] == name


def _group(name: str, entries: list[tuple[str, str]], page: str, link: Callable[[str], str]) -> str:
    items = []
    for target, label in entries:
        text = html.escape(label)
        items.append(
            f'<li aria-current="page">{text}</li>'
            if target == page
            else f'<li><a href="{html.escape(link(target), quote=True)}">{text}</a></li>'
        )
    return f"<div>{name}<ul>{''.join(items)}</ul></div>"
