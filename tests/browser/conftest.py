"""The rendered book under test, and a Chromium that cannot reach the network."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
)


def _tiny_book(folder: Path) -> Path:
    """Build the project of tests/book with the real prose, as a user would."""
    spec = importlib.util.spec_from_file_location("tiny_project", ROOT / "tests" / "book" / "conftest.py")
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    tiny.write_project(folder, prose=True)
    command = [sys.executable, "-m", "biosae_utils.book.build", "--config", "config/tiny.yaml", "--cores", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "_build" / "tiny" / "html"


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a rendered book: BIOSAE_BOOK, else a tiny one built here."""
    given = os.environ.get("BIOSAE_BOOK")
    folder = Path(given).resolve() if given else _tiny_book(tmp_path_factory.mktemp("book"))
    assert (folder / "index.html").is_file(), f"no rendered book in {folder}"
    return folder


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
