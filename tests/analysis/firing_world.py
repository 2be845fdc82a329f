"""Codes whose truth is known, for tests: positions, cells and genes of a small world."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from biosae_utils.analysis import catalogue
from biosae_utils.sae.codes import CodeStore

N, K, F, GENES, CELLS = 1200, 4, 20, 15, 60


def store_of(folder, values, indices, d_sae):
    store = CodeStore.create(folder, n=len(values), k=values.shape[1], d_sae=d_sae, identity={"test": "catalogue"})
    store.write(slice(0, len(values)), values, indices)
    store.commit(0, len(values))
    return store.finish()


def by_hand(dense, groups, n_groups):
    sums, counts = np.zeros((n_groups, F)), np.zeros((n_groups, F), int)
    for x, g in zip(dense, groups, strict=True):
        sums[g] += x
        counts[g] += x > 0
    return sums, counts


def firing_of(dense, gene, rows=slice(None)):
    sums, counts = by_hand(dense[rows], gene[rows], GENES)
    return catalogue.GeneFiring(sp.csr_matrix(sums), sp.csr_matrix(counts), np.bincount(gene[rows], minlength=GENES))
