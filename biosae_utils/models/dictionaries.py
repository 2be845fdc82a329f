"""Gene dictionaries that come as pickles, read without trusting them.

A pickle is a program. These dictionaries need only plain values and numpy scalars, so only these are built, by our own
two small stand-ins for numpy's constructors; any other name in the file is refused before it is looked up. What was
read is kept as Parquet in the user's cache, under the hash of the pickle: the next load opens no pickle at all.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path

import numpy as np

from biosae_utils.errors import BiosaeError
from biosae_utils.store import read_table, write_table

SCALAR_CODES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


class _ScalarType:
    """Stands in for ``numpy.dtype``: the code of a number and its byte order, nothing else."""

    def __init__(self, code: str, *_flags: object) -> None:
        if code not in SCALAR_CODES:
            raise pickle.UnpicklingError(f"numpy type {code!r}")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _scalar(kind: object, data: object) -> float | int:
    """Stands in for numpy's scalar constructor."""
    if not isinstance(kind, _ScalarType) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("a numpy scalar that is no number")
    return np.frombuffer(data, dtype=kind.order + kind.code, count=1)[0].item()


def _latin1(text: object, encoding: object) -> bytes:
    """Stands in for ``codecs.encode``, with which old protocols store bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("an encoding other than latin1")
    return text.encode("latin-1")


ALLOWED = {
    ("numpy", "dtype"): _ScalarType,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _latin1,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name}") from None


def read_dictionary(path: Path | str, kind: type, *, nameless: str = "refuse") -> dict:
    """Read a pickled dictionary of str to `kind`; execute nothing.

    Empty text is no key: looked up, it would make one gene of all that have no name.

    Parameters
    ----------
    path : path
    kind : type
        ``int``, ``float`` or ``str``: the type of the values. Integers are welcome where floats are asked for.
    nameless : {"refuse", "skip"}
        What to do with empty keys and values.

    Raises
    ------
    BiosaeError
        The file is missing, damaged, holds anything but plain values and numpy scalars (named), is no such
        dictionary, or has an empty key.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as e:
        raise BiosaeError("A gene dictionary is missing", where=str(path), do="fetch the model again") from e
    cached = cache_folder() / f"{hashlib.sha256(content).hexdigest()}.{kind.__name__}.parquet"
    kept = _read_cached(cached)
    if kept is None:
        kept = _unpickle(content, path, kind)
        _write_cached(cached, kept)
    empty = [key for key, value in kept.items() if not key.strip() or (kind is str and not value.strip())]
    if empty and nameless == "refuse":
        raise BiosaeError(
            f"{len(empty)} entries of the dictionary have an empty key or value ({empty[0]!r}: {kept[empty[0]]!r})",
            where=str(path),
            do="fetch the file again, or write it without them",
        )
    return {key: value for key, value in kept.items() if key not in set(empty)} if empty else kept


def cache_folder() -> Path:
    """Where dictionaries are kept as Parquet; ``XDG_CACHE_HOME`` moves it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "biosae" / "dictionaries"


def _read_cached(path: Path) -> dict | None:
    """What an earlier load kept; None where there is nothing whole."""
    try:
        table = read_table(path)
        return dict(zip(table["key"].tolist(), table["value"].tolist(), strict=True))
    except (BiosaeError, KeyError):
        return None


def _write_cached(path: Path, dictionary: dict) -> None:
    """Keep a dictionary; a cache that cannot be written is none, and no error."""
    import pandas as pd

    try:
        write_table(path, pd.DataFrame({"key": list(dictionary), "value": list(dictionary.values())}))
    except OSError:
        return


def _unpickle(content: bytes, path: Path, kind: type) -> dict:
    """The dictionary in a pickle, checked entry by entry."""
    try:
        value = _PlainUnpickler(io.BytesIO(content)).load()
    except pickle.UnpicklingError as e:
        what = f"The pickle was refused or is damaged: {e}"
        raise BiosaeError(what, where=str(path), do="use the model's original file; nothing in this one was run") from e
    except Exception as e:  # damaged pickles raise nearly anything
        raise BiosaeError(
            f"The pickle is damaged ({type(e).__name__}: {e})", where=str(path), do="fetch it again"
        ) from e
    if not isinstance(value, dict) or not value:
        raise BiosaeError(f"A filled dictionary was expected, not {type(value).__name__}", where=str(path))
    accepted = (int, float) if kind is float else (kind,)
    for key, entry in value.items():
        if type(key) is not str or type(entry) not in accepted:
            raise BiosaeError(
                f"The dictionary maps {type(key).__name__} to {type(entry).__name__}, not str to {kind.__name__}",
                where=str(path),
            )
    return {key: kind(entry) for key, entry in value.items()}
