"""What every foundation model can do, and the two containers that go in and out.

A new model is one file that satisfies `FoundationModel` and one line in ``registry.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from biosae_utils.cells.genes import Genes
from biosae_utils.store import atomic_path


@dataclass(frozen=True)
class ModelInfo:
    """Facts about a loaded model.

    Attributes
    ----------
    name, family, variant : str
        Registered name; ``geneformer`` or ``scgpt`` ...; ``trained``, ``random-weights`` or ``shuffled-genes``.
    n_layers, d_model, max_len : int
        Blocks; width of the residual stream; longest sequence, special tokens included.
    vocab : ndarray of str, shape (n_vocab,)
        Display name of each token id (gene symbol where known, else the id; special tokens as ``<cls>``).
    vocab_ids : ndarray of str, shape (n_vocab,)
        The model's own key of each token (Ensembl id for Geneformer, symbol for scGPT).
    special_ids : tuple of int
        Token ids that are not genes.
    source : str
        Directory or hub name with revision.
    sha256 : str
        Hash of the weights file.
    """

    name: str
    family: str
    variant: str
    n_layers: int
    d_model: int
    max_len: int
    vocab: np.ndarray
    vocab_ids: np.ndarray
    special_ids: tuple[int, ...]
    source: str = ""
    sha256: str = ""

    @property
    def slug(self) -> str:
        """Name used in paths and labels; the trained model has the plain name."""
        return self.name if self.variant == "trained" else f"{self.name}.{self.variant}"


@dataclass(frozen=True)
class Tokens:
    """Encoded cells as one ragged array.

    Attributes
    ----------
    ids : ndarray of int32, shape (n_tokens,)
        Token ids, special tokens included, cells one after another.
    values : ndarray of float32, shape (n_tokens,), or None
        Binned expression for models that take it.
    offsets : ndarray of int64, shape (n_cells + 1,)
        Cell ``c`` owns ``ids[offsets[c]:offsets[c + 1]]``.
    """

    ids: np.ndarray
    values: np.ndarray | None
    offsets: np.ndarray

    @property
    def n_cells(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def take(self, cells: np.ndarray) -> Tokens:
        """Some of the cells, numbered anew from 0 in the order given."""
        starts, lengths = self.offsets[:-1][cells], self.lengths[cells]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        where = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Tokens(self.ids[where], None if self.values is None else self.values[where], offsets)

    def save(self, folder: Path | str) -> None:
        """Write ids.npy, offsets.npy and, where there are any, values.npy, each whole or not at all."""
        for name in ("ids", "values", "offsets"):
            if (array := getattr(self, name)) is not None:
                with atomic_path(Path(folder) / f"{name}.npy") as tmp:
                    np.save(tmp, array)

    @classmethod
    def load(cls, folder: Path | str) -> Tokens:
        """Read what `save` wrote."""
        files = {name: Path(folder) / f"{name}.npy" for name in ("ids", "values", "offsets")}
        return cls(**{name: np.load(file) if file.is_file() else None for name, file in files.items()})


@dataclass
class Batch:
    """Padded tokens on a device.

    Attributes
    ----------
    ids : Tensor of int64, shape (B, T)
    values : Tensor of float32, shape (B, T), or None
    mask : Tensor of bool, shape (B, T)
        True at real tokens, special ones included.
    is_gene : Tensor of bool, shape (B, T)
        True at gene tokens; row-major order of its True entries is the order of positions everywhere.
    cells : ndarray of int64, shape (B,)
        Index of each row in the `Tokens` that it came from.
    targets : dict
        What masking hid: filled by `FoundationModel.mask`, read by `FoundationModel.loss`.
    padded : bool
        False when every row fills the batch: attention then needs no mask and keeps its fastest kernel.
    """

    ids: Tensor
    values: Tensor | None
    mask: Tensor
    is_gene: Tensor
    cells: np.ndarray
    targets: dict[str, Tensor] = field(default_factory=dict)
    padded: bool = True

    @property
    def device(self) -> torch.device:
        return self.ids.device


@runtime_checkable
class FoundationModel(Protocol):
    """The seam between models and everything else."""

    info: ModelInfo

    def gene_tokens(self, genes: Genes) -> np.ndarray:
        """Token id of each column of a data set, int64 (n_genes,); -1 where the model does not know the gene."""

    def encode(self, counts: sp.csr_matrix, genes: Genes, *, seed: int = 0) -> Tokens:
        """Official input encoding of raw counts, shape (n_cells, n_genes)."""

    def collate(self, tokens: Tokens, rows: Sequence[int] | np.ndarray) -> Batch:
        """Pad the given cells into one batch on the model's device."""

    def hidden(
        self, batch: Batch, layers: Sequence[int] | None = None, *, at: Tensor | None = None
    ) -> dict[int, Tensor]:
        """Residual stream after block l, shape (B, T, d_model), for each asked layer (all when None).

        No block after the last asked layer is run. Weights are frozen, so autograd records nothing here.

        The positions `at`, int64 (n, 2) as (row, column) in row-major order, are those of the last asked layer that the
        caller will look at. What is returned elsewhere of that layer may be anything: it need not be computed.
        """

    def resume(self, hidden: Tensor, layer: int, batch: Batch, *, at: Tensor | None = None) -> Tensor:
        """Run blocks ``layer + 1 ..`` from a state of shape (B, T, d_model); returns the final state.

        `at` as in `hidden`: the positions of the final state that the caller will look at. Gradients flow to `hidden`
        when it requires them and the caller is in ``torch.enable_grad()``.
        """

    def mask(self, batch: Batch, rate: float = 0.15, *, seed: int = 0) -> tuple[Batch, Tensor]:
        """Hide a share of the gene tokens.

        Returns the masked batch and the hidden positions, int64 (n, 2) as (row, column).
        """

    def predict(self, final: Tensor, positions: Tensor) -> Tensor:
        """Masked-gene prediction at positions (n, 2): logits (n, n_vocab), or predicted values (n,)."""

    def loss(self, final: Tensor, batch: Batch, positions: Tensor) -> Tensor:
        """Loss of the model's own masked-gene objective at each position, float32 (n,)."""


def batches(
    model: FoundationModel, tokens: Tokens, max_tokens: int, *, rows: np.ndarray | None = None
) -> Iterator[Batch]:
    """Batches bucketed by length: at most `max_tokens` padded tokens each (at least one cell).

    Parameters
    ----------
    model : FoundationModel
    tokens : Tokens
    max_tokens : int
        Upper limit of B * T.
    rows : ndarray of int, optional
        Cells to use; all by default. Batches come in order of decreasing length, ties in input order.
    """
    rows = np.arange(tokens.n_cells) if rows is None else np.asarray(rows)
    lengths = tokens.lengths[rows]
    order = rows[np.argsort(-lengths, kind="stable")]
    start = 0
    while start < len(order):
        width = int(tokens.lengths[order[start]])
        size = max(1, max_tokens // max(width, 1))
        yield model.collate(tokens, order[start : start + size])
        start += size
