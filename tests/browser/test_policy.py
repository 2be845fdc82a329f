"""The policy in a browser: scripts of the book run, from a disk and from a server; what came in by a name does not."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from biosae_utils.book import policy

pytestmark = pytest.mark.browser

KNOWN = "document.documentElement.dataset.known = 'yes';"
PAGE = """<!DOCTYPE html><html><head>{meta}
<script>{known}</script><script src="own.js"></script><link rel="stylesheet" href="own.css"></head><body>
<button onclick="window.print()">print</button><p id="p" style="color: rgb(1, 2, 3)">text</p>
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">
<script>document.documentElement.dataset.hostile = 'inline';</script>
<svg onload="document.documentElement.dataset.hostile = 'svg'"></svg>
<img src="gone.png" onerror="document.documentElement.dataset.hostile = 'img'">
<img src="{elsewhere}x.png"><iframe src="own.html"></iframe>
<a href="javascript:document.documentElement.dataset.hostile = 'link'">link</a>
<base href="{elsewhere}"></body></html>"""


class Listening(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and remembers what it was asked for."""

    asked: list[str]

    def log_message(self, *args: object) -> None:
        self.asked.append(self.path)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Address of a folder, and what is asked of it."""
    asked: list[str] = []
    handler = type("Handler", (Listening,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/", asked
        httpd.shutdown()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Iterator[tuple[str, list[str]]]:
    """A server that is not the book's."""
    with serving(tmp_path_factory.mktemp("elsewhere")) as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory, elsewhere) -> Path:
    """A page of the book's kind, with hostile pieces in its text."""
    folder = tmp_path_factory.mktemp("page")
    meta = policy.meta([KNOWN])
    (folder / "page.html").write_text(PAGE.format(meta=meta, known=KNOWN, elsewhere=elsewhere[0]))
    (folder / "open.html").write_text(PAGE.format(meta="", known=KNOWN, elsewhere=elsewhere[0]))
    (folder / "own.js").write_text("""document.documentElement.dataset.own = 'yes';
        window.print = function () { document.documentElement.dataset.printed = 'yes'; };""")
    (folder / "own.css").write_text("p { font-weight: 900; }")
    (folder / "own.html").write_text("<script>top.document.documentElement.dataset.hostile = 'frame'</script>")
    return folder


@pytest.fixture(scope="module", params=["disk", "server"])
def base(request, folder: Path) -> Iterator[str]:
    if request.param == "disk":
        yield folder.as_uri() + "/"
        return
    with serving(folder) as (address, _):
        yield address


def test_own_scripts_run_and_no_others(chromium, base: str, elsewhere):
    page, asked = chromium.new_page(), elsewhere[1]
    asked.clear()
    page.goto(base + "page.html")
    page.click("button")
    page.click("a")
    page.wait_for_timeout(200)
    found = page.evaluate("() => ({...document.documentElement.dataset})")
    assert found == {"known": "yes", "own": "yes", "printed": "yes"}
    style = page.evaluate(
        "() => { const s = getComputedStyle(document.querySelector('p')); return [s.color, s.fontWeight] }"
    )
    assert style == ["rgb(1, 2, 3)", "900"]
    assert asked == []
    page.close()


def test_without_the_policy_they_would_run(chromium, folder: Path, elsewhere):
    """The page is hostile enough to show that the policy does something."""
    page, asked = chromium.new_page(), elsewhere[1]
    asked.clear()
    page.goto((folder / "open.html").as_uri())
    page.wait_for_timeout(200)
    assert page.evaluate("() => document.documentElement.dataset.hostile") in ("inline", "svg", "img", "frame")
    assert "/x.png" in asked
    page.close()
