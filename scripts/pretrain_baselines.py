"""What a model must beat: a masked gene guessed from frequency and rank, a masked value from gene and cell means."""

from __future__ import annotations

import numpy as np

from biosae_utils.models.base import Tokens
from biosae_utils.models.blocks import BlockModel

N_BINS = 64  # of rank
SMOOTHING = 1e-3
N_BOOT = 1000


def interval(loss: np.ndarray, cell: np.ndarray) -> dict[str, float]:
    """Mean over positions and its 95 % interval, resampling cells."""
    _, code = np.unique(cell, return_inverse=True)
    total, count = np.bincount(code, weights=loss), np.bincount(code)
    draws = np.random.default_rng(0).integers(0, len(total), (N_BOOT, len(total)))
    low, high = np.quantile(total[draws].sum(1) / count[draws].sum(1), [0.025, 0.975])
    return {"mean": float(loss.mean()), "low": float(low), "high": float(high)}


def compare(losses: dict[str, np.ndarray], loss: np.ndarray, cell: np.ndarray) -> dict:
    """Baselines with intervals, and the model's gain over the best of them."""
    best = min(losses, key=lambda name: losses[name].mean())
    return {
        "baselines": [{"name": name} | interval(values, cell) for name, values in losses.items()],
        "best_baseline": best,
        "gain_over_best_baseline": interval(losses[best] - loss, cell),
    }


def gene_baselines(model: BlockModel, tokens: Tokens, rows: np.ndarray, *, cell, column, ids, loss) -> dict:
    """Masked gene from its frequency, at its absolute rank, and at its rank relative to the cell's length.

    All three know which genes are visible in the cell and exclude them, which the model must learn.
    """
    n_vocab, max_genes = len(model.info.vocab), model.info.max_len - 2
    bins = {
        "gene frequency": lambda rank, n: np.zeros(len(rank), np.int64),
        "gene at its absolute rank": lambda rank, n: np.minimum(rank * N_BINS // max_genes, N_BINS - 1),
        "gene at its relative rank": lambda rank, n: rank * N_BINS // n,
    }
    tables = {name: np.zeros(N_BINS * n_vocab) for name in bins}
    for row in rows:
        genes = tokens.ids[tokens.offsets[row] + 1 : tokens.offsets[row + 1] - 1].astype(np.int64)
        rank = np.arange(len(genes))
        for name, of in bins.items():
            tables[name][of(rank, len(genes)) * n_vocab + genes] += 1
    chance = {name: table.reshape(N_BINS, n_vocab) + SMOOTHING for name, table in tables.items()}
    chance = {name: table / table.sum(1, keepdims=True) for name, table in chance.items()}
    losses = {name: np.empty(len(ids)) for name in bins}
    for one in np.unique(cell):
        at = np.flatnonzero(cell == one)
        genes = tokens.ids[tokens.offsets[one] + 1 : tokens.offsets[one + 1] - 1]
        visible = np.setdiff1d(genes, ids[at])
        for name, of in bins.items():
            table = chance[name]
            row = of(column[at] - 1, len(genes))
            left = 1 - table[:, visible].sum(1)
            losses[name][at] = np.log(left[row]) - np.log(table[row, ids[at]])
    return compare(losses, loss, cell)


def bin_baselines(model: BlockModel, tokens: Tokens, rows: np.ndarray, *, cell, column, ids, loss) -> dict:
    """Masked value from the mean of all, the gene's mean, and a regression on gene and cell means and gene number."""
    n_vocab = len(model.info.vocab)
    of_training = np.zeros(tokens.n_cells, bool)
    of_training[rows] = True
    owner = np.repeat(np.arange(tokens.n_cells), tokens.lengths)
    fit = of_training[owner] & ~np.isin(tokens.ids, model.info.special_ids)
    overall = tokens.values[fit].mean()
    total = np.bincount(tokens.ids[fit], weights=tokens.values[fit], minlength=n_vocab)
    gene_mean = (total + overall) / (np.bincount(tokens.ids[fit], minlength=n_vocab) + 1)

    def features(row: int, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cell_ids = tokens.ids[tokens.offsets[row] + 1 : tokens.offsets[row + 1]]
        values = tokens.values[tokens.offsets[row] + 1 : tokens.offsets[row + 1]]
        seen = np.ones(len(values), bool)
        seen[hidden] = False
        means = gene_mean[cell_ids]
        shared = [values[seen].mean(), means[seen].mean(), np.log(len(values)), 1.0]
        x = np.column_stack([means[hidden], np.tile(shared, (len(hidden), 1)), means[hidden] * values[seen].mean()])
        return x, values[hidden]

    rng = np.random.default_rng(0)
    sample = rng.permutation(rows)[:2000]
    sizes = tokens.lengths[sample] - 1
    parts = [features(r, rng.permutation(n)[: max(1, n * 15 // 100)]) for r, n in zip(sample, sizes, strict=True)]
    weights, *_ = np.linalg.lstsq(
        np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]), rcond=None
    )
    truth, regression = np.empty(len(ids)), np.empty(len(ids))
    for one in np.unique(cell):
        at = np.flatnonzero(cell == one)
        x, truth[at] = features(one, column[at] - 1)
        regression[at] = x @ weights
    losses = {
        "mean of all values": (truth - overall) ** 2,
        "gene mean": (truth - gene_mean[ids]) ** 2,
        "regression on gene mean, cell mean and number of genes": (truth - regression) ** 2,
    }
    return compare(losses, loss, cell) | {
        "variance_explained": float(1 - loss.mean() / losses["mean of all values"].mean())
    }
