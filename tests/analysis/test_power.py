"""Planted programmes: put where they belong, and found the more often the stronger they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from gene_lists import as_problem, random_lists, random_sets

from biosae_utils.analysis import power


def test_planting_keeps_list_sizes_and_puts_the_genes_in():
    rng = np.random.default_rng(12)
    lists, sets = random_lists(rng, 40, 300), random_sets(rng, 20, 300)
    members = [sets.membership[t].indices for t in range(10)]
    drawn, where = power.plant(lists, members, 6, rng)
    np.testing.assert_array_equal(np.diff(drawn.indptr), np.diff(lists.indptr))
    assert len(set(where)) == 10
    for i, term in zip(where, members, strict=True):
        assert len(np.intersect1d(drawn[i].indices, term)) == min(6, len(term))
    untouched = np.setdiff1d(np.arange(40), where)
    assert (drawn[untouched] != lists[untouched]).nnz == 0


def test_power_grows_with_strength_and_false_discoveries_stay_below_the_level():
    rng = np.random.default_rng(13)
    problem = as_problem(random_lists(rng, 200, 3000), random_sets(rng, 400, 3000, 5, 150))
    table = power.power_table(problem, sizes=((5, 15), (51, 150)), strengths=(2, 3, 4, 6, 8))
    assert table["false_layer"].mean() <= 0.06
    assert set(table["planted"]) == {0.25} and set(table["n_planted"]) == {50}
    fewer = power.power_table(problem, sizes=((5, 15), (51, 150)), strengths=(4,), share=0.02)
    each, whole = (table[table["strength"] == 4][f"power_{n}"].mean() for n in ("feature", "layer"))
    assert set(fewer["n_planted"]) == {4} and fewer["power_layer"].mean() <= whole  # rare programmes are harder to find
    assert each > 0
    for _, part in table.groupby("size"):
        assert (np.diff(part["power_layer"]) > -0.1).all() and part["power_layer"].iloc[-1] > 0.95
    by_size = table[table["strength"] == 4].set_index("size")["power_layer"]
    assert by_size["5-15"] > by_size["51-150"] + 0.3
    pd.testing.assert_frame_equal(
        table, power.power_table(problem, sizes=((5, 15), (51, 150)), strengths=(2, 3, 4, 6, 8))
    )
