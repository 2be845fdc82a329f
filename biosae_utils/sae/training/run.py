"""Training from stored samples: batches in a seeded order, one SAE, or one for every layer and seed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.batching import progress
from biosae_utils.sae.training.checkpoints import Checkpoint
from biosae_utils.sae.training.ops import Ops
from biosae_utils.sae.training.stacked import StackedTrainer
from biosae_utils.sae.training.trainer import SAETrainer, TrainConfig, TrainResult, input_moments

__all__ = [
    "Job",
    "SAETrainer",
    "TrainConfig",
    "TrainResult",
    "input_moments",
    "shuffled_batches",
    "side_by_side",
    "train_layers",
    "train_many",
    "train_one",
    "train_stacked",
]

Sample = np.ndarray | Tensor
PIECE = 50  # steps between two words to the progress bar


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
    folder: Path | str | None = None,
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
    folder : path, optional
        Keep a checkpoint there about once a minute, and the SAE at the end. A training that was killed goes on from
        it, to the very weights of one that was not; a finished one is read. `name` and `config` tell trainings apart.
    """
    advance = advance or (lambda steps: None)
    data = as_tensor(sample, device)
    trainer = SAETrainer.from_sample(data, config, device=device, name=name)
    checkpoint = Checkpoint(folder, name, config, len(data), trainer.mean, trainer.scale) if folder else None
    if checkpoint:
        if (result := checkpoint.finished(device)) is not None:
            advance(config.steps)
            return result
        checkpoint.resume(trainer)
        advance(trainer.step_no)
    begin = time.perf_counter()
    batches = shuffled_batches(data, config.batch_size, config.seed, start=trainer.step_no)
    while (left := config.steps - trainer.step_no) > 0:
        trainer.fit(islice(batches, min(PIECE, left)))
        advance(min(PIECE, left))
        if checkpoint:
            checkpoint.keep(trainer)
    result = trainer.result(checkpoint.seconds if checkpoint else time.perf_counter() - begin)
    if checkpoint:
        checkpoint.finish(result)
    return result


@dataclass(frozen=True)
class Job:
    """One SAE to train: its sample (n, d_in), its config, and the name that errors say."""

    sample: Sample
    config: TrainConfig
    name: str = ""


def train_many(
    jobs: Sequence[Job], *, device: torch.device | str = "cpu", folder: Path | str | None = None
) -> list[TrainResult]:
    """Train several SAEs, each as `train_one` would.

    On a CPU each has one thread to itself and as many run at once as torch has threads: small matrices gain more from
    that than from two threads on each of them. Results do not depend on how many run side by side.
    """
    return side_by_side(partial(train_one, folder=folder), jobs, device)


def side_by_side(
    train: Callable[..., TrainResult | None], jobs: Sequence[Job], device: torch.device | str
) -> list[Any]:
    """What `train`, called as `train_one`, makes of each job."""
    device = torch.device(device)
    on_cpu = device.type == "cpu"
    threads = torch.get_num_threads()
    bar, advance = progress("training SAEs", sum(job.config.steps for job in jobs), unit="steps")

    def one(job: Job) -> TrainResult | None:
        if on_cpu:
            torch.set_num_threads(1)
        return train(job.sample, job.config, device=device, name=job.name, advance=advance)

    try:
        with bar, ThreadPoolExecutor(max(1, min(threads, len(jobs))) if on_cpu else 1) as pool:
            return list(pool.map(one, jobs))
    finally:
        torch.set_num_threads(threads)


def train_layers(
    samples: Mapping[int, Sample],
    config: TrainConfig,
    *,
    n_seeds: int = 1,
    device: torch.device | str = "cpu",
    folder: Path | str | None = None,
) -> dict[int, list[TrainResult]]:
    """Train `n_seeds` SAEs (seeds ``config.seed``, ``config.seed + 1`` ...) for every layer.

    Parameters
    ----------
    samples : mapping of layer to array (n, d_in)
        Arrays may be memory maps of any float type.
    config : TrainConfig
    n_seeds : int
    device : torch.device or str
        On CUDA all SAEs are one stacked parameter (`train_stacked`), elsewhere see `train_many`.
    folder : path, optional
        Keep there what `train_one` keeps, so that a call that was killed goes on where it was. Whoever stores the
        results deletes it. A stack of SAEs on CUDA takes minutes; only finished ones are kept.

    Returns
    -------
    dict of layer to list of TrainResult, in order of seeds
    """
    if torch.device(device).type == "cuda" and config.kind == "topk":
        return train_stacked(samples, config, n_seeds=n_seeds, device=device, folder=folder)
    seeds = range(config.seed, config.seed + n_seeds)
    jobs = [
        Job(sample, replace(config, seed=seed), f"layer {layer}, seed {seed}")
        for layer, sample in samples.items()
        for seed in seeds
    ]
    done = iter(train_many(jobs, device=device, folder=folder))
    return {layer: [next(done) for _ in seeds] for layer in samples}


# ---- all at once on a GPU ----------------------------------------------------------------------------------------


def train_stacked(
    samples: Mapping[int, np.ndarray | Tensor],
    config: TrainConfig,
    *,
    n_seeds: int = 1,
    device: torch.device | str = "cuda",
    ops: Ops | None = None,
    folder: Path | str | None = None,
) -> dict[int, list[TrainResult]]:
    """`train_layers` on a GPU: every layer and seed in one stack.

    All samples must have the same shape (they do: one pass samples the same positions of every layer). They stay in the
    device's memory as float16 or bf16; when they do not fit, parts of them take turns there.
    """
    layers, device = list(samples), torch.device(device)
    shapes = {tuple(samples[layer].shape) for layer in layers}
    if len(shapes) != 1:
        raise BiosaeError(f"Samples of different shapes {sorted(shapes)} cannot train stacked", do="use train_many")
    ((n, d),) = shapes
    stack = [(i, config.seed + repeat) for i in range(len(layers)) for repeat in range(n_seeds)]
    seeds, names = [seed for _, seed in stack], [f"layer {layers[i]}, seed {seed}" for i, seed in stack]
    moments = [input_moments(_slab(samples[layer], slice(0, n, max(1, n // 100_000))).to(device)) for layer in layers]
    means, scales = zip(*(moments[i] for i, _ in stack), strict=True)
    configs = [replace(config, seed=seed) for seed in seeds]
    facts = zip(names, configs, [n] * len(stack), means, scales, strict=True)
    kept = [Checkpoint(folder, *those) for those in facts] if folder else []
    results = [result for checkpoint in kept if (result := checkpoint.finished(device)) is not None]
    if len(results) < len(stack):
        trainer = StackedTrainer(
            d, config, seeds, torch.stack(means), torch.tensor(scales), names, device=device, ops=ops
        )
        begin = time.perf_counter()
        _fit_stack(trainer, [samples[layer] for layer in layers], stack)
        results = trainer.results(seeds, time.perf_counter() - begin)
        for checkpoint, result in zip(kept, results, strict=False):
            checkpoint.finish(result)
    done = iter(results)
    return {layer: [next(done) for _ in range(n_seeds)] for layer in layers}


def _fit_stack(trainer: StackedTrainer, samples: Sequence[Sample], stack: Sequence[tuple[int, int]]) -> None:
    """All steps of a stack of (number of the sample, seed)."""
    (n, d), config, device = samples[0].shape, trainer.config, trainer.device
    size = min(config.batch_size, n)
    turns = _turns(len(samples) * n * d * 2, trainer, size)
    first_row = torch.tensor([i * math.ceil(n / turns) for i, _ in stack]).unsqueeze(1)
    orders = {seed: torch.Generator().manual_seed(seed) for _, seed in stack}
    bar, advance = progress(f"training {len(stack)} SAEs at once", config.steps, unit="steps")
    with bar:
        while trainer.step_no < config.steps:
            for turn in range(turns):
                if turns > 1 or trainer.step_no == 0:
                    slabs = [_slab(sample, slice(turn, n, turns)) for sample in samples]
                    here = len(slabs[0])
                    data = _uploaded(slabs, math.ceil(n / turns), device)
                shuffled = {seed: torch.randperm(here, generator=g) for seed, g in orders.items()}
                order = (torch.stack([shuffled[seed] for _, seed in stack]) + first_row).to(device)
                for start in range(0, here - size + 1, size):
                    if trainer.step_no == config.steps:
                        break
                    trainer.step(data, order[:, start : start + size])
                    advance(1)


def _slab(sample: np.ndarray | Tensor, rows: slice) -> Tensor:
    """Some rows of a sample, in 16 bits where the sample has no more."""
    part = sample[rows]
    if isinstance(part, np.ndarray):  # torch warns of maps that it cannot write to
        part = torch.from_numpy(part if part.flags.writeable else np.array(part))
    return part.contiguous()


def _uploaded(slabs: Sequence[Tensor], n: int, device: torch.device) -> Tensor:
    """Slabs one after another on the device, each in the first of n rows."""
    data = torch.zeros(len(slabs), n, slabs[0].shape[1], dtype=slabs[0].dtype, device=device)
    for place, slab in zip(data, slabs, strict=True):
        place[: len(slab)].copy_(slab)
    return data.view(-1, data.shape[2])


def _turns(n_bytes: int, trainer: StackedTrainer, batch: int) -> int:
    """In how many parts the samples visit the device."""
    if trainer.device.type != "cuda":
        return 1
    work = trainer.S * batch * (trainer.F * 2 + trainer.d * 8)
    free = torch.cuda.mem_get_info(trainer.device)[0] - 1.3 * work
    return max(1, math.ceil(n_bytes / max(free * 0.8, 1.0)))
