"""The store of sparse codes, k values and k indices a position, and the sparse products analyses are made of."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from biosae_utils.errors import BiosaeError
from biosae_utils.store import read_json, write_json

REDO = "rerun phase 02_sae; it redoes what is missing"
CHUNK = 1 << 18  # positions handled at once by the sparse products: about 60 MB at k = 16


class CodeStore:
    """Codes of N positions in a directory: `values.npy`, `indices.npy` and `meta.json`.

    Row i holds the code of canonical position i. A slot with value 0 is a TopK slot that the ReLU closed: it is
    *not* active, whatever its index says. Values are float16, indices uint16 (uint32 above 65,535 latents).

    The store fills by chunks of rows. Each finished chunk is entered, with its checksum, in ``meta.json`` after its
    bytes have reached the disk, so that a killed writer loses at most the chunk it was in.

    Attributes
    ----------
    values, indices : ndarray, shape (N, k)
        Memory maps.
    n, k, d_sae : int
        Positions, slots a position, latents.
    identity : dict
        What the codes were made from (hashes of SAE, model and tokens); a writer with another identity starts anew.
    """

    def __init__(self, path: Path, meta: dict[str, Any], mode: Literal["r", "r+"]) -> None:
        self.path, self._meta = path, meta
        self.n, self.k, self.d_sae, self.identity = meta["n"], meta["k"], meta["d_sae"], meta["identity"]
        self.values = np.load(path / "values.npy", mmap_mode=mode)
        self.indices = np.load(path / "indices.npy", mmap_mode=mode)

    # ---- open and write ------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: Path | str) -> CodeStore:
        """Open a complete store for reading.

        Raises
        ------
        BiosaeError
            If it is missing, incomplete, truncated or not what its meta.json says.
        """
        path = Path(path)
        meta = read_json(path / "meta.json")
        if not (isinstance(meta, dict) and {"n", "k", "d_sae", "identity", "complete", "chunks"} <= meta.keys()):
            raise BiosaeError("This is not a store of codes", where=str(path / "meta.json"), do=REDO)
        if not meta["complete"]:
            done = sum(stop - start for start, stop, _ in meta["chunks"])
            text = f"The codes are incomplete: {done:,} of {meta['n']:,} positions are there"
            raise BiosaeError(text, where=str(path), do=REDO)
        for name, dtype in (("values", np.dtype(np.float16)), ("indices", index_dtype(meta["d_sae"]))):
            _check_array(path / f"{name}.npy", (meta["n"], meta["k"]), dtype)
        return cls(path, meta, "r")

    @classmethod
    def create(cls, path: Path | str, *, n: int, k: int, d_sae: int, identity: dict[str, str]) -> CodeStore:
        """Open a store for writing: resume it when it has the same shape and identity, else start anew.

        Chunks whose bytes no longer match their checksum are forgotten, and so written again.
        """
        path = Path(path)
        if n < 1:
            raise BiosaeError(
                "There are no positions to encode", where=str(path), do="check the cohort and the gene ids"
            )
        path.mkdir(parents=True, exist_ok=True)
        meta: dict[str, Any] = {"n": n, "k": k, "d_sae": d_sae, "identity": identity, "complete": False, "chunks": []}
        try:
            old = read_json(path / "meta.json")
            resumable = all(old[key] == meta[key] for key in ("n", "k", "d_sae", "identity"))
        except (BiosaeError, KeyError, TypeError):
            resumable = False
        for name, dtype in (("values", np.dtype(np.float16)), ("indices", index_dtype(d_sae))):
            file = path / f"{name}.npy"
            try:
                _restore_length(file)
                _check_array(file, (n, k), dtype)
            except BiosaeError:
                resumable = False
            if not resumable:
                (path / "meta.json").unlink(missing_ok=True)
                np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=(n, k)).flush()
        if resumable:
            meta = old
        store = cls(path, meta, "r+")
        whole = [c for c in meta["chunks"] if store._checksum(c[0], c[1]) == c[2]]
        meta |= {"chunks": whole, "complete": meta["complete"] and len(whole) == len(meta["chunks"])}
        write_json(path / "meta.json", meta)
        return store

    def has(self, start: int, stop: int) -> bool:
        """Whether rows start..stop were finished as one chunk."""
        return any(c[0] == start and c[1] == stop for c in self._meta["chunks"])

    def write(self, rows: np.ndarray | slice, values: np.ndarray, indices: np.ndarray) -> None:
        """Put codes at canonical rows; they count only after `commit` of their chunk."""
        with np.errstate(over="ignore"):  # an overflow is told just below, in words
            values = values.astype(np.float16, copy=False)
        if not np.isfinite(values).all():
            raise BiosaeError(
                "A code is not finite or exceeds 65,504, the largest float16",
                where=str(self.path),
                do="check the model's weights for NaN, or scale the SAE's input (TrainConfig normalises it by default)",
            )
        self.values[rows] = values
        self.indices[rows] = indices

    def commit(self, start: int, stop: int) -> None:
        """Bring rows start..stop to the disk and enter them in the ledger."""
        for name in ("values", "indices"):
            with open(self.path / f"{name}.npy", "r+b") as f:
                os.fsync(f.fileno())  # memmap.flush would hold the interpreter's lock while the disk works
        # the step between chunks may have changed
        others = [c for c in self._meta["chunks"] if c[1] <= start or c[0] >= stop]
        self._meta["chunks"] = [*others, [start, stop, self._checksum(start, stop)]]
        write_json(self.path / "meta.json", self._meta)

    def finish(self) -> CodeStore:
        """Mark the store complete, if every row is covered, and reopen it for reading."""
        covered = 0
        for start, stop, _ in sorted(self._meta["chunks"]):
            if start > covered:
                break
            covered = max(covered, stop)
        if covered != self.n:
            raise BiosaeError(f"Rows from {covered:,} of {self.n:,} were never written", where=str(self.path))
        self._meta["complete"] = True
        write_json(self.path / "meta.json", self._meta)
        return CodeStore.open(self.path)

    def verify(self) -> None:
        """Read everything and compare it with the checksums of the ledger."""
        for start, stop, crc in self._meta["chunks"]:
            if self._checksum(start, stop) != crc:
                raise BiosaeError(f"Rows {start:,} to {stop:,} are damaged", where=str(self.path), do=REDO)

    def _checksum(self, start: int, stop: int) -> int:
        return zlib.crc32(self.indices[start:stop], zlib.crc32(self.values[start:stop]))

    # ---- read ----------------------------------------------------------------------------------------------------

    def csr(
        self, rows: np.ndarray | slice | None = None, *, binary: bool = False, positive_only: bool = True
    ) -> sp.csr_matrix:
        """Codes as a sparse matrix.

        Parameters
        ----------
        rows : ndarray of int or slice, optional
            Positions; all by default.
        binary : bool
            Ones (int32) instead of values (float32).
        positive_only : bool
            Active means > 0. When False negative values (SAEs without a ReLU) are kept as well; zeros never are.

        Returns
        -------
        csr_matrix, shape (n_rows, d_sae)
            Column indices within a row are in the order of the slots, not sorted.
        """
        rows = slice(None) if rows is None else rows
        values = np.asarray(self.values[rows])
        active = values > 0 if positive_only else values != 0
        indptr = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.count_nonzero(active, axis=1), out=indptr[1:])
        small = indptr[-1] < 2**31
        indices = self.indices[rows][active].astype(np.int32 if small else np.int64)
        data = np.ones(len(indices), np.int32) if binary else values[active].astype(np.float32)
        return sp.csr_matrix((data, indices, indptr.astype(indices.dtype)), shape=(len(values), self.d_sae))

    def csc(self, rows: np.ndarray | slice | None = None, *, binary: bool = False) -> sp.csc_matrix:
        """The same by column: latent j fires at rows ``indices[indptr[j]:indptr[j + 1]]``."""
        return self.csr(rows, binary=binary).tocsc()

    def chunks(self, size: int = CHUNK) -> Iterator[slice]:
        """Consecutive slices of rows that cover the store."""
        for start in range(0, self.n, size):
            yield slice(start, min(start + size, self.n))

    def latent(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int64) where one latent is active, ascending, and its values (float32), without loading the rest."""
        rows, values = [], []
        for part in self.chunks():
            row, slot = np.nonzero(self.indices[part] == index)
            value = self.values[part][row, slot]
            on = value > 0
            rows.append(row[on] + part.start)
            values.append(value[on].astype(np.float32))
        return np.concatenate(rows), np.concatenate(values)


@dataclass(frozen=True)
class LatentStats:
    """Firing statistics of each latent, all of shape (d_sae,): count, sum and sum of squares (float64), maximum."""

    n_fired: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    peak: np.ndarray


def latent_stats(store: CodeStore) -> LatentStats:
    """Count, sum, sum of squares and maximum of the active values of each latent, in one pass over the store."""
    n_fired, total, squares = np.zeros(store.d_sae, np.int64), np.zeros(store.d_sae), np.zeros(store.d_sae)
    peak = np.zeros(store.d_sae, np.float32)
    for part in store.chunks():
        values = store.values[part].astype(np.float32).ravel()
        latents = store.indices[part].ravel().astype(np.int64)
        values[values < 0] = 0  # closed slots then add nothing to any statistic
        n_fired += np.bincount(latents[values > 0], minlength=store.d_sae)
        total += np.bincount(latents, values, minlength=store.d_sae)
        squares += np.bincount(latents, values.astype(np.float64) ** 2, minlength=store.d_sae)
        np.maximum.at(peak, latents, values)
    return LatentStats(n_fired, total, squares, peak)


def group_sums(store: CodeStore, groups: np.ndarray, n_groups: int) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Sum and count of the active values of every latent in every group of positions.

    Parameters
    ----------
    store : CodeStore
    groups : ndarray of int, shape (N,)
        Group of each position (gene token, cell, rank bin ...); a negative group leaves the position out.
    n_groups : int

    Returns
    -------
    sums, counts : csr_matrix, shape (n_groups, d_sae)
        float64 and int64, with the same sparsity.

    Notes
    -----
    One sparse product a chunk, GᵀX with G the one-hot matrix of groups. The value rides in the real part and a one in
    the imaginary part of the same product, so sums and counts cost one pass.
    """
    groups = np.asarray(groups)
    if groups.shape != (store.n,):
        raise BiosaeError(f"{len(groups):,} groups for {store.n:,} positions", where=str(store.path))
    if groups.max(initial=-1) >= n_groups:
        raise BiosaeError(f"Group {groups.max()} is not below n_groups = {n_groups}", where=str(store.path))
    total = sp.csr_matrix((n_groups, store.d_sae), dtype=np.complex128)
    for part in store.chunks():
        keep = np.flatnonzero(groups[part] >= 0)
        codes = store.csr(part)
        codes.data = codes.data.astype(np.complex128) + 1j
        one_hot = sp.csr_matrix((np.ones(len(keep)), (groups[part][keep], keep)), shape=(n_groups, codes.shape[0]))
        total = total + one_hot @ codes
    total.sort_indices()
    sums = sp.csr_matrix((total.data.real.copy(), total.indices, total.indptr), shape=total.shape)
    counts = sp.csr_matrix((np.rint(total.data.imag).astype(np.int64), total.indices, total.indptr), shape=total.shape)
    return sums, counts


def index_dtype(d_sae: int) -> np.dtype:
    """Smallest unsigned type that holds a latent's index."""
    return np.dtype(np.uint16 if d_sae <= 65_535 else np.uint32)


def _restore_length(file: Path) -> None:
    """Give a truncated .npy its full length again, filled with zeros; the ledger knows which chunks were in the gap."""
    try:
        with open(file, "r+b") as f:
            np.lib.format.read_magic(f)
            shape, _, dtype = np.lib.format.read_array_header_1_0(f)
            f.truncate(f.tell() + int(np.prod(shape)) * dtype.itemsize)
    except (OSError, ValueError, EOFError):
        return  # not even a header is left: `_check_array` says so


def _check_array(file: Path, shape: tuple[int, int], dtype: np.dtype) -> None:
    """Raise unless `file` is an .npy of exactly this shape and type, whole."""
    try:
        array = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as e:
        raise BiosaeError(f"An array of codes is missing or truncated ({e})", where=str(file), do=REDO) from e
    if array.shape != shape or array.dtype != dtype:
        raise BiosaeError(
            f"An array of codes is {array.dtype} {array.shape} where meta.json says {dtype} {shape}",
            where=str(file),
            do=REDO,
        )
