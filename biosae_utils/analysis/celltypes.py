"""Latents seen from cells: mean activation per cell (zeros included) and how well it tells groups of cells apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import rankdata

from biosae_utils.sae.codes import CodeStore, group_sums

COLUMNS = 256  # latents ranked at once


def cell_means(store: CodeStore, cell: np.ndarray, n_cells: int) -> sp.csr_matrix:
    """Mean activation of each latent over all positions of each cell, zeros included.

    Returns
    -------
    csr_matrix of float32, shape (n_cells, d_sae)
    """
    sums, _ = group_sums(store, cell, n_cells)
    positions = np.bincount(cell, minlength=n_cells)
    return (sp.diags(1 / np.maximum(positions, 1)) @ sums).tocsr().astype(np.float32)


def auroc(means: sp.csr_matrix, labels: np.ndarray) -> pd.DataFrame:
    """Area under the ROC curve of every latent for every group of cells against all others.

    0.5 is chance, ties count half. The Mann-Whitney statistic of all groups comes from one ranking of the cells a
    latent.

    Parameters
    ----------
    means : csr_matrix, shape (n_cells, d_sae)
    labels : array of str, shape (n_cells,)

    Returns
    -------
    DataFrame, shape (d_sae, n_groups)
        Columns are the groups that have cells and are not all cells.
    """
    groups, code = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    member = np.zeros((len(groups), len(code)))
    member[code, np.arange(len(code))] = 1
    inside = member.sum(axis=1)[:, None]
    pairs = inside * (len(code) - inside)
    columns = means.tocsc()
    out = np.empty((len(groups), means.shape[1]))
    for start in range(0, means.shape[1], COLUMNS):
        part = slice(start, start + COLUMNS)
        ranks = rankdata(columns[:, part].toarray(), axis=0)
        out[:, part] = member @ ranks - inside * (inside + 1) / 2
    use = pairs.ravel() > 0
    return pd.DataFrame((out[use] / pairs[use]).T, columns=groups[use])
