"""A Content-Security-Policy for every page: scripts of the book itself run, from a disk or a server, and no others.

Inline scripts that the theme and its extensions write are allowed by the hash of what they say, so a script that came
into a page by a name in the data is not. Nothing is fetched from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = "'self' file:"
"""The book's own files; from a disk, where pages have no origin, browsers want the scheme to be named."""
HANDLERS = ("toggleFullScreen()", "window.print()")
"""What the theme's buttons call in attributes."""
INLINE = re.compile(r"<script(?![^>]*\b(?:src|type)=)[^>]*>(.*?)</script>", re.DOTALL)
HOLE = "{{ default_mode }}"


def digest(script: str) -> str:
    """A script as a source of a policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def policy(scripts: Iterable[str]) -> str:
    """The policy of a page.

    Parameters
    ----------
    scripts : iterable of str
        Inline scripts that may run, as they stand between their tags.
    """
    hashes = " ".join(dict.fromkeys(digest(s) for s in (*scripts, *HANDLERS)))
    rules = {
        "default-src": "'none'",
        "script-src": f"{HERE} 'unsafe-hashes' {hashes}",
        "style-src": f"{HERE} 'unsafe-inline'",  # Plotly and the theme set styles; a style runs nothing
        "img-src": f"{HERE} data: blob:",
        "font-src": f"{HERE} data:",
        "form-action": HERE,
        "base-uri": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


def theme_scripts(folders: Iterable[str | Path], mode: str) -> list[str]:
    """Inline scripts in the templates of a theme, as they come out with a default mode (light, dark, auto).

    Those that hold anything else of the page are left out: they are among the scripts that extensions announce.
    """
    found = []
    for folder in folders:
        for template in sorted(Path(folder).rglob("*.html")):
            scripts = (s.replace(HOLE, mode) for s in INLINE.findall(template.read_text(encoding="utf-8")))
            found += [s for s in scripts if "{{" not in s and "{%" not in s]
    return found


def announced_scripts(context: Mapping[str, Any]) -> list[str]:
    """Inline scripts that extensions have put into a page's list of scripts."""
    attributes = (getattr(script, "attributes", {}) for script in context.get("script_files", []))
    return [a["body"] for a in attributes if a.get("body") and a.get("type", "text/javascript") == "text/javascript"]


def meta(scripts: Iterable[str]) -> str:
    """The policy as the tag that must stand in a page's head before any script."""
    return f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy(scripts), quote=True)}" />'


def add_policy(app: Any, context: dict[str, Any]) -> None:
    """Put the policy into the head of a page: for a handler of ``html-page-context``, after all that add scripts."""
    mode = str(context.get("default_mode") or "auto")
    scripts = [*announced_scripts(context), *theme_scripts(app.builder.theme.get_theme_dirs(), mode)]
    context["metatags"] = f"\n    {meta(scripts)}{context.get('metatags', '')}"
