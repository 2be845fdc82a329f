"""Arithmetic of input encodings on ragged cells, vectorised over the cells of a chunk."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import scipy.sparse as sp

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Tokens

CHUNK = 1024  # cells; keeps sorts in cache and row numbers within 16 bits, where a stable sort is a radix sort


def collapse(counts: sp.csr_matrix, tokens: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray]:
    """Counts per token: unknown genes dropped, columns of one token summed, tokens in ascending order.

    Parameters
    ----------
    counts : csr_matrix, shape (n_cells, n_genes)
    tokens : ndarray of int, shape (n_genes,)
        Token id of each column, -1 where unknown.

    Returns
    -------
    counts : csr_matrix of float64, shape (n_cells, n_known)
        Sorted indices, no explicit zeros.
    ids : ndarray of int64, shape (n_known,)
        Token of each column, ascending.
    """
    if counts.shape[1] != len(tokens):
        raise BiosaeError(f"The matrix has {counts.shape[1]} genes, the gene table {len(tokens)}")
    known = np.flatnonzero(tokens >= 0)
    if not len(known):
        raise BiosaeError(
            f"None of the {len(tokens)} genes is in the model's vocabulary",
            do="check that gene ids are human Ensembl ids (ENSG...) or HGNC symbols",
        )
    ids, column = np.unique(tokens[known], return_inverse=True)
    select = sp.csr_matrix((np.ones(len(known)), (known, column)), shape=(len(tokens), len(ids)))
    x = (sp.csr_matrix(counts, dtype=np.float64) @ select).tocsr()
    x.eliminate_zeros()
    x.sort_indices()
    if x.nnz and not (x.data.min() > 0 and np.isfinite(x.data.max())):
        raise BiosaeError("Counts hold negative, infinite or missing values", do="give raw counts")
    return x, ids


def rows_of(indptr: np.ndarray) -> np.ndarray:
    """Row of each stored entry; 16-bit when the rows fit."""
    n = len(indptr) - 1
    return np.repeat(np.arange(n, dtype=np.min_scalar_type(n)), np.diff(indptr))


def sort_within_rows(values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """Stable ascending order of the entries of each row; ties keep the order in which they are stored."""
    order = np.argsort(values, kind="stable")
    return order[np.argsort(rows_of(indptr)[order], kind="stable")]


def ranks_to_bins(x: sp.csr_matrix, n_bins: int, spread: np.ndarray | float = 0.5) -> np.ndarray:
    """scGPT's quantile bins of the non-zero values of each cell, 1 .. n_bins - 1.

    The official rule takes ``n_bins - 1`` quantiles of the non-zero values as edges, and puts a value that equals
    several edges at random among the bins that they open. The k-th of E edges lies at sorted position ``k (n - 1) / (E
    - 1)``, so how many edges are below a value, or not above it, follows from the first and last position of its ties
    alone: integer arithmetic, no quantile is computed, and nothing that keeps the order (scaling, a logarithm) can
    change a bin.

    Parameters
    ----------
    x : csr_matrix, shape (n_cells, n_genes)
        Positive entries only.
    n_bins : int
        As in the model's settings (51 gives bins 1 to 50).
    spread : float or ndarray of float, shape (nnz,)
        Where in its range of bins a tied value lands: 0 the highest, towards 1 the lowest, 0.5 the middle.

    Returns
    -------
    ndarray of float32, shape (nnz,)
        Bins in the order of ``x.data``.
    """
    order = sort_within_rows(x.data, x.indptr)
    values, rows = x.data[order], rows_of(x.indptr)
    new = np.ones(len(values), bool)
    new[1:] = (values[1:] != values[:-1]) | (rows[1:] != rows[:-1])
    starts = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    base = x.indptr[:-1].astype(np.int64)[rows]
    first = starts[group] - base
    last = np.append(starts[1:], len(values))[group] - 1 - base
    steps, gaps = n_bins - 2, np.maximum(np.diff(x.indptr).astype(np.int64)[rows] - 1, 1)
    lone = np.diff(x.indptr)[rows] == 1
    not_above = np.where(lone, n_bins - 1, steps * last // gaps + 1)
    below = -(-steps * first // gaps)
    bins = np.empty(len(values), np.float32)
    share = spread[order] if isinstance(spread, np.ndarray) else spread
    bins[order] = np.ceil(not_above - share * (not_above - below))
    return bins


def cell_rng(seed: int, *content: np.ndarray) -> np.random.Generator:
    """Random numbers that belong to a cell: the same wherever the cell stands in a file or a chunk."""
    digest = 0
    for part in content:
        digest = crc32(np.ascontiguousarray(part).tobytes(), digest)
    return np.random.default_rng([seed, digest])


def frame(
    ids: np.ndarray,
    lengths: np.ndarray,
    *,
    before: tuple[int, ...] = (),
    after: tuple[int, ...] = (),
    values: np.ndarray | None = None,
    special_value: float = 0.0,
) -> Tokens:
    """Put special tokens before and after the genes of each cell.

    Parameters
    ----------
    ids : ndarray of int, shape (n_genes_in_all_cells,)
    lengths : ndarray of int, shape (n_cells,)
        Genes of each cell.
    before, after : tuple of int
        Special tokens.
    values : ndarray of float, shape (n_genes_in_all_cells,), optional
    special_value : float
        Value of special tokens.
    """
    extra = len(before) + len(after)
    offsets = np.concatenate([[0], np.cumsum(lengths + extra)]).astype(np.int64)
    slot = np.arange(len(ids)) + extra * np.repeat(np.arange(len(lengths)), lengths) + len(before)
    framed = np.empty(offsets[-1], np.int32)
    framed[slot] = ids
    for i, token in enumerate(before):
        framed[offsets[:-1] + i] = token
    for i, token in enumerate(reversed(after)):
        framed[offsets[1:] - 1 - i] = token
    if values is None:
        return Tokens(framed, None, offsets)
    framed_values = np.full(offsets[-1], special_value, np.float32)
    framed_values[slot] = values
    return Tokens(framed, framed_values, offsets)


def join(parts: list[Tokens]) -> Tokens:
    """Encoded chunks as one."""
    lengths = np.concatenate([part.lengths for part in parts])
    values = None if parts[0].values is None else np.concatenate([part.values for part in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(np.concatenate([part.ids for part in parts]), values, offsets)
