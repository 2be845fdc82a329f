"""Any human h5ad as counts: found, checked, and read by row without ever holding the whole matrix."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils import store
from biosae_utils.cells.cohort import guess_columns, make_cohort
from biosae_utils.cells.counts import Encoding, is_whole, recognise, undo_log1p
from biosae_utils.cells.genes import Genes
from biosae_utils.cells.matrix import StoredMatrix
from biosae_utils.cells.names import find_genes, merge_duplicates
from biosae_utils.errors import BiosaeError

__all__ = ["CellFile", "guess_columns", "make_cohort", "open_cells"]

N_CHECKED = 200  # cells looked at when a file is opened; the others are checked as they are read
CHUNK = 1024


@dataclass
class CellFile:
    """Cells in an h5ad, their counts read on demand.

    Attributes
    ----------
    path : Path
    obs : DataFrame, shape (n_cells, ...)
        Everything the file says about its cells; barcodes in the index.
    genes : Genes
        One entry per gene, duplicates merged; the columns of what `read` returns.
    encoding : str
        ``counts``, or ``log1p(CP10k) undone`` when counts had to be recovered.
    location : str
        Where the values are: ``X``, ``raw/X`` or ``layers/<name>``.
    messages : list of str
        What was found, filled in or converted: to be shown before any model runs.
    """

    path: Path
    obs: pd.DataFrame
    genes: Genes
    encoding: str
    location: str
    messages: list[str]
    matrix: StoredMatrix = field(repr=False)
    merge: sp.csr_matrix | None = field(default=None, repr=False)

    @property
    def n_cells(self) -> int:
        """Cells in the file, empty ones included."""
        return len(self.obs)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return store.sha256(self.path)

    @cached_property
    def stored(self) -> np.ndarray:
        """Stored values of each cell, int64, shape (n_cells,); 0 for empty cells."""
        return self.matrix.stored()

    def read(self, rows: np.ndarray) -> sp.csr_matrix:
        """Counts of some cells.

        Parameters
        ----------
        rows : ndarray of int
            Rows of the file, in any order.

        Returns
        -------
        csr_matrix of float32, shape (n_rows, n_genes)
            Integers, sorted indices, no stored zeros.

        Raises
        ------
        BiosaeError
            If a value read is not the kind of number that the file was recognised by.
        """
        rows = np.asarray(rows, np.int64)
        if len(rows) and not (0 <= rows.min() and rows.max() < self.n_cells):
            raise BiosaeError(f"There is no row {rows.max() if rows.min() >= 0 else rows.min()}", where=str(self.path))
        x = _guarded(self.path, self.matrix.read, rows)
        if self.encoding == "counts":
            if not is_whole(x.data):
                self._refuse(rows, x, "holds values that are no counts")
        else:
            x, bad = undo_log1p(x)
            if bad.any():
                self._refuse(rows[bad], x[bad], "gives no whole counts after expm1")
        x = sp.csr_matrix(x, dtype=np.float32)
        if self.merge is not None:
            x = x @ self.merge
        x.eliminate_zeros()
        x.sort_indices()
        return x

    def chunks(self, rows: np.ndarray, size: int = CHUNK) -> Iterator[tuple[int, sp.csr_matrix]]:
        """Counts of many cells, `size` at a time, with the place of each chunk's first cell in `rows`."""
        for start in range(0, len(rows), size):
            yield start, self.read(rows[start : start + size])

    def _refuse(self, rows: np.ndarray, x: sp.csr_matrix, problem: str) -> None:
        broken = [i for i in range(x.shape[0]) if not is_whole(x.getrow(i).data)]
        cell = self.obs.index[rows[broken[0] if broken else 0]]
        raise BiosaeError(
            f"Cell {cell!r} {problem}, although the cells looked at first were {self.encoding}",
            where=f"{self.path}: {self.location}",
            do="the file mixes encodings; give one with raw counts throughout",
        )


def open_cells(path: Path | str, counts: str = "auto") -> CellFile:
    """Open an h5ad, find its counts and its genes, and refuse what no model should be run on.

    Parameters
    ----------
    path : path
        An h5ad of human cells.
    counts : str
        Where counts are: ``X``, ``raw``, ``layers/<name>``; ``auto`` takes the first of layers/counts, raw/X, X and
        the other layers that holds counts, else the first that holds log1p of normalised counts.

    Returns
    -------
    CellFile

    Raises
    ------
    BiosaeError
        If the file cannot be read, is empty, has duplicate barcodes, holds neither counts nor undoable logarithms,
        or its genes are not human or not recognisable.
    """
    path = Path(path)
    if not path.is_file():
        raise BiosaeError("There is no such file", where=str(path), do="check the parameter path of 00_data")
    obs, places = _guarded(path, _read_tables, path)
    if not len(obs) or not places:
        raise BiosaeError("The file holds no cells or no matrix", where=str(path))
    if obs.index.has_duplicates:
        twice = obs.index[obs.index.duplicated()]
        raise BiosaeError(
            f"{len(twice):,} barcodes are used twice, for instance {twice[0]!r}",
            where=str(path),
            do="call adata.obs_names_make_unique(), or put the sample's name before each barcode",
        )
    location, matrix, encoding = _find_counts(path, _asked(path, counts, places))
    messages = [f"Values are in {location}: {encoding.why}."]
    if encoding.is_log:
        messages.append(f"WARNING: {location} holds no counts but logarithms; counts were recovered ({encoding.name}).")
    if matrix.kind == "csc":
        messages.append(
            f"{location} is stored by gene (CSC) and was turned by cell in the temporary folder; CSR would spare that."
        )
    genes, said = find_genes(places[location], where=str(path))
    if len(genes) != matrix.shape[1] or len(obs) != matrix.shape[0]:
        raise BiosaeError(
            f"The matrix is {matrix.shape}, its tables are ({len(obs)}, {len(genes)})", where=f"{path}: {location}"
        )
    genes, merge, summed = merge_duplicates(genes)
    cells = CellFile(path, obs, genes, encoding.name, location, [*messages, *said, *summed], matrix, merge)
    if empty := int((cells.stored == 0).sum()):
        cells.messages.append(f"{empty:,} cells without a single count are left out.")
    return cells


def _guarded(path: Path, read, *args):
    """Call `read`; damage in the file is one clear error."""
    try:
        return read(*args)
    except BiosaeError:
        raise
    except (
        Exception
    ) as e:  # h5py and anndata raise OSError, KeyError, RuntimeError and their own, all for damaged files
        with open(path, "rb") as f:
            signature = f.read(8)
        if not signature:
            what = "The file is empty"
        elif signature != b"\x89HDF\r\n\x1a\n":
            what = "The file is not an h5ad"
        else:
            what = f"The file is truncated or damaged ({str(e).splitlines()[0][:120]})"
        raise BiosaeError(what, where=str(path), do="download or write it again, and check its size") from e


def _read_tables(path: Path) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """`obs`, and the gene table of every matrix in the file, by place."""
    from anndata.io import read_elem

    with h5py.File(path, "r") as f, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "obs" not in f or "var" not in f:
            raise BiosaeError(
                f"The file is HDF5 but not an h5ad (it holds {', '.join(list(f)[:5]) or 'nothing'})",
                where=str(path),
                do="read it with scanpy (for instance sc.read_10x_h5) and save it with write_h5ad",
            )
        obs, var = read_elem(f["obs"]), read_elem(f["var"])
        if not (isinstance(var, pd.DataFrame) and isinstance(obs, pd.DataFrame)):
            raise BiosaeError(
                "The file was written by anndata before 0.7", where=str(path), do="read and save it again"
            )
        layers = f.get("layers")
        places = {f"layers/{name}": var for name in (layers if isinstance(layers, h5py.Group) else ())}
        if "X" in f and (isinstance(f["X"], h5py.Group) or f["X"].shape):  # an absent X is stored as an empty scalar
            places["X"] = var
        if isinstance(f.get("raw"), h5py.Group) and "X" in f["raw"]:
            raw = read_elem(f["raw/var"])
            extra = var.columns.difference(raw.columns)  # raw often lacks the columns with names
            places["raw/X"] = raw.join(var[extra].astype(object)) if var.index.is_unique and len(extra) else raw
    obs.index = obs.index.astype(str)
    return obs, places


def _asked(path: Path, counts: str, places: dict[str, pd.DataFrame]) -> list[str]:
    """Places to look into, in order."""
    if counts == "auto":
        first = [p for p in ("layers/counts", "raw/X", "X") if p in places]
        return first + sorted(set(places) - set(first))
    place = "raw/X" if counts in ("raw", "raw/X") else counts
    if place not in places:
        raise BiosaeError(
            f"There is no {place} in the file; there are {', '.join(sorted(places))}",
            where=str(path),
            do="name one of them in the parameter counts, or use auto",
        )
    return [place]


def _find_counts(path: Path, places: list[str]) -> tuple[str, StoredMatrix, Encoding]:
    """First place with counts, else first with undoable logarithms, judged on cells spread over the file."""
    seen: list[tuple[str, StoredMatrix, Encoding]] = []
    for place in places:
        matrix = StoredMatrix(path, place)
        n = matrix.shape[0]
        rows = np.unique(np.linspace(0, max(n - 1, 0), min(n, N_CHECKED)).astype(int))
        encoding = recognise(_guarded(path, matrix.read, rows))
        if encoding.name == "counts":
            return place, matrix, encoding
        seen.append((place, matrix, encoding))
    for found in seen:
        if found[2].usable:
            return found
    raise BiosaeError(
        "The values are neither counts nor logarithms that can be undone: "
        + "; ".join(f"{p}: {e.why}" for p, _, e in seen),
        where=str(path),
        do="save raw counts in X or layers/counts",
    )
