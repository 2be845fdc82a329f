"""06_tracking: latents followed over layers, between another seed of the same layer and chance."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from biosae_utils import intervals
from biosae_utils.claims import verdict
from biosae_utils.errors import BiosaeError
from biosae_utils.params import ModelPage
from biosae_utils.phases import readers
from biosae_utils.phases.base import Phase
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output

if TYPE_CHECKING:
    from biosae_utils.analysis.tracking import Comparisons, Dictionary


class Params(ModelPage):
    """Latents followed over layers, beside other-seed and random floors."""

    threshold: float = Field(0.7, gt=0, lt=1, description="decoder cosine above which two latents count as the same")
    activation_threshold: float = Field(
        0.5, gt=0, lt=1, description="correlation of activations above which two latents count as the same"
    )
    min_count: int = Field(10, ge=1, description="firings on held-out positions below which a latent is not followed")
    n_boot: int = Field(1000, ge=100, description="resamples of latents behind the intervals")

    @property
    def limit(self) -> dict[str, float]:
        """Similarity from which two latents are the same, by kind of similarity."""
        return {"decoder": self.threshold, "activation": self.activation_threshold}


@dataclass(frozen=True)
class Trained:
    """Autoencoders of a model on the same held-out positions.

    Attributes
    ----------
    layers : list of int
    seeds : int
        Trainings per layer that are compared: 2, or 1 where the run has one.
    of : dict of (layer, seed) -> Dictionary
    vectors : dict of int -> ndarray, shape (n, d)
    token : ndarray of int, shape (n,)
    """

    layers: list[int]
    seeds: int
    of: dict[tuple[int, int], Dictionary]
    vectors: dict[int, np.ndarray]
    token: np.ndarray

    @property
    def adjacent(self) -> list[tuple[int, int]]:
        """Neighbouring layers."""
        return list(pairwise(self.layers))

    def turn(self, layer: int) -> int:
        """Seed that stands for a layer: they take turns, so that neighbours do not share a start."""
        return self.layers.index(layer) % self.seeds

    def own(self, layer: int) -> Dictionary:
        """The training that stands for a layer."""
        return self.of[layer, self.turn(layer)]

    def other(self, layer: int, than: int) -> Dictionary:
        """A training of `layer` with another seed than the one that stands for layer `than`."""
        return self.of[layer, (self.turn(than) + 1) % self.seeds]


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Compare neighbouring layers, the same layer with another seed, and what means nothing."""
    from biosae_utils.analysis.matching import matching_name

    with out.step("encode"):
        trained = encode(p, read)
    with out.step("match"):
        compared = compare(p, trained)
    pairs = compared.table(trained.adjacent)
    out.table(pairs, "pairs")
    save_marks(pairs, trained, out)
    whole = lives(p, trained, compared, out)
    results = judge(p, trained, compared, readers.family(read), out)
    mean = pairs[pairs["adjacent"]].groupby(["by", "matching", "kind"])["share"].mean()
    out.facts(
        n_layers=len(trained.layers),
        has_ceiling=trained.seeds > 1,
        whole_decoder=whole["decoder"],
        whole_activation=whole["activation"],
        matching=matching_name(len(trained.own(trained.layers[0]).rows)),
        shared_start=mean.get(("decoder", "one-sided", "shared start")),
        means={" ".join(key): value for key, value in mean.items()},
        **results,
    )


def encode(p: Params, read: Inputs) -> Trained:
    """Decoder rows and codes of the held-out positions, of two seeds where there are two.

    Raises
    ------
    BiosaeError
        The model has one layer with an autoencoder: there is no next one.
    """
    import torch

    from biosae_utils.analysis.matching import codes_matrix
    from biosae_utils.analysis.tracking import Dictionary

    saes = readers.Saes.read(read)
    if len(saes.layers) < 2:
        raise BiosaeError(
            f"Layer {', '.join(map(str, saes.layers))} alone has an autoencoder, and latents are followed over layers",
            where="02_sae",
            do="name another layer of the model, or leave 06_tracking out of `phases`",
        )
    sample = readers.Sample.read(read, saes.layers, heldout=True)
    seeds = 2 if 1 in saes.seeds else 1
    of = {}
    for layer in saes.layers:
        x = sample.vectors[layer]
        for seed in range(seeds):
            sae = saes.load(layer, seed)
            with torch.no_grad():
                blocks = (torch.from_numpy(x[i : i + 8192].astype(np.float32)) for i in range(0, len(x), 8192))
                parts = [sae.encode(block) for block in blocks]
            values, indices = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
            codes = codes_matrix(values, indices, sae.d_sae)
            fires = codes.getnnz(axis=0) >= p.min_count
            of[layer, seed] = Dictionary(layer, sae.W_dec.detach().numpy(), codes, fires)
    return Trained(saes.layers, seeds, of, sample.vectors, sample.token)


def compare(p: Params, trained: Trained) -> Comparisons:
    """All pairs of layers; neighbours also with a floor and with a shared start; each layer with another seed."""
    from biosae_utils.analysis.tracking import Comparisons

    compared = Comparisons(p.limit, p.min_count)
    for a, b in combinations(trained.layers, 2):
        first, second = trained.own(a), trained.other(b, than=a)
        compared.add("layers", first, second)
        if (a, b) in trained.adjacent:
            rng = np.random.default_rng([p.seed, a, b])
            compared.add_floor(first, second, trained.vectors[b], trained.token, rng)
            if trained.seeds > 1:
                compared.add("shared start", first, trained.of[b, trained.turn(a)])
    if trained.seeds > 1:
        for layer in trained.layers:
            compared.add("seed", trained.own(layer), trained.other(layer, than=layer))
    return compared


def save_marks(pairs: pd.DataFrame, trained: Trained, out: Output) -> None:
    """What the figures show: neighbours by panel, and the grid of all pairs."""
    later = dict(trained.adjacent)
    shown = pairs[pairs["adjacent"] & pairs["layer_a"].isin(list(later))]
    step = [f"{a} → {later[a]}" for a in shown["layer_a"]]
    panel = [f"by {by}, {way}" for by, way in zip(shown["by"], shown["matching"], strict=True)]
    out.table(shown.assign(step=step, panel=panel), "adjacent", download=False)
    grid = pairs[(pairs["matching"] == "one-to-one") & pairs["kind"].isin(["layers", "seed"])]
    turned = grid[grid["layer_a"] != grid["layer_b"]].rename(columns={"layer_a": "layer_b", "layer_b": "layer_a"})
    out.table(pd.concat([grid, turned])[["by", "layer_a", "layer_b", "share"]], "grid", download=False)


def lives(p: Params, trained: Trained, compared: Comparisons, out: Output) -> dict[str, int]:
    """Chains of one-to-one counterparts, beside those that chance and shared genes make; chains through all layers."""
    from biosae_utils.analysis import tracking

    tables, fires = [], [trained.own(layer).fires for layer in trained.layers]
    for by, limit in p.limit.items():
        for kind, which in (("layers", "latents"), ("floor", "floor")):
            if kind == "floor" and by == "decoder":  # links to random directions join no chain: each is its own life
                linked = compared.has_counterpart(kind, by, "one-to-one", trained.adjacent)
                length = pd.Series(1 + linked.astype(int))
            else:
                links = [compared.found[kind, by, "one-to-one", a, b] for a, b in trained.adjacent]
                table = tracking.lifetimes(links, trained.layers, fires, limit)
                length = table["length"]
                if kind == "layers":
                    out.table(table, f"lifetimes_{by}")
            count = length.value_counts().sort_index()
            about = {"by": by, "which": which, "length": count.index, "share": count / count.sum(), "n": count}
            tables.append(pd.DataFrame(about))
    lengths = pd.concat(tables, ignore_index=True)
    out.table(lengths, "lifetimes")
    whole = lengths[(lengths["which"] == "latents") & (lengths["length"] == len(trained.layers))]
    return {by: int(whole.loc[whole["by"] == by, "n"].sum()) for by in p.limit}


def judge(p: Params, trained: Trained, compared: Comparisons, family: str, out: Output) -> dict[str, Any]:
    """The four claims: turnover against another seed of the same layer, persistence against the floor."""
    from biosae_utils.analysis.published_figures import published

    def share(kind: str, by: str, way: str) -> intervals.Interval:
        pairs = [(layer, layer) for layer in trained.layers] if kind == "seed" else trained.adjacent
        hits = compared.has_counterpart(kind, by, way, pairs)
        return intervals.bootstrap_mean(hits, n_boot=p.n_boot, seed=p.seed, over="latents").scaled(100)

    facts: dict[str, Any] = {}
    for slug, by, way, title in (
        ("turnover_of_directions", "decoder", "one-sided",
         "Fewer latents have their direction in the next layer than in another training of the same layer"),
        ("turnover_of_activation", "activation", "one-to-one",
         "Fewer latents fire where a latent of the next layer fires than where one of another training of the same "
         "layer does"),
    ):  # fmt: skip
        about = {
            "id": slug,
            "title": title,
            "rule": "supported if the 95 % interval over latents lies below that of another seed of the same layer",
        }
        following = share("layers", by, way)
        facts |= {f"{by}_next": following.value, f"{by}_seed": None}
        if trained.seeds == 1:
            out.claim(**about, verdict="not_tested", reason="the run trains one seed, so there is no ceiling")
            continue
        ceiling = share("seed", by, way)
        facts[f"{by}_seed"] = ceiling.value
        out.claim(
            **about,
            value=following,
            unit="% of latents",
            control=ceiling,
            control_kind=f"same layer, another seed; {way} by {by}",
            verdict=verdict(following.high < ceiling.low),
            published=published(slug, family, p.variant),
        )
    for by, title, kind in (
        ("decoder", "Latents keep their direction into the next layer more than random directions would match",
         "random directions with the covariance of the next layer"),
        ("activation", "Latents fire where their counterpart in the next layer fires, beyond firing on the same genes",
         "positions of the next layer exchanged within each gene"),
    ):  # fmt: skip
        value, chance = share("layers", by, "one-to-one"), share("floor", by, "one-to-one")
        facts |= {f"{by}_one_to_one": value.value, f"{by}_floor": chance.value}
        about = {
            "id": f"persistence_by_{by}",
            "title": title,
            "rule": "supported if the 95 % interval over latents lies above that of the floor, one-to-one matching",
        }
        if trained.seeds == 1:  # what layers of one seed share may be where they started
            out.claim(**about, verdict="not_tested", reason="all layers started from the same directions")
            continue
        holds = verdict(value.low > chance.high)
        out.claim(**about, value=value, unit="% of latents", control=chance, control_kind=kind, verdict=holds)
    return facts


PHASE = Phase(
    "06_tracking", Params, compute, title="Latents across layers", part="layers", reads=("01_extract", "02_sae"),
    min_layers=2,
)  # fmt: skip
