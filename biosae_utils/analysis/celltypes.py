"""Latents seen from cells: mean activation per cell (zeros included) and how well it tells groups of cells apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import rankdata

from biosae_utils.analysis.nulls import shuffled_within
from biosae_utils.intervals import from_draws
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


@dataclass(frozen=True)
class GroupScores:
    """What `best_latents` finds.

    Attributes
    ----------
    all : DataFrame
        column, group, latent, training, heldout: AUROC of every latent for every group in both sets of cells.
    best : DataFrame
        For each group the latent with the highest AUROC in training cells: column, group, latent, training, heldout,
        low, high (bootstrap over held-out cells) and control (the same choice and score with permuted labels).
    """

    all: pd.DataFrame
    best: pd.DataFrame


def best_latents(
    means: sp.csr_matrix, labels: pd.DataFrame, heldout: np.ndarray, *, n_bootstrap: int = 500, seed: int = 0
) -> GroupScores:
    """The latent that tells each group of cells apart best, chosen on training cells and scored on held-out cells.

    Parameters
    ----------
    means : csr_matrix, shape (n_cells, d_sae)
    labels : DataFrame, n_cells rows
        One column per way of grouping cells; cells without a value are left out of it.
    heldout : ndarray of bool, shape (n_cells,)
    """
    rng = np.random.default_rng(seed)
    both, best = [], []
    for column in labels:
        given = labels[column].notna().to_numpy()
        label, side, of = labels[column][given].astype(str).to_numpy(), heldout[given], means[given]
        train, test = auroc(of[~side], label[~side]), auroc(of[side], label[side])
        shuffled = shuffled_within(label, side, rng)
        null_train, null_test = auroc(of[~side], shuffled[~side]), auroc(of[side], shuffled[side])
        for group in [g for g in train if g in test]:
            latent, null_latent = int(train[group].argmax()), int(null_train[group].argmax())
            values = of[side][:, [latent]].toarray().ravel()
            draws = _bootstrap(values, label[side] == group, n_bootstrap, rng)
            held = from_draws(test[group][latent], draws, over="cells")
            scores = {"training": train[group][latent], "heldout": held.value, "low": held.low, "high": held.high}
            best.append(
                {"column": column, "group": group, "latent": latent, **scores, "control": null_test[group][null_latent]}
            )
            both.append(
                pd.DataFrame(
                    {
                        "column": column,
                        "group": group,
                        "latent": range(len(train)),
                        "training": train[group],
                        "heldout": test[group],
                    }
                )
            )
    return GroupScores(pd.concat(both, ignore_index=True), pd.DataFrame(best))


def _bootstrap(values: np.ndarray, member: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of an AUROC over cells, members and others drawn anew separately, shape (n,)."""
    inside, outside = values[member], values[~member]
    draws = np.empty(n)
    for i in range(n):
        a, b = rng.choice(inside, len(inside)), np.sort(rng.choice(outside, len(outside)))
        below = np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")
        draws[i] = below.mean() / (2 * len(b))
    return draws
