"""The default learning rate against its neighbours, width by width: ``python -m benchmarks.rates``.

On a CPU the vectors are states of the demo's models on its own cells (d_in 192); on a GPU they are sums of planted
directions as wide as scGPT (512) and Geneformer V2 (768 and 1,152). Training and held-out vectors are of different
cells, or different draws. The rule by which a rate counts as best is that of ``biosae sweep``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import Row, print_rows, write_results
from benchmarks.table import DEFAULT_RATE
from biosae_utils.models.loading import pick_device
from biosae_utils.sae.metrics import evaluate
from biosae_utils.sae.training.run import TrainConfig, train_stacked
from biosae_utils.sae.training.sweep import as_table, trials
from biosae_utils.sae.training.trainer import default_lr

FACTORS = (1 / 9, 1 / 3, 1 / 1.5, 1, 1.5, 3)


def row(case: str, lr: float, fvu: float, default: float) -> Row:
    """One rate; the reference is the FVU at the default rate, which itself has none."""
    if fvu == default:
        return Row(f"{case}, lr {lr:.2g}", 100 * fvu, None, "", None, None, "% FVU", 1, 0.0)
    return Row(f"{case}, lr {lr:.2g}", 100 * fvu, 100 * default, DEFAULT_RATE, default / fvu, None, "% FVU", 1, 0.0)


def on_gpu(device: torch.device) -> list[Row]:
    """Planted directions at the width of the real models."""
    from benchmarks.sae_parts.gpu import activations

    rows = []
    for d in (512, 768, 1152):
        x = activations(220_000, device, seed=d, d=d)
        for expansion, steps in ((4, 500), (4, 1221), (4, 4000), (8, 1221)):
            config = TrainConfig(expansion=expansion, k=32, steps=steps, batch_size=4096)
            rates = [default_lr(d) * factor for factor in FACTORS]
            fvu = {}
            for lr in rates:
                trained = train_stacked({0: x[:200_000]}, replace(config, lr=lr), device=device)
                fvu[lr] = evaluate(trained[0][0].sae, x[200_000:]).fvu
            case = f"planted, {d} -> {expansion * d}, {steps} steps of 4,096"
            rows += [row(case, lr, value, fvu[default_lr(d)]) for lr, value in fvu.items()]
    return rows


def on_cpu(models: Path, data: Path) -> list[Row]:
    """States of the demo's models."""
    from biosae_utils.cells.data import open_cells
    from biosae_utils.models.registry import load_model
    from biosae_utils.sae.extract import sample_activations
    from biosae_utils.sae.positions import Layout, tokenise

    rows, rng = [], np.random.default_rng(0)
    for directory in sorted(models.iterdir()):
        model, cells = load_model(directory, device="cpu"), open_cells(data)
        parts = []
        for chosen, n in zip(np.split(rng.permutation(cells.n_cells)[:600], [480]), (60_000, 10_000), strict=True):
            tokens = tokenise(cells, chosen, model)
            wanted = np.sort(rng.choice(len(Layout(tokens, model.info)), n, replace=False))
            layer = model.info.n_layers // 2
            parts.append(sample_activations(model, tokens, wanted, [layer])[layer])
        d = model.info.d_model
        for steps in (300, 800):
            config = TrainConfig(steps=steps)
            configs = [replace(config, lr=default_lr(d) * factor) for factor in FACTORS]
            found = as_table(trials(*parts, configs)).sort_values("lr")
            case = f"{model.info.name} layer {layer}, {d} -> {4 * d}, {steps} steps of 1,024"
            default = found["fvu"].to_numpy()[np.isclose(found["lr"], default_lr(d))].item()
            rows += [row(case, lr, fvu, default) for lr, fvu in zip(found["lr"], found["fvu"], strict=True)]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--models", type=Path, default="data/demo/models", help="folder of models (CPU)")
    parser.add_argument("--data", type=Path, default="data/demo/pbmc_ifnb.h5ad", help="cells (CPU)")
    args = parser.parse_args()
    device = pick_device(args.device)
    rows = on_gpu(device) if device.type == "cuda" else on_cpu(args.models, args.data)
    print_rows(device, rows)
    write_results("rates", device, rows)


if __name__ == "__main__":
    main()
