"""Files that anndata writes, opened for reading: h5ad, a modality of an h5mu, a zarr folder; and why one cannot be."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from biosae_utils.errors import BiosaeError

Group = Any  # an h5py.Group or a zarr.Group: both have keys, attrs and slices
RNA = ("rna", "gex", "gene expression", "transcriptome", "expression")  # modalities of an h5mu that hold transcripts
HDF5 = b"\x89HDF\r\n\x1a\n"
NO_FILTER = ("not registered", "lib/plugin", "is not available", "can't open directory")  # HDF5 looked for a plugin
NOT_HDF5 = (
    (b"\x1f\x8b", "The file is compressed as a whole (gzip)", "unpack it first: gunzip FILE"),
    (b"PK\x03\x04", "The file is a zip archive, not an h5ad", "unpack it first; a zarr archive becomes a folder"),
    (b"", "The file is not an h5ad", "save the cells with write_h5ad"),
)


@contextmanager
def opened(path: Path) -> Iterator[Group]:
    """The group that holds ``X``, ``obs`` and ``var``; the file is closed when the block ends.

    Raises
    ------
    BiosaeError
        Nothing is there, or it cannot be read; one sentence says why.
    """
    with readable(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if is_zarr(path):
            import zarr

            yield zarr.open_group(str(path), mode="r")
            return
        with contextlib.suppress(ImportError):
            import hdf5plugin  # noqa: F401  registers blosc, zstd, lz4 ... with HDF5
        with h5py.File(path, "r") as f:
            yield _modality(f, path)


def is_zarr(path: Path) -> bool:
    """Whether a path is a folder in which zarr keeps a group."""
    return path.is_dir() and any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def checked_path(path: Path | str, *, do: str = "check the parameter path of 00_data") -> Path:
    """The path with ``~`` expanded, if something that can be read is there; `do` is the advice where nothing is."""
    path = Path(path).expanduser()
    try:
        if not path.exists():
            raise BiosaeError("There is no such file", where=str(path), do=do)
    except PermissionError as e:
        raise _explained(path, e) from e
    if path.is_dir() and not is_zarr(path):
        raise BiosaeError(
            "The path is a folder, and no zarr store is in it",
            where=str(path),
            do="give an h5ad file or a .zarr folder",
        )
    return path


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises inside the block into one true sentence about the file."""
    try:
        yield
    except BiosaeError:
        raise
    except Exception as e:  # h5py, zarr and anndata raise OSError, KeyError, RuntimeError, ValueError and their own
        raise _explained(path, e) from e


def _explained(path: Path, e: Exception) -> BiosaeError:
    where = str(path)
    text = " ".join(str(e).split())
    if isinstance(e, PermissionError):
        return BiosaeError("You may not read the file", where=where, do="ask for read permission (chmod +r)")
    if isinstance(e, BlockingIOError) or "unable to lock file" in text:
        return BiosaeError(
            "Another program has the file open for writing",
            where=where,
            do="close it there; on file systems without locks set HDF5_USE_FILE_LOCKING=FALSE",
        )
    if any(sign in text for sign in NO_FILTER):
        return BiosaeError(
            "The values are compressed with a filter that is not installed",
            where=where,
            do="pip install hdf5plugin; or save the file again with compression='gzip'",
        )
    if type(e).__name__ == "IORegistryError":
        return BiosaeError(
            f"A part of the file is stored in a way that the installed anndata does not know ({text[:160]})",
            where=where,
            do="update anndata, or save the file again with the anndata that is installed",
        )
    if path.is_file() and (found := _not_hdf5(path)):
        return BiosaeError(found[0], where=where, do=found[1].replace("FILE", path.name))
    if isinstance(e, MemoryError):
        return BiosaeError("The memory does not suffice to read the file", where=where)
    return BiosaeError(
        f"The file is truncated or damaged ({text[:120] or type(e).__name__})",
        where=where,
        do="download or write it again, and check its size",
    )


def _not_hdf5(path: Path) -> tuple[str, str] | None:
    with open(path, "rb") as f:
        start = f.read(8)
    if not start:
        return "The file is empty", "download or write it again, and check its size"
    if start == HDF5:
        return None
    return next((what, do) for magic, what, do in NOT_HDF5 if start.startswith(magic))


def _modality(f: h5py.File, path: Path) -> Group:
    """The file itself, or the transcripts of an h5mu."""
    if "mod" not in f or "X" in f:
        return f
    names = list(f["mod"])
    named = [n for n in names if n.lower() in RNA] or names
    if len(named) != 1:
        raise BiosaeError(
            f"The h5mu holds several modalities, none called rna ({', '.join(names)})",
            where=str(path),
            do="save the one with transcripts alone: mdata.mod['...'].write_h5ad('rna.h5ad')",
        )
    return f["mod"][named[0]]
