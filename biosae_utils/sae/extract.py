"""Extraction: the hidden states of a uniform sample of positions, and then the codes of all positions.

Dense activations are never stored whole. One pass keeps a sample for training; a second pass sends every position
through the SAEs of all layers and keeps k values and k indices: per layer 128 bytes a position at k = 32, where the
dense float32 state of width 1,152 takes 4,608.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Batch, FoundationModel, Tokens
from biosae_utils.sae.batching import Budget, Drain, map_batches, progress, tensor_cores, to_device
from biosae_utils.sae.codes import CodeStore, index_dtype
from biosae_utils.sae.positions import Layout
from biosae_utils.store import atomic_path


class Encoder(Protocol):
    """The part of an SAE that streaming needs."""

    d_sae: int
    width: int

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values and indices, both (n, width), of activations (n, d_in)."""


# ---- first pass: a sample ----------------------------------------------------------------------------------------


def sample_activations(
    model: FoundationModel,
    tokens: Tokens,
    rows: np.ndarray,
    layers: Sequence[int] | None = None,
    *,
    folder: Path | str | None = None,
    dtype: np.dtype | type = np.float16,
    max_tokens: int | None = None,
) -> dict[int, np.ndarray]:
    """Hidden states of the asked positions, of all asked layers, in one pass.

    Parameters
    ----------
    model : FoundationModel
    tokens : Tokens
    rows : ndarray of int, ascending
        Canonical rows wanted (see `sample_rows`); cells without any are not run.
    layers : sequence of int, optional
        Layer l is the output of block l; all by default.
    folder : path, optional
        Write ``layer_XX.npy`` there, atomically, and return memory maps; else arrays in memory.
    dtype : numpy float type
        On disk and in memory. float16 keeps 11 bits of what bf16 computed with 8.
    max_tokens : int, optional
        Padded tokens a batch; found from free memory when None.

    Returns
    -------
    dict of int -> ndarray, shape (len(rows), d_model)
    """
    rows = np.asarray(rows)
    if len(rows) == 0 or np.any(np.diff(rows) <= 0):
        raise BiosaeError(
            "Rows must be ascending, unique and at least one", where="sample_activations", do="use sample_rows"
        )
    layers = list(range(model.info.n_layers)) if layers is None else list(layers)
    layout = Layout(tokens, model.info)
    cells = np.unique(np.searchsorted(layout.starts, rows, side="right") - 1)
    device = model.collate(tokens, cells[:1]).device
    budget = Budget(model.info, device, max_tokens, n_layers=len(layers))
    torch_dtype = torch.from_numpy(np.empty(0, dtype)).dtype
    shape = (len(rows), model.info.d_model)
    out: dict[int, np.ndarray] = {}
    bar, advance = progress(f"{model.info.slug}: sampling {len(rows):,} positions", len(cells))

    def work(batch: Batch) -> tuple[np.ndarray, list[Tensor], int]:
        places, canonical = layout.places(batch.cells, batch.ids.shape[1])
        slot = np.searchsorted(rows, canonical)
        wanted = rows[np.minimum(slot, len(rows) - 1)] == canonical
        index = to_device(places[wanted], device)
        width = batch.ids.shape[1]
        states = model.hidden(batch, layers, at=torch.stack([index // width, index % width], 1))
        picked = [states[layer].reshape(-1, shape[1]).index_select(0, index).to(torch_dtype) for layer in layers]
        return slot[wanted], picked, len(batch.cells)

    def keep(slots: np.ndarray, layer: int, array: np.ndarray) -> None:
        if not np.isfinite(array).all():
            raise BiosaeError(
                f"Layer {layer} has activations that are not finite or too large for {np.dtype(dtype)}",
                where=model.info.slug,
                do="check the weights, or ask for dtype float32",
            )
        out[layer][slots] = array

    with _arrays(folder, layers, shape, np.dtype(dtype)) as made, _pool(len(layers)) as threads:
        out.update(made)
        layout.check(model.collate(tokens, cells[:2]))

        def keep_all(slots: np.ndarray, *arrays: np.ndarray) -> None:
            list(threads.map(partial(keep, slots), layers, arrays))

        with bar, Drain(device) as drain:
            for slots, picked, n_cells in map_batches(model, tokens, cells, work, budget):
                drain.push(picked, partial(keep_all, slots))
                advance(n_cells)
    if folder is not None:
        return {layer: np.load(Path(folder) / f"layer_{layer:02d}.npy", mmap_mode="r") for layer in layers}
    return out


def _pool(n_layers: int) -> ThreadPoolExecutor:
    """Threads that put the layers of a batch where they belong side by side."""
    return ThreadPoolExecutor(min(n_layers, os.cpu_count() or 1))


@contextmanager
def _arrays(
    folder: Path | str | None, layers: Sequence[int], shape: tuple[int, int], dtype: np.dtype
) -> Iterator[dict[int, np.ndarray]]:
    """One empty array a layer: in memory, or in files that get their names when the block succeeds."""
    with ExitStack() as files:
        made = {}
        for layer in layers:
            if folder is None:
                made[layer] = np.empty(shape, dtype)
            else:
                path = files.enter_context(atomic_path(Path(folder) / f"layer_{layer:02d}.npy"))
                made[layer] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        yield made


# ---- second pass: the codes of all positions ---------------------------------------------------------------------


def stream_codes(
    model: FoundationModel,
    saes: Mapping[int, Encoder],
    tokens: Tokens,
    folders: Mapping[int, Path | str],
    *,
    chunk: int | None = None,
    max_tokens: int | None = None,
) -> dict[int, CodeStore]:
    """Send every position through the SAEs of all layers; only the codes are kept.

    Batches are bucketed by length within a chunk of cells, codes land at their canonical rows. A killed run goes on
    after its last finished chunk; a store made by another SAE, model or cohort is made anew.

    Parameters
    ----------
    model : FoundationModel
    saes : dict of int -> TopKSAE
        Layer -> SAE, on the model's device.
    tokens : Tokens
    folders : dict of int -> path
        Layer -> directory of its `CodeStore`.
    chunk : int, optional
        Cells between two entries of the ledger, by default 128, or more where there would be many entries. Few enough
        that the disk works while the next chunk is computed.
    max_tokens : int, optional
        Padded tokens a batch; found from free memory when None.

    Returns
    -------
    dict of int -> CodeStore
        Complete stores, open for reading.
    """
    layout = Layout(tokens, model.info)
    chunk = chunk or max(128, tokens.n_cells // 256)
    device = model.collate(tokens, np.flatnonzero(tokens.lengths)[:1]).device
    widest = max(sae.d_sae for sae in saes.values())
    budget = Budget(model.info, device, max_tokens, n_layers=len(saes), extra=12 * widest)
    bar, advance = progress(f"{model.info.slug}: codes of {len(layout):,} positions", tokens.n_cells)
    with _pool(len(saes)) as threads, bar, tensor_cores():
        stores = _open_stores(model, saes, tokens, len(layout), folders, threads)
        with Drain(device) as drain:
            for first in range(0, tokens.n_cells, chunk):
                cells = np.arange(first, min(first + chunk, tokens.n_cells))
                start, stop = int(layout.starts[cells[0]]), int(layout.starts[cells[-1] + 1])
                layers = [layer for layer in saes if start < stop and not stores[layer].has(start, stop)]
                if not layers:
                    advance(len(cells))
                    continue
                layout.check(model.collate(tokens, cells[:2]))
                todo = [stores[layer] for layer in layers]
                work = partial(_encode, model, {layer: saes[layer] for layer in layers}, layout)
                for rows, codes, n_cells in map_batches(model, tokens, cells, work, budget):
                    drain.push(codes, partial(_write, threads, todo, rows))
                    advance(n_cells)
                drain.push([], partial(_commit, threads, todo, start, stop))
    return {layer: store.finish() for layer, store in stores.items()}


def _open_stores(
    model: FoundationModel,
    saes: Mapping[int, Encoder],
    tokens: Tokens,
    n: int,
    folders: Mapping[int, Path | str],
    threads: ThreadPoolExecutor,
) -> dict[int, CodeStore]:
    """Stores to be filled, each bound to model, tokens and SAE by their hashes."""
    source = {
        "model": f"{model.info.slug} {model.info.sha256}",
        "tokens": _hash(tokens.ids, tokens.values, tokens.offsets),
    }

    def create(layer: int) -> CodeStore:
        sae = saes[layer]
        identity = {**source, "sae": weights_hash(sae)}
        return CodeStore.create(folders[layer], n=n, k=sae.width, d_sae=sae.d_sae, identity=identity)

    return dict(zip(saes, threads.map(create, saes), strict=True))


def _encode(
    model: FoundationModel, saes: Mapping[int, Encoder], layout: Layout, batch: Batch
) -> tuple[np.ndarray, list[Tensor], int]:
    """Canonical rows of a batch, values and indices of each layer in turn, and the number of cells."""
    places, rows = layout.places(batch.cells, batch.ids.shape[1])
    index = to_device(places, batch.device)
    states, codes = model.hidden(batch, list(saes)), []
    for layer, sae in saes.items():
        values, indices = sae.encode(states.pop(layer).flatten(0, 1).index_select(0, index))
        codes += [values.to(torch.float16), indices.to(getattr(torch, index_dtype(sae.d_sae).name))]
    return rows, codes, len(batch.cells)


def _write(threads: ThreadPoolExecutor, stores: Sequence[CodeStore], rows: np.ndarray, *codes: np.ndarray) -> None:
    """Put a batch's codes into the stores of its layers, side by side."""
    list(threads.map(lambda store, *code: store.write(rows, *code), stores, codes[::2], codes[1::2]))


def _commit(threads: ThreadPoolExecutor, stores: Sequence[CodeStore], start: int, stop: int) -> None:
    """Sign a finished chunk in the ledger of every layer, side by side: the disk and the checksums take a while."""
    list(threads.map(lambda store: store.commit(start, stop), stores))


def weights_hash(sae: Any) -> str:
    """Short hash of an SAE's weights, the same wherever they lie."""
    state = sae.state_dict()
    return _hash(*(state[name].detach().cpu().float().contiguous().numpy() for name in sorted(state)))


def _hash(*arrays: np.ndarray | None) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
