"""The table of tails against scipy, cell by cell."""

from __future__ import annotations

import numpy as np
from scipy import stats

from biosae_utils.analysis.hypergeom import HypergeometricTable


def test_table_equals_scipy_in_every_cell():
    rng = np.random.default_rng(0)
    for background in (37, 400, 15_000):
        lists = rng.integers(1, 30, 6)
        terms = np.r_[rng.integers(1, min(500, background), 25), background]
        table = HypergeometricTable(background, lists, terms)
        n, k, x = np.meshgrid(table.n_values, table.k_values, np.arange(table.tail.shape[2]), indexing="ij")
        expected = stats.hypergeom.sf(x - 1, background, k, n)
        np.testing.assert_allclose(table.tail, expected, rtol=1e-9, atol=1e-300)


def test_smallest_overlap_is_where_the_tail_falls_below_the_cutoff():
    table = HypergeometricTable(500, np.array([5, 20]), np.arange(5, 100))
    least = table.smallest_overlap(1e-3, np.arange(5, 100), 20)
    for k, x in zip(range(5, 100), least, strict=True):
        assert stats.hypergeom.sf(x - 1, 500, k, 20) <= 1e-3 < stats.hypergeom.sf(x - 2, 500, k, 20)
