"""Baselines of the small models' cards, with intervals over cells; see `biosae_utils.sae.task_baselines`."""

from __future__ import annotations

import numpy as np

from biosae_utils.intervals import bootstrap_mean
from biosae_utils.models.base import Tokens
from biosae_utils.models.blocks import BlockModel
from biosae_utils.sae.task_baselines import MEAN, Hidden, rank_baselines, value_baselines

N_BOOT = 1000
NOTE = (
    "Much of what a rank model gets right is no biology: genes of one count are sorted by their medians in every cell, "
    "so the visible neighbours of a masked gene nearly name it. The last baseline knows this and nothing else."
)


def interval(loss: np.ndarray, cell: np.ndarray) -> dict[str, float]:
    """Mean over positions and its 95 % interval, resampling cells."""
    mean = bootstrap_mean(loss, cell, n_boot=N_BOOT)
    return {"mean": mean.value, "low": mean.low, "high": mean.high}


def compare(losses: dict[str, np.ndarray], loss: np.ndarray, cell: np.ndarray) -> dict:
    """Baselines with intervals, and the model's gain over the best of them."""
    best = min(losses, key=lambda name: losses[name].mean())
    return {
        "baselines": [{"name": name} | interval(values, cell) for name, values in losses.items()],
        "best_baseline": best,
        "gain_over_best_baseline": interval(losses[best] - loss, cell),
    }


def gene_baselines(model: BlockModel, tokens: Tokens, rows: np.ndarray, *, cell, column, ids, loss) -> dict:
    """Baselines of a masked gene; the first column of a cell is ``<cls>``."""
    losses = rank_baselines(model, tokens, rows, Hidden(cell, column - 1, ids))
    return compare(losses, loss, cell) | {"note": NOTE}


def bin_baselines(model: BlockModel, tokens: Tokens, rows: np.ndarray, *, cell, column, ids, loss) -> dict:
    """Baselines of a masked value; the first column of a cell is ``<cls>``."""
    losses = value_baselines(model, tokens, rows, Hidden(cell, column - 1, ids))
    return compare(losses, loss, cell) | {"variance_explained": float(1 - loss.mean() / losses[MEAN].mean())}
