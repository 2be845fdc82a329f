"""What each latent fires on: counts, top genes, and how much of it gene identity and rank explain.

Everything comes from `sae.codes.group_sums`, one sparse product per way of grouping positions. The zeros of the codes
take part in every mean and variance that says so; nothing of size positions x latents is ever dense.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.codes import CodeStore, LatentStats, group_sums

DENSE = 0.10
"""A latent that fires at more than this share of positions is dense: it says little about any of them."""
RARE = 1e-5
"""A latent that fires at fewer than this share of positions (or fewer than `RARE_COUNT` times) is rare."""
RARE_COUNT = 20
N_BLOCKS = 10
"""Blocks of training cells from which intervals are made (delete-one-block jackknife)."""


@dataclass(frozen=True)
class GeneFiring:
    """Where latents fire, gene by gene, over one set of cells.

    Attributes
    ----------
    sums, counts : csr_matrix, shape (n_genes, d_sae)
        Sum of activations and number of firings; the same sparsity.
    positions : ndarray of int64, shape (n_genes,)
        Positions of each gene in these cells, firing or not.
    """

    sums: sp.csr_matrix
    counts: sp.csr_matrix
    positions: np.ndarray

    def mean(self) -> sp.csr_matrix:
        """Mean activation over all positions of the gene, zeros included, shape (n_genes, d_sae)."""
        return (sp.diags(1 / np.maximum(self.positions, 1)) @ self.sums).tocsr()

    def on(self, genes: np.ndarray) -> GeneFiring:
        """The same for some of the genes."""
        return GeneFiring(self.sums[genes], self.counts[genes], self.positions[genes])

    def __add__(self, other: GeneFiring) -> GeneFiring:
        return GeneFiring(self.sums + other.sums, self.counts + other.counts, self.positions + other.positions)

    def minus(self, part: GeneFiring) -> GeneFiring:
        """The same without a subset of its cells."""
        counts = (self.counts - part.counts).tocsr()
        counts.eliminate_zeros()
        # (a - b) leaves rounding dust where nothing fires any more; the counts are exact and say where
        sums = (self.sums - part.sums).multiply(counts > 0).tocsr()
        sums.sort_indices()
        counts.sort_indices()
        return GeneFiring(sums, counts, self.positions - part.positions)


def deal_cells(heldout: np.ndarray, n_blocks: int = N_BLOCKS, seed: int = 0) -> np.ndarray:
    """Block of each cell: training cells are dealt evenly to blocks 0 .. n_blocks - 1, held-out cells get n_blocks."""
    heldout = np.asarray(heldout, dtype=bool)
    block = np.full(len(heldout), n_blocks)
    n = int((~heldout).sum())
    if n < n_blocks:
        raise BiosaeError(
            f"{n} training cells are too few for {n_blocks} blocks", do="use more cells (`n_cells` of 00_data)"
        )
    block[~heldout] = np.random.default_rng(seed).permutation(n) % n_blocks
    return block


def firing_by_block(store: CodeStore, gene: np.ndarray, block: np.ndarray, n_genes: int) -> list[GeneFiring]:
    """`GeneFiring` of every block of cells, from one pass over the codes.

    Parameters
    ----------
    store : CodeStore
    gene, block : ndarray of int, shape (N,)
        Gene and block of each position.
    n_genes : int

    Returns
    -------
    list of GeneFiring, one per block
    """
    n_blocks = int(block.max()) + 1
    group = block.astype(np.int64) * n_genes + gene
    sums, counts = group_sums(store, group, n_blocks * n_genes)
    positions = np.bincount(group, minlength=n_blocks * n_genes)
    cut = [slice(b * n_genes, (b + 1) * n_genes) for b in range(n_blocks)]
    return [GeneFiring(sums[c], counts[c], positions[c]) for c in cut]


def total(parts: list[GeneFiring]) -> GeneFiring:
    """Several disjoint sets of cells as one."""
    out = parts[0]
    for part in parts[1:]:
        out = out + part
    return out


def firing_table(training: GeneFiring, heldout: GeneFiring | None) -> pd.DataFrame:
    """Both sets of cells as one long table, for the phases that follow.

    Returns
    -------
    DataFrame
        gene, latent, sum, count (training cells), sum_heldout, count_heldout; one row where a latent fires on a gene.
    """
    both = training if heldout is None else training + heldout
    coo = both.counts.tocoo()
    table = pd.DataFrame({"gene": coo.row.astype(np.int32), "latent": coo.col.astype(np.int32)})
    key = coo.row.astype(np.int64) * both.counts.shape[1] + coo.col
    for firing, suffix in ((training, ""), (heldout, "_heldout")):
        for name, dtype in (("sum", np.float32), ("count", np.int32)):
            column = np.zeros(len(table), dtype)
            if firing is not None:
                part = getattr(firing, f"{name}s").tocoo()
                column[np.searchsorted(key, part.row.astype(np.int64) * part.shape[1] + part.col)] = part.data
            table[name + suffix] = column
    return table


def firing_from_table(table: pd.DataFrame, genes: pd.DataFrame, d_sae: int) -> tuple[GeneFiring, GeneFiring]:
    """Training and held-out firing from `firing_table` and the table of genes (n_positions, n_positions_heldout)."""
    out = []
    for suffix in ("", "_heldout"):
        some = table[f"count{suffix}"].to_numpy() > 0
        where = table["gene"].to_numpy()[some], table["latent"].to_numpy()[some]
        sums, counts = (
            sp.csr_matrix((table[f"{n}{suffix}"].to_numpy()[some].astype(t), where), shape=(len(genes), d_sae))
            for n, t in (("sum", np.float64), ("count", np.int64))
        )
        out.append(GeneFiring(sums, counts, genes[f"n_positions{suffix}"].to_numpy()))
    return out[0], out[1]


def squares_by_block(store: CodeStore, block: np.ndarray) -> np.ndarray:
    """Sum of squared activations per block and latent, shape (n_blocks, d_sae)."""
    n_blocks = int(block.max()) + 1
    out = np.zeros(n_blocks * store.d_sae)
    for part in store.chunks():
        values = np.maximum(store.values[part].astype(np.float64), 0)
        key = block[part].astype(np.int64)[:, None] * store.d_sae + store.indices[part]
        out += np.bincount(key.ravel(), (values**2).ravel(), minlength=len(out))
    return out.reshape(n_blocks, store.d_sae)


def explained_share(sums: sp.csr_matrix, positions: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Share of the variance of each latent's activation over positions that a grouping of positions explains.

    The activation of a latent at a position is its code there, zero where it does not fire. With G non-empty groups
    over N positions, the one-way analysis of variance gives eta^2 = between-group / total sum of squares; its
    expectation without any relation is (G - 1) / (N - 1), so the adjusted share (epsilon squared) ``1 - (1 - eta^2) (N
    - 1) / (N - G)`` is returned: 0 for an unrelated grouping, 1 when the group decides the value.

    Parameters
    ----------
    sums : csr_matrix, shape (n_groups, d_sae)
        Sum of activations per group.
    positions : ndarray of int, shape (n_groups,)
        Positions per group, firing or not.
    squares : ndarray, shape (d_sae,)
        Sum of squared activations over all positions.

    Returns
    -------
    ndarray of float64, shape (d_sae,)
        NaN for latents that never fire.

    References
    ----------
    Kelley, PNAS 21, 554 (1935), for the adjustment.
    """
    n, groups = int(positions.sum()), int(np.count_nonzero(positions))
    if n <= groups:
        raise BiosaeError(f"{n} positions in {groups} groups leave no variance within groups")
    summed = np.asarray(sums.sum(axis=0)).ravel()
    between = np.asarray((sp.diags(1 / np.maximum(positions, 1)) @ sums.power(2)).sum(axis=0)).ravel() - summed**2 / n
    whole = squares - summed**2 / n
    with np.errstate(invalid="ignore", divide="ignore"):
        eta2 = np.where(whole > 0, between / whole, np.nan)
    return 1 - (1 - eta2) * (n - 1) / (n - groups)


def state(stats: LatentStats, n: int) -> np.ndarray:
    """dead (never fires), rare (below `RARE` or `RARE_COUNT`), dense (above `DENSE`) or alive, shape (d_sae,)."""
    frequency = stats.n_fired / n
    rare = (frequency < RARE) | (stats.n_fired < RARE_COUNT)
    return np.select([stats.n_fired == 0, rare, frequency > DENSE], ["dead", "rare", "dense"], "alive")


def top_genes(firing: GeneFiring, *, n_top: int = 20, min_count: int = 10, shrinkage: float = 10.0) -> pd.DataFrame:
    """Top genes of each latent by shrunken mean activation.

    The mean over a gene's firings is pulled towards the latent's mean over all its firings, as if `shrinkage` further
    firings of the average strength had been seen: ``(sum + s m) / (count + s)``. A gene with fewer than `min_count`
    firings is not listed at all, so a gene seen twice cannot lead.

    Returns
    -------
    DataFrame
        latent, position (from 1), gene (index), mean (over firings), shrunken, count, coverage (share of the gene's
        positions at which the latent fires). Sorted by latent and position.
    """
    sums, counts = firing.sums.tocoo(), firing.counts.tocoo()
    latent_count = np.asarray(firing.counts.sum(axis=0)).ravel()
    latent_mean = np.asarray(firing.sums.sum(axis=0)).ravel() / np.maximum(latent_count, 1)
    enough = np.flatnonzero(counts.data >= min_count)
    gene, latent = sums.row[enough].astype(np.int64), sums.col[enough].astype(np.int64)
    value, count = sums.data[enough], counts.data[enough]
    shrunken = (value + shrinkage * latent_mean[latent]) / (count + shrinkage)
    order = np.lexsort((gene, -count, -shrunken, latent))  # ties: the gene seen more often, then the table's order
    latent = latent[order]
    first = np.searchsorted(latent, latent)
    place = np.arange(len(latent)) - first + 1
    kept = order[place <= n_top]
    return pd.DataFrame(
        {
            "latent": latent[place <= n_top],
            "position": place[place <= n_top],
            "gene": gene[kept],
            "mean": value[kept] / count[kept],
            "shrunken": shrunken[kept],
            "count": count[kept],
            "coverage": count[kept] / firing.positions[gene[kept]],
        }
    )


def effective_genes(firing: GeneFiring) -> np.ndarray:
    """Effective number of genes that each latent fires on, shape (d_sae,): inverse Simpson index of its activation.

    A latent that fires on one gene has 1, one whose activation is spread evenly over forty has 40; NaN for one that
    never fires. Activation and not firings, since weak firings on many genes are noise that the variance ignores too.
    """
    sums = firing.sums.astype(np.float64)
    total, squares = (np.asarray(x.sum(axis=0)).ravel() for x in (sums, sums.multiply(sums)))
    with np.errstate(invalid="ignore"):
        return total**2 / np.where(squares > 0, squares, np.nan)


def list_overlap(a: pd.DataFrame, b: pd.DataFrame, d_sae: int) -> np.ndarray:
    """Share of the genes in `a` that `b` lists for the same latent, shape (d_sae,); NaN without a list in `a`."""
    n_genes = int(max(a["gene"].max(), b["gene"].max())) + 1
    key_a, key_b = (t["latent"].to_numpy() * n_genes + t["gene"].to_numpy() for t in (a, b))
    listed = np.bincount(a["latent"], minlength=d_sae)
    shared = np.bincount(a["latent"][np.isin(key_a, key_b)], minlength=d_sae)
    return np.where(listed > 0, shared / np.maximum(listed, 1), np.nan)


def rank_bins(rank: np.ndarray, n_bins: int = 20) -> np.ndarray:
    """Bin of each position's rank; bins hold about equally many positions, shape (N,)."""
    edges = np.unique(np.quantile(rank, np.linspace(0, 1, n_bins + 1)[1:-1]))
    return np.searchsorted(edges, rank, side="right")


def feature_table(
    stats: LatentStats, n: int, gene_share: np.ndarray, rank_share: np.ndarray, top: pd.DataFrame, symbols: np.ndarray
) -> pd.DataFrame:
    """One row a latent: how often and how strongly it fires, its state, what explains it, and its top genes as text.

    Returns
    -------
    DataFrame
        latent, n_fired, frequency, mean (over firings), max, state, gene_share, rank_share, n_listed (length of its
        list), top_genes.
    """
    names = pd.Series(symbols[top["gene"]], index=top["latent"]).groupby(level=0).agg(", ".join)
    d_sae = len(stats.n_fired)
    return pd.DataFrame(
        {
            "latent": np.arange(d_sae),
            "n_fired": stats.n_fired,
            "frequency": stats.n_fired / n,
            "mean": stats.total / np.maximum(stats.n_fired, 1),
            "max": stats.peak.astype(float),
            "state": state(stats, n),
            "gene_share": gene_share,
            "rank_share": rank_share,
            "n_listed": np.bincount(top["latent"], minlength=d_sae),
            "top_genes": names.reindex(range(d_sae)).fillna("").to_numpy(),
        }
    )
