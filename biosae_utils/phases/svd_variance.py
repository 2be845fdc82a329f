"""The first half of 05_svd: variance that the autoencoder explains beside every rival, with one thing held equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from biosae_utils.claims import verdict

if TYPE_CHECKING:
    from biosae_utils.analysis.reconstruction import Contest, Shares
    from biosae_utils.phases.output import Output
    from biosae_utils.phases.svd import Layers, Params

POINT = 0.01
"""Least difference that counts: one point of variance."""

PCA = ["leading_50", "leading_k", "largest_k", "leading_bits", "largest_bits"]
"""Principal components alone, all shown."""
WAYS = {"leading": "leading axes", "largest": "coefficients of each vector's choice"}
FREE, PAID, COMMON, BITS = (
    [f"{name}_leading", f"{name}_largest"] if name else ["leading_bits", "largest_bits"]
    for name in ("gene_free", "gene_paid", "common_paid", "")
)
"""Rivals by what they know: the gene for nothing, the gene at a price, a common gene at a price, no gene."""

GENES = ("pca_bits", "common_bits", "gene_paid", "gene_free")
"""Columns of the table of rivals that know genes: the better of two ways to spend the bits."""

INTERVAL = "supported if the 95 % interval over cells of the paired difference, averaged over layers, lies above 0; "
CLAIMS: dict[str, dict[str, Any]] = {
    "variance_beyond_gene_mean": {
        "title": "Of what the mean vector of its gene leaves of a state, the autoencoder explains more than principal "
        "components of the same size",
        "unit": "share of the variance beyond the gene mean, mean over layers",
        "control_kind": "principal components of what the gene mean leaves, with as many bits; the gene is free, since "
        "whoever has the token knows it; the better of leading axes and largest coefficients in each layer",
    },
    "variance_at_equal_bits": {
        "title": "With as many bits a vector, the autoencoder explains more variance of unseen cells than any rival",
        "unit": "share of variance, mean over layers",
        "control_kind": "with as many bits, the best in each layer of principal components and of one mean vector per "
        "gene or per common gene, which pay for saying which gene, with principal components of the rest",
    },
    "variance_at_equal_atoms": {
        "title": "With as many bits a vector, the autoencoder explains more variance of unseen cells than as many mean "
        "vectors of common genes as it has latents",
        "unit": "share of variance, mean over layers",
        "control_kind": "mean vectors of the commonest genes, one for all other genes, as many in all as there are "
        "latents, then principal components of the rest, with as many bits; the better of leading axes and largest "
        "coefficients in each layer",
    },
}
RIVALS = dict(zip(CLAIMS, (FREE, [*BITS, *PAID, *COMMON], COMMON), strict=True))


def variance(p: Params, layers: Layers, out: Output) -> dict[str, Any]:
    """Tables, claims and facts on explained variance."""
    from biosae_utils.analysis import geometry
    from biosae_utils.analysis.reconstruction import Shares

    d, k = layers.first.d_in, layers.first.k
    budget = geometry.code_bits(layers.first.d_sae, k)
    bought = {"leading": min(d, int(budget // 16)), "largest": geometry.active_for_bits(d, budget)}
    found = {i: reconstructions(layers, i, k, budget, bought) for i in layers.heldout}
    curves, ways = pd.concat([c for c, _ in found.values()], ignore_index=True), {i: w for i, (_, w) in found.items()}
    shares, beyond = (
        Shares.of(whole, ways, layers.cell, n_boot=p.n_boot, seed=p.seed)
        for whole in (
            {i: geometry.spread(x) for i, x in layers.heldout.items()},
            {i: named["gene_mean"] for i, named in ways.items()},
        )
    )
    ranks = same_variance(layers, shares)
    out.table(curves, "curves")
    out.table(shares.table.merge(ranks.reset_index(), on="layer"), "variance")
    out.table(beyond.table, "beyond_gene_mean")
    out.table(shares.wide[["sae", *PCA]].join(ranks).reset_index(), "variance_wide", download=False)
    out.table(marks(curves, shares.wide, k, bought["largest"]), "variance_marks", download=False)
    genes = shares.wide[["sae", "gene_mean", "common_mean"]].assign(
        **{name: shares.strongest(names) for name, names in zip(GENES, (BITS, COMMON, PAID, FREE), strict=True)}
    )
    out.table(genes.reset_index(), "genes_wide", download=False)
    best = pd.concat([beyond.shown(names, name) for name, names in (("rest", FREE), ("paid", PAID), ("sae", ["sae"]))])
    out.table(best, "beyond_marks", download=False)
    won = {name: judged(out, name, beyond if names is FREE else shares) for name, names in RIVALS.items()}
    own = next(iter(layers.by_gene.values()))[0]
    sizes = {
        "bits": budget, "leading_at_bits": bought["leading"], "largest_at_bits": bought["largest"],
        "largest_if_paid": own.coefficients(budget - own.bits)["largest"],
    }  # fmt: skip
    return sizes | in_words(layers, shares, genes, ranks) | {
        "beyond_sae": won["variance_beyond_gene_mean"].ours.value,
        "beyond_sae_min": beyond.wide["sae"].min(), "beyond_sae_max": beyond.wide["sae"].max(),
        "beyond_rest": won["variance_beyond_gene_mean"].rival.value,
        "strongest_mean": won["variance_at_equal_bits"].rival.value,
    }  # fmt: skip


def reconstructions(
    layers: Layers, layer: int, k: int, budget: float, bought: dict[str, int]
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Curves of PCA over numbers kept, and the squared error of each vector for every reconstruction."""
    from biosae_utils.analysis import gene_code, geometry
    from biosae_utils.sae import metrics

    x, axes, d = layers.heldout[layer], layers.axes[layer], layers.first.d_in
    kept = np.unique(np.r_[0, np.geomspace(1, d, 40).astype(int), k, *bought.values(), layers.n_axes, d])
    pca = {way: geometry.pca_residuals(axes, x, kept, sparse=way == "largest") for way in bought}
    whole = geometry.spread(x).sum()
    curves = [
        pd.DataFrame({"layer": layer, "which": w, "kept": kept, "explained": 1 - r.sum(0) / whole})
        for w, r in pca.items()
    ]
    numbers = {"50": layers.n_axes, "k": k, "bits": None}
    ways = {"sae": metrics.evaluate(layers.saes[layer], x).residual}
    for name in PCA:
        way, held = name.split("_")
        ways[name] = pca[way][:, int(np.searchsorted(kept, numbers[held] or bought[way]))]
    own, common = layers.by_gene[layer]
    return pd.concat(curves), ways | gene_code.rivals(x, layers.gene, own, common, budget)


def same_variance(layers: Layers, shares: Shares) -> pd.DataFrame:
    """Numbers that PCA needs to explain what the autoencoder does: one row a layer."""
    from biosae_utils.analysis.geometry import matching_rank

    level = shares.wide["sae"]
    ranks = {
        f"{name}_for_same_variance": [
            matching_rank(layers.axes[i], x, level[i], sparse=name == "active") for i, x in layers.heldout.items()
        ]
        for name in ("rank", "active")
    }
    return pd.DataFrame(ranks, index=pd.Index(layers.heldout, name="layer"))


def judged(out: Output, name: str, shares: Shares) -> Contest:
    """The claim of that name: the autoencoder against the strongest of its rivals."""
    found = shares.contest("sae", RIVALS[name])
    out.claim(
        id=name, **CLAIMS[name], value=found.ours, control=found.rival, minimum=POINT,
        rule=f"{INTERVAL}trivial if the difference is below {POINT}", verdict=verdict(found.gain.low > 0),
    )  # fmt: skip
    return found


def marks(curves: pd.DataFrame, value: pd.DataFrame, k: int, at_bits: int) -> pd.DataFrame:
    """Lines of PCA with the points of the autoencoder and of PCA at equal bits: layer, which, kept, explained."""
    lines = curves[curves["kept"] > 0]
    points = [
        pd.DataFrame({"layer": value.index, "which": name, "kept": kept, "explained": value[column].to_numpy()})
        for name, kept, column in (("sae", k, "sae"), ("bits", at_bits, "largest_bits"))
    ]
    return pd.concat([lines, *points], ignore_index=True)


def in_words(layers: Layers, shares: Shares, genes: pd.DataFrame, ranks: pd.DataFrame) -> dict[str, Any]:
    """Facts that the page's sentences need."""
    own, common = next(iter(layers.by_gene.values()))
    nearest = shares.best(PCA)
    name = nearest.mode()[0]
    way, held = name.split("_")
    kept = {"50": layers.n_axes, "k": layers.first.k}
    said = f"{kept[held]} {WAYS[way]}" if held in kept else f"{WAYS[way]} of as many bits"
    value = shares.wide
    return {
        "n_layers": len(genes), "n_genes": len(own.means) - 1, "n_common": len(common.means), "gene_bits": own.bits,
        "sae_mean": value["sae"].mean(), "sae_min": value["sae"].min(), "sae_max": value["sae"].max(),
        "gene_mean": value["gene_mean"].mean(), "gene_mean_min": value["gene_mean"].min(),
        "gene_mean_max": value["gene_mean"].max(), "gene_mean_ahead": (value["gene_mean"] > value["sae"]).sum(),
        "bits_mean": genes["pca_bits"].mean(), "atoms_mean": genes["common_bits"].mean(),
        "paid_mean": genes["gene_paid"].mean(), "free_mean": genes["gene_free"].mean(),
        "paid_ahead": (genes["gene_paid"] > value["sae"]).sum(),
        "free_ahead": (genes["gene_free"] > value["sae"]).sum(),
        "largest_k_mean": value["largest_k"].mean(), "leading_50_mean": value["leading_50"].mean(),
        "leading_50_bits": 16 * layers.n_axes,
        "nearest": said, "nearest_layers": (nearest == name).sum(),
        "nearest_mean": value[name].mean(), "nearest_gap": (value["sae"] - value[name]).mean(),
        "bits_gap": (value["sae"] - genes["pca_bits"]).mean(),
        "rank_min": ranks["rank_for_same_variance"].min(), "rank_max": ranks["rank_for_same_variance"].max(),
        "active_min": ranks["active_for_same_variance"].min(), "active_max": ranks["active_for_same_variance"].max(),
    }  # fmt: skip
