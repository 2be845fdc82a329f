"""06_tracking: latents followed over layers, between another seed of the same layer and chance."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, pairwise
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

if TYPE_CHECKING:
    import scipy.sparse as sp

    from biosae_utils.analysis.matching import Match

WAYS = ("one-sided", "one-to-one")
PANELS = [(by, way) for by in ("decoder", "activation") for way in WAYS]


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
class Dictionaries:
    """Autoencoders of a model on the same held-out positions.

    Attributes
    ----------
    layers : list of int
    seeds : int
        Trainings per layer that are compared: 2, or 1 where the run has one.
    rows, codes, fires : dict of (layer, seed)
        Decoder rows (F, d); sparse codes (n, F); latents that fire often enough.
    vectors : dict of int -> ndarray, shape (n, d)
    token : ndarray of int, shape (n,)
    """

    layers: list[int]
    seeds: int
    rows: dict[tuple[int, int], np.ndarray]
    codes: dict[tuple[int, int], sp.csr_matrix]
    fires: dict[tuple[int, int], np.ndarray]
    vectors: dict[int, np.ndarray]
    token: np.ndarray

    @property
    def adjacent(self) -> list[tuple[int, int]]:
        """Neighbouring layers."""
        return list(pairwise(self.layers))

    def own(self, layer: int) -> tuple[int, int]:
        """The training that stands for a layer: seeds take turns, so that neighbours do not share a start."""
        return layer, self.layers.index(layer) % self.seeds

    def other(self, layer: int, of: int | None = None) -> tuple[int, int]:
        """The training of `layer` with another seed than the one that stands for `of` (by default, for itself)."""
        return layer, (self.own(layer if of is None else of)[1] + 1) % self.seeds


@dataclass
class Matches:
    """Matchings of pairs of dictionaries, in both ways.

    Attributes
    ----------
    found : dict of (kind, by, way, layer, layer) -> Match
    rows : list of dict
        One row each, for the table.
    """

    limit: dict[str, float]
    adjacent: list[tuple[int, int]]
    found: dict[tuple[str, str, str, int, int], Match] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, by: str, a: int, b: int, similarity: np.ndarray, alive: tuple[Any, Any]) -> None:
        """Match layer `a` with what stands for layer `b`, in both ways."""
        from biosae_utils.analysis import matching

        for way, match in zip(
            WAYS,
            (matching.match_one_sided(similarity, *alive), matching.match_one_to_one(similarity, *alive)),
            strict=True,
        ):
            self.found[kind, by, way, a, b] = match
            about = {"kind": kind, "by": by, "matching": way, "layer_a": a, "layer_b": b, "n_latents": match.n_a}
            next_to = a == b or (a, b) in self.adjacent
            mean = match.score.sum() / max(match.n_a, 1)
            share = match.share(self.limit[by])
            self.rows.append({**about, "adjacent": next_to, "share": share, "mean_similarity": mean})

    def pooled(self, kind: str, by: str, way: str, pairs: list[tuple[int, int]]) -> np.ndarray:
        """For each latent of the pairs, whether it has a counterpart."""
        found = [self.found[kind, by, way, a, b] for a, b in pairs]
        hits = [(int((m.score >= self.limit[by]).sum()), m.n_a) for m in found]
        return np.concatenate([np.r_[np.ones(n), np.zeros(of - n)] for n, of in hits])


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Compare neighbouring layers, the same layer with another seed, and what means nothing."""
    with out.step("encode"):
        dictionaries = encode(p, read)
    with out.step("match"):
        matches = compare(p, dictionaries)
    pairs = pd.DataFrame(matches.rows)
    out.table(pairs, "pairs")
    save_marks(pairs, dictionaries, out)
    whole = lives(p, dictionaries, matches, out)
    results = judge(p, dictionaries, matches, readers.family(read), out)
    mean = pairs[pairs["adjacent"]].groupby(["by", "matching", "kind"])["share"].mean()
    from biosae_utils.analysis.matching import matching_name

    out.facts(
        n_layers=len(dictionaries.layers),
        has_ceiling=dictionaries.seeds > 1,
        whole_decoder=whole["decoder"],
        whole_activation=whole["activation"],
        matching=matching_name(len(dictionaries.rows[dictionaries.layers[0], 0])),
        shared_start=mean.get(("decoder", "one-sided", "shared start")),
        means={" ".join(key): value for key, value in mean.items()},
        **results,
    )


def encode(p: Params, read: Inputs) -> Dictionaries:
    """Decoder rows and codes of the held-out positions, of two seeds where there are two."""
    import torch

    from biosae_utils.analysis.matching import codes_matrix

    saes = readers.Saes.read(read)
    sample = readers.Sample.read(read, saes.layers, heldout=True)
    seeds = 2 if 1 in saes.seeds else 1
    rows, codes, fires = {}, {}, {}
    for layer in saes.layers:
        x = sample.vectors[layer]
        for seed in range(seeds):
            sae = saes.load(layer, seed)
            with torch.no_grad():
                blocks = (torch.from_numpy(x[i : i + 8192].astype(np.float32)) for i in range(0, len(x), 8192))
                parts = [sae.encode(block) for block in blocks]
            values, indices = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
            rows[layer, seed] = sae.W_dec.detach().numpy()
            codes[layer, seed] = codes_matrix(values, indices, sae.d_sae)
            fires[layer, seed] = codes[layer, seed].getnnz(axis=0) >= p.min_count
    return Dictionaries(saes.layers, seeds, rows, codes, fires, sample.vectors, sample.token)


def compare(p: Params, d: Dictionaries) -> Matches:
    """All pairs of layers; neighbours also with a floor and with a shared start; each layer with another seed."""
    matches = Matches(p.limit, d.adjacent)
    for a, b in combinations(d.layers, 2):
        both(p, d, matches, "layers", d.own(a), d.other(b, of=a))
        if (a, b) in d.adjacent:
            floor(p, d, matches, d.own(a), d.other(b, of=a))
            if d.seeds > 1:
                both(p, d, matches, "shared start", d.own(a), (b, d.own(a)[1]))
    if d.seeds > 1:
        for layer in d.layers:
            both(p, d, matches, "seed", d.own(layer), d.other(layer))
    return matches


def both(p: Params, d: Dictionaries, matches: Matches, kind: str, a: tuple[int, int], b: tuple[int, int]) -> None:
    """Two autoencoders compared by decoder and by activation."""
    from biosae_utils.analysis import matching

    alive = d.fires[a], d.fires[b]
    matches.add(kind, "decoder", a[0], b[0], matching.decoder_similarity(d.rows[a], d.rows[b]), alive)
    similarity = matching.activation_similarity(d.codes[a], d.codes[b], min_count=p.min_count)
    matches.add(kind, "activation", a[0], b[0], similarity, alive)


def floor(p: Params, d: Dictionaries, matches: Matches, a: tuple[int, int], b: tuple[int, int]) -> None:
    """The same for random directions, and for codes whose positions were exchanged within genes."""
    from biosae_utils.analysis import geometry, matching, nulls

    rng = np.random.default_rng([p.seed, a[0], b[0]])
    random = nulls.shaped_directions(len(d.rows[b]), geometry.principal_axes(d.vectors[b[0]]), rng)
    everywhere = d.fires[a], np.ones(len(random), bool)
    matches.add("floor", "decoder", a[0], b[0], matching.decoder_similarity(d.rows[a], random), everywhere)
    moved = d.codes[b][nulls.permute_within(d.token, rng)]
    similarity = matching.activation_similarity(d.codes[a], moved, min_count=p.min_count)
    matches.add("floor", "activation", a[0], b[0], similarity, (d.fires[a], d.fires[b]))


def save_marks(pairs: pd.DataFrame, d: Dictionaries, out: Output) -> None:
    """What the figures show: neighbours by panel, and the grid of all pairs."""
    later = dict(d.adjacent)
    shown = pairs[pairs["adjacent"] & pairs["layer_a"].isin(list(later))]
    step = [f"{a} → {later[a]}" for a in shown["layer_a"]]
    panel = [f"by {by}, {way}" for by, way in zip(shown["by"], shown["matching"], strict=True)]
    out.table(shown.assign(step=step, panel=panel), "adjacent", download=False)
    grid = pairs[(pairs["matching"] == "one-to-one") & pairs["kind"].isin(["layers", "seed"])]
    turned = grid[grid["layer_a"] != grid["layer_b"]].rename(columns={"layer_a": "layer_b", "layer_b": "layer_a"})
    out.table(pd.concat([grid, turned])[["by", "layer_a", "layer_b", "share"]], "grid", download=False)


def lives(p: Params, d: Dictionaries, matches: Matches, out: Output) -> dict[str, int]:
    """Chains of one-to-one counterparts, beside those that chance and shared genes make; chains through all layers."""
    from biosae_utils.analysis import tracking

    tables = []
    for by, limit in p.limit.items():
        for kind, which in (("layers", "latents"), ("floor", "floor")):
            links = [matches.found[kind, by, "one-to-one", a, b] for a, b in d.adjacent]
            if kind == "floor" and by == "decoder":  # links to random directions join no chain: each is its own life
                length = pd.Series(np.concatenate([1 + (m.score >= limit) for m in links]))
            else:
                table = tracking.lifetimes(links, d.layers, [d.fires[d.own(layer)] for layer in d.layers], limit)
                length = table["length"]
                if kind == "layers":
                    out.table(table, f"lifetimes_{by}")
            count = length.value_counts().sort_index()
            about = {"by": by, "which": which, "length": count.index, "share": count / count.sum(), "n": count}
            tables.append(pd.DataFrame(about))
    found = pd.concat(tables, ignore_index=True)
    out.table(found, "lifetimes")
    whole = found[(found["which"] == "latents") & (found["length"] == len(d.layers))]
    return {by: int(whole.loc[whole["by"] == by, "n"].sum()) for by in p.limit}


def judge(p: Params, d: Dictionaries, matches: Matches, family: str, out: Output) -> dict[str, Any]:
    """The four claims: turnover against another seed of the same layer, persistence against the floor."""
    from biosae_utils.analysis.published_figures import published

    def share(kind: str, by: str, way: str) -> intervals.Interval:
        pairs = [(layer, layer) for layer in d.layers] if kind == "seed" else d.adjacent
        hits = matches.pooled(kind, by, way, pairs)
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
        if d.seeds == 1:
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
        if d.seeds == 1:  # what layers of one seed share may be where they started
            out.claim(**about, verdict="not_tested", reason="all layers started from the same directions")
            continue
        holds = verdict(value.low > chance.high)
        out.claim(**about, value=value, unit="% of latents", control=chance, control_kind=kind, verdict=holds)
    return facts


PHASE = Phase(
    "06_tracking", Params, compute, title="Latents across layers", part="layers", reads=("01_extract", "02_sae"),
    min_layers=2,
)  # fmt: skip
