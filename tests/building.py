"""Helpers of the tests that build a book: a copy of the tree, the build command, the end of its output."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def copy_tree(target: Path) -> Path:
    """Copy what git would publish (tracked, and new files that are not ignored) to `target`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


def build_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "biosae_utils.book.build", *arguments]


def tail(process: subprocess.CompletedProcess) -> str:
    return (process.stdout + process.stderr)[-4000:]
