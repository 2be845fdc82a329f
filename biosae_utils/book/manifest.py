"""The manifest of a phase's folder: written last, it says that the folder is complete and what made it."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from biosae_utils.errors import BiosaeError
from biosae_utils.store import fingerprint, read_json, sha256

NAME = "manifest.json"
HASHED_UP_TO = 256 << 20
"""Files above this size (bytes) are described by their size only: hashing them would cost more than it tells."""


def is_complete(folder: Path) -> bool:
    """Whether a phase's folder holds a manifest."""
    return (folder / NAME).is_file()


def require(folder: Path, phase: str) -> dict[str, Any]:
    """Manifest of a complete phase; an incomplete one is an error that names the command."""
    if not is_complete(folder):
        raise BiosaeError(
            f"Phase {phase} has not finished",
            where=str(folder),
            do=f"run it first, for instance with `biosae run {phase}`",
        )
    return read_json(folder / NAME)


def outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Every file below a phase's folder with its size and, up to `HASHED_UP_TO`, its SHA-256."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != NAME and not path.name.startswith("."):
            size = path.stat().st_size
            found[path.relative_to(folder).as_posix()] = {
                "bytes": size,
                "sha256": sha256(path) if size <= HASHED_UP_TO else None,
            }
    return found


def params_hash(params: dict[str, Any]) -> str:
    """Hash of a page's parameters without where its files lie: a moved run is the same run."""
    return fingerprint({k: v for k, v in params.items() if k != "results"})


def missing_outputs(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Files that the manifest lists and that are gone or have another size."""
    gone = []
    for name, about in manifest["outputs"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != about["bytes"]:
            gone.append(name)
    return gone


@cache
def code_version() -> str:
    """Package version and, in a git checkout, the commit, with ``+`` when files differ from it."""
    try:
        text = version("biosae-book")
    except PackageNotFoundError:
        text = "unknown"
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return text
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, timeout=10, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return text
    return f"{text} ({done.stdout.strip()})" if done.returncode == 0 and done.stdout.strip() else text
