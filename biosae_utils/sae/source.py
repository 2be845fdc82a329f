"""Training batches from live forward passes, for runs larger than any stored sample.

`SAETrainer.fit` takes any iterator of batches: those of a stored sample (`train.shuffled_batches`) or one layer of
these. It does not know which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Batch, FoundationModel, Tokens
from biosae_utils.sae.loop import Budget, map_batches


def live_source(
    model: FoundationModel,
    tokens: Tokens,
    layers: Sequence[int],
    batch_size: int,
    *,
    cells: np.ndarray | None = None,
    buffer: int = 262_144,
    steps: int | None = None,
    seed: int = 0,
    max_tokens: int | None = None,
) -> Iterator[Tensor]:
    """Batches straight from forward passes, shape (n_layers, batch_size, d): for runs larger than any stored sample.

    A buffer of positions of all layers stays on the device. It is filled from cells in random order; batches leave it
    at random, and when half of it is gone it is filled again, so that a batch mixes many cells.

    Parameters
    ----------
    model, tokens, layers
        As in `sample_activations`.
    batch_size : int
    cells : ndarray of int, optional
        Cells to draw from (the training cells); all by default. Endless epochs over them unless `steps` ends it.
    buffer : int
        Positions in the buffer, at least two batches.
    steps, seed, max_tokens : int
    """
    cells = np.arange(tokens.n_cells) if cells is None else np.asarray(cells)
    if buffer < 2 * batch_size:
        raise BiosaeError(
            f"A buffer of {buffer:,} positions does not hold two batches of {batch_size:,}", do="enlarge the buffer"
        )
    fresh = _fresh(model, tokens, list(layers), cells, seed, max_tokens)
    generator = torch.Generator().manual_seed(seed)
    pool, rest, step = None, next(fresh), 0
    filled = 0
    while True:
        if pool is None:
            pool = rest.new_empty(rest.shape[0], buffer, rest.shape[2])
        while filled < buffer:
            take = min(buffer - filled, rest.shape[1])
            with torch.no_grad():
                pool[:, filled : filled + take] = rest[:, :take]
            filled, rest = filled + take, rest[:, take:]
            if rest.shape[1] == 0:
                rest = next(fresh)
        order = torch.randperm(buffer, generator=generator).to(pool.device)
        n_out = buffer // 2 // batch_size * batch_size
        for start in range(0, n_out, batch_size):
            if step == steps:
                return
            yield pool[:, order[start : start + batch_size]]
            step += 1
        pool[:, : buffer - n_out] = pool[:, order[n_out:]]
        filled = buffer - n_out


def _fresh(
    model: FoundationModel, tokens: Tokens, layers: list[int], cells: np.ndarray, seed: int, max_tokens: int | None
) -> Iterator[Tensor]:
    """States of gene tokens, (n_layers, n, d), over endless epochs of cells in random order."""
    rng = np.random.default_rng(seed)
    device = model.collate(tokens, cells[:1]).device
    budget = Budget(model.info, device, max_tokens, n_layers=len(layers))

    def work(batch: Batch) -> Tensor:
        states = model.hidden(batch, layers)
        return torch.stack([states[layer][batch.is_gene] for layer in layers])

    while True:
        order = rng.permutation(cells)
        for start in range(0, len(order), 256):  # bucketed by length within 256 random cells
            yield from map_batches(model, tokens, order[start : start + 256], work, budget)
