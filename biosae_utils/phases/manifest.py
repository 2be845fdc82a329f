"""The manifest of a page's folder: written last, it says that the folder is complete and what made it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from biosae_utils.errors import BiosaeError
from biosae_utils.store import fingerprint, hash_of, read_json

NAME = "manifest.json"
CLAIMS = "claims.json"


def is_complete(folder: Path) -> bool:
    """Whether a page's folder holds a manifest."""
    return (folder / NAME).is_file()


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a folder; one that is no manifest is an error."""
    found = read_json(folder / NAME)
    if not isinstance(found, dict) or not {"phase", "run", "key", "outputs", "content"} <= found.keys():
        raise BiosaeError("This is no manifest", where=str(folder / NAME), do="delete the folder and run again")
    return found


def require(folder: Path, phase: str) -> dict[str, Any]:
    """Manifest of a complete page; an incomplete one is an error that names the command."""
    if not is_complete(folder):
        raise BiosaeError(
            f"Phase {phase} has not finished",
            where=str(folder),
            do=f"run it first, for instance with `biosae run {phase}`",
        )
    return read(folder)


def outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Every file below a folder with its size and SHA-256."""
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": hash_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME and not path.name.startswith(".")
    }


def content(files: dict[str, dict[str, Any]]) -> str:
    """Hash of everything that other phases may read: all files but the claims."""
    return fingerprint({name: about["sha256"] for name, about in files.items() if name != CLAIMS})


def changed(folder: Path, about: dict[str, Any], below: str = "") -> Iterator[tuple[str, str]]:
    """Files that are not what the manifest says, as (name, what is wrong).

    Parameters
    ----------
    folder : Path
    about : dict
        The manifest.
    below : str
        Only that file, or files in that folder of it; all when empty.
    """
    for name, file in about["outputs"].items():
        if below and name != below and not name.startswith(f"{below}/"):
            continue
        path = folder / name
        if not path.is_file():
            yield name, "is gone"
        elif path.stat().st_size != file["bytes"]:
            yield name, f"has {path.stat().st_size:,} bytes and not {file['bytes']:,}"
        elif hash_of(path) != file["sha256"]:
            yield name, "holds something else than when it was computed"


def claims(folder: Path) -> list[dict[str, Any]]:
    """Claims of a complete page; what is not what the page wrote is an error, for a silent gap would be wrong."""
    for name, what in changed(folder, read(folder), CLAIMS):
        raise BiosaeError(f"{name} {what}", where=str(folder), do="run `make book` again")
    return read_json(folder / CLAIMS)


def claims_of(folders: list[Path]) -> list[dict[str, Any]]:
    """Claims of those pages that are complete, in reading order."""
    complete = sorted((f for f in folders if is_complete(f)), key=lambda f: (f.name, f.as_posix()))
    return [claim for folder in complete for claim in claims(folder)]


def params_hash(params: dict[str, Any]) -> str:
    """Hash of a page's parameters without where its files lie: a moved run is the same run."""
    return fingerprint({k: v for k, v in params.items() if k != "results"})


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
