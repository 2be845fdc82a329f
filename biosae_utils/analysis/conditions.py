"""How many genes differ between two groups of cells, beside the same cells with their labels dealt out anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis import fdr, nulls
from biosae_utils.analysis.catalogue import deal_cells
from biosae_utils.analysis.differential import RankSums
from biosae_utils.intervals import Interval, jackknife

N_GRID = 60
LONG = 5.0
"""The axis of |z| reaches at least this far."""


@dataclass(frozen=True)
class Comparison:
    """Result of `compare`.

    Attributes
    ----------
    genes : DataFrame
        One row a gene: auroc, z, q (Benjamini-Hochberg over all genes), mean_group, mean_rest.
    n_different : Interval
        Genes with q at most `alpha`; blocks of cells left out one at a time.
    by_chance : ndarray of int, shape (n_null,)
        The same after labels were dealt out anew within strata.
    z_null : ndarray of float64, shape (n_genes,)
        z after one such draw.
    """

    genes: pd.DataFrame
    n_different: Interval
    by_chance: np.ndarray
    z_null: np.ndarray


def compare(
    values: sp.csr_matrix, group: np.ndarray, strata: np.ndarray, *, alpha: float, n_null: int, seed: int = 0
) -> Comparison:
    """Test every gene between the cells of `group` and the others of their stratum, and count what differs.

    Parameters
    ----------
    values : csr_matrix, shape (n_cells, n_genes)
        Comparable between cells, for instance counts per 10,000.
    group : ndarray of bool, shape (n_cells,)
    strata : ndarray, shape (n_cells,)
        Cell type of each cell.
    alpha : float
        False discovery rate at which a gene counts as different; the family is all genes.
    n_null, seed : int
        Draws of the control, and their seed.

    Raises
    ------
    BiosaeError
        There are fewer cells than blocks to leave out.
    """
    sums, n_genes = RankSums(values, strata), values.shape[1]
    codes = np.unique(strata, return_inverse=True)[1]

    def n_different(labels: np.ndarray, keep: np.ndarray | None = None) -> int:
        return int(fdr.bh_reject(sums.test(labels, keep).p, n_genes, alpha).sum())

    rng = np.random.default_rng(seed)
    by_chance = np.array([n_different(group[nulls.permute_within(codes, rng)]) for _ in range(n_null)])
    block = deal_cells(np.zeros(len(group), bool), seed=seed)
    without = [n_different(group, block != b) for b in np.unique(block)]
    result = sums.test(group)
    again = group[nulls.permute_within(codes, np.random.default_rng(seed + 1))]
    high, low = (np.asarray(values[cells].mean(0)).ravel() for cells in (group, ~group))
    genes = {"auroc": result.auroc, "z": result.z, "q": fdr.bh_adjust(result.p, n_genes)}
    return Comparison(
        pd.DataFrame(genes | {"mean_group": high, "mean_rest": low}),
        jackknife(without, n_different(group)),
        by_chance,
        sums.test(again).z,
    )


def exceedance(z: dict[str, np.ndarray]) -> pd.DataFrame:
    """How many genes have at least a given |z|: one row a value of the axis and a kind of z.

    Parameters
    ----------
    z : dict of str -> ndarray, shape (n_genes,)
        Which -> its values of z; the first decides how far the axis reaches.

    Returns
    -------
    DataFrame
        which, at_least, genes (missing where there is none, for a logarithmic axis).
    """
    grid = np.linspace(0, max(np.abs(next(iter(z.values()))).max(), LONG), N_GRID)
    parts = []
    for which, values in z.items():
        many = (np.abs(values)[:, None] >= grid).sum(0)
        parts.append(pd.DataFrame({"which": which, "at_least": grid, "genes": np.where(many > 0, many, np.nan)}))
    return pd.concat(parts, ignore_index=True)
