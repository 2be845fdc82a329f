"""The shared body of models that are an embedding, a stack of blocks, and a head.

A family writes what differs (`gene_tokens`, `encode_chunk`, `embed`, `block`, `hide`, `predict`, `loss`); this class
does the rest of `FoundationModel`: padding, running blocks up to a layer or from a layer on, and choosing which genes
to mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Batch, Genes, ModelInfo, Tokens
from biosae_utils.models.encoding import CHUNK, join


class BlockModel:
    """An embedding, ``info.n_layers`` blocks and a masked-gene head around one network.

    Parameters
    ----------
    net : nn.Module
        On its device, in evaluation mode, frozen.
    info : ModelInfo
    pad_id : int
        Token that fills short rows of a batch.
    pad_value : float
        Value beside it, for models that take values.
    """

    def __init__(self, net: nn.Module, info: ModelInfo, *, pad_id: int, pad_value: float = 0.0) -> None:
        self.net, self.info, self.pad_id, self.pad_value = net, info, pad_id, pad_value
        parameter = next(net.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        special = torch.zeros(len(info.vocab), dtype=torch.bool)
        special[list(info.special_ids)] = True
        self._special = special.to(self.device)

    # ---- what a family writes

    def gene_tokens(self, genes: Genes) -> np.ndarray:
        """Token id of each column, int64 (n_genes,); -1 where unknown."""
        raise NotImplementedError

    def encode_chunk(self, counts: sp.csr_matrix, tokens: np.ndarray, seed: int) -> Tokens:
        """Encode a few cells; `tokens` holds the token of each column, -1 where unknown."""
        raise NotImplementedError

    def embed(self, batch: Batch) -> Tensor:
        """State before the first block, shape (B, T, d_model)."""
        raise NotImplementedError

    def block(self, layer: int, state: Tensor, attend: Tensor | None) -> Tensor:
        """One block; `attend` is bool (B, 1, 1, T), True at real tokens, or None when all are."""
        raise NotImplementedError

    def block_at(self, layer: int, state: Tensor, attend: Tensor | None, columns: Tensor) -> Tensor:
        """The block's output at some columns of each row, int64 (B, R), shape (B, R, d_model).

        A family that computes no more than these saves most of a model's last block, where few states are looked at.
        """
        return at_columns(self.block(layer, state, attend), columns)

    def hide(self, batch: Batch, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ids and values of the batch with the `chosen` positions hidden, bool (B, T)."""
        raise NotImplementedError

    def predict(self, final: Tensor, positions: Tensor) -> Tensor:
        """Masked-gene prediction; see `FoundationModel.predict`."""
        raise NotImplementedError

    def loss(self, final: Tensor, batch: Batch, positions: Tensor) -> Tensor:
        """Loss at each position; see `FoundationModel.loss`."""
        raise NotImplementedError

    # ---- what all share

    def encode(self, counts: sp.csr_matrix, genes: Genes, *, seed: int = 0) -> Tokens:
        """Official input encoding of raw counts, shape (n_cells, n_genes), a chunk of cells at a time."""
        tokens, counts = self.gene_tokens(genes), sp.csr_matrix(counts)
        starts = range(0, max(counts.shape[0], 1), CHUNK)
        return join([self.encode_chunk(counts[start : start + CHUNK], tokens, seed) for start in starts])

    def collate(self, tokens: Tokens, rows: Sequence[int] | np.ndarray) -> Batch:
        """Pad the given cells into one batch on the model's device."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = tokens.lengths[rows]
        column = np.arange(max(1, lengths.max(initial=1)))
        inside = column < lengths[:, None]
        source = (tokens.offsets[rows][:, None] + column)[inside]
        ids = np.full(inside.shape, self.pad_id, np.int64)
        ids[inside] = tokens.ids[source]
        values = None
        if tokens.values is not None:
            values = np.full(inside.shape, self.pad_value, np.float32)
            values[inside] = tokens.values[source]
        mask = inside.copy()
        mask[:, 0] = True  # a cell without tokens still needs one position to attend to
        on_device = self._send(ids)
        return Batch(
            ids=on_device,
            values=None if values is None else self._send(values),
            mask=self._send(mask),
            is_gene=~self._special[on_device] & self._send(inside),
            cells=rows,
            padded=not mask.all(),
        )

    def hidden(
        self, batch: Batch, layers: Sequence[int] | None = None, *, at: Tensor | None = None
    ) -> dict[int, Tensor]:
        """Residual stream after each asked block, shape (B, T, d_model); stops after the last one asked.

        Of the last one only the positions `at` are sure to be there (see `FoundationModel.hidden`).
        """
        wanted = self._checked(range(self.info.n_layers) if layers is None else layers)
        attend, state, kept, last = self._attend(batch), self.embed(batch), {}, max(wanted, default=-1)
        for layer in range(last + 1):
            state = self._run(layer, state, attend, at if layer == last else None)
            if layer in wanted:
                kept[layer] = state
        return kept

    def resume(self, hidden: Tensor, layer: int, batch: Batch, *, at: Tensor | None = None) -> Tensor:
        """Final state, shape (B, T, d_model), from a state after block `layer`; at the positions `at`, if given."""
        self._checked([layer])
        attend, state = self._attend(batch), hidden.to(self.dtype)
        for later in range(layer + 1, self.info.n_layers):
            state = self._run(later, state, attend, at if later == self.info.n_layers - 1 else None)
        return state

    def _run(self, layer: int, state: Tensor, attend: Tensor | None, at: Tensor | None) -> Tensor:
        """One block; where `at` is given and few, at these positions alone, and zero elsewhere.

        On a CPU, where the products take the time. A GPU would have to wait for the number of positions in a row.
        """
        rows, width = state.shape[:2]
        if at is None or state.device.type != "cpu" or not 0 < 2 * len(at) < rows * width:
            return self.block(layer, state, attend)
        row, column = at.unbind(1)
        count = torch.bincount(row, minlength=rows)
        slot = torch.arange(len(at)) - (count.cumsum(0) - count)[row]
        columns = torch.zeros(rows, int(count.max()), dtype=torch.int64)
        columns[row, slot] = column
        found = self.block_at(layer, state, attend, columns)
        return found.new_zeros(state.shape).index_put((row, column), found[row, slot])

    def mask(self, batch: Batch, rate: float = 0.15, *, seed: int = 0) -> tuple[Batch, Tensor]:
        """Hide a share of the gene tokens.

        Which genes of a cell are hidden depends on the seed and the cell's index alone, not on the batch that it is in.
        """
        if not 0 < rate < 1:
            raise BiosaeError(f"The masking rate is {rate}", do="use a number between 0 and 1")
        width = batch.ids.shape[1]
        draws = np.stack([np.random.default_rng([seed, cell]).random(width) for cell in batch.cells.tolist()])
        chosen = self._send(draws < rate) & batch.is_gene
        ids, values = self.hide(batch, chosen)
        targets = {"ids": batch.ids} | ({} if batch.values is None else {"values": batch.values})
        return replace(batch, ids=ids, values=values, targets=targets), chosen.nonzero()

    def _attend(self, batch: Batch) -> Tensor | None:
        return batch.mask[:, None, None, :] if batch.padded else None

    def _checked(self, layers: Sequence[int]) -> list[int]:
        layers = [int(layer) for layer in layers]
        if bad := [layer for layer in layers if not 0 <= layer < self.info.n_layers]:
            raise BiosaeError(
                f"{self.info.name} has no layer {bad[0]}",
                do=f"use layers 0 to {self.info.n_layers - 1} (outputs of blocks)",
            )
        return layers

    def _send(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return (
            tensor.pin_memory().to(self.device, non_blocking=True)
            if self.device.type == "cuda"
            else tensor.to(self.device)
        )


def at_columns(state: Tensor, columns: Tensor) -> Tensor:
    """States at some columns of each row, int64 (B, R), of (B, T, d_model): shape (B, R, d_model)."""
    return state.gather(1, columns.unsqueeze(-1).expand(-1, -1, state.shape[-1]))
