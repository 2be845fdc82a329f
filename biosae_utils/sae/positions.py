"""Which positions a run has: encoded cells, the canonical order of their gene tokens, uniform samples of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from biosae_utils.cells.genes import Genes
from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Batch, FoundationModel, ModelInfo, Tokens
from biosae_utils.models.encoding import join
from biosae_utils.sae.batching import progress
from biosae_utils.store import atomic_path


class CellSource(Protocol):
    """Anything that reads counts by row: `cells.data.CellFile`, or an array in a test."""

    genes: Genes

    def read(self, rows: np.ndarray) -> sp.csr_matrix:
        """Counts of the given cells, shape (n_rows, n_genes)."""


def tokenise(
    source: CellSource, rows: np.ndarray, model: FoundationModel, *, chunk: int = 512, seed: int = 0
) -> Tokens:
    """Encode cells, a chunk in memory at a time.

    Parameters
    ----------
    source : CellSource
        Backed reader; a 66 GB file is never in memory, only `chunk` cells and the tokens are.
    rows : ndarray of int
        Rows of the file in cohort order; cell c of the result is ``rows[c]``.
    model : FoundationModel
    chunk : int
        Cells read at once.
    seed : int
        For models whose encoding samples. A model seeds each cell by its content, so `chunk` changes nothing.
    """
    rows = np.asarray(rows)
    parts: list[Tokens] = []
    bar, advance = progress("encoding cells", len(rows))
    with bar:
        for start in range(0, len(rows), chunk):
            counts = source.read(rows[start : start + chunk])
            parts.append(model.encode(counts, source.genes, seed=seed))
            advance(counts.shape[0])
    if not parts:
        raise BiosaeError("There are no cells to encode", where="cohort", do="check the filters of 00_data")
    return join(parts)


class Layout:
    """Where the gene tokens of each cell are, and which canonical row each of them has.

    Canonical order: cells in cohort order, tokens in sequence order, special tokens left out.

    Attributes
    ----------
    starts : ndarray of int64, shape (n_cells + 1,)
        Cell c owns the canonical rows ``starts[c]:starts[c + 1]``.
    """

    def __init__(self, tokens: Tokens, info: ModelInfo) -> None:
        special = np.zeros(len(info.vocab), bool)
        special[list(info.special_ids)] = True
        self.tokens, self.is_gene = tokens, ~special[tokens.ids]
        self.starts = np.concatenate([[0], np.cumsum(self.is_gene)]).astype(np.int64)[tokens.offsets]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def places(self, cells: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Flat places of gene tokens in a right-padded batch (len(cells), width), and their canonical rows."""
        lengths = self.tokens.lengths[cells]
        gene = self.is_gene[_ranges(self.tokens.offsets[cells], lengths)]
        places = _ranges(np.arange(len(cells)) * width, lengths)[gene]
        return places, _ranges(self.starts[cells], np.diff(self.starts)[cells])

    def check(self, batch: Batch) -> None:
        """Raise unless the model lays a batch out as assumed here (once a pass: it waits for the device)."""
        places, _ = self.places(batch.cells, batch.ids.shape[1])
        if not np.array_equal(np.flatnonzero(batch.is_gene.cpu().numpy()), places):
            raise BiosaeError(
                "The model's batches do not keep gene tokens in sequence order, padded on the right",
                where=f"{type(self).__name__}.check",
                do="make `collate` of the model keep the order of `Tokens`",
            )


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Concatenation of ``arange(start, start + length)`` over pairs."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)


@dataclass(frozen=True)
class Positions:
    """Table of all positions of a model's run, in canonical order, shared by all layers.

    Attributes
    ----------
    cell : ndarray of int32, shape (N,)
        Index into the cohort.
    token : ndarray of int32, shape (N,)
        Token id of the gene.
    rank : ndarray of uint16, shape (N,)
        Place of the gene in its cell by what the model is told of its expression, 0 the highest: sequence order for
        models without values, descending value (ties in sequence order) for models with them.
    """

    cell: np.ndarray
    token: np.ndarray
    rank: np.ndarray

    def __len__(self) -> int:
        return len(self.cell)

    @classmethod
    def of(cls, tokens: Tokens, info: ModelInfo) -> Positions:
        layout = Layout(tokens, info)
        counts = np.diff(layout.starts)
        cell = np.repeat(np.arange(tokens.n_cells, dtype=np.int32), counts)
        rank = _ranges(np.zeros_like(counts), counts).astype(np.uint16)
        if tokens.values is not None:
            order = np.lexsort((-tokens.values[layout.is_gene], cell))  # stable: ties stay in sequence order
            rank[order] = rank.copy()
        return cls(cell, tokens.ids[layout.is_gene].astype(np.int32), rank)

    def save(self, folder: Path | str) -> None:
        """Write cell.npy, token.npy and rank.npy, each whole or not at all."""
        for name in ("cell", "token", "rank"):
            with atomic_path(Path(folder) / f"{name}.npy") as tmp:
                np.save(tmp, getattr(self, name))

    @classmethod
    def load(cls, folder: Path | str) -> Positions:
        """Memory-map what `save` wrote."""
        try:
            table = cls(*(np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in ("cell", "token", "rank")))
        except (OSError, ValueError, EOFError) as e:
            raise BiosaeError(
                f"The table of positions cannot be read ({e})", where=str(folder), do="rerun phase 01_extract"
            ) from e
        if not len(table.cell) == len(table.token) == len(table.rank):
            raise BiosaeError(
                "The three columns of positions differ in length", where=str(folder), do="rerun phase 01_extract"
            )
        return table


def sample_rows(
    positions: Positions, heldout: np.ndarray, n: int, n_heldout: int, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Uniform samples without replacement of training and of held-out positions, chosen before anything is computed.

    Parameters
    ----------
    positions : Positions
    heldout : ndarray of bool, shape (n_cells,)
        Cells kept for evaluation; no position of theirs is among the training rows.
    n, n_heldout : int
        Wanted positions; all there are when there are fewer.
    seed : int

    Returns
    -------
    train, heldout : ndarray of int64
        Canonical rows, ascending.
    """
    out = heldout[positions.cell]
    rng = np.random.default_rng(seed)
    samples = []
    for pool, size in ((np.flatnonzero(~out), n), (np.flatnonzero(out), n_heldout)):
        samples.append(np.sort(rng.choice(pool, min(size, len(pool)), replace=False, shuffle=False)))
    return samples[0], samples[1]
