"""What a model must beat at its own task: a hidden gene guessed from frequency and rank, a hidden value from means.

Fitted on training cells, asked about the very positions that were hidden from the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from biosae_utils.models.base import FoundationModel, Tokens

if TYPE_CHECKING:
    import pandas as pd

N_BINS = 64  # of rank
SMOOTHING = 1e-3
N_ZONES = 16  # of relative rank
N_BESIDE = 3  # visible genes on either side
MOST_CELLS = 3000  # that offsets between neighbours are fitted on
NEIGHBOURS = "gene between its visible neighbours in the order of medians"
REGRESSION = "regression on gene mean, cell mean and number of genes"
MEAN = "mean of all values"


@dataclass(frozen=True)
class Hidden:
    """Genes that were hidden.

    Attributes
    ----------
    cell : ndarray of int, shape (n,)
        Cell of each.
    index : ndarray of int, shape (n,)
        Which of the cell's genes it is, special tokens not counted.
    ids : ndarray of int, shape (n,)
        Its token.
    """

    cell: np.ndarray
    index: np.ndarray
    ids: np.ndarray

    @classmethod
    def of(
        cls, model: FoundationModel, tokens: Tokens, cells: np.ndarray, *, rate: float = 0.15, seed: int = 0
    ) -> Hidden:
        """What `sae.extraction_checks.masked_loss` hides in these cells: it depends on the seed and the cell alone."""
        parts = []
        for cell in np.asarray(cells):
            batch = model.collate(tokens, np.array([cell]))
            column = model.mask(batch, rate, seed=seed)[1][:, 1].cpu().numpy()
            index = (np.cumsum(batch.is_gene[0].cpu().numpy()) - 1)[column]
            parts.append((np.full(len(column), cell), index, batch.ids[0].cpu().numpy()[column]))
        return cls(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def baseline_losses(model: FoundationModel, tokens: Tokens, training: np.ndarray, hidden: Hidden) -> pd.DataFrame:
    """Mean loss of every baseline in each cell: rows are the cells of `hidden`, columns the baselines.

    Parameters
    ----------
    model : FoundationModel
        For its vocabulary, special tokens and medians; it is not run.
    tokens : Tokens
    training : ndarray of int
        Cells that the baselines are fitted on.
    hidden : Hidden
        In other cells.

    Returns
    -------
    DataFrame
        In the unit of the model's own loss: cross-entropy of the gene, or squared error of the value.
    """
    import pandas as pd

    of = rank_baselines if tokens.values is None else value_baselines
    return pd.DataFrame(of(model, tokens, training, hidden)).groupby(hidden.cell).mean()


def rank_baselines(model: FoundationModel, tokens: Tokens, rows: np.ndarray, hidden: Hidden) -> dict[str, np.ndarray]:
    """Hidden gene from its frequency, its absolute rank, its rank relative to the cell's length, and its neighbours.

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
        genes = genes_of(model, tokens, row)
        rank = np.arange(len(genes))
        for name, of in bins.items():
            tables[name][of(rank, len(genes)) * n_vocab + genes] += 1
    chance = {name: table.reshape(N_BINS, n_vocab) for name, table in tables.items()}
    chance = {name: table / table.sum(1, keepdims=True) for name, table in chance.items()}
    neighbours = Neighbours(model, tokens, rows, chance["gene frequency"][0]) if medians_of(model) else None
    losses = {name: np.empty(len(hidden.ids)) for name in ([*bins, NEIGHBOURS] if neighbours else bins)}
    for one in np.unique(hidden.cell):
        at = np.flatnonzero(hidden.cell == one)
        genes, index = genes_of(model, tokens, one), hidden.index[at]
        visible = np.setdiff1d(genes, hidden.ids[at])
        for name, of in bins.items():
            table = chance[name]
            row = of(index, len(genes))
            left = 1 - table[:, visible].sum(1)
            losses[name][at] = np.log(left[row]) - np.log(table[row, hidden.ids[at]])
        if neighbours:
            losses[NEIGHBOURS][at] = neighbours.loss(genes, index)
    return losses


class Neighbours:
    """Masked gene from its frequency and from where the visible genes beside it stand in the order of medians.

    Most genes of a cell have a count of one, and these are sorted by their medians, the same way in every cell: whoever
    knows the medians can place a hidden gene between its neighbours without any biology. A hidden gene's offset (in
    places of the order of medians) from the median of its neighbours is compared with the offset of genes drawn by
    frequency, in zones of relative rank, on the training cells; the ratio reweighs the frequencies.
    """

    def __init__(self, model: FoundationModel, tokens: Tokens, rows: np.ndarray, frequency: np.ndarray) -> None:
        medians = medians_of(model)
        median = np.array([medians.get(key, np.inf) for key in model.info.vocab_ids])
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
        for row in rng.permutation(rows)[:MOST_CELLS]:
            genes = genes_of(model, tokens, row)
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


def medians_of(model: FoundationModel) -> dict[str, float]:
    """Median of each gene by which a rank model sorts the genes of a cell; empty for a model that has none."""
    return getattr(getattr(model, "dictionaries", None), "median", {})


def genes_of(model: FoundationModel, tokens: Tokens, row: int) -> np.ndarray:
    """Gene tokens of a cell, in order."""
    ids = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]].astype(np.int64)
    return ids[~np.isin(ids, model.info.special_ids)]


def value_baselines(model: FoundationModel, tokens: Tokens, rows: np.ndarray, hidden: Hidden) -> dict[str, np.ndarray]:
    """Hidden value from the mean of all, the gene's mean, and a regression on gene and cell means and gene number."""
    n_vocab = len(model.info.vocab)
    of_training = np.zeros(tokens.n_cells, bool)
    of_training[rows] = True
    owner = np.repeat(np.arange(tokens.n_cells), tokens.lengths)
    is_gene = ~np.isin(tokens.ids, model.info.special_ids)
    fit = of_training[owner] & is_gene
    every = np.asarray(tokens.values)
    overall = every[fit].mean()
    total = np.bincount(tokens.ids[fit], weights=every[fit], minlength=n_vocab)
    gene_mean = (total + overall) / (np.bincount(tokens.ids[fit], minlength=n_vocab) + 1)

    def features(row: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = np.flatnonzero(is_gene[tokens.offsets[row] : tokens.offsets[row + 1]]) + tokens.offsets[row]
        values, means = every[own], gene_mean[tokens.ids[own]]
        seen = np.ones(len(values), bool)
        seen[index] = False
        shared = [values[seen].mean(), means[seen].mean(), np.log(len(values)), 1.0]
        x = np.column_stack([means[index], np.tile(shared, (len(index), 1)), means[index] * values[seen].mean()])
        return x, values[index]

    rng = np.random.default_rng(0)
    sample = rng.permutation(rows)[:2000]
    sizes = np.bincount(owner[is_gene], minlength=tokens.n_cells)[sample]
    parts = [
        features(r, rng.permutation(n)[: max(1, n * 15 // 100)]) for r, n in zip(sample, sizes, strict=True) if n > 1
    ]
    weights, *_ = np.linalg.lstsq(
        np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]), rcond=None
    )
    truth, regression = np.empty(len(hidden.ids)), np.empty(len(hidden.ids))
    for one in np.unique(hidden.cell):
        at = np.flatnonzero(hidden.cell == one)
        x, truth[at] = features(one, hidden.index[at])
        regression[at] = x @ weights
    return {
        MEAN: (truth - overall) ** 2,
        "gene mean": (truth - gene_mean[hidden.ids]) ** 2,
        REGRESSION: (truth - regression) ** 2,
    }
