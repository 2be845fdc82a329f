"""The rendered book under test, and a Chromium that cannot reach the network."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
)


@pytest.fixture(scope="session")
def book(tiny_book: Path) -> Path:
    """Folder of the rendered book under test: the whole tiny run, or what BIOSAE_BOOK names."""
    assert (tiny_book / "index.html").is_file(), f"no rendered book in {tiny_book}"
    return tiny_book


@pytest.fixture(scope="session")
def server(book: Path) -> Iterator[str]:
    """Address of a local web server of the book."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(book))) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """A Chromium; CHROMIUM names it, else the one on the path."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="not run: playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next((p for n in names if (p := shutil.which(n))), None)
    if path is None:
        pytest.skip("not run: there is no Chromium; install it or set CHROMIUM to its path")
    flags = [f"--{f.strip()}" for f in FLAGS.split("--") if f.strip()]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()
