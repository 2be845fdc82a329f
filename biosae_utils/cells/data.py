"""Any human h5ad, h5mu or zarr as counts: found, checked, and read by row without ever holding the whole matrix."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils import store
from biosae_utils.cells.choice import Candidate, Matrix, choose_counts
from biosae_utils.cells.container import checked_path, opened
from biosae_utils.cells.counts import is_whole, undo_log1p
from biosae_utils.cells.features import kinds_of, left_out
from biosae_utils.cells.genes import Genes, merge_columns
from biosae_utils.cells.names import find_genes, unknown_molecules
from biosae_utils.cells.table import StoredTable, named, read_table, whole
from biosae_utils.errors import BiosaeError

HALF = 2048  # largest integer up to which 16-bit numbers hold all
CHUNK = 1024


@dataclass
class CellFile:
    """Cells in an h5ad, their counts read on demand.

    Attributes
    ----------
    path : Path
    obs : StoredTable or DataFrame, shape (n_cells, ...)
        What the file says about its cells: ``columns``, ``index`` (barcodes), and each column, read when asked for.
    genes : Genes
        One entry per gene, duplicates merged; the columns of what `read` returns.
    encoding : str
        ``counts``, or ``log1p(CP10k) undone`` when counts had to be recovered.
    location : str
        Where the values are: ``X``, ``raw/X`` or ``layers/<name>``.
    messages : list of str
        What was found, filled in or converted: to be shown before any model runs.
    matrix : StoredMatrix or SummedMatrix
    is_gene : ndarray of bool, shape (n_columns,)
        Columns of the matrix that are genes.
    merge : csr_matrix, shape (n_columns_that_are_genes, n_genes), or None
        Sums columns of one gene.
    """

    path: Path
    obs: StoredTable | pd.DataFrame
    genes: Genes
    encoding: str
    location: str
    messages: list[str]
    matrix: Matrix = field(repr=False)
    is_gene: np.ndarray = field(repr=False)
    merge: sp.csr_matrix | None = field(default=None, repr=False)

    @property
    def n_cells(self) -> int:
        """Cells in the file, empty ones included."""
        return len(self.obs)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file; of names and contents of all files, where it is a folder."""
        if self.path.is_file():
            return store.sha256(self.path)
        digest = hashlib.sha256()
        for part in sorted(p for p in self.path.rglob("*") if p.is_file()):
            digest.update(f"{part.relative_to(self.path).as_posix()} {store.sha256(part)}\n".encode())
        return digest.hexdigest()

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
        x = self.matrix.read(rows)
        x = x if self.is_gene.all() else x[:, self.is_gene]
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
    """Open a file of cells, find its counts and its genes, and refuse what no model should be run on.

    Parameters
    ----------
    path : path
        An h5ad of human cells, an h5mu that has them, or a zarr folder.
    counts : str
        Where counts are: ``X``, ``raw``, ``layers/<name>``, several joined by ``+``; ``auto`` chooses (see
        `choice.choose_counts`).

    Returns
    -------
    CellFile

    Raises
    ------
    BiosaeError
        If the file cannot be read, is empty, has duplicate barcodes, holds neither counts nor undoable logarithms,
        or its genes are not human or not recognisable.
    """
    path = checked_path(path)
    with opened(path) as f:
        obs, places = _tables(f, path)
    if not len(obs) or not places:
        raise BiosaeError("The file holds no cells or no matrix", where=str(path))
    if obs.index.has_duplicates:
        twice = obs.index[obs.index.duplicated()]
        raise BiosaeError(
            f"{len(twice):,} barcodes are used twice, for instance {twice[0]!r}",
            where=str(path),
            do="call adata.obs_names_make_unique(), or put the sample's name before each barcode",
        )
    tables = {id(t): Columns.of(t) for t in places.values()}
    columns = {place: tables[id(t)] for place, t in places.items()}
    found, about_choice = choose_counts(path, {p: c.kinds == "" for p, c in columns.items()}, counts)
    matrix, said = found.matrix, columns[found.place.split(" + ")[0]]
    if len(obs) != matrix.shape[0]:
        raise BiosaeError(f"The matrix has {matrix.shape[0]:,} rows, obs {len(obs):,}", where=f"{path}: {found.place}")
    genes, merge, about_genes = _genes(said, path, found)
    messages = [
        f"Values are in {found.place}: {found.encoding.why}.",
        *about_choice,
        *_about_storage(found),
        *about_genes,
    ]
    cells = CellFile(path, obs, genes, found.encoding.name, found.place, messages, matrix, said.kinds == "", merge)
    if empty := int((cells.stored == 0).sum()):
        cells.messages.append(f"{empty:,} cells without a single count are left out.")
    return cells


def _about_storage(found: Candidate) -> list[str]:
    """Messages on how the values are stored."""
    said = []
    if found.encoding.is_log:
        how = found.encoding.name
        said.append(f"WARNING: {found.place} holds no counts but logarithms; counts were recovered ({how}).")
    if found.matrix.is_half:
        said.append(f"WARNING: values are stored in 16 bits (float16), in which counts above {HALF:,} are rounded.")
    if found.matrix.kind == "csc":
        said.append(
            f"{found.place} is stored by gene (CSC) and was turned by cell in the temporary folder; CSR would spare "
            "that."
        )
    return said


@dataclass(frozen=True)
class Columns:
    """A gene table, as far as it can be read, and what each column is (``""`` for a gene)."""

    var: pd.DataFrame
    failed: list[str]
    kinds: np.ndarray

    @classmethod
    def of(cls, table: StoredTable | pd.DataFrame) -> Columns:
        """Read a table."""
        var, failed = whole(table)
        return cls(var, failed, kinds_of(var))


def _genes(said: Columns, path: Path, found: Candidate) -> tuple[Genes, sp.csr_matrix | None, list[str]]:
    """Genes of the matrix, the factor that sums columns of one gene, and what was found."""
    names, messages = find_genes(said.var[said.kinds == ""], where=str(path))
    total = np.asarray(found.sample.sum(0, dtype=np.float64)).ravel()
    messages += left_out(said.kinds) + unknown_molecules(names, total)
    if said.failed:
        messages.append(f"Columns of var that cannot be read were not used: {', '.join(said.failed)}.")
    genes, merge, summed = merge_columns(names)
    return genes, merge, messages + summed


def _tables(f, path: Path) -> tuple[StoredTable | pd.DataFrame, dict[str, StoredTable | pd.DataFrame]]:
    """`obs`, and the gene table of every matrix in the file, by place."""
    if "obs" not in f or "var" not in f:
        raise BiosaeError(
            f"The file is HDF5 but not an h5ad (it holds {', '.join(list(f)[:5]) or 'nothing'})",
            where=str(path),
            do="read it with scanpy (for instance sc.read_10x_h5) and save it with write_h5ad",
        )
    if not hasattr(f["obs"], "keys") or "raw.X" in f:
        return _old_tables(f, path)
    obs, var = read_table(f, path, "obs"), read_table(f, path, "var")
    places = {f"layers/{name}": var for name in (f["layers"] if "layers" in f else ())}
    if _is_matrix(f, "X"):
        places["X"] = var
    if "raw" in f and hasattr(f["raw"], "keys") and "X" in f["raw"]:
        places["raw/X"] = _completed(read_table(f, path, "raw/var"), var)
    return obs, places


def _is_matrix(f, key: str) -> bool:
    """Whether there is a matrix; an absent X is stored as an empty scalar."""
    return key in f and (hasattr(f[key], "keys") or bool(f[key].shape))


def _completed(raw: StoredTable | pd.DataFrame, var: StoredTable | pd.DataFrame) -> StoredTable | pd.DataFrame:
    """The gene table of raw, which often lacks the columns with names that var has."""
    extra = [c for c in var.columns if c not in raw.columns]
    if not extra or var.index.has_duplicates:
        return raw
    return whole(raw)[0].join(whole(var)[0].reindex(columns=extra).astype(object))


def _old_tables(f, path: Path) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Tables of a file from before anndata 0.7, as anndata reads them."""
    import anndata as ad

    try:
        old = ad.read_h5ad(path, backed="r")
    except Exception as e:  # anndata raises whatever the first part that it cannot read makes it raise
        raise BiosaeError(
            f"anndata cannot read this old file ({' '.join(str(e).split())[:120]})",
            where=str(path),
            do="read and save it with the anndata that wrote it, then with a newer one",
        ) from e
    try:
        obs, var = named(old.obs), named(old.var)
        places = {f"layers/{name}": var for name in (f["layers"] if "layers" in f else ())}
        if _is_matrix(f, "X"):
            places["X"] = var
        for key in ("raw.X", "raw/X"):
            if key in f and old.raw is not None:
                places[key] = _completed(named(old.raw.var), var)
        return obs, places
    finally:
        old.file.close()
