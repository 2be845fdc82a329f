"""Genes that differ are counted: those planted are found, relabelled cells have none, other strata do not mislead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from biosae_utils.analysis.conditions import LONG, N_GRID, compare, exceedance
from biosae_utils.errors import BiosaeError

N_CELLS, N_GENES, N_PLANTED = 200, 120, 15


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    strata = np.repeat(["a", "b"], N_CELLS // 2)
    group = rng.random(N_CELLS) < np.where(strata == "a", 0.25, 0.75)  # the group is mostly of one stratum
    rate = np.ones((N_CELLS, N_GENES))
    rate[strata == "a", 60:] = 4  # genes of a stratum are no difference between groups
    rate[group, :N_PLANTED] *= 5
    return sp.csr_matrix(rng.poisson(rate).astype(float)), group, strata


def test_planted_genes_are_found_and_strata_are_not(cells):
    values, group, strata = cells
    found = compare(values, group, strata, alpha=0.05, n_null=20, seed=0)
    hits = np.flatnonzero(found.genes["q"] <= 0.05)
    assert set(range(N_PLANTED)) <= set(hits) and len(hits) <= N_PLANTED + 3
    assert found.n_different.value == len(hits) and found.n_different.over == "blocks of cells"
    assert found.by_chance.shape == (20,) and found.by_chance.mean() < 1 < found.n_different.low
    assert (found.genes["mean_group"] > 2 * found.genes["mean_rest"])[:N_PLANTED].all()
    assert (found.genes["auroc"][:N_PLANTED] > 0.7).all() and np.abs(found.z_null).max() < 5
    without = compare(values, group, np.repeat("all", N_CELLS), alpha=0.05, n_null=2, seed=0)
    assert (without.genes["q"] <= 0.05).sum() > len(hits) + 30  # what the strata guard against


def test_the_same_seed_gives_the_same_and_few_cells_are_refused(cells):
    values, group, strata = cells
    one, two, other = (compare(values, group, strata, alpha=0.05, n_null=3, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.z_null, two.z_null)
    assert one.n_different == two.n_different and not np.array_equal(one.z_null, other.z_null)
    with pytest.raises(BiosaeError, match="too few"):
        compare(values[:8], group[:8], strata[:8], alpha=0.05, n_null=1)


def test_exceedance_counts_genes_and_leaves_out_nothing_but_zero():
    table = exceedance({"true": np.array([-9.0, 0, 3]), "relabelled": np.array([0.0, 1, -1])})
    assert table["which"].value_counts().to_dict() == {"true": N_GRID, "relabelled": N_GRID}
    true = table[table["which"] == "true"].set_index("at_least")["genes"]
    assert true[0] == 3 and true.iloc[-1] == 1 and true.index.max() == 9
    assert true.dropna().is_monotonic_decreasing
    assert pd.isna(table["genes"].iloc[-1])  # no relabelled gene is that far out
    assert exceedance({"true": np.array([0.1])})["at_least"].max() == LONG
