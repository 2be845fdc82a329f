"""05_svd: SAE against SVD at matched rank, matched active count and matched bits, and where latents lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from biosae_utils import intervals
from biosae_utils.claims import verdict
from biosae_utils.params import ModelPage
from biosae_utils.phases import readers
from biosae_utils.phases.base import Phase
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output
from biosae_utils.phases.svd_variance import variance
from biosae_utils.store import read_table

if TYPE_CHECKING:
    from biosae_utils.analysis.gene_code import GeneCode
    from biosae_utils.analysis.geometry import Principal
    from biosae_utils.sae.topk import TopKSAE

LATENTS, AXES = "latents, far end", "principal axes"
INSIDE, PERCENT = 0.02, 2.0
"""Least difference that counts: two points of a latent's length, of latents, or of lists."""
LISTS = (LATENTS, AXES, "raw coordinates", "random directions")
"""Sources of gene lists that the annotation pages compare on the same genes."""


class Params(ModelPage):
    """SAE against SVD at matched rank and matched active count."""

    n_random: int = Field(1000, ge=10, description="random directions behind the floor")
    n_axes: int = Field(50, ge=1, description="leading principal axes of the published rule and of the subspace share")
    cosine: float = Field(
        0.5, gt=0, lt=1, description="|cosine| with one axis above which the published rule sees a latent"
    )
    n_boot: int = Field(1000, ge=100, description="resamples of cells and latents behind the intervals")


@dataclass(frozen=True)
class Layers:
    """What the page compares, by layer: SAEs, principal axes of training vectors, vectors of held-out cells.

    Attributes
    ----------
    by_gene : dict of int -> tuple of GeneCode
        One mean vector per gene; only as many as there are latents.
    cell, gene : ndarray of int, shape (n,)
        Cell and token of each held-out vector.
    n_axes : int
        Leading axes of the published rule, at most the width.
    """

    saes: dict[int, TopKSAE]
    axes: dict[int, Principal]
    by_gene: dict[int, tuple[GeneCode, GeneCode]]
    heldout: dict[int, np.ndarray]
    cell: np.ndarray
    gene: np.ndarray
    n_axes: int

    @property
    def first(self) -> TopKSAE:
        """Any of the SAEs: all have the same shape."""
        return next(iter(self.saes.values()))

    def latents(self, layer: int) -> np.ndarray:
        """Decoder rows of a layer, shape (F, d)."""
        return self.saes[layer].W_dec.detach().numpy()


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Variance with different things held equal, where latents lie, the published rule, and who is annotated more."""
    with out.step("principal axes and gene means"):
        layers = look(p, read)
    with out.step("variance"):
        about_variance = variance(p, layers, out)
    with out.step("subspaces"):
        about_shares = subspaces(p, layers, out)
    with out.step("the published rule"):
        about_novel = published_rule(p, layers, readers.family(read), out)
    annotated(read, out)
    about = {"d": layers.first.d_in, "d_sae": layers.first.d_sae, "k": layers.first.k, "n_axes": layers.n_axes}
    out.facts(**about, **about_variance, **about_shares, **about_novel)


def look(p: Params, read: Inputs) -> Layers:
    """SAEs of the book, axes and gene means from training positions, vectors of held-out cells to judge on."""
    from biosae_utils.analysis import gene_code
    from biosae_utils.analysis.geometry import principal_axes

    saes = readers.Saes.read(read)
    sample, heldout = (readers.Sample.read(read, saes.layers, heldout=flag) for flag in (False, True))
    loaded = {layer: saes.load(layer) for layer in saes.layers}
    first = loaded[saes.layers[0]]
    n_genes = 1 + int(max(sample.token.max(), heldout.token.max()))
    by_gene = {
        layer: (
            gene_code.fit(x, sample.token, n_genes),
            gene_code.fit(x, sample.token, n_genes, n_means=first.d_sae),
        )
        for layer, x in sample.vectors.items()
    }
    return Layers(
        saes=loaded,
        axes={layer: principal_axes(x) for layer, x in sample.vectors.items()},
        by_gene=by_gene,
        heldout={layer: np.asarray(x, np.float32) for layer, x in heldout.vectors.items()},
        cell=heldout.cell,
        gene=heldout.token,
        n_axes=min(p.n_axes, first.d_in),
    )


def subspaces(p: Params, layers: Layers, out: Output) -> dict[str, Any]:
    """Share of each latent inside the span of the leading axes, beside random directions and ones shaped like data."""
    from biosae_utils.analysis import geometry, nulls

    d, n_axes = layers.first.d_in, layers.n_axes
    ranks = np.unique(np.r_[np.geomspace(1, d, 30).astype(int), n_axes, d])
    tables, inside = [], {}
    for layer, axes in layers.axes.items():
        rng = np.random.default_rng([p.seed, layer])
        kinds = {
            "latents": layers.latents(layer),
            "random": nulls.random_directions(p.n_random, d, rng),
            "shaped": nulls.shaped_directions(p.n_random, axes, rng),
        }
        for name, directions in kinds.items():
            share = geometry.subspace_share(directions, axes.axes, ranks)
            inside[layer, name] = share[:, list(ranks).index(n_axes)]
            low, high = zip(*(intervals.quantiles(column, over="latents").pair for column in share.T), strict=True)
            about = {"layer": layer, "which": name, "rank": ranks, "share": share.mean(0), "low": low, "high": high}
            tables.append(pd.DataFrame(about))
    shares = pd.concat(tables, ignore_index=True)
    out.table(shares, "subspace")
    exact = np.array([geometry.random_share(int(r), d) for r in ranks])
    expected = {"who": "random directions: r / d", "which": "random, exact", "rank": ranks, "share": exact[:, 0]}
    band = pd.DataFrame({**expected, "low": exact[:, 1], "high": exact[:, 2]})
    shown = shares[shares["which"] != "random"].drop(columns=["low", "high"])
    shown = shown.assign(who="layer " + shown["layer"].astype(str))
    out.table(pd.concat([band, shown], ignore_index=True), "subspace_marks", download=False)

    pooled = {name: np.concatenate([inside[i, name] for i in layers.axes]) for name in ("latents", "random", "shaped")}
    found = {
        name: intervals.bootstrap_mean(values, n_boot=p.n_boot, seed=p.seed, over="latents")
        for name, values in pooled.items()
    }
    out.claim(
        id="latents_prefer_leading_axes",
        title="Latents lie inside the leading principal subspace more than directions shaped like the data do",
        value=found["latents"],
        unit=f"share of squared length inside {n_axes} axes",
        control=found["shaped"],
        control_kind="random directions with the covariance of the states, all layers; directions of no shape have "
        f"{n_axes / d:.3f} = {n_axes} / {d}",
        rule="supported if the 95 % interval over latents of all layers lies above that of directions shaped like the "
        f"data; trivial if the difference is below {INSIDE}",
        minimum=INSIDE,
        verdict=verdict(found["latents"].low > found["shaped"].high),
    )
    shaped = {layer: inside[layer, "latents"].mean() < inside[layer, "shaped"].mean() for layer in layers.axes}
    return {f"inside_{name}": values.mean() for name, values in pooled.items()} | {"below_shaped": sum(shaped.values())}


def published_rule(p: Params, layers: Layers, family: str, out: Output) -> dict[str, Any]:
    """How often the published rule calls directions novel whose answer is known, beside latents."""
    from biosae_utils.analysis import geometry, nulls
    from biosae_utils.analysis.published_figures import published

    rows, real = [], []
    for layer, axes in layers.axes.items():
        rng = np.random.default_rng([p.seed, layer, 1])
        lead = axes.axes[: layers.n_axes]
        kinds = {
            "latents": layers.latents(layer),
            "random": nulls.random_directions(p.n_random, layers.first.d_in, rng),
            "shaped": nulls.shaped_directions(p.n_random, axes, rng),
            "inside": nulls.rotated_axes(lead, p.n_random, rng),
            "axes": lead,
        }
        for name, directions in kinds.items():
            novel = geometry.published_novel(directions, lead, n_axes=layers.n_axes, threshold=p.cosine)
            share = intervals.bootstrap_mean(novel, n_boot=p.n_boot, seed=p.seed, over="latents")
            closest = np.median(geometry.max_abs_cosine(directions, lead))
            about = {"layer": layer, "which": name, "n": len(directions), "novel": share.value}
            rows.append({**about, "low": share.low, "high": share.high, "median_cosine": closest})
            if name == "latents":
                real.append(novel)
    table = pd.DataFrame(rows)
    out.table(table, "novel")
    mean = table.groupby("which")["novel"].mean()
    value = intervals.bootstrap_mean(np.concatenate(real), n_boot=p.n_boot, seed=p.seed, over="latents")
    out.claim(
        id="invisible_to_svd",
        title="Latents are invisible to single principal axes more often than random directions are",
        value=value.scaled(100),
        unit="% of latents",
        control=100 * mean["random"],
        control_kind="random directions, same rule",
        rule="supported if the 95 % interval over latents of all layers lies above the share of random directions; "
        f"trivial if the difference is below {PERCENT:g} points",
        minimum=PERCENT,
        verdict=verdict(value.low > mean["random"]),
        published=published("invisible_to_svd", family, p.variant),
    )
    return {f"novel_{name}": mean[name] for name in mean.index if name != "latents"} | {"novel_latents": value.value}


def annotated(read: Inputs, out: Output) -> None:
    """Whether lists of latents are annotated more than those of principal axes, each above its own matched lists."""
    about = {
        "id": "latents_are_named_more_than_axes",
        "title": "Latents are annotated more often than principal axes",
        "rule": "supported if the 95 % Wilson interval of latents, pooled over layers, lies above that of principal "
        f"axes; trivial if the difference is below {PERCENT:g} points",
    }
    layers = read.layers("04_annotate")
    if not layers:
        out.claim(**about, verdict="not_tested", reason="the run has no annotation page of this model")
        return
    parts = [read_table(read.file("04_annotate", "rules.parquet", layer=i)).assign(layer=i) for i in layers]
    table = pd.concat(parts, ignore_index=True)
    table = table[(table["rule"] == "feature") & table["source"].isin(LISTS)]
    for name in ("share", "low", "high"):
        table[f"{name}_above"] = 100 * (table[name] - table["matched"])
    out.table(table, "annotated")
    excess = {}
    for name in (LATENTS, AXES):
        part = table[table["source"] == name]
        n, chance = int(part["n_lists"].sum()), np.average(part["matched"], weights=part["n_lists"])
        found = int((part["share"] * part["n_lists"]).round().sum())
        excess[name] = intervals.wilson(found, n, over="lists").shifted(-chance).scaled(100)
    out.claim(
        **about,
        value=excess[LATENTS],
        unit="% of lists, above frequency-matched lists",
        control=excess[AXES],
        control_kind="principal axes: same genes, same test, above their own frequency-matched lists",
        minimum=PERCENT,
        verdict=verdict(excess[LATENTS].low > excess[AXES].high),
    )


PHASE = Phase(
    "05_svd", Params, compute, title="SAE against SVD", part="layers", reads=("01_extract", "02_sae", "04_annotate"),
)  # fmt: skip
