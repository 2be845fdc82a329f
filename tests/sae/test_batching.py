"""Batches that fit in memory, and results that leave the device in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.batching import Budget, Drain, device_report, map_batches
from biosae_utils.sae.extract import sample_activations

CPU = torch.device("cpu")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_out_of_memory_halves_the_batch(tiny_model, tiny_tokens, monkeypatch, dense, error):
    tried = []
    hidden = tiny_model.hidden

    def small_memory(batch, layers, **kw):
        tried.append(batch.ids.numel())
        if batch.ids.numel() > 150:
            raise error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return hidden(batch, layers, **kw)

    monkeypatch.setattr(tiny_model, "hidden", small_memory)
    rows = np.arange(len(dense[0]))
    states = sample_activations(tiny_model, tiny_tokens, rows, dtype=np.float32)
    np.testing.assert_allclose(states[2], dense[2], atol=1e-5)
    widest = int(tiny_tokens.lengths.max())
    assert tried[:4] == [39 * widest, 19 * widest, 9 * widest, 4 * widest] and max(tried[4:]) <= 150


def test_other_errors_are_not_taken_for_memory(tiny_model, tiny_tokens, monkeypatch):
    monkeypatch.setattr(tiny_model, "hidden", lambda *_, **__: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match=r"inconsistent tensor size|size mismatch"):
        sample_activations(tiny_model, tiny_tokens, np.arange(5))


def test_one_cell_too_large_is_a_sentence(tiny_model, tiny_tokens, monkeypatch):
    def none(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tiny_model, "hidden", none)
    with pytest.raises(BiosaeError, match=r"One cell of [0-9]+ tokens does not fit"):
        sample_activations(tiny_model, tiny_tokens, np.arange(50))


def test_budget_and_buckets(tiny_model, tiny_tokens):
    assert Budget(tiny_model.info, CPU, 123).max_tokens == 123
    assert Budget(tiny_model.info, CPU).max_tokens >= 1024
    assert Budget(tiny_model.info, CPU, extra=1 << 60).max_tokens == 1, "memory asked for by the caller counts"
    shapes = [
        (b.ids.shape, b.cells)
        for b in map_batches(tiny_model, tiny_tokens, np.arange(40), lambda b: b, Budget(tiny_model.info, CPU, 150))
    ]
    assert all(rows * width <= 150 for (rows, width), _ in shapes)
    assert sorted(np.concatenate([c for _, c in shapes])) == list(range(40))
    widths = [width for (_, width), _ in shapes]
    assert widths == sorted(widths, reverse=True)


def test_device_report_names_the_threads_really_used():
    assert f"{torch.get_num_threads()} threads" in device_report("cpu")


def test_drain_keeps_order_and_raises():
    seen = []
    with Drain(CPU, depth=2) as drain:
        for i in range(20):
            drain.push([torch.tensor(i)], lambda a: seen.append(int(a)))
    assert seen == list(range(20))

    def fail(*_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Drain(CPU) as drain:
        drain.push([], fail)
