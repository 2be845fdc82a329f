"""What a model must beat: a masked gene guessed from frequency and rank, a masked value from gene and cell means."""

from __future__ import annotations

import numpy as np

from biosae_utils.intervals import bootstrap_mean
from biosae_utils.models.base import Tokens
from biosae_utils.models.blocks import BlockModel

N_BINS = 64  # of rank
SMOOTHING = 1e-3
N_BOOT = 1000
N_ZONES = 16  # of relative rank
N_BESIDE = 3  # visible genes on either side
NOTE = (
    "Much of what a rank model gets right is no biology: genes of one count are sorted by their medians in every cell, "
    "so the visible neighbours of a masked gene nearly name it. The last baseline knows this and nothing else."
)
NEIGHBOURS = "gene between its visible neighbours in the order of medians"


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
    """Masked gene from its frequency, its absolute rank, its rank relative to the cell's length, and its neighbours.

    All know which genes are visible in the cell and exclude them, which the model must learn.
    """
    n_vocab, max_genes = len(model.info.vocab), model.info.max_len - 2
    bins = {
        "gene frequency": lambda rank, n: np.zeros(len(rank), np.int64),
        "gene at its absolute rank": lambda rank, n: np.minimum(rank * N_BINS // max_genes, N_BINS - 1),
        "gene at its relative rank": lambda rank, n: rank * N_BINS // n,
    }
    tables = {name: np.full(N_BINS * n_vocab, SMOOTHING) for name in bins}
    for row in rows:
        genes = genes_of(tokens, row)
        rank = np.arange(len(genes))
        for name, of in bins.items():
            tables[name][of(rank, len(genes)) * n_vocab + genes] += 1
    chance = {name: table.reshape(N_BINS, n_vocab) for name, table in tables.items()}
    chance = {name: table / table.sum(1, keepdims=True) for name, table in chance.items()}
    neighbours = Neighbours(model, tokens, rows, chance["gene frequency"][0])
    losses = {name: np.empty(len(ids)) for name in [*bins, NEIGHBOURS]}
    for one in np.unique(cell):
        at = np.flatnonzero(cell == one)
        genes, hidden = genes_of(tokens, one), column[at] - 1
        visible = np.setdiff1d(genes, ids[at])
        for name, of in bins.items():
            table = chance[name]
            row = of(hidden, len(genes))
            left = 1 - table[:, visible].sum(1)
            losses[name][at] = np.log(left[row]) - np.log(table[row, ids[at]])
        losses[NEIGHBOURS][at] = neighbours.loss(genes, hidden)
    return compare(losses, loss, cell) | {"note": NOTE}


class Neighbours:
    """Masked gene from its frequency and from where the visible genes beside it stand in the order of medians.

    Most genes of a cell have a count of one, and these are sorted by their medians, the same way in every cell: whoever
    knows the medians can place a hidden gene between its neighbours without any biology. A hidden gene's offset (in
    places of the order of medians) from the median of its neighbours is compared with the offset of genes drawn by
    frequency, in zones of relative rank, on the training cells; the ratio reweighs the frequencies.
    """

    def __init__(self, model: BlockModel, tokens: Tokens, rows: np.ndarray, frequency: np.ndarray) -> None:
        median = np.array([model.dictionaries.median.get(key, np.inf) for key in model.info.vocab_ids])
        order = np.argsort(median, kind="stable")
        self.place = np.empty(len(median))
        self.place[order] = np.arange(len(median))
        self.frequency = np.where(np.isfinite(median), frequency, 0.0)
        self.order = order
        steps = np.geomspace(2, len(median), 40)
        self.edges = np.concatenate([-steps[::-1], [-1, 0, 1], steps])
        seen = np.full((N_ZONES, len(self.edges) - 1), 0.5)
        expected = np.full_like(seen, 1e-6)
        rng = np.random.default_rng(0)
        for row in rng.permutation(rows)[:3000]:
            genes = genes_of(tokens, row)
            hidden = np.flatnonzero(rng.random(len(genes)) < 0.15)
            centre, zone = self._centre(genes, hidden)
            np.add.at(seen, (zone, self._bin(self.place[genes[hidden]] - centre)), 1)
            np.add.at(expected, zone, self._mass(self.frequency, centre))
        self.ratio = seen / expected

    def loss(self, genes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """Cross-entropy of each hidden position of a cell, shape (n_hidden,)."""
        free = self.frequency.copy()
        free[np.delete(genes, hidden)] = 0.0
        centre, zone = self._centre(genes, hidden)
        own = self.ratio[zone, self._bin(self.place[genes[hidden]] - centre)] * free[genes[hidden]]
        return np.log((self.ratio[zone] * self._mass(free, centre)).sum(1)) - np.log(own)

    def _centre(self, genes: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        zone, visible = hidden * N_ZONES // len(genes), np.delete(np.arange(len(genes)), hidden)
        if not len(visible):
            return np.full(len(hidden), len(self.place) / 2), zone
        after = np.searchsorted(visible, hidden)
        beside = visible[np.clip(after[:, None] + np.arange(-N_BESIDE, N_BESIDE), 0, len(visible) - 1)]
        return np.median(self.place[genes[beside]], axis=1), zone

    def _mass(self, weight: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Summed weight of the genes in each bin of offsets from each centre, shape (n, n_bins)."""
        below = np.concatenate([[0], np.cumsum(weight[self.order])])
        first = np.clip(np.ceil(centre[:, None] + self.edges), 0, len(weight)).astype(np.int64)
        return np.diff(below[first], axis=1)

    def _bin(self, offset: np.ndarray) -> np.ndarray:
        return np.clip(np.searchsorted(self.edges, offset, side="right") - 1, 0, len(self.edges) - 2)


def genes_of(tokens: Tokens, row: int) -> np.ndarray:
    """Gene tokens of a cell between ``<cls>`` and ``<eos>``."""
    return tokens.ids[tokens.offsets[row] + 1 : tokens.offsets[row + 1] - 1].astype(np.int64)


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
