"""One world of codes for all tests of this room that need one."""

from __future__ import annotations

import numpy as np
import pytest
from firing_world import CELLS, GENES, F, K, N, store_of


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Codes of 1,200 positions: latent 0 reads gene 0, latent 1 the rank, latent 2 the cell; 19 never fires."""
    rng = np.random.default_rng(0)
    cell = np.sort(rng.integers(0, CELLS, N))
    gene = rng.choice(GENES, N, p=rng.dirichlet(np.ones(GENES) * 3))
    rank = np.concatenate([np.arange(n) for n in np.bincount(cell)])
    values = rng.gamma(2, 1, (N, K)).astype(np.float16)
    indices = np.argsort(rng.random((N, F - 4)), axis=1)[:, :K] + 3
    values[gene == 0, 0], indices[gene == 0, 0] = 5, 0
    indices[:, 1], values[:, 1] = 1, np.where(rank < 5, 3 - rank / 2, 0).astype(np.float16)
    indices[:, 2], values[:, 2] = 2, np.where(cell % 2, 1 + rng.random(N), 0).astype(np.float16)
    store = store_of(tmp_path_factory.mktemp("codes"), values, indices.astype(np.uint16), F)
    return store, store.csr().toarray().astype(np.float64), cell, gene, rank
