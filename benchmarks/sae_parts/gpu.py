"""All layers of a large model at once on a GPU, against the published loop; each part beside what the card allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import Row, Timing, measure, row
from benchmarks.sae_parts.naive import NaiveTrainer
from biosae_utils.sae.metrics import evaluate
from biosae_utils.sae.training import kernels
from biosae_utils.sae.training.ops import TorchOps
from biosae_utils.sae.training.run import TrainConfig, input_moments, train_stacked
from biosae_utils.sae.training.stacked import LOOK, StackedTrainer

L, D, K, B, STEPS = 18, 1152, 32, 4096, 1221
CHOICES = {
    "select": [{"num_warps": w} for w in (2, 4, 8)],
    "decode": [{"BLOCK": b, "num_warps": w} for b, w in ((128, 2), (128, 4), (128, 8), (256, 4), (256, 8), (64, 2))],
    "gradients": [{"E": e, "BLOCK": b, "num_warps": w} for e in (4, 8, 16) for b, w in ((128, 1), (128, 2), (256, 2))],
    "rows": [{"num_warps": w} for w in (2, 4, 8)],
}


def directions(n: int, device: torch.device, seed: int, d: int = D) -> Tensor:
    """Planted directions (n, d) of norm 1."""
    g = torch.Generator(device).manual_seed(1000 + seed)
    return torch.nn.functional.normalize(torch.randn(n, d, device=device, generator=g), dim=1)


def activations(n: int, device: torch.device, seed: int, n_directions: int = 3000, d: int = D) -> Tensor:
    """Vectors (n, d) in float16: sums of 40 directions with uneven odds, an offset, and a little noise."""
    g = torch.Generator(device).manual_seed(seed)
    atoms = directions(n_directions, device, seed, d)
    odds = 1 / torch.arange(10, n_directions + 10, device=device)
    odds = (odds / odds.sum() * 40).clamp(max=0.5)
    offset = torch.randn(d, device=device, generator=g)
    out = torch.empty(n, d, dtype=torch.float16, device=device)
    for part in out.split(25_000):
        on = torch.rand(len(part), n_directions, device=device, generator=g) < odds
        size = on * (0.5 - torch.rand(len(part), n_directions, device=device, generator=g).clamp_min(1e-6).log() / 2)
        part.copy_(size @ atoms + offset + 0.02 * torch.randn(part.shape, device=device, generator=g))
    return out


def trainer_for(data: Tensor, config: TrainConfig, ops: object) -> StackedTrainer:
    """A stack over the layers of `data` (layers, n, D)."""
    moments = [input_moments(x) for x in data]
    means, scales = torch.stack([m for m, _ in moments]), torch.tensor([s for _, s in moments])
    names = [f"layer {i}" for i in range(len(data))]
    return StackedTrainer(D, config, [0] * len(data), means, scales, names, device=data.device, ops=ops)


def batches(data: Tensor, size: int) -> Iterator[Tensor]:
    n = data.shape[1]
    first = torch.arange(len(data), device=data.device).unsqueeze(1) * n
    while True:
        yield first + torch.randint(n, (1, size), device=data.device)


def run_steps(trainer: StackedTrainer, data: Tensor, n: int) -> Callable[[], None]:
    rows = batches(data, B)
    return lambda: [trainer.step(data.view(-1, D), next(rows)) for _ in range(n)]


def time_parts(trainer: StackedTrainer, data: Tensor, repeats: int = 7) -> dict[str, Timing]:
    """Milliseconds of each part of a step, from events on the device."""
    rows, found = batches(data, B), {}
    for _ in range(repeats):
        events: list[tuple[str, torch.cuda.Event]] = []

        def mark(name: str, events=events) -> None:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            events.append((name, event))

        trainer.step(data.view(-1, D), next(rows), mark)
        torch.cuda.synchronize()
        for (_, before), (name, after) in pairwise(events):
            found.setdefault(name, []).append(before.elapsed_time(after) / 1e3)
    return {name: Timing(tuple(seconds[1:])) for name, seconds in found.items()}


def bounds(F: int, tflops: float, tbs: float) -> dict[str, float]:
    """Milliseconds that the bytes of each part (or its multiplications) take at the measured ceilings."""
    x, pre, weights = L * B * D * 2, L * B * F * 2, L * F * D

    def ms(n_bytes: float) -> float:
        return n_bytes / tbs / 1e9

    return {
        "batch": ms(2 * x),
        "encode": 2 * L * B * D * F / tflops / 1e9,
        "top-k": ms(pre),
        "decode": ms(2 * x + 2 * weights),
        "gradients": ms(2 * x + 4 * weights),
        "norms": ms(8 * weights),
        "adam": ms(2 * weights * (6 * 4 + 2 + 2)),
    }


def ceilings(device: torch.device) -> tuple[float, float]:
    """TFLOP/s of large bf16 products and TB/s of a copy, now."""
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    tflops = 2 * 8192**3 * 10 / measure(lambda: [a @ b for _ in range(10)], 3, device=device).median / 1e12
    x, y = (torch.empty(1 << 31, dtype=torch.uint8, device=device) for _ in range(2))
    tbs = 2 * x.numel() * 10 / measure(lambda: [y.copy_(x) for _ in range(10)], 3, device=device).median / 1e12
    return tflops, tbs


def kill(trainer: StackedTrainer, n: int = 300) -> None:
    """Push the first latents of every SAE far below zero, silent for long: AuxK has work from the next look on."""
    trainer.weights["b_enc"][:, :n] = -5.0
    trainer.silent[:, :n] = trainer.config.dead_after


def check(data: Tensor) -> None:
    """Three layers: kernels and plain PyTorch must lose the same and end near each other, with AuxK at work as well."""
    some = data[:3]
    for what, steps, dead_after in (("", 12, 10**9), (" with AuxK", 24, 2 * B)):
        config = TrainConfig(expansion=4, k=K, steps=steps, lr=1e-3, dead_after=dead_after)
        both = {name: trainer_for(some, config, ops) for name, ops in (("kernels", kernels), ("torch", TorchOps))}
        for trainer in both.values() if what else ():
            kill(trainer)
        for rows, _ in zip(batches(some, B), range(steps), strict=False):
            for trainer in both.values():
                trainer.step(some.reshape(-1, D), rows)
        assert (both["kernels"].dead is not None) == bool(what), "AuxK was to be compared and did not run"
        a, b = (torch.tensor([[h["loss"] for h in one] for one in t.history]) for t in both.values())
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-4)
        cosine = torch.cosine_similarity(both["kernels"].weights["W_dec"], both["torch"].weights["W_dec"], dim=2)
        assert cosine.median() > 0.999, cosine.median()
        print(f"kernels agree with plain PyTorch{what}: losses within {((a - b).abs() / b).max():.1e}", flush=True)


def tune(data: Tensor) -> None:
    """Time every launch configuration in place, keep the fastest for this process, and print it."""
    trainer = trainer_for(data, TrainConfig(expansion=4, k=K, steps=2000), kernels)
    run_steps(trainer, data, 2)()
    part = {"select": "top-k", "decode": "decode", "gradients": "gradients", "rows": "adam"}
    for name, choices in CHOICES.items():
        timed = []
        for choice in choices:
            kernels.LAUNCH[name] = choice
            try:
                timed.append((time_parts(trainer, data, 4)[part[name]].median * 1e3, choice))
            except Exception as e:  # a configuration that does not fit this card is no result
                print("skipped", name, choice, type(e).__name__, flush=True)
        timed.sort(key=lambda t: t[0])
        kernels.LAUNCH[name] = timed[0][1]
        print(
            name,
            "; ".join(f"{ms:.2f} ms {choice}" for ms, choice in timed[:4]),
            f"; slowest {timed[-1][0]:.2f}",
            flush=True,
        )


def naive_step(data: Tensor, expansion: int, n: int) -> Timing:
    """Seconds of one published step on one layer, from host memory."""
    x = (data[0] - data[0].float().mean(0)).float().cpu().numpy()
    trainer = NaiveTrainer(D, expansion * D, K, lr=3e-4, device=data.device)
    order = np.random.default_rng(0).permutation(len(x))
    picks = iter([order[(i * B) % (len(x) - B) :][:B] for i in range(6 * n)])
    return measure(lambda: [trainer.step(x, next(picks)) for _ in range(n)], 3, device=data.device)


def naive_quality(train: Tensor, test: Tensor, config: TrainConfig) -> tuple[float, float]:
    """Held-out FVU and dead share of the published trainer at its own rate."""
    mean = train.float().mean(0)
    x = (train.float() - mean).cpu().numpy()
    naive = NaiveTrainer(D, config.expansion * D, K, lr=3e-4, device=train.device)
    rng = np.random.default_rng(0)
    for _ in range(config.steps):
        naive.step(x, rng.integers(len(x), size=B))
    with torch.no_grad():
        y, code = naive.sae(test.float() - mean)
        fvu = ((test.float() - mean - y) ** 2).sum() / ((test.float() - test.float().mean(0)) ** 2).sum()
    return float(fvu), float((code > 0).sum(0).eq(0).float().mean())


def quality(data: Tensor, config: TrainConfig) -> list[Row]:
    """The whole run of all layers, what layer 0 has learnt, and what AuxK has to do with it."""
    train, test = data[:, :-20_000], data[0, -20_000:]
    fvu, dead = naive_quality(train[0], test, config)
    rows = []
    atoms = directions(3000, data.device, 0)
    for name, one in (("", config), (", AuxK off", replace(config, auxk_alpha=0.0))):
        start = time.perf_counter()
        results = train_stacked({i: x for i, x in enumerate(train)}, one, device=data.device)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        ours = evaluate(results[0][0].sae, test)
        cosine = (atoms @ torch.nn.functional.normalize(results[0][0].sae.W_dec, dim=1).t()).amax(1)
        text, rival = f"{L} layers x {config.steps} steps{name}: ", "published loop, lr 3e-4"
        found = 100 * (cosine > 0.9).float().mean().item()
        dead_text = f"{text}dead of 4,608 latents for 3,000 directions"
        rows += [
            Row(f"{text}whole run with set-up", seconds, None, "", None, None, "s", 1, 0.0),
            Row(f"{text}held-out FVU", 100 * ours.fvu, 100 * fvu, rival, fvu / ours.fvu, None, "%", 1, 0.0),
            Row(dead_text, 100 * ours.dead, 100 * dead, rival, None, None, "%", 1, 0.0),
            Row(f"{text}directions found (cosine above 0.9)", found, None, "", None, None, "% of directions", 1, 0.0),
        ]
        del results
        torch.cuda.empty_cache()
    return rows


def main(device: torch.device, *, tuned: bool, n: int = 200_000) -> list[Row]:
    torch.set_float32_matmul_precision("high")
    data = torch.stack([activations(n, device, seed) for seed in range(L)])
    check(data)
    if tuned:
        tune(data)
    tflops, tbs = ceilings(device)
    print(f"ceilings now: {tflops:.0f} TFLOP/s, {tbs:.2f} TB/s", flush=True)
    rows: list[Row] = []
    for expansion, repeats in ((4, 30), (8, 15), (32, 5)):
        config = TrainConfig(expansion=expansion, k=K, steps=2000, lr=2e-3)
        reference = naive_step(data, expansion, 15 if expansion == 4 else 5)
        per = {4: 15, 8: 5, 32: 5}[expansion] / L  # one reference step is one of L layers
        bound = bounds(expansion * D, tflops, tbs)
        for name, ops in (("Triton", kernels), ("plain PyTorch", TorchOps)):
            if name != "Triton" and expansion != 4:
                continue
            trainer = trainer_for(data, config, ops)
            timing = measure(run_steps(trainer, data, repeats), 3, device=device)
            case = f"one step of {L} layers, {D} -> {expansion * D}, {name}"
            rows.append(
                row(
                    case, timing, reference, "published loop", per=repeats, reference_per=per, bound=sum(bound.values())
                )
            )
            if name == "Triton":
                kill(trainer)
                run_steps(trainer, data, LOOK)()
                for part, seconds in time_parts(trainer, data).items():
                    dead = ", 300 dead" if part == "AuxK" else ""
                    rows.append(row(f"  {part} ({expansion}x{dead})", seconds, None, "", bound=bound.get(part)))
            del trainer
            torch.cuda.empty_cache()
    config = TrainConfig(expansion=4, k=K, steps=STEPS, batch_size=B)
    rows += quality(data, config)
    seconds = replace(rows[0], case=f"{L} layers x {STEPS} steps", unit="s")
    scale = STEPS / 1e3
    rows.insert(
        0,
        replace(seconds, ours=rows[0].ours * scale, reference=rows[0].reference * scale, bound=rows[0].bound * scale),
    )
    return rows
