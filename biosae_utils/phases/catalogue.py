"""03_catalogue: what each latent fires on, and how much of it gene identity and rank explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from biosae_utils.claims import verdict
from biosae_utils.intervals import jackknife
from biosae_utils.params import LayerPage
from biosae_utils.phases import readers
from biosae_utils.phases.base import Phase, Resources, Size
from biosae_utils.phases.catalogue_cells import cell_groups
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output

if TYPE_CHECKING:
    import scipy.sparse as sp

    from biosae_utils.analysis.firing_blocks import FiringBlocks
    from biosae_utils.sae.codes import CodeStore

MOSTLY = 0.5
"""Share of variance above which a latent is mostly a reading of the gene."""
ONE_GENE = 2.0
"""Effective number of genes below which a latent is about one gene, and not a group of them."""
RENAMED = "gene names dealt out anew"
LEAST_SHARE, LEAST_LISTED = 0.05, 5.0
"""Differences from the control that count: share of variance; points of listed genes, one gene of twenty."""


class Params(LayerPage):
    """What each latent fires on."""

    n_top: int = Field(20, ge=3, le=200, description="top genes kept per latent")
    min_count: int = Field(10, ge=1, description="firings of a latent on a gene below which the gene cannot be listed")
    shrinkage: float = Field(
        10.0, ge=0, description="pseudo-count that pulls a gene's mean activation towards the latent's mean"
    )


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Lists of genes, shares of variance, replication in held-out cells, and the latents seen from the cells."""
    with out.step("firing by gene and block of cells"):
        seen = look(p, read)
    with out.step("lists"):
        lists = choose_lists(p, seen, out)
    with out.step("shares of variance"):
        shares = explained(p, seen)
        features = describe(seen, lists, shares, out)
        facts = gene_share(seen, shares, features, out)
    with out.step("held-out cells"):
        facts |= replication(p, seen, lists, out)
    with out.step("groups of cells"):
        means = cell_means(seen, out)
        facts |= cell_groups(means, seen.cohort, features, read, out, seed=p.seed)
    out.facts(**facts)


@dataclass(frozen=True)
class Seen:
    """The codes of the layer, and where latents fire in them.

    Attributes
    ----------
    store : CodeStore
    cohort : DataFrame
    cell, gene, block, rank : ndarray, shape (N,)
        Cell, gene (row of `tokens`), block of cells and rank of each position.
    tokens, symbols : ndarray, shape (n_genes,)
    firing : FiringBlocks
    """

    store: CodeStore
    cohort: pd.DataFrame
    cell: np.ndarray
    gene: np.ndarray
    block: np.ndarray
    rank: np.ndarray
    tokens: np.ndarray
    symbols: np.ndarray
    firing: FiringBlocks


@dataclass(frozen=True)
class Lists:
    """Top genes of each latent in training cells, and without each block of them (`analysis.catalogue.top_genes`)."""

    top: pd.DataFrame
    without: list[pd.DataFrame]


@dataclass(frozen=True)
class Shares:
    """Share of the variance of each latent that genes, ranks and renamed genes explain, each (d_sae,)."""

    gene: np.ndarray
    rank: np.ndarray
    renamed: np.ndarray


def look(p: Params, read: Inputs) -> Seen:
    """Group the codes by gene and by block of cells, in one pass."""
    from biosae_utils.analysis.catalogue import deal_cells
    from biosae_utils.analysis.firing_blocks import FiringBlocks

    store, positions, cohort = readers.codes(read), readers.positions(read), readers.cohort(read)
    cell, rank = np.asarray(positions.cell), np.asarray(positions.rank)
    tokens, gene = np.unique(np.asarray(positions.token), return_inverse=True)
    symbols = readers.vocabulary(read).set_index("token")["symbol"].reindex(tokens).fillna("").to_numpy()
    block = deal_cells(cohort["heldout"].to_numpy(), seed=p.seed)[cell]
    firing = FiringBlocks.of(store, gene, block, len(tokens))
    return Seen(store, cohort, cell, gene, block, rank, tokens, symbols, firing)


def choose_lists(p: Params, seen: Seen, out: Output) -> Lists:
    """Top genes of each latent, from training cells and without each block of them; the tables of all three."""
    from biosae_utils.analysis.catalogue import firing_table, top_genes

    how: dict[str, Any] = {"n_top": p.n_top, "min_count": p.min_count, "shrinkage": p.shrinkage}
    training, heldout = seen.firing.training, seen.firing.heldout
    top = top_genes(training, **how)
    without = [top_genes(part, **how) for part in seen.firing.training_without_each()]
    names = {"gene": np.arange(len(seen.tokens)), "token": seen.tokens, "symbol": seen.symbols}
    counts = {"n_positions": training.positions, "n_positions_heldout": heldout.positions if heldout else 0}
    out.table(pd.DataFrame(names | counts), "genes")
    gene = top["gene"]
    out.table(top.assign(token=seen.tokens[gene], gene_index=gene, gene=seen.symbols[gene]), "top_genes")
    small = {"latent": np.int32, "position": np.int16, "gene_index": np.int32, "block": np.int8}
    each = [part[["latent", "position", "gene"]].assign(block=b) for b, part in enumerate(without)]
    out.table(pd.concat(each).rename(columns={"gene": "gene_index"}).astype(small), "top_genes_without_block")
    out.table(firing_table(training, heldout), "firing", download=False)  # for later phases
    return Lists(top, without)


def explained(p: Params, seen: Seen) -> Shares:
    """What gene identity and rank explain, and what genes explain after they swapped names within each cell."""
    from biosae_utils.analysis.catalogue import explained_share, rank_bins
    from biosae_utils.analysis.nulls import permute_within
    from biosae_utils.sae.codes import group_sums

    squares, bins = seen.firing.squares, rank_bins(seen.rank)
    by_rank, _ = group_sums(seen.store, bins, int(bins.max()) + 1)
    # The control needs no more than one block of cells: the adjusted share does not grow with the number of positions.
    first, n_genes = seen.block == 0, len(seen.tokens)
    swapped = seen.gene[permute_within(seen.cell, np.random.default_rng(p.seed))]
    by_swapped, _ = group_sums(seen.store, np.where(first, swapped, -1), n_genes)
    return Shares(
        gene=seen.firing.gene_share(),
        rank=explained_share(by_rank, np.bincount(bins), squares.sum(axis=0)),
        renamed=explained_share(by_swapped, np.bincount(swapped[first], minlength=n_genes), squares[0]),
    )


def describe(seen: Seen, lists: Lists, shares: Shares, out: Output) -> pd.DataFrame:
    """One row a latent; and the same, as the page's table shows it and as its scatter plot draws it."""
    from biosae_utils.analysis.catalogue import effective_genes, feature_table
    from biosae_utils.sae.codes import latent_stats

    features = feature_table(latent_stats(seen.store), seen.store.n, shares.gene, shares.rank, lists.top, seen.symbols)
    features["effective_genes"] = effective_genes(seen.firing.training)
    out.table(features, "features")
    fires = features[features["state"] != "dead"]
    order = fires["state"].map({"alive": 0, "rare": 1, "dense": 2})
    shown = fires.assign(order=order).sort_values(["order", "gene_share"], ascending=[True, False], kind="stable")
    words = {"n_fired": "fired", "gene_share": "gene share", "rank_share": "rank share", "top_genes": "top genes"}
    words["effective_genes"] = "effective genes"
    columns = [
        "latent",
        "top genes",
        "state",
        "gene share",
        "effective genes",
        "rank share",
        "fired",
        "frequency",
        "mean",
        "max",
    ]
    out.table(shown.rename(columns=words)[columns], "latents", download=False)
    says = fires["latent"].astype(str) + ": " + fires["top_genes"].str.split(", ").str[:6].str.join(", ")
    dots = fires[["latent", "frequency", "gene_share"]].assign(which=fires["state"], says=says)
    control = dots.assign(gene_share=shares.renamed[fires["latent"]], which=RENAMED).dropna()
    out.table(pd.concat([control, dots], ignore_index=True), "gene_share", download=False)
    return features


def gene_share(seen: Seen, shares: Shares, features: pd.DataFrame, out: Output) -> dict[str, Any]:
    """Whether genes explain more of the median latent than renamed genes do."""
    alive = (features["state"] != "dead").to_numpy()
    without = np.nanmedian(seen.firing.gene_share_without_each()[:, alive], axis=1)
    share = jackknife(without, np.nanmedian(shares.gene[alive]))
    control = np.nanmedian(shares.renamed[alive])
    out.claim(
        id="gene_share",
        title="Gene identity explains part of what latents respond to, beyond what renamed genes do",
        value=share,
        unit="share of variance, median latent",
        control=control,
        control_kind="gene names dealt out anew within each cell",
        rule="supported if the lower end of the jackknife interval over blocks of cells exceeds the control; trivial "
        f"if the difference is below {LEAST_SHARE}",
        minimum=LEAST_SHARE,
        verdict=verdict(share.low > control),
    )
    mostly = alive & (shares.gene > MOSTLY)
    states = {f"n_{name}": (features["state"] == name).sum() for name in ("alive", "rare", "dense", "dead")}
    return {
        **states,
        "n_latents": len(features),
        "n_firing": alive.sum(),
        "gene_share": share.value,
        "gene_share_control": control,
        "rank_share": np.nanmedian(shares.rank[alive]),
        "n_mostly_gene": mostly.sum(),
        "mostly_gene": mostly[alive].mean(),
        **how_many_genes(features["effective_genes"][mostly], len(features[alive]), shares.renamed[alive]),
    }


def how_many_genes(effective: pd.Series, n_firing: int, renamed: np.ndarray) -> dict[str, Any]:
    """On how many genes the latents fire that genes explain best; in words for the page."""
    said = (
        f"{len(effective):,} of {n_firing:,} latents owe more than half of their variance to the gene (with renamed "
        f"genes {(renamed > MOSTLY).sum():,})"
    )
    if len(effective) == 0:
        return {"effective_genes": None, "n_one_gene": 0, "mostly_said": f"{said}."}
    median, n_one = effective.median(), int((effective < ONE_GENE).sum())
    said += f": readings of groups of genes, {median:.0f} effective genes in the median"
    said += f"; {n_one:,} of them are about a single gene."
    return {"effective_genes": median, "n_one_gene": n_one, "mostly_said": said}


def replication(p: Params, seen: Seen, lists: Lists, out: Output) -> dict[str, Any]:
    """Whether held-out cells list the same genes, beside lists of other latents."""
    from biosae_utils.analysis.catalogue import top_genes
    from biosae_utils.analysis.list_replication import list_replication

    about = {
        "id": "lists_replicate",
        "title": "Top genes chosen in training cells come back in held-out cells",
        "rule": "supported if the lower end of the jackknife interval over blocks of cells exceeds the control; "
        f"trivial if the difference is below {LEAST_LISTED:.0f} points",
    }
    heldout = seen.firing.heldout
    if heldout is None:
        out.claim(**about, verdict="not_tested", reason="the cohort has no held-out cells")
        return {}
    fewer = max(2, round(p.min_count * heldout.positions.sum() / seen.firing.training.positions.sum()))
    again = top_genes(heldout, n_top=p.n_top, min_count=fewer, shrinkage=p.shrinkage)
    found = list_replication(lists.top, lists.without, again, seen.store.d_sae, seed=p.seed)
    if found is None:
        out.claim(**about, verdict="not_tested", reason="fewer than two latents have a list in held-out cells")
        return {}
    out.claim(
        **about,
        value=found.share.scaled(100),
        unit="% of listed genes",
        control=100 * found.control,
        control_kind="held-out list of another latent",
        minimum=LEAST_LISTED,
        verdict=verdict(found.share.low > found.control),
    )
    out.table(found.table, "replication", download=False)
    return {"replicated": found.share.value, "replicated_by_chance": found.control}


def cell_means(seen: Seen, out: Output) -> sp.csr_matrix:
    """Mean activation of each latent in each cell, kept for downloads."""
    import scipy.sparse as sp

    from biosae_utils.analysis import celltypes

    means = celltypes.cell_means(seen.store, seen.cell, len(seen.cohort))
    with out.file("cell_means.npz") as tmp:
        sp.save_npz(tmp, means)
    return means


def resources(size: Size) -> Resources:
    """Memory by codes: a layer of 4 million positions at k = 32 was measured at 6 GB, 47 bytes a slot."""
    return Resources(mem_mb=max(2_000, round(47e-6 * size.positions * size.k)))


PHASE = Phase(
    "03_catalogue",
    Params,
    compute,
    title="Catalogue",
    part="layer",
    reads=("00_data", "01_extract", "02_sae"),
    resources=resources,
)
