"""Where training gets its batches from: a stored sample, or live forward passes. Training does not know which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Batch, FoundationModel, Tokens
from biosae_utils.sae.loop import SHARE, Budget, map_batches


def stored_source(
    samples: Mapping[int, np.ndarray | Tensor],
    batch_size: int,
    *,
    steps: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Iterator[Tensor]:
    """Shuffled batches of stored activations, shape (n_layers, batch_size, d), the same positions in every layer.

    Every position is seen once an epoch; the short rest of an epoch is dropped. Endless when `steps` is None. The
    sample moves to the device at once if it fits there, else batch by batch.
    """
    device = torch.device(device)
    layers = [torch.as_tensor(np.asarray(samples[layer])) for layer in sorted(samples)]
    n = len(layers[0])
    if any(len(x) != n for x in layers) or n < batch_size:
        raise BiosaeError(
            f"{n:,} stored positions cannot fill a batch of {batch_size:,}, or layers differ in length",
            do="keep more positions in 01_extract or make batches smaller",
        )
    size = sum(x.numel() * x.element_size() for x in layers)
    if device.type == "cuda" and size < SHARE * torch.cuda.mem_get_info(device)[0]:
        layers = [x.to(device) for x in layers]
    home, generator, step = layers[0].device, torch.Generator().manual_seed(seed), 0
    while True:
        order = torch.randperm(n, generator=generator).to(home)
        for start in range(0, n - batch_size + 1, batch_size):
            if step == steps:
                return
            picked = order[start : start + batch_size]
            yield torch.stack([x.index_select(0, picked) for x in layers]).to(device)
            step += 1


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
