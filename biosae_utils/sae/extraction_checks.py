"""What must hold before anyone trusts an extraction: cuts that change nothing, and a model that has learnt its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from biosae_utils.models.base import Batch, FoundationModel, Tokens
from biosae_utils.sae.batching import Budget, map_batches

if TYPE_CHECKING:
    import pandas as pd

N_CHECKED = 300  # a prediction is a row over the whole vocabulary


@torch.inference_mode()
def zero_edit_gap(
    model: FoundationModel,
    tokens: Tokens,
    cells: np.ndarray,
    layers: Sequence[int],
    *,
    edit: float = 0.0,
    seed: int = 0,
    states: Mapping[int, Tensor] | None = None,
) -> dict[int, float]:
    """Largest change of any prediction when the forward pass is cut at layer l and resumed from there.

    Parameters
    ----------
    model : FoundationModel
    tokens : Tokens
    cells : ndarray of int
        Cells of one batch, short ones and long ones.
    layers : sequence of int
    edit : float
        0 resumes from the state as it was: the gap must be 0 in float32 on one device. Otherwise the control: noise of
        this share of each position's norm is added first, and the gap must be seen.
    seed : int
    states : mapping of int to Tensor (B, T, d_model), optional
        What ``model.hidden`` gives for this batch: of these layers and the last one.

    Returns
    -------
    dict of int -> float
        Layer -> max |difference| over all outputs of up to `N_CHECKED` gene positions spread over the batch.
    """
    batch = model.collate(tokens, cells)
    last = model.info.n_layers - 1
    where = batch.is_gene.nonzero()
    where = where[torch.linspace(0, len(where) - 1, min(len(where), N_CHECKED)).long().to(where.device)]
    states = model.hidden(batch, sorted({*layers, last})) if states is None else states
    clean = model.predict(model.resume(states[last], last, batch), where)
    gaps = {}
    for layer in layers:
        state = states[layer]
        if edit:
            noise = torch.randn(state.shape, generator=torch.Generator().manual_seed(seed)).to(state)
            state = state + edit * noise * (state.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True))
        gaps[layer] = float((model.predict(model.resume(state, layer, batch), where) - clean).abs().max())
    return gaps


@torch.inference_mode()
def layer_checks(
    model: FoundationModel, tokens: Tokens, cells: np.ndarray, *, edit: float = 0.01, seed: int = 0
) -> pd.DataFrame:
    """Checks of every layer on one padded batch.

    Returns
    -------
    DataFrame, one row a layer
        ``resumed``: largest change of a prediction after resuming unedited (must be 0); ``edited``: the same after
        noise of `edit` times the norm (must not be 0); ``stopped``: largest difference between a pass of one cell
        that stops after the layer and one that goes on (must be 0); ``alone``: between a cell in the batch and the
        cell by itself, relative to the largest entry (rounding only).
    """
    import pandas as pd

    layers = list(range(model.info.n_layers))
    full = model.hidden(model.collate(tokens, cells), layers)
    shortest = int(np.argmin(tokens.lengths[cells]))  # the one with the most padding
    single = model.collate(tokens, cells[[shortest]])
    alone = model.hidden(single, layers)
    length = int(tokens.lengths[cells[shortest]])
    rows = {
        "layer": layers,
        "resumed": list(zero_edit_gap(model, tokens, cells, layers, states=full).values()),
        "edited": list(zero_edit_gap(model, tokens, cells, layers, edit=edit, seed=seed, states=full).values()),
        "stopped": [float((model.hidden(single, [i])[i] - alone[i]).abs().max()) for i in layers],
        "alone": [
            float((alone[i][0, :length] - full[i][shortest, :length]).abs().max() / alone[i].abs().max())
            for i in layers
        ],
    }
    return pd.DataFrame(rows)


def masked_loss(
    model: FoundationModel, tokens: Tokens, cells: np.ndarray, *, rate: float = 0.15, seed: int = 0
) -> np.ndarray:
    """Mean loss of the model's own masked-gene objective in each cell.

    The genes that are hidden depend on the seed and the cell alone, so that two models with the same tokens are asked
    the same questions.

    Parameters
    ----------
    model : FoundationModel
    tokens : Tokens
    cells : ndarray of int
    rate : float
        Share of gene tokens hidden.
    seed : int

    Returns
    -------
    ndarray of float64, shape (len(cells),)
        NaN where nothing was hidden.
    """
    cells = np.asarray(cells)
    device = model.collate(tokens, cells[:1]).device
    last = model.info.n_layers - 1

    def work(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        masked, where = model.mask(batch, rate, seed=seed)
        final = model.hidden(masked, [last], at=where)[last]
        losses = model.loss(final, masked, where).double().cpu().numpy()
        row = where[:, 0].cpu().numpy()
        count = np.bincount(row, minlength=len(batch.cells))
        with np.errstate(invalid="ignore"):
            return batch.cells, np.bincount(row, losses, minlength=len(batch.cells)) / count

    out = np.full(tokens.n_cells, np.nan)
    for batch_cells, mean in map_batches(model, tokens, cells, work, Budget(model.info, device, n_layers=1)):
        out[batch_cells] = mean
    return out[cells]
