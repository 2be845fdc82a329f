"""Opponents that know no biology: they guess what can be computed by hand, at the positions the model is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from biosae_utils.models.base import Tokens
from biosae_utils.models.registry import load_model
from biosae_utils.sae import task_baselines
from biosae_utils.sae.extraction_checks import masked_loss
from biosae_utils.sae.task_baselines import Hidden, Neighbours, baseline_losses

MODELS = Path(__file__).resolve().parents[2] / "data" / "demo" / "models"


def test_neighbours_place_a_gene_in_the_order_of_medians():
    # 200 genes; every cell holds 80 of them in the order of medians, as genes of one count are
    n, rng = 200, np.random.default_rng(0)
    cells = [np.concatenate([[2], np.sort(rng.permutation(n)[:80]) + 4, [3]]) for _ in range(120)]
    tokens = Tokens(np.concatenate(cells).astype(np.int32), None, np.arange(121) * 82)
    keys = np.array(["<pad>", "<mask>", "<cls>", "<eos>", *(f"G{i}" for i in range(n))])
    medians = {f"G{i}": 1.0 + i for i in range(n)}
    model = SimpleNamespace(
        info=SimpleNamespace(vocab_ids=keys, special_ids=(0, 1, 2, 3)), dictionaries=SimpleNamespace(median=medians)
    )
    frequency = np.where(np.arange(n + 4) > 3, 1 / n, 0.0)
    neighbours = Neighbours(model, tokens, np.arange(100), frequency)
    genes, hidden = cells[110][1:-1], np.arange(0, 80, 7)
    loss = neighbours.loss(genes, hidden)
    # any of the 132 genes not seen would be log(132) = 4.9; the gap between neighbours holds a few
    assert loss.mean() < 3.2
    # the chances of all genes sum to one: hide each unseen gene in turn at one position
    unseen = np.setdiff1d(np.arange(4, n + 4), np.delete(genes, 20))
    total = 0.0
    for gene in unseen:
        other = genes.copy()
        other[20] = gene
        total += np.exp(-neighbours.loss(other, np.array([20]))[0])
    assert total == pytest.approx(1.0, abs=1e-9)


def with_values(n_cells: int = 60, n_genes: int = 30, seed: int = 0) -> tuple[SimpleNamespace, Tokens]:
    """Cells whose values are a gene's mean times what the cell has of everything."""
    rng = np.random.default_rng(seed)
    ids = np.concatenate([[2, *(rng.permutation(n_genes)[:20] + 3)] for _ in range(n_cells)]).astype(np.int32)
    scale = np.repeat(rng.uniform(0.5, 2, n_cells), 21)
    values = np.where(ids == 2, 0, (ids - 2) * scale).astype(np.float32)
    info = SimpleNamespace(vocab=np.arange(n_genes + 3), special_ids=(0, 1, 2))
    return SimpleNamespace(info=info), Tokens(ids, values, np.arange(n_cells + 1) * 21)


def test_a_regression_knows_the_depth_of_the_cell_and_the_gene_mean_does_not():
    model, tokens = with_values()
    at, cells = np.array([0, 7, 19]), np.arange(50, 60)
    ids = np.concatenate([tokens.ids[c * 21 + 1 + at] for c in cells])
    losses = baseline_losses(model, tokens, np.arange(50), Hidden(np.repeat(cells, 3), np.tile(at, 10), ids))
    assert losses.index.tolist() == cells.tolist() and list(losses.columns)[-1] == task_baselines.REGRESSION
    assert losses[task_baselines.REGRESSION].mean() < 0.2 * losses["gene mean"].mean()
    mean = tokens.values[: 50 * 21][tokens.ids[: 50 * 21] > 2].mean()
    by_hand = ((tokens.values[50 * 21 + 1 + at] - mean) ** 2).mean()
    assert losses.loc[50, task_baselines.MEAN] == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("name", ["mini-geneformer", "mini-scgpt"])
def test_baselines_are_asked_what_the_model_is_asked(name, monkeypatch):
    model = load_model(MODELS / name, device="cpu")
    genes, rng = np.setdiff1d(np.arange(200), model.info.special_ids), np.random.default_rng(0)
    cells = [np.concatenate([[model.info.special_ids[-1]], rng.permutation(genes)[:n]]) for n in (40, 25, 60)]
    ids = np.concatenate(cells).astype(np.int32)
    values = None if name == "mini-geneformer" else rng.integers(1, 50, len(ids)).astype(np.float32)
    tokens = Tokens(ids, values, np.cumsum([0, *map(len, cells)]))
    hidden, masked = Hidden.of(model, tokens, np.array([2, 0]), seed=3), []
    inner = model.mask

    def spy(batch, rate, *, seed):
        found, where = inner(batch, rate, seed=seed)
        masked.append((batch.cells, batch.ids, where))
        return found, where

    monkeypatch.setattr(model, "mask", spy)
    masked_loss(model, tokens, np.array([2, 0]), seed=3)
    asked = {(int(c[r]), int(x) - 1, int(ids[r, x])) for c, ids, where in masked for r, x in where.tolist()}
    assert asked == set(zip(hidden.cell.tolist(), hidden.index.tolist(), hidden.ids.tolist(), strict=True))
    assert len(asked) > 5
