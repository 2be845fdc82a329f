"""An SAE on somebody's own cells: the mean code of each cell, a chunk in memory at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Batch, FoundationModel
from biosae_utils.sae.batching import Budget, map_batches, progress, tensor_cores, to_device
from biosae_utils.sae.positions import CellSource, Layout
from biosae_utils.sae.topk import TopKSAE


def mean_codes(
    model: FoundationModel,
    sae: TopKSAE,
    layer: int,
    cells: CellSource,
    rows: Sequence[int] | np.ndarray,
    *,
    chunk: int = 512,
    max_tokens: int | None = None,
    seed: int = 0,
) -> sp.csr_matrix:
    """Mean activation of every latent over the gene tokens of each cell.

    Parameters
    ----------
    model : FoundationModel
    sae : TopKSAE
        Trained on the output of block `layer` of this model; on the model's device.
    layer : int
    cells : CellSource
        Counts by row.
    rows : sequence of int
        Rows of `cells` wanted.
    chunk : int
        Cells read at once.
    max_tokens : int, optional
        Padded tokens a batch; found from free memory when None.
    seed : int
        For models whose encoding samples.

    Returns
    -------
    csr_matrix of float32, shape (len(rows), d_sae)
        A cell without any gene that the model knows has an empty row.

    Raises
    ------
    BiosaeError
        The SAE does not fit the model, or the model has no such layer.
    """
    if not 0 <= layer < model.info.n_layers:
        raise BiosaeError(f"{model.info.slug} has no layer {layer}", do=f"use 0 to {model.info.n_layers - 1}")
    if sae.d_in != model.info.d_model:
        raise BiosaeError(
            f"The SAE reads vectors of width {sae.d_in}, {model.info.slug} has width {model.info.d_model}",
            do="use the SAE with the model that it was trained on",
        )
    rows = np.asarray(rows)
    parts: list[sp.csr_matrix] = []
    bar, advance = progress(f"{model.info.slug}: latents of {len(rows):,} cells", len(rows))
    with bar, tensor_cores():
        for start in range(0, len(rows), chunk):
            counts = cells.read(rows[start : start + chunk])
            parts.append(_chunk(model, sae, layer, counts, cells, max_tokens, seed))
            advance(counts.shape[0])
    return sp.vstack(parts, format="csr") if parts else sp.csr_matrix((0, sae.d_sae), dtype=np.float32)


def _chunk(
    model: FoundationModel,
    sae: TopKSAE,
    layer: int,
    counts: sp.csr_matrix,
    cells: CellSource,
    max_tokens: int | None,
    seed: int,
) -> sp.csr_matrix:
    """Mean codes of the cells of one chunk, shape (n_cells, d_sae)."""
    tokens = model.encode(counts, cells.genes, seed=seed)
    layout = Layout(tokens, model.info)
    n_genes = np.diff(layout.starts)

    def work(batch: Batch) -> tuple[np.ndarray, Tensor]:
        places, _ = layout.places(batch.cells, batch.ids.shape[1])
        states = model.hidden(batch, [layer])[layer].flatten(0, 1).index_select(0, to_device(places, batch.device))
        values, indices = sae.encode(states)
        slot = np.repeat(np.arange(len(batch.cells)), n_genes[batch.cells])
        flat = to_device(slot, batch.device)[:, None] * sae.d_sae + indices.long()
        sums = torch.zeros(len(batch.cells) * sae.d_sae, device=batch.device)
        sums.index_add_(0, flat.flatten(), values.float().flatten())
        return batch.cells, sums.view(-1, sae.d_sae)

    order: list[np.ndarray] = []
    sums: list[sp.csr_matrix] = []
    known = np.flatnonzero(n_genes)
    if len(known):
        device = model.collate(tokens, known[:1]).device
        budget = Budget(model.info, device, max_tokens, n_layers=1, extra=12 * sae.d_sae)
        for batch_cells, dense in map_batches(model, tokens, known, work, budget):
            order.append(batch_cells)
            sums.append(sp.csr_matrix(dense.cpu().numpy() / n_genes[batch_cells, None].astype(np.float32)))
    empty = np.flatnonzero(n_genes == 0)
    order.append(empty)
    sums.append(sp.csr_matrix((len(empty), sae.d_sae), dtype=np.float32))
    return sp.vstack(sums, format="csr")[np.argsort(np.concatenate(order))].astype(np.float32)


LAYER = re.compile(r"(?<![A-Za-z0-9])(?:layers?|blocks?|h(?=\.))[._ -]?(\d+)(?![A-Za-z0-9]|-\d)")
"""A layer as a word of a name: ``layer_03``, ``encoder.layer.9``, ``blocks.2.hook_resid_post``; not ``player_1``."""


def layer_of(sae: TopKSAE, folder: Path) -> int:
    """Layer that an SAE was trained on: from its metadata, else from the name of its folder or one above.

    Raises
    ------
    BiosaeError
        Nothing says it, a name says several, or the SAE reads something else than the output of a block.
    """
    metadata = getattr(sae, "metadata", {})
    for value in (
        metadata.get("layer"),
        _of_name(str(metadata.get("hook_name", "")), folder),
        metadata.get("hook_layer"),
    ):
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    for part in reversed(Path(folder).absolute().parts):
        if (layer := _of_name(part, folder)) is not None:
            return layer
    raise BiosaeError("Nothing says which layer this SAE was trained on", where=str(folder), do="add --layer")


def _of_name(name: str, folder: Path) -> int | None:
    """Layer that a hook or a part of a path names; None without one."""
    found = {int(number) for number in LAYER.findall(name)}
    if len(found) > 1:
        raise BiosaeError(f"{name!r} names several layers", where=str(folder), do="add --layer")
    layer = found.pop() if found else None
    hook = re.search(r"hook_\w+", name)
    if layer is None or hook is None or hook[0] == "hook_resid_post":
        return layer
    if hook[0] == "hook_resid_pre" and layer > 0:
        return layer - 1  # what enters a block is what the one before it puts out
    raise BiosaeError(
        f"This SAE was trained on {name}, which is no output of a block",
        where=str(folder),
        do="use an SAE of the residual stream after a block, or add --layer if you know better",
    )
