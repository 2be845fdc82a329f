"""Lists of directions that no autoencoder found, against projected means."""

from __future__ import annotations

import numpy as np
import pytest

from biosae_utils.analysis import baselines
from biosae_utils.errors import BiosaeError


def test_lists_of_dense_directions_equal_projected_gene_means():
    rng = np.random.default_rng(6)
    sample = rng.standard_normal((3000, 8)).astype(np.float16)
    gene = rng.integers(-1, 50, 3000)
    sample[gene == 7, 2] += 9
    rows = {"mine": rng.standard_normal((11, 8))}
    lists, candidates = baselines.direction_lists(sample, gene, 50, rows, n_top=5, min_count=10)
    np.testing.assert_array_equal(candidates, np.arange(50))
    few = np.where(gene == 3, -1, gene)
    assert 3 not in baselines.direction_lists(sample, few, 50, {}, n_top=5)[1]
    small = baselines.direction_lists(sample[:200], gene[:200], 50, {}, n_top=5, min_count=10)[1]
    assert len(small) >= 25  # a small sample lowers the minimum instead of leaving nothing to list
    with pytest.raises(BiosaeError, match="n_positions"):
        baselines.direction_lists(sample, gene, 50, {}, n_top=30)
    assert {k: v.shape for k, v in lists.items()} == {
        "raw coordinates": (16, 50), "principal axes": (16, 50), "mine": (11, 50),
    }  # fmt: skip
    assert all((np.diff(v.indptr) == 5).all() for v in lists.values())
    x = sample.astype(float) - sample[gene >= 0].astype(float).mean(axis=0)
    mean = np.array([x[gene == g, 2].sum() / ((gene == g).sum() + 10) for g in range(50)])
    assert set(lists["raw coordinates"][2].indices) == set(np.argsort(-mean)[:5])
    assert set(lists["raw coordinates"][10].indices) == set(np.argsort(mean)[:5])
    projected = rows["mine"][4] @ np.array([x[gene == g].sum(axis=0) / ((gene == g).sum() + 10) for g in range(50)]).T
    assert set(lists["mine"][4].indices) == set(np.argsort(-projected)[:5])
    assert any(7 in lists["principal axes"][i].indices for i in (0, 8))  # the planted gene makes the first axis
    with pytest.raises(BiosaeError, match="sampled positions"):
        baselines.gene_means(sample, gene[:-1], 50)
