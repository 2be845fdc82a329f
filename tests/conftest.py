"""One book for all tests that need one: the tiny run, built from a copy of this tree."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import build_command, copy_tree, tail
from tiny_project import enter, leave, write_project


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Tests keep nothing in the user's cache, and find nothing there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Path:
    """A fresh copy of the project in which a book can be built, with what other tools leave lying about."""
    project = copy_tree(tmp_path_factory.mktemp("project"))
    for stray in (".pytest_cache/README.md", "book/.ipynb_checkpoints/intro-checkpoint.md"):
        (project / stray).parent.mkdir(exist_ok=True)
        (project / stray).write_text("# Not a page of the book\n")
    return project


@pytest.fixture(scope="session")
def tiny_book(checkout) -> Path:
    """Folder of the rendered tiny book; BIOSAE_BOOK names another rendered book to test instead."""
    if given := os.environ.get("BIOSAE_BOOK"):
        return Path(given).resolve()
    done = subprocess.run(
        build_command("--config", "config/tiny.yaml", "--cores", "2"), cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0, tail(done)
    return checkout / "_build" / "tiny" / "html"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """Root of the tiny project; the current directory is there."""
    write_project(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        enter(tmp_path, patch)
        yield tmp_path
    leave()
