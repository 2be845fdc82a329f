"""Lists, gene sets and networks drawn at random, for tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis import edges, enrich
from biosae_utils.analysis.genesets import GeneSets


def random_sets(rng, n_terms, n_genes, low=5, high=60):
    sizes = rng.integers(low, high, n_terms)
    genes = np.array([f"G{i}" for i in range(n_genes)], dtype=object)
    columns = np.concatenate([rng.choice(n_genes, s, replace=False) for s in sizes])
    membership = sp.csr_matrix(
        (np.ones(len(columns), np.uint8), columns, np.r_[0, np.cumsum(sizes)]), (n_terms, n_genes)
    )
    membership.sort_indices()
    terms = pd.DataFrame({"collection": "X", "term_id": [f"T{i}" for i in range(n_terms)], "name": "term"})
    return GeneSets(membership, genes, terms.assign(size=sizes, size_source=sizes))


def random_lists(rng, n_features, n_genes, n_top=20):
    genes = np.concatenate([rng.choice(n_genes, n_top, replace=False) for _ in range(n_features)])
    return enrich.make_lists(np.repeat(np.arange(n_features), n_top), genes, (n_features, n_genes))


def as_problem(lists, sets):
    return enrich.Problem(lists, sets, sets.terms["size"].to_numpy())


def binary(rng, n_lists=40, n_genes=60, per_list=6):
    popular = rng.dirichlet(np.full(n_genes, 0.5))
    rows = np.zeros((n_lists, n_genes), np.uint8)
    for row in rows:
        row[rng.choice(n_genes, per_list, replace=False, p=0.9 * popular + 0.1 / n_genes)] = 1
    return sp.csr_matrix(rows)


def random_network(rng, n_genes=120, n_edges=500):
    hub = rng.dirichlet(np.full(n_genes, 0.4))
    a, b = rng.choice(n_genes, n_edges, p=0.8 * hub + 0.2 / n_genes), rng.choice(n_genes, n_edges)
    genes = np.array([f"G{i}" for i in range(n_genes)], dtype=object)
    return edges.adjacency(genes[a], genes[b], genes)
