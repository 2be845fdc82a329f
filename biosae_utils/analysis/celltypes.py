"""Latents seen from cells: mean activation per cell, zeros included; how well numbers of cells tell groups apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import rankdata

from biosae_utils.sae.codes import CodeStore, group_sums

COLUMNS = 256  # columns ranked at once
MOST_GROUPS = 100
"""A column of the cohort with more values than this names cells, not groups of them."""


def cell_means(store: CodeStore, cell: np.ndarray, n_cells: int) -> sp.csr_matrix:
    """Mean activation of each latent over all positions of each cell, zeros included.

    Returns
    -------
    csr_matrix of float32, shape (n_cells, d_sae)
    """
    sums, _ = group_sums(store, cell, n_cells)
    positions = np.bincount(cell, minlength=n_cells)
    return (sp.diags(1 / np.maximum(positions, 1)) @ sums).tocsr().astype(np.float32)


def in_groups(cohort: pd.DataFrame, column: str) -> bool:
    """Whether a column of the cohort holds groups that can be told apart in training and in held-out cells."""
    if column not in cohort or not 1 < cohort[column].nunique() <= MOST_GROUPS:
        return False
    sides = [set(cohort.loc[cohort["heldout"] == side, column].dropna()) for side in (False, True)]
    return min(map(len, sides)) > 1 and bool(sides[0] & sides[1])


def membership(codes: np.ndarray, n_groups: int) -> sp.csr_matrix:
    """Which cells each group holds, shape (n_draws * n_groups, n_cells), from labels of shape (n_draws, n_cells)."""
    n_draws, n_cells = codes.shape
    row = (codes + n_groups * np.arange(n_draws)[:, None]).ravel()
    column = np.tile(np.arange(n_cells), n_draws)
    return sp.csr_matrix((np.ones(len(row)), (row, column)), shape=(n_draws * n_groups, n_cells))


def auroc(values: sp.csr_matrix, member: sp.csr_matrix) -> np.ndarray:
    """Area under the ROC curve of every column for every group of cells against all others.

    0.5 is chance, ties count half. The Mann-Whitney statistic of all groups comes from one ranking of the cells a
    column, so that any number of relabelled groups costs no further ranking.

    Parameters
    ----------
    values : csr_matrix, shape (n_cells, n_columns)
    member : csr_matrix, shape (n_groups, n_cells)
        Ones where a group holds a cell; see `membership`.

    Returns
    -------
    ndarray of float64, shape (n_groups, n_columns)
        NaN for groups without cells and for groups of all cells.
    """
    inside = np.asarray(member.sum(axis=1)).reshape(-1, 1)
    pairs = inside * (values.shape[0] - inside)
    columns = values.tocsc()
    out = np.empty((member.shape[0], values.shape[1]))
    for start in range(0, values.shape[1], COLUMNS):
        part = slice(start, start + COLUMNS)
        out[:, part] = member @ rankdata(columns[:, part].toarray(), axis=0)
    with np.errstate(invalid="ignore"):
        return (out - inside * (inside + 1) / 2) / np.where(pairs > 0, pairs, np.nan)
