"""Lists over the genes that can be listed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from biosae_utils.analysis.catalogue import GeneFiring, top_genes
from biosae_utils.analysis.genesets import from_dict
from biosae_utils.analysis.list_sources import LatentLists, lists_on

N_GENES, D_SAE, N_TOP, RARE = 60, 6, 5, 3


@pytest.fixture(scope="module")
def lists() -> LatentLists:
    """Six latents, the last dead; the last three genes are too rare to be listed."""
    rng = np.random.default_rng(0)
    positions = np.r_[np.full(N_GENES - RARE, 200), np.full(RARE, 4)]
    counts = rng.binomial(positions[:, None], rng.uniform(0.1, 0.6, (N_GENES, D_SAE)))
    counts[:, -1] = 0
    firing = GeneFiring(sp.csr_matrix(counts * rng.uniform(1, 2, counts.shape)), sp.csr_matrix(counts), positions)
    genes = pd.DataFrame({"token": np.arange(N_GENES) + 100, "symbol": [f"S{i}" for i in range(N_GENES)]})
    top = top_genes(firing, n_top=N_TOP)
    top = top.assign(gene_index=top["gene"], token=top["gene"] + 100)
    features = pd.DataFrame({"latent": range(D_SAE), "state": ["alive"] * (D_SAE - 1) + ["dead"]})
    sets = from_dict({"a": genes["symbol"][:9], "b": genes["symbol"][-RARE:]}, "X")
    return LatentLists(features, genes.assign(n_positions=positions), top, firing, firing, sets, 10)


def test_the_background_is_what_can_be_listed(lists):
    assert lists.symbols.tolist() == [f"S{i}" for i in range(N_GENES - RARE)] and len(lists.tokens) == N_GENES - RARE
    assert lists.sets.terms["size"].tolist() == [9, 0] and lists.latents.tolist() == [0, 1, 2, 3, 4]
    assert lists.lists.shape == (5, N_GENES - RARE) and lists.listed.shape == (D_SAE, N_GENES - RARE)
    assert (lists.listed[:5] != lists.lists).nnz == 0 and lists.listed[5].nnz == 0
    for latent in range(5):
        own = lists.top.loc[lists.top["latent"] == latent, "gene_index"]
        assert set(lists.lists[latent].indices) == set(own)


def test_another_catalogue_is_read_by_its_tokens(lists):
    features = pd.DataFrame({"latent": [0, 1], "state": ["dead", "alive"]})
    top = pd.DataFrame({"latent": [1, 1, 1], "token": [103, 100 + N_GENES - 1, 999]})
    assert lists.of_another(features, top).toarray().nonzero()[1].tolist() == [3]


def test_lists_are_filled_up_where_genes_are_left_out(lists):
    kept = np.flatnonzero(np.arange(N_GENES - RARE) % 3 > 0)
    latents = np.array([0, 2, 4])
    found = lists_on(lists.firing, kept, latents, n_top=N_TOP, min_count=10, shrinkage=10.0)
    assert found.shape == (3, len(kept)) and (np.diff(found.indptr) == N_TOP).all()
    expected = top_genes(lists.firing.on(kept), n_top=N_TOP)
    for row, latent in enumerate(latents):
        assert set(found[row].indices) == set(expected.loc[expected["latent"] == latent, "gene"])
