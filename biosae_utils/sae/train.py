"""Training from stored samples: batches in a seeded order, one SAE, or one for every layer and seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from biosae_utils.sae.loop import progress
from biosae_utils.sae.trainer import SAETrainer, TrainConfig, TrainResult, input_moments

__all__ = ["SAETrainer", "TrainConfig", "TrainResult", "input_moments", "shuffled_batches", "train_layers", "train_one"]

Sample = np.ndarray | Tensor


def as_tensor(sample: Sample, device: torch.device | str = "cpu") -> Tensor:
    """Sample as a tensor of its own float type; memory maps are read once."""
    if isinstance(sample, np.ndarray):
        sample = torch.from_numpy(
            np.array(sample) if isinstance(sample, np.memmap) or not sample.flags.writeable else sample
        )
    return sample.to(device)


def shuffled_batches(sample: Tensor, batch_size: int, seed: int, *, start: int = 0) -> Iterator[Tensor]:
    """Endless batches of rows, a new seeded permutation every epoch; the short rest of an epoch is dropped.

    Parameters
    ----------
    sample : Tensor of shape (n, d_in)
    batch_size : int
        At most n.
    seed : int
    start : int
        First batch to yield: ``start=trainer.step_no`` continues a resumed run.
    """
    n, size = len(sample), min(batch_size, len(sample))
    generator = torch.Generator().manual_seed(seed)
    per_epoch = n // size
    for _ in range(start // per_epoch):
        torch.randperm(n, generator=generator)
    first = start % per_epoch
    while True:
        order = torch.randperm(n, generator=generator).to(sample.device)
        for i in range(first, per_epoch):
            yield sample.index_select(0, order[i * size : (i + 1) * size])
        first = 0


def train_one(
    sample: Sample,
    config: TrainConfig,
    *,
    device: torch.device | str = "cpu",
    name: str = "",
    advance: Callable[[int], None] | None = None,
) -> TrainResult:
    """Train one SAE on a sample (n, d_in).

    Parameters
    ----------
    sample : array or Tensor
    config : TrainConfig
    name : str
        Said in errors, for instance ``"layer 3, seed 0"``.
    advance : callable, optional
        Called with the number of steps just done.
    """
    data = as_tensor(sample, device)
    trainer = SAETrainer.from_sample(data, config, device=device, name=name)
    begin = time.perf_counter()
    batches = shuffled_batches(data, config.batch_size, config.seed)
    while (left := config.steps - trainer.step_no) > 0:
        trainer.fit(islice(batches, min(50, left)))
        if advance:
            advance(min(50, left))
    return trainer.result(time.perf_counter() - begin)


def train_layers(
    samples: Mapping[int, Sample],
    config: TrainConfig,
    *,
    n_seeds: int = 1,
    device: torch.device | str = "cpu",
) -> dict[int, list[TrainResult]]:
    """Train `n_seeds` SAEs (seeds ``config.seed``, ``config.seed + 1`` ...) for every layer.

    On CUDA all of them are one stacked parameter (`biosae_utils.sae.stacked`). On a CPU each has one thread to
    itself and as many run at once as torch has threads: small matrices gain more from that than from two threads on
    each of them. Results do not depend on the number of threads that run side by side.

    Parameters
    ----------
    samples : mapping of layer to array (n, d_in)
        Arrays may be memory maps of any float type.

    Returns
    -------
    dict of layer to list of TrainResult, in order of seeds
    """
    device = torch.device(device)
    if device.type == "cuda" and config.kind == "topk" and not config.freeze_decoder:
        from biosae_utils.sae.stacked import train_stacked

        return train_stacked(samples, config, n_seeds=n_seeds, device=device)
    jobs = [(layer, config.seed + i) for layer in samples for i in range(n_seeds)]
    threads = torch.get_num_threads()
    workers = max(1, min(threads, len(jobs))) if device.type == "cpu" else 1
    bar, advance = progress("training SAEs", len(jobs) * config.steps, unit="steps")

    def train(job: tuple[int, int]) -> TrainResult:
        layer, seed = job
        if device.type == "cpu":
            torch.set_num_threads(1)
        own = replace(config, seed=seed)
        return train_one(samples[layer], own, device=device, name=f"layer {layer}, seed {seed}", advance=advance)

    try:
        with bar, ThreadPoolExecutor(workers) as pool:
            done = list(pool.map(train, jobs))
    finally:
        torch.set_num_threads(threads)
    out: dict[int, list[TrainResult]] = {layer: [] for layer in samples}
    for (layer, _), result in zip(jobs, done, strict=True):
        out[layer].append(result)
    return out
