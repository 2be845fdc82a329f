"""Lists that come back, lists that do not, and the control in which nobody keeps its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from biosae_utils.analysis.list_replication import ANOTHER, SAME, list_replication


def lists(genes: dict[int, list[int]]) -> pd.DataFrame:
    rows = [(latent, place + 1, gene) for latent, own in genes.items() for place, gene in enumerate(own)]
    return pd.DataFrame(rows, columns=["latent", "position", "gene"])


def test_own_lists_are_counted_and_a_control_never_meets_them():
    top = lists({i: list(range(10 * i, 10 * i + 4)) for i in range(5)})
    for seed in range(20):
        found = list_replication(top, [top, top], top, 7, seed=seed)
        assert (found.share.value, found.control) == (1, 0)
        assert found.share.over == "blocks of cells" and found.share.low == found.share.high == 1
    assert found.table.groupby("which")["latent"].apply(list).to_dict() == {SAME: [*range(5)], ANOTHER: [*range(5)]}


def test_half_of_a_list_is_half():
    top, again = lists({0: [1, 2, 3, 4], 3: [5, 6]}), lists({0: [1, 2, 8, 9], 3: [5, 6]})
    found = list_replication(top, [top, lists({0: [1, 2], 3: [5, 6]})], again, 4)
    assert found.share.value == pytest.approx(0.75)
    assert found.share.low < 0.75 < found.share.high
    own = found.table[found.table["which"] == SAME].set_index("latent")["share"]
    np.testing.assert_allclose(own.loc[[0, 3]], [0.5, 1])


@pytest.mark.parametrize("genes", [{}, {2: [1, 2]}])
def test_one_list_has_no_other_to_stand_beside(genes):
    top = lists({0: [1], 2: [1, 2]})
    assert list_replication(top, [top, top], lists(genes), 4) is None
