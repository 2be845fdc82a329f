"""Sums over blocks of cells against sums over their positions."""

from __future__ import annotations

import numpy as np
import pytest
from firing_world import CELLS, GENES

from biosae_utils.analysis import catalogue
from biosae_utils.analysis.firing_blocks import FiringBlocks
from biosae_utils.sae.codes import group_sums


@pytest.mark.parametrize("share_heldout", [0, 5])
def test_sets_of_cells_are_sums_of_their_blocks(world, share_heldout):
    store, dense, cell, gene, _ = world
    heldout = np.zeros(CELLS, bool) if not share_heldout else np.arange(CELLS) % share_heldout == 0
    block = catalogue.deal_cells(heldout)[cell]
    firing = FiringBlocks.of(store, gene, block, GENES)
    inside = ~heldout[cell]
    assert firing.training.counts.sum() == (dense[inside] > 0).sum()
    np.testing.assert_array_equal(firing.everywhere.positions, np.bincount(gene, minlength=GENES))
    if share_heldout:
        assert firing.heldout.counts.sum() == (dense[~inside] > 0).sum()
    else:
        assert firing.heldout is None
    without = firing.training_without_each()
    assert len(without) == catalogue.N_BLOCKS
    for b, part in enumerate(without):
        assert part.counts.sum() == (dense[inside & (block != b)] > 0).sum()


def test_shares_are_those_of_the_positions(world):
    store, dense, cell, gene, _ = world
    block = catalogue.deal_cells(np.arange(CELLS) % 5 == 0)[cell]
    firing = FiringBlocks.of(store, gene, block, GENES)

    def share(rows):
        sums, _ = group_sums(store, np.where(rows, gene, -1), GENES)
        positions = np.bincount(gene[rows], minlength=GENES)
        return catalogue.explained_share(sums, positions, (dense[rows] ** 2).sum(axis=0))

    np.testing.assert_allclose(firing.gene_share(), share(np.ones(len(gene), bool)), rtol=1e-6)
    without = firing.gene_share_without_each()
    assert without.shape == (catalogue.N_BLOCKS, store.d_sae)
    for b in (0, 9):
        np.testing.assert_allclose(without[b], share(block != b), rtol=1e-5, atol=1e-9)
