"""One number a cell that tells a group of cells from all others: latents, and their rivals by the same procedure.

A column (latent, gene, measure of depth) is chosen on training cells, with the end of it that speaks for the group, and
scored on held-out cells. Latents and rivals are then compared on the same held-out cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.celltypes import auroc, membership
from biosae_utils.analysis.nulls import permute_within
from biosae_utils.intervals import Interval, from_draws

GENE, DEPTH = "one gene", "depth"
"""Kinds of rivals: the expression of one gene; molecules or genes of the cell."""
UNSTRATIFIED = "all"
SIDES = "training", "heldout"


@dataclass(frozen=True)
class Choice:
    """What `choose` finds: one row a group of each way of grouping cells, and the numbers behind it.

    Attributes
    ----------
    best : DataFrame
        column, group, chosen (column of `values`), more (whether high values speak for the group), training, heldout:
        AUROC of the chosen end.
    values : ndarray of float32, shape (n_cells, n_rows)
        The chosen column for each row of `best`, turned such that high values speak for the group.
    """

    best: pd.DataFrame
    values: np.ndarray


def choose(values: sp.csr_matrix, labels: pd.DataFrame, heldout: np.ndarray) -> tuple[Choice, pd.DataFrame]:
    """For each group of cells the column that tells it from all others best: chosen in training, scored held-out.

    Parameters
    ----------
    values : csr_matrix, shape (n_cells, n_columns)
    labels : DataFrame, n_cells rows
        One column per way of grouping cells; cells without a value are left out of it.
    heldout : ndarray of bool, shape (n_cells,)

    Returns
    -------
    choice : Choice
    all : DataFrame
        column, group, index (column of `values`), training, heldout: AUROC of every column, not turned.
    """
    best, chosen, every = [], [], []
    for column in labels:
        sides, groups, codes = _sides(labels[column], heldout)
        train, test = (auroc(values[cells], membership(codes[None, cells], len(groups))) for cells in sides)
        index, high = _ends(train)
        for g in np.flatnonzero(np.isfinite(train[:, 0]) & np.isfinite(test[:, 0])):
            at = int(index[g])
            scores = {
                name: float(_turned(side[g, at], high[g])) for name, side in zip(SIDES, (train, test), strict=True)
            }
            best.append({"column": column, "group": groups[g], "chosen": at, "more": bool(high[g])} | scores)
            own = values[:, [at]].toarray().ravel()
            chosen.append(own if high[g] else -own)
            about = {"column": column, "group": groups[g], "index": np.arange(values.shape[1])}
            every.append(pd.DataFrame(about | dict(zip(SIDES, (train[g], test[g]), strict=True))))
    return Choice(pd.DataFrame(best), np.column_stack(chosen).astype(np.float32)), pd.concat(every, ignore_index=True)


def rivals(
    expression: sp.csr_matrix, genes: np.ndarray, depth: pd.DataFrame, labels: pd.DataFrame, heldout: np.ndarray
) -> Choice:
    """The best single gene and the best measure of depth for each group, by the procedure of `choose`.

    Parameters
    ----------
    expression : csr_matrix, shape (n_cells, n_genes)
        Comparable between cells: logarithms of counts per 10,000.
    genes : ndarray of str, shape (n_genes,)
    depth : DataFrame, n_cells rows
        One column per measure of how much of a cell was seen.
    labels, heldout
        As in `choose`.

    Returns
    -------
    Choice
        `best` has two more columns: kind (`GENE` or `DEPTH`) and name (of the gene or measure).
    """
    named = {GENE: (expression, genes), DEPTH: (sp.csr_matrix(depth.to_numpy(np.float64)), depth.columns.to_numpy())}
    found = {kind: choose(values, labels, heldout)[0] for kind, (values, _) in named.items()}
    best = [c.best.assign(kind=kind, name=named[kind][1][c.best["chosen"]]) for kind, c in found.items()]
    return Choice(pd.concat(best, ignore_index=True), np.column_stack([c.values for c in found.values()]))


def against_rivals(
    latents: Choice,
    rival: Choice,
    labels: pd.DataFrame,
    heldout: np.ndarray,
    *,
    n_bootstrap: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """The latent of each group beside each rival, and the paired difference to the strongest on held-out cells.

    Returns
    -------
    DataFrame
        One row a group: `latents.best` with low, high; gene, gene_heldout, depth, depth_heldout; rival (kind of the
        one with the higher AUROC in held-out cells), rival_name, rival_heldout, rival_low, rival_high; ahead (latent -
        rival), ahead_low, ahead_high. Ends come from the same draws of held-out cells, group and others apart.
    """
    rng, rows = np.random.default_rng(seed), []
    place = {key: i for i, key in enumerate(rival.best[["column", "group", "kind"]].itertuples(index=False, name=None))}
    for i, row in enumerate(latents.best.to_dict("records")):
        use = heldout & labels[row["column"]].notna().to_numpy()
        member = (labels[row["column"]][use].astype(str) == row["group"]).to_numpy()
        others = {kind: place[row["column"], row["group"], kind] for kind in (GENE, DEPTH)}
        scored = rival.best.iloc[list(others.values())].set_index("kind")
        strongest = scored["heldout"].idxmax()
        pair = np.column_stack([latents.values[use, i], rival.values[use, others[strongest]]])
        draws = _bootstrap(pair, member, n_bootstrap, rng)
        theirs = scored.at[strongest, "heldout"]
        ends = {
            "": from_draws(row["heldout"], draws[:, 0], over="cells"),
            "rival_": from_draws(theirs, draws[:, 1], over="cells"),
            "ahead_": from_draws(row["heldout"] - theirs, draws[:, 0] - draws[:, 1], over="cells"),
        }
        about = {
            "gene": scored.at[GENE, "name"],
            "gene_heldout": scored.at[GENE, "heldout"],
            "depth": scored.at[DEPTH, "name"],
            "depth_heldout": scored.at[DEPTH, "heldout"],
            "rival": strongest,
            "rival_name": scored.at[strongest, "name"],
            "rival_heldout": theirs,
            "ahead": row["heldout"] - theirs,
        }
        rows.append(row | about | {f"{n}{end}": getattr(x, end) for n, x in ends.items() for end in ("low", "high")})
    return pd.DataFrame(rows)


def relabelled(
    values: sp.csr_matrix,
    label: pd.Series,
    strata: pd.Series | None,
    heldout: np.ndarray,
    *,
    n_draws: int = 100,
    seed: int = 0,
) -> tuple[np.ndarray, list[str]]:
    """Held-out AUROC of the column chosen for each group after labels were dealt out anew within strata.

    Labels stay on their side (training or held out) and, with `strata`, in their stratum: groups keep their size in
    each cell type. Every draw chooses its own column and end for every group, as `choose` does.

    Returns
    -------
    scores : ndarray, shape (n_draws, n_groups, 2)
        AUROC in training cells and in held-out cells.
    groups : list of str
    """
    given = label.notna().to_numpy()
    kind = np.full(len(label), UNSTRATIFIED) if strata is None else strata.astype(str).to_numpy()
    stratum = np.unique(np.char.add(kind.astype(str), np.where(heldout, "|1", "|0")), return_inverse=True)[1]
    sides, groups, codes = _sides(label, heldout)
    rng, drawn = np.random.default_rng(seed), np.tile(codes, (n_draws, 1))
    for draw in drawn:
        draw[given] = codes[given][permute_within(stratum[given], rng)]
    shape = (n_draws, len(groups), values.shape[1])
    train, test = (auroc(values[cells], membership(drawn[:, cells], len(groups))).reshape(shape) for cells in sides)
    index, high = _ends(train)
    scores = [np.take_along_axis(side, index[..., None], axis=2)[..., 0] for side in (train, test)]
    return np.stack([_turned(side, high) for side in scores], axis=2), list(groups)


def leader(best: pd.DataFrame) -> pd.Series:
    """The group that training cells tell best; of two that are each other's rest, the one with high values."""
    return best.assign(training=best["training"].round(9)).sort_values(["training", "more"]).iloc[-1]


def by_chance(scores: np.ndarray) -> Interval:
    """Held-out AUROC of the group that leads in training, over the draws of `relabelled`."""
    lead = np.nanargmax(scores[..., 0], axis=1)
    held = scores[np.arange(len(scores)), lead, 1]
    return from_draws(float(np.nanmean(held)), held[np.isfinite(held)], over="draws")


def _sides(label: pd.Series, heldout: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """Training and held-out cells that have a label, the names of the groups, and each cell's group (0 without one)."""
    given = label.notna().to_numpy()
    groups, own = np.unique(label[given].astype(str), return_inverse=True)
    codes = np.zeros(len(label), np.int64)
    codes[given] = own
    return (np.flatnonzero(given & ~heldout), np.flatnonzero(given & heldout)), groups, codes


def _ends(training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column with the largest distance from 0.5 (last axis), and whether its high end speaks for the group."""
    index = np.abs(np.nan_to_num(training, nan=0.5) - 0.5).argmax(axis=-1)
    return index, np.take_along_axis(training, index[..., None], axis=-1)[..., 0] >= 0.5


def _turned(score: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.where(high, score, 1 - score)


def _bootstrap(values: np.ndarray, member: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of the AUROC of each column, (n, n_columns), from the same cells; members and others are drawn apart."""
    inside, outside = values[member], values[~member]
    draws = np.empty((n, values.shape[1]))
    for i in range(n):
        a, b = (side[rng.integers(0, len(side), len(side))] for side in (inside, outside))
        for j in range(values.shape[1]):
            order = np.sort(b[:, j])
            below = np.searchsorted(order, a[:, j], "left") + np.searchsorted(order, a[:, j], "right")
            draws[i, j] = below.mean() / (2 * len(b))
    return draws
