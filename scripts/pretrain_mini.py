"""Pretrain the two small models that ship with the demo, and measure them on held-out cells beside trivial baselines.

Run from the repository root, after ``scripts/build_demo_data.py`` has written ``pretrain.npz``::

    python -m scripts.pretrain_mini --data .cache/demo-sources/pretrain.npz --out data/demo/models --minutes 4

Both models are saved in exactly the layout of the published checkpoints, so that one loader serves both; tokens are
made by the package's own classes. ``--tiny`` trains on a few cells, to see that everything runs on a CPU. Training
stops by the clock, so a rerun gives a model of the same quality and not the same weights; ``card.json`` keeps the
numbers.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

from biosae_utils.models.base import Batch, Tokens
from biosae_utils.models.blocks import BlockModel
from biosae_utils.models.registry import load_model
from biosae_utils.store import atomic_path, read_json, sha256, write_json
from scripts.pretrain_baselines import bin_baselines, gene_baselines, interval
from scripts.pretrain_card import describe
from scripts.pretrain_layout import Cells, write_geneformer, write_scgpt

MASK_RATE = 0.15
WEIGHTS = "model.safetensors"


# ---- training objectives -----------------------------------------------------------------------------------------


def mask_genes(model: BlockModel, batch: Batch, generator: torch.Generator) -> tuple[Batch, Tensor]:
    """BERT's recipe: of 15 % of the genes 80 % become ``<mask>``, 10 % another gene, 10 % stay."""
    chosen = (torch.rand(batch.ids.shape, device=model.device, generator=generator) < MASK_RATE) & batch.is_gene
    kind = torch.rand(batch.ids.shape, device=model.device, generator=generator)
    n_vocab, first = len(model.info.vocab), max(model.info.special_ids) + 1
    others = torch.randint(first, n_vocab, batch.ids.shape, device=model.device, generator=generator)
    ids = torch.where(chosen & (kind < 0.8), model.mask_id, batch.ids)
    ids = torch.where(chosen & (kind >= 0.9), others, ids)
    return replace(batch, ids=ids, targets={"ids": batch.ids}), chosen.nonzero()


def mask_values(model: BlockModel, batch: Batch, generator: torch.Generator) -> tuple[Batch, Tensor]:
    """Hide the values of 15 to 40 % of the genes, a share drawn for each cell."""
    rate = 0.15 + 0.25 * torch.rand((len(batch.cells), 1), device=model.device, generator=generator)
    chosen = (torch.rand(batch.ids.shape, device=model.device, generator=generator) < rate) & batch.is_gene
    values = batch.values.masked_fill(chosen, model.mask_value)
    return replace(batch, values=values, targets={"values": batch.values}), chosen.nonzero()


@dataclass(frozen=True)
class Recipe:
    """How one model is made: its directory, its objective, its baselines, and the unit of its loss."""

    write: Callable[[Path, Cells], None]
    corrupt: Callable[[BlockModel, Batch, torch.Generator], tuple[Batch, Tensor]]
    baselines: Callable[..., dict]
    unit: str
    scale: float  # divides the loss, so that the gradient clip means the same for both


RECIPES = {
    "mini-geneformer": Recipe(write_geneformer, mask_genes, gene_baselines, "nats a masked gene", 1.0),
    "mini-scgpt": Recipe(write_scgpt, mask_values, bin_baselines, "squared bins a masked value", 100.0),
}


class Resident:
    """All tokens on the device, so that a batch is one gather."""

    def __init__(self, model: BlockModel, tokens: Tokens) -> None:
        self.model, self.lengths = model, tokens.lengths
        self.ids = torch.from_numpy(tokens.ids).to(model.device).long()
        self.values = None if tokens.values is None else torch.from_numpy(tokens.values).to(model.device)
        self.starts = torch.from_numpy(tokens.offsets[:-1]).to(model.device)
        self.sizes = torch.from_numpy(tokens.lengths).to(model.device)

    def batch(self, rows: np.ndarray) -> Batch:
        width = int(self.lengths[rows].max())
        at = torch.from_numpy(rows).to(self.model.device)
        column = torch.arange(width, device=self.model.device)
        inside = column < self.sizes[at, None]
        source = (self.starts[at, None] + column).clamp(max=len(self.ids) - 1)
        ids = torch.where(inside, self.ids[source], self.model.pad_id)
        values = None if self.values is None else torch.where(inside, self.values[source], self.model.pad_value)
        is_gene = inside & ~torch.isin(ids, torch.tensor(self.model.info.special_ids, device=ids.device))
        return Batch(ids, values, inside, is_gene, rows, padded=bool(self.lengths[rows].min() < width))

    def epoch(self, rows: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Batches of similar length in random order."""
        groups = np.array_split(rng.permutation(rows), max(1, len(rows) // (size * 16)))
        batches = [g[np.argsort(self.lengths[g], kind="stable")] for g in groups]
        batches = [g[i : i + size] for g in batches for i in range(0, len(g), size)]
        return [batches[i] for i in rng.permutation(len(batches))]


def final_state(model: BlockModel, batch: Batch) -> Tensor:
    last = model.info.n_layers - 1
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=model.device.type == "cuda"):
        return model.hidden(batch, [last])[last]


def train(
    model: BlockModel,
    data: Resident,
    rows: np.ndarray,
    validation: np.ndarray,
    recipe: Recipe,
    options: argparse.Namespace,
) -> dict:
    """Train for ``options.minutes``; leaves the weights that were best on the validation cells in the model."""
    net, device = model.net, model.device
    net.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=options.lr, weight_decay=0.01, betas=(0.9, 0.98), fused=device.type == "cuda"
    )
    rng, generator = np.random.default_rng(options.seed), torch.Generator(device).manual_seed(options.seed)
    torch.manual_seed(options.seed)  # dropout has no generator of its own
    start, budget, queue, step, epochs, seen = time.time(), options.minutes * 60, [], 0, 0, 0
    history, best, best_loss = [], copy.deepcopy(net.state_dict()), float("inf")
    checks = iter([*np.linspace(0, 1, 13)[1:-1], 2.0])
    next_check = next(checks)
    while (share := (time.time() - start) / budget) < 1:
        if share >= next_check:
            best, best_loss = keep_best(model, data, validation, best, best_loss, history, step, start)
            next_check = next(checks)
        if not queue:
            queue, epochs = data.epoch(rows, options.batch, rng), epochs + 1
        batch, positions = recipe.corrupt(model, data.batch(queue.pop()), generator)
        rate = options.lr * min(1.0, (step + 1) / options.warmup) * max(0.02, 0.5 * (1 + np.cos(np.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        state = final_state(model, batch)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            loss = model.loss(state, batch, positions).mean() / recipe.scale
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + len(batch.cells)
    best, best_loss = keep_best(model, data, validation, best, best_loss, history, step, start)
    net.load_state_dict(best)
    net.eval().requires_grad_(False)
    return {
        "steps": step,
        "epochs": epochs,
        "cells_seen": seen,
        "seconds": round(time.time() - start, 1),
        "history": history,
    }


def keep_best(model, data, validation, best, best_loss, history, step, start) -> tuple[dict, float]:
    """Loss on the validation cells; remembers the weights when they are the best so far."""
    model.net.eval()
    loss = float(np.mean(np.concatenate([part[0] for part in masked_losses(model, data, validation)])))
    model.net.train()
    history.append({"step": step, "seconds": round(time.time() - start, 1), "validation_loss": loss})
    print(f"  {model.info.name}: step {step}, {time.time() - start:.0f} s, validation loss {loss:.4f}", flush=True)
    return (copy.deepcopy(model.net.state_dict()), loss) if loss < best_loss else (best, best_loss)


@torch.no_grad()
def masked_losses(model: BlockModel, data: Resident, rows: np.ndarray, size: int = 64):
    """Yield (loss, cell, column, true id) of every masked gene of the cells, batch by batch, as arrays."""
    for i in range(0, len(rows), size):
        batch = data.batch(rows[i : i + size])
        masked, positions = model.mask(batch, MASK_RATE, seed=1)
        loss = model.loss(final_state(model, masked).float(), masked, positions)
        where = positions.cpu().numpy()
        yield (
            loss.float().cpu().numpy(),
            batch.cells[where[:, 0]],
            where[:, 1],
            batch.ids[positions[:, 0], positions[:, 1]].cpu().numpy(),
        )


# ---- one model from start to card --------------------------------------------------------------------------------


def make(name: str, cells: Cells, options: argparse.Namespace) -> None:
    """Train a model, or with ``--evaluate`` take the weights that are there, and write its card."""
    recipe, folder = RECIPES[name], options.out / name
    shuffled = np.random.default_rng(options.seed).permutation(np.flatnonzero(~cells.heldout))
    n_validation = min(500, len(shuffled) // 10)
    validation, rows = shuffled[:n_validation], shuffled[n_validation:]
    if options.evaluate:
        trained = {key: read_json(folder / "card.json")[key] for key in ("training", "machine")}
    else:
        trained = train_and_save(name, cells, rows, validation, options)
    # what users get: the saved file, read back from float16
    model = load_model(folder, name=name, device=options.device, dtype="float32")
    tokens, heldout = model.encode(cells.counts, cells.genes), np.flatnonzero(cells.heldout)
    parts = masked_losses(model, Resident(model, tokens), heldout)
    loss, cell, column, ids = map(np.concatenate, zip(*parts, strict=True))
    evaluation = {"unit": recipe.unit, "heldout_cells": len(heldout), "masked_positions": len(loss)}
    evaluation |= {"model": interval(loss, cell)}
    evaluation |= recipe.baselines(model, tokens, rows, cell=cell, column=column, ids=ids, loss=loss)
    card = {
        "name": name,
        "parameters": sum(p.numel() for p in model.net.parameters()),
        "architecture": {
            "d_model": model.info.d_model,
            "layers": model.info.n_layers,
            "vocabulary": len(model.info.vocab),
        },
        "data": {"sources": cells.sources, "training": len(rows), "validation": n_validation, "heldout": len(heldout)},
        "data_sha256": sha256(options.data),
        "weights_sha256": model.info.sha256,
        "evaluation": evaluation,
    }
    write_json(folder / "card.json", card | trained)
    with atomic_path(folder / "README.md") as tmp:
        tmp.write_text(describe(card | trained))
    print(json.dumps(evaluation, indent=1), flush=True)


def train_and_save(
    name: str, cells: Cells, rows: np.ndarray, validation: np.ndarray, options: argparse.Namespace
) -> dict:
    """Write a model's directory, weights included; returns what the card says of the training."""
    recipe, folder = RECIPES[name], options.out / name
    recipe.write(folder, cells)
    model = load_model(
        folder, name=name, variant="random-weights", device=options.device, dtype="float32", seed=options.seed
    )
    tokens = model.encode(cells.counts, cells.genes)
    print(f"{name}: {len(rows)} cells, median {np.median(tokens.lengths):.0f} tokens", flush=True)
    training = train(model, Resident(model, tokens), rows, validation, recipe, options)
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    state = {k: v.half().cpu().contiguous() for k, v in model.net.state_dict().items() if k not in tied}
    with atomic_path(folder / WEIGHTS) as tmp:
        save_file(state, tmp, metadata={"format": "pt"})
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else platform.processor() or "CPU"
    settings = {"seed": options.seed, "batch": options.batch, "lr": options.lr, "minutes": options.minutes}
    machine = {"device": device, "torch": torch.__version__, "transformers": transformers.__version__}
    return {"training": training | settings, "machine": machine}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".cache/demo-sources/pretrain.npz"))
    parser.add_argument("--out", type=Path, default=Path("data/demo/models"))
    parser.add_argument("--models", default=",".join(RECIPES), help="comma-separated")
    parser.add_argument("--minutes", type=float, default=4.0, help="training time of each model")
    parser.add_argument("--batch", type=int, default=96, help="cells a step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=300, help="steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--evaluate", action="store_true", help="measure the weights that are there, train nothing")
    parser.add_argument("--tiny", action="store_true", help="400 cells, to see that it runs")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = True
    cells = Cells.read(options.data, options.tiny)
    for name in options.models.split(","):
        make(name, cells, options)


if __name__ == "__main__":
    main()
