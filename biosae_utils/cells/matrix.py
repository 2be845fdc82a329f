"""Rows of a matrix inside an h5ad: CSR, CSC or dense, read in pieces, never whole."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import scipy.sparse as sp

BLOCK = 1 << 22  # stored values held at once when a file has to be passed through


@dataclass
class StoredMatrix:
    """A cells x genes matrix in an HDF5 file, opened anew for every read.

    Attributes
    ----------
    path : Path
    key : str
        Place in the file: ``X``, ``raw/X`` or ``layers/<name>``.
    """

    path: Path
    key: str

    @cached_property
    def kind(self) -> str:
        """``csr``, ``csc`` or ``dense``."""
        with h5py.File(self.path, "r") as f:
            node = f[self.key]
            if isinstance(node, h5py.Dataset):
                return "dense"
            name = node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", ""))
            name = name.decode() if isinstance(name, bytes) else str(name)
            return name.removesuffix("_matrix")

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        with h5py.File(self.path, "r") as f:
            node = f[self.key]
            shape = (
                node.shape
                if isinstance(node, h5py.Dataset)
                else node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
            )
            return int(shape[0]), int(shape[1])

    @cached_property
    def indptr(self) -> np.ndarray:
        """Start of each cell among the stored values of a sparse matrix, int64, shape (n_cells + 1,)."""
        if self.kind == "csc":
            return self._by_cell[0]
        with h5py.File(self.path, "r") as f:
            return f[self.key]["indptr"][:].astype(np.int64)

    def stored(self) -> np.ndarray:
        """Number of stored (of non-zero, when dense) values of each cell, int64, shape (n_cells,)."""
        if self.kind != "dense":
            return np.diff(self.indptr)
        counts = np.empty(self.shape[0], np.int64)
        step = max(1, BLOCK // max(self.shape[1], 1))
        with h5py.File(self.path, "r") as f:
            for start in range(0, self.shape[0], step):
                counts[start : start + step] = np.count_nonzero(f[self.key][start : start + step], axis=1)
        return counts

    def read(self, rows: np.ndarray) -> sp.csr_matrix:
        """Values of the given cells in the given order, as stored, shape (n_rows, n_genes).

        Only these rows are read; runs of neighbouring rows in one piece.
        """
        rows = np.asarray(rows, np.int64)
        wanted, place = np.unique(rows, return_inverse=True)
        breaks = np.flatnonzero(np.diff(wanted) != 1) + 1
        runs = [(int(r[0]), int(r[-1]) + 1) for r in np.split(wanted, breaks) if len(r)]
        with h5py.File(self.path, "r") as f:
            if self.kind == "dense":
                parts = [sp.csr_matrix(f[self.key][a:b]) for a, b in runs]
            else:
                source = self._by_cell[1:] if self.kind == "csc" else (f[self.key]["data"], f[self.key]["indices"])
                parts = [self._run(source, a, b) for a, b in runs]
        if not parts:
            return sp.csr_matrix((0, self.shape[1]), dtype=np.float32)
        x = sp.vstack(parts, format="csr") if len(parts) > 1 else parts[0]
        return x if np.array_equal(place, np.arange(x.shape[0])) else x[place]

    def _run(self, source: tuple, first: int, last: int) -> sp.csr_matrix:
        start, stop = int(self.indptr[first]), int(self.indptr[last])
        indptr = self.indptr[first : last + 1] - start
        data, indices = (np.asarray(part[start:stop]) for part in source)
        return sp.csr_matrix((data, indices, indptr), shape=(last - first, self.shape[1]))

    @cached_property
    def _by_cell(self) -> tuple[np.ndarray, np.memmap, np.memmap]:
        """A CSC matrix turned by cell once, on disk: (indptr, data, indices).

        Costs two passes through the file and its uncompressed size in the temporary folder, which goes with the
        process; memory holds one block of genes.
        """
        with h5py.File(self.path, "r") as f:
            node = f[self.key]
            by_gene, nnz = node["indptr"][:].astype(np.int64), node["indices"].shape[0]
            sizes = np.zeros(self.shape[0], np.int64)
            for start in range(0, nnz, BLOCK):
                sizes += np.bincount(node["indices"][start : start + BLOCK], minlength=self.shape[0])
            indptr = np.concatenate([[0], np.cumsum(sizes)])
            data = _scratch(node["data"].dtype, nnz)
            indices = _scratch(np.dtype(np.int32), nnz)
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


def _scratch(dtype: np.dtype, size: int) -> np.ndarray:
    """Array on disk without a name: the file goes when the array does."""
    if not size:
        return np.empty(0, dtype)
    with tempfile.TemporaryFile() as f:
        return np.memmap(f, dtype=dtype, mode="w+", shape=(size,))
