"""Rows of a matrix inside a file: CSR, CSC or dense, read in pieces, never whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from biosae_utils.cells.container import Group, opened
from biosae_utils.errors import BiosaeError

BLOCK = 1 << 22  # stored values held at once when a file has to be passed through


@dataclass
class StoredMatrix:
    """A cells x genes matrix in a file, opened anew for every read.

    Attributes
    ----------
    path : Path
    key : str
        Place in the file: ``X``, ``raw/X``, ``raw.X`` or ``layers/<name>``.
    """

    path: Path
    key: str

    @cached_property
    def kind(self) -> str:
        """``csr``, ``csc`` or ``dense``."""
        with opened(self.path) as f:
            node = f[self.key]
            return _sparse(node).format if hasattr(node, "keys") else "dense"

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        with opened(self.path) as f:
            node = f[self.key]
            shape = _sparse(node).shape if hasattr(node, "keys") else node.shape
            return int(shape[0]), int(shape[1])

    @cached_property
    def is_half(self) -> bool:
        """Whether values are stored in 16 bits, which hold integers up to 2,048 and no matrix of SciPy's."""
        with opened(self.path) as f:
            node = f[self.key]
            return (node["data"] if hasattr(node, "keys") else node).dtype == np.float16

    def stored(self) -> np.ndarray:
        """Number of stored (of non-zero, when dense) values of each cell, int64, shape (n_cells,)."""
        if self.kind == "csc":
            return np.diff(self._by_cell[0])
        with opened(self.path) as f:
            node = f[self.key]
            if self.kind == "csr":
                return np.diff(node["indptr"][:].astype(np.int64))
            counts = np.empty(self.shape[0], np.int64)
            step = max(1, BLOCK // max(self.shape[1], 1))
            for start in range(0, self.shape[0], step):
                counts[start : start + step] = np.count_nonzero(node[start : start + step], axis=1)
            return counts

    def read(self, rows: np.ndarray) -> sp.csr_matrix:
        """Values of the given cells in the given order, as stored, shape (n_rows, n_genes).

        Only these rows are read; runs of neighbouring rows in one piece.
        """
        rows = np.asarray(rows, np.int64)
        wanted, place = np.unique(rows, return_inverse=True)
        breaks = np.flatnonzero(np.diff(wanted) != 1) + 1
        runs = [(int(r[0]), int(r[-1]) + 1) for r in np.split(wanted, breaks) if len(r)]
        if not runs:
            return sp.csr_matrix((0, self.shape[1]), dtype=np.float32)
        with opened(self.path) as f:
            parts = self._parts(f[self.key], runs)
        x = sp.vstack(parts, format="csr") if len(parts) > 1 else sp.csr_matrix(parts[0])
        return x if np.array_equal(place, np.arange(x.shape[0])) else x[place]

    def _parts(self, node: Group, runs: list[tuple[int, int]]) -> list[sp.csr_matrix]:
        if self.kind == "dense":
            return [sp.csr_matrix(_known(node[a:b])) for a, b in runs]
        if self.kind == "csr" and not self.is_half:
            rows = _sparse(node)
            return [rows[a:b] for a, b in runs]
        indptr, data, indices = self._by_cell if self.kind == "csc" else (node["indptr"], node["data"], node["indices"])
        return [self._run(indptr, data, indices, a, b) for a, b in runs]

    def _run(self, indptr: Group, data: Group, indices: Group, first: int, last: int) -> sp.csr_matrix:
        edges = np.asarray(indptr[first : last + 1]).astype(np.int64)
        values, columns = (np.asarray(part[edges[0] : edges[-1]]) for part in (data, indices))
        return sp.csr_matrix((_known(values), columns, edges - edges[0]), shape=(last - first, self.shape[1]))

    @cached_property
    def _by_cell(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A CSC matrix turned by cell once, on disk: (indptr, data, indices).

        Costs two passes through the file and its uncompressed size in the temporary folder, which goes with the
        process; memory holds one block of genes. (Rows of a CSC matrix through anndata cost a pass for each call.)
        """
        with opened(self.path) as f:
            node = f[self.key]
            by_gene, nnz = node["indptr"][:].astype(np.int64), node["indices"].shape[0]
            sizes = np.zeros(self.shape[0], np.int64)
            for start in range(0, nnz, BLOCK):
                sizes += np.bincount(node["indices"][start : start + BLOCK], minlength=self.shape[0])
            indptr = np.concatenate([[0], np.cumsum(sizes)])
            dtype = np.dtype(node["data"].dtype)
            data, indices = scratch(nnz, dtype, np.dtype(np.int32), where=f"{self.path}: {self.key}")
            free = indptr[:-1].copy()
            for start in range(0, nnz, BLOCK):
                stop = min(start + BLOCK, nnz)
                cells = node["indices"][start:stop]
                genes = np.searchsorted(by_gene, np.arange(start, stop), side="right") - 1
                order = np.argsort(cells, kind="stable")
                cells = cells[order]
                count = np.bincount(cells, minlength=self.shape[0])
                nth = np.arange(len(cells)) - (np.cumsum(count) - count)[cells]
                slot = free[cells] + nth
                data[slot], indices[slot] = node["data"][start:stop][order], genes[order]
                free += count
        return indptr, data, indices


@dataclass
class SummedMatrix:
    """Several matrices of one shape, added up: the parts that velocity counts transcripts in."""

    parts: list[StoredMatrix]

    @property
    def key(self) -> str:
        """Places of the parts."""
        return " + ".join(part.key for part in self.parts)

    @property
    def kind(self) -> str:
        """``csc`` if any part is."""
        kinds = {part.kind for part in self.parts}
        return "csc" if "csc" in kinds else self.parts[0].kind

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        return self.parts[0].shape

    @property
    def is_half(self) -> bool:
        """Whether any part is stored in 16 bits."""
        return any(part.is_half for part in self.parts)

    def stored(self) -> np.ndarray:
        """Stored values of each cell over the parts; 0 only for empty cells."""
        return np.sum([part.stored() for part in self.parts], axis=0)

    def read(self, rows: np.ndarray) -> sp.csr_matrix:
        """Sum of the given cells, shape (n_rows, n_genes)."""
        total = sp.csr_matrix(self.parts[0].read(rows), dtype=np.float64)
        for part in self.parts[1:]:
            total = total + part.read(rows)
        return sp.csr_matrix(total)


def _sparse(node: Group):
    """anndata's view of a sparse matrix; offsets are read as needed, since every read opens the file anew."""
    from anndata.io import sparse_dataset

    return sparse_dataset(node, should_cache_indptr=False)


def _known(values: np.ndarray) -> np.ndarray:
    """Values in a type that SciPy's matrices can hold."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def scratch(size: int, *dtypes: np.dtype, where: str) -> list[np.ndarray]:
    """Arrays of `size` entries on disk without a name: the files go when the arrays do.

    The space is taken before anything is mapped: a full disk would otherwise end the process without a word.

    Raises
    ------
    BiosaeError
        The temporary folder has not the space.
    """
    if not size:
        return [np.empty(0, dtype) for dtype in dtypes]
    folder = tempfile.gettempdir()
    needed = size * sum(dtype.itemsize for dtype in dtypes)
    arrays = []
    try:
        if shutil.disk_usage(folder).free < needed:
            raise OSError("disk full")
        for dtype in dtypes:
            with tempfile.TemporaryFile() as f:
                _take(f.fileno(), size * dtype.itemsize)
                arrays.append(np.memmap(f, dtype=dtype, mode="r+", shape=(size,)))
    except OSError as e:
        raise BiosaeError(
            f"The matrix is stored by gene (CSC), and turning it takes {needed / 1e9:,.3g} GB of temporary files, "
            f"which {folder} does not have",
            where=where,
            do="set TMPDIR to a folder with more space, or save the matrix by cell: adata.X = adata.X.tocsr()",
        ) from e
    return arrays


def _take(descriptor: int, size: int) -> None:
    """Give a file its full size, with the blocks behind it where the system can."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)
