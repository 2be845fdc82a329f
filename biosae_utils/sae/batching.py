"""How hidden states leave a model: batches that fit in memory, and copies that overlap with the work."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Batch, FoundationModel, ModelInfo, Tokens

T = TypeVar("T")

CPU_TOKENS = 2_048  # above it a batch leaves the caches of a CPU and gets slower (measured with the mini models)
GPU_TOKENS = 65_536  # 32 cells of 2,048 tokens: an H100 is saturated (spike: 3.1 ms a cell at 32, no better beyond)
SHARE = 0.6  # of the free memory; the rest is for fragmentation and for whoever else is there


# ---- devices and batches -----------------------------------------------------------------------------------------


def device_report(device: torch.device | str) -> str:
    """One honest line about where the work runs: name, memory, and on a CPU the threads that torch really uses."""
    device = torch.device(device)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return f"{torch.cuda.get_device_name(device)}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free, bfloat16"
    if device.type == "mps":
        return "Apple GPU (mps), memory shared with the CPU, float32"
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU, {torch.get_num_threads()} threads on {allowed} usable cores, float32"


@contextmanager
def tensor_cores() -> Iterator[None]:
    """Let float32 products of SAEs run on a GPU's tensor cores (TF32) within the block; no effect elsewhere."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Budget:
    """Padded tokens that one batch may hold; shrinks when memory turns out to be short.

    Parameters
    ----------
    info : ModelInfo
    device : torch.device
    max_tokens : int, optional
        Upper limit set by the user; found from free memory when None.
    n_layers : int, optional
        Layers whose states are held at once; all by default.
    extra : int
        Bytes a token that the caller needs besides (an SAE's pre-activations, for instance).
    """

    def __init__(
        self,
        info: ModelInfo,
        device: torch.device,
        max_tokens: int | None = None,
        *,
        n_layers: int | None = None,
        extra: int = 0,
    ) -> None:
        if max_tokens is None:
            if device.type == "cuda":
                free, size, cap = torch.cuda.mem_get_info(device)[0], 2, GPU_TOKENS
            else:
                import psutil

                free, size, cap = psutil.virtual_memory().available, 4, CPU_TOKENS
            # per token: one state a layer, and about 24 widths inside a block (queries to values, FFN of 4 d, copies)
            per_token = (
                (info.n_layers if n_layers is None else n_layers) * info.d_model * size
                + 24 * info.d_model * size
                + extra
            )
            max_tokens = int(min(cap, free * SHARE / per_token))
        self.max_tokens = max(1, max_tokens)


def map_batches(
    model: FoundationModel, tokens: Tokens, rows: np.ndarray, work: Callable[[Batch], T], budget: Budget
) -> Iterator[T]:
    """Yield ``work(batch)`` over length-bucketed batches, under inference mode; batches shrink when memory runs out.

    `work` must not return None, and must be safe to repeat: a batch that ran out of memory comes again in halves.

    Raises
    ------
    BiosaeError
        If not even one cell fits.
    """
    rows = rows[tokens.lengths[rows] > 0]
    left = rows[np.argsort(-tokens.lengths[rows], kind="stable")]
    while len(left):
        longest = int(tokens.lengths[left[0]])
        size = min(len(left), max(1, budget.max_tokens // longest))
        try:
            with torch.inference_mode():
                result = work(model.collate(tokens, left[:size]))
        except (RuntimeError, MemoryError) as e:
            if not _is_out_of_memory(e):
                raise
            result = None
        if result is None:  # shrink out here: inside the handler the traceback would keep the failed tensors alive
            if size == 1:
                raise BiosaeError(
                    f"One cell of {longest:,} tokens does not fit in memory",
                    do="ask for fewer layers, or use a bigger machine",
                )
            budget.max_tokens = max(1, size // 2) * longest
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        left = left[size:]
        yield result


def _is_out_of_memory(error: BaseException) -> bool:
    """CUDA says it by type, the CPU allocator and MPS only in words."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return "can't allocate memory" in text or "out of memory" in text


def progress(text: str, total: int, unit: str = "cells") -> tuple[Progress, Callable[[int], None]]:
    """A progress bar with rate and time left, silent when nobody watches; use it as a context manager."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    task = bar.add_task(text, total=total, rate="")

    def advance(n: int) -> None:
        speed = bar.tasks[0].speed
        bar.update(task, advance=n, rate=f"{speed:,.0f} {unit}/s" if speed else "")

    return bar, advance


# ---- off the device ----------------------------------------------------------------------------------------------


class Drain:
    """Takes results off the device while the next batch computes, and hands them to callbacks in order.

    On CUDA the copy runs on its own stream into pinned memory; one worker thread waits for it and calls back, so that
    the thread that feeds the GPU never waits for a copy or a disk. A few results may be under way, no more. The first
    callback that fails ends them all; its error is raised where results are pushed.

    Parameters
    ----------
    device : torch.device
    depth : int
        Results under way before `push` waits.
    """

    def __init__(self, device: torch.device, depth: int = 3) -> None:
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.device, self.depth = device, depth
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="drain")
        self.under_way: deque[Future[None]] = deque()
        self.broken = False

    def __enter__(self) -> Drain:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.worker.shutdown(wait=True)  # what came off the device is kept, even when the feeding thread failed
        while self.under_way and kind is None:
            self.under_way.popleft().result()

    def push(self, tensors: Sequence[Tensor], done: Callable[..., None]) -> None:
        """Call ``done(*arrays)`` with host copies of `tensors`, after everything pushed before."""
        while len(self.under_way) >= self.depth:
            self.under_way.popleft().result()
        event, host = None, list(tensors)
        if self.stream is not None and host:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(self.stream):
                host = [
                    torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t, non_blocking=True) for t in tensors
                ]
                event = self.stream.record_event()
            for t in tensors:
                t.record_stream(self.stream)  # the allocator must not reuse it before the copy is through

        def finish() -> None:
            if self.broken:
                return  # a ledger must not be signed after a write that failed
            try:
                if event is not None:
                    event.synchronize()
                done(*(t.cpu().numpy() for t in host))
            except BaseException:
                self.broken = True
                raise

        self.under_way.append(self.worker.submit(finish))


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to the device without making the host wait for the work queued there."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
