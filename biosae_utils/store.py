"""Files that are either whole or absent: atomic writes, Parquet, JSON, and hashes that are computed once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biosae_utils.errors import BiosaeError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place only if the block succeeds.

    A process killed inside the block leaves `path` as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=f".partial{path.suffix}", dir=path.parent)
    os.close(handle)
    tmp = Path(name)
    try:
        yield tmp
        os.chmod(tmp, 0o644)
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as readable JSON, atomically. NaN is refused: JSON has none."""
    with atomic_path(path) as tmp:
        tmp.write_text(json.dumps(value, indent=1, sort_keys=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read JSON; a missing or damaged file is one clear error."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError as e:
        raise BiosaeError("A file is missing", where=str(path), do="rerun the phase that writes it") from e
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise BiosaeError(
            f"A JSON file is damaged ({e})", where=str(path), do="delete it and rerun the phase that writes it"
        ) from e


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """Write a Parquet table, atomically."""
    with atomic_path(path) as tmp:
        table.to_parquet(tmp, index=False, compression="zstd")


def read_table(path: Path | str, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table; a missing or truncated file is one clear error."""
    import pandas as pd
    from pyarrow import ArrowException

    try:
        return pd.read_parquet(path, columns=columns)
    except FileNotFoundError as e:
        raise BiosaeError("A table is missing", where=str(path), do="rerun the phase that writes it") from e
    except (ArrowException, OSError) as e:
        raise BiosaeError(
            "A table cannot be read; it is truncated or not Parquet",
            where=str(path),
            do="delete it and rerun the phase that writes it",
        ) from e


def sweep_partial(folder: Path) -> None:
    """Remove what writers that were killed left in a folder and below it; for the one process that owns the folder."""
    for path in folder.rglob(".*.partial*"):
        if path.is_file():
            path.unlink(missing_ok=True)


def sha256(path: Path | str) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


HASHES = Path(".cache", "hashes.json")
"""Hashes that were computed before, by path; each is trusted while size and modification time are the same."""


class Hashes:
    """SHA-256 of files, computed once for each content that a path has had.

    `HASHES` is shared by all processes of a project; writers replace it whole, so the last one wins and a lost entry
    costs one more reading. Paths below the current directory are kept relative, so a copied project starts afresh only
    because its modification times differ.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[Any]] | None = None
        self._new: dict[str, list[Any]] = {}

    def __call__(self, path: Path) -> str:
        """SHA-256 of a file."""
        if self._known is None:
            self._known = _load_hashes()
        about = path.stat()
        stamp = [about.st_size, about.st_mtime_ns]
        key = os.path.relpath(path)
        had = self._known.get(key)
        if had is None or had[:2] != stamp:
            self._known[key] = self._new[key] = had = [*stamp, sha256(path)]
        return had[2]

    def forget(self) -> None:
        """Read every file anew from here on, whatever was known."""
        self._known = {}

    def save(self) -> None:
        """Keep what was computed for the next process."""
        if self._new:
            write_json(HASHES, _load_hashes() | self._new)
            self._new = {}


def _load_hashes() -> dict[str, list[Any]]:
    try:
        found = json.loads(HASHES.read_text())
    except (OSError, ValueError):
        return {}  # a cache: what cannot be read is computed again
    return found if isinstance(found, dict) else {}


hash_of = Hashes()
"""The one instance of a process."""


def fingerprint(value: Any) -> str:
    """Short stable hash of any JSON-able value (parameters, rules)."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
