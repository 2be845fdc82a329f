"""The policy of pages: what may run is what extensions and the theme wrote, each by its hash."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from types import SimpleNamespace

import pydata_sphinx_theme
import pytest

from biosae_utils.book import policy

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme"


def sources(scripts: list[str]) -> dict[str, list[str]]:
    return {rule.split()[0]: rule.split()[1:] for rule in policy.policy(scripts).split("; ")}


def test_scripts_are_allowed_by_what_they_say():
    found = sources(["let a = 1;", "let a = 1;"])["script-src"]
    expected = "'sha256-" + base64.b64encode(hashlib.sha256(b"let a = 1;").digest()).decode() + "'"
    assert found.count(expected) == 1
    assert "'unsafe-inline'" not in found and "'unsafe-eval'" not in found and "*" not in found
    assert policy.digest("let a = 2;") not in found


def test_nothing_is_fetched_from_elsewhere():
    rules = sources([])
    assert rules["default-src"] == ["'none'"] and rules["base-uri"] == ["'none'"]
    for name, allowed in rules.items():
        assert not [s for s in allowed if s.startswith(("http", "//", "*"))], name


def test_the_tag_can_stand_in_a_head():
    tag = policy.meta(["alert('<\"')"])
    assert tag.startswith("<meta http-equiv=") and tag.count('"') == 4 and "<" not in tag[1:]


def test_the_theme_has_the_scripts_that_are_looked_for():
    found = policy.theme_scripts([THEME], "auto")
    assert any('localStorage.getItem("mode") || "auto"' in s for s in found)
    assert any("Activate the search field" in s for s in found)
    assert not any("{{" in s or "{%" in s for s in found)


@pytest.mark.parametrize("kind", [None, "text/javascript"])
def test_only_scripts_that_run_are_announced(kind):
    def script(body: str | None, **more: str) -> SimpleNamespace:
        return SimpleNamespace(attributes={"body": body, **more})

    files = [
        script("a", **({"type": kind} if kind else {})),
        script(None),
        script("b", type="application/json"),
        "x.js",
    ]
    assert policy.announced_scripts({"script_files": files}) == ["a"]
    app = SimpleNamespace(builder=SimpleNamespace(theme=SimpleNamespace(get_theme_dirs=lambda: [THEME])))
    context = {"script_files": files, "metatags": "<meta name='x'>", "default_mode": "dark"}
    policy.add_policy(app, context)
    tags = context["metatags"]
    assert tags.index("Content-Security-Policy") < tags.index("name='x'")
    hashes = [policy.digest(s) for s in ("a", *policy.theme_scripts([THEME], "dark"))]
    assert all(h.replace("'", "&#x27;") in tags for h in hashes) and policy.digest("b")[1:-1] not in tags
