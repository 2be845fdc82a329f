"""06_tracking: latents followed over layers, beside another seed of the same layer and beside chance."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from biosae_utils.claims import verdict
from biosae_utils.errors import BiosaeError
from biosae_utils.params import ModelPage
from biosae_utils.phases import readers
from biosae_utils.phases.base import Phase
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output

if TYPE_CHECKING:
    from biosae_utils.analysis.tracking import Comparisons, Trained

MINIMUM = 1.0
"""Points of latents that a difference must have to count: about what exchanging two trainings moves it by."""

RULE = (
    "supported if the 95 % interval of {}, paired by latent over all layers that have a next one, lies {} 0"
    "{}; the interval shown is that of the difference, drawn around the control"
)
CELLS = " over latents, and by jackknife over blocks of cells too"
CLAIMS = (
    ("turnover_of_directions", "seed", "decoder", "one-sided",
     "Fewer latents have their direction in the next layer than in another training of the same layer"),
    ("turnover_of_activation", "seed", "activation", "one-to-one",
     "Fewer latents fire where a latent of the next layer fires than where one of another training of the same "
     "layer does"),
    ("persistence_by_decoder", "floor", "decoder", "one-to-one",
     "Latents keep their direction into the next layer more than random directions would match"),
    ("persistence_by_activation", "floor", "activation", "one-to-one",
     "Latents fire where their counterpart in the next layer fires, beyond firing on the same genes"),
)  # fmt: skip
"""Id, control, similarity, matching and title of each claim."""
CONTROLS = {
    ("seed", "decoder"): "same latents in another training of their own layer; one-sided by decoder",
    ("seed", "activation"): "same latents in another training of their own layer; one-to-one by activation",
    ("floor", "decoder"): "random directions with the covariance of the next layer",
    ("floor", "activation"): "positions of the next layer exchanged within each gene",
}
PANELS = {"seed": "next layer minus another seed", "floor": "next layer minus floor"}
SAYS = {-1: "fewer than", 0: "not shown to differ from", 1: "more than"}
"""What a paired comparison says of the next layer beside its control, by its sign."""


class Params(ModelPage):
    """Latents followed over layers, beside another seed and a floor."""

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


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Compare neighbouring layers, the same layer with another seed, and what means nothing."""
    from biosae_utils.analysis.matching import matching_name

    with out.step("encode"):
        trained = encode(p, read)
    with out.step("match"):
        compared = compare(p, trained)
        exchanged = beside_another_seed(p, replace(trained, first=1)) if trained.seeds > 1 else None
    pairs = compared.table(trained.adjacent)
    out.table(pairs, "pairs")
    save_marks(pairs, trained, out)
    whole = lives(p, trained, compared, out)
    results = judge(p, trained, compared, exchanged, readers.family(read), out)
    out.facts(
        n_layers=len(trained.layers),
        has_other_seed=trained.seeds > 1,
        whole_decoder=whole["decoder"],
        whole_activation=whole["activation"],
        matching=matching_name(len(trained.own(trained.layers[0]).rows)),
        shared_start=of_start(trained, compared),
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
    from biosae_utils.analysis.tracking import Dictionary, Trained

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
    return Trained(saes.layers, seeds, of, sample.vectors, sample.token, blocks_of(sample.cell, p.seed))


def blocks_of(cell: np.ndarray, seed: int) -> np.ndarray:
    """Block of each position: cells are dealt evenly, to fewer blocks than usual where there are few cells."""
    from biosae_utils.analysis.catalogue import N_BLOCKS, deal_cells

    cells, owner = np.unique(cell, return_inverse=True)
    return deal_cells(np.zeros(len(cells), bool), min(N_BLOCKS, len(cells)), seed)[owner]


def compare(p: Params, trained: Trained) -> Comparisons:
    """All pairs of layers; neighbours also with a floor and with a shared start; each layer with another seed."""
    from biosae_utils.analysis.tracking import Comparisons

    compared = Comparisons(p.limit, p.min_count, trained.block)
    for a, b in combinations(trained.layers, 2):
        first, second = trained.own(a), trained.other(b, than=a)
        compared.add("layers", first, second, by_block=(a, b) in trained.adjacent)
        if (a, b) in trained.adjacent:
            rng = np.random.default_rng([p.seed, a, b])
            compared.add_floor(first, second, trained.vectors[b], trained.token, rng)
            if trained.seeds > 1:
                compared.add("shared start", first, trained.of[b, trained.turn(a)])
    if trained.seeds > 1:
        for layer in trained.layers:
            compared.add("seed", trained.own(layer), trained.other(layer, than=layer), by_block=True)
    return compared


def beside_another_seed(p: Params, trained: Trained) -> Comparisons:
    """Neighbours, and their earlier layers with another seed, alone."""
    from biosae_utils.analysis.tracking import Comparisons

    compared = Comparisons(p.limit, p.min_count)
    for a, b in trained.adjacent:
        compared.add("layers", trained.own(a), trained.other(b, than=a))
        compared.add("seed", trained.own(a), trained.other(a, than=a))
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


def of_start(trained: Trained, compared: Comparisons) -> str:
    """What autoencoders of one seed share because they started alike, as a sentence."""
    if trained.seeds == 1:
        return "All layers were trained with one seed: what they share may be the starting point."
    kinds = ("shared start", "layers")
    alike, apart = (100 * compared.has_counterpart(k, "decoder", "one-sided", trained.adjacent).mean() for k in kinds)
    return (
        f"With the same seed, and so the same starting directions, {alike:.1f} % would be found by decoder, one-sided, "
        f"and not {apart:.1f} %: layers whose autoencoders share a start are not compared."
    )


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


def judge(
    p: Params, trained: Trained, compared: Comparisons, exchanged: Comparisons | None, family: str, out: Output
) -> dict[str, Any]:
    """The four claims, each about the same latents twice: turnover beside another seed, persistence above the floor.

    `exchanged` holds the comparisons with another seed after the two trainings of each layer changed places.

    Returns
    -------
    dict
        Facts: for each similarity the shares in % (``decoder_next``, ``decoder_seed``, ``decoder_one_to_one``,
        ``decoder_floor``), and as text the paired differences (``decoder_seed_gap``, ``decoder_floor_gap``), what they
        say (``decoder_seed_says``, ``decoder_floor_says``), and the first with trainings exchanged
        (``decoder_exchanged_gap``).
    """
    from biosae_utils.analysis.published_figures import published

    facts: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for slug, control, by, way, title in CLAIMS:
        side = -1 if control == "seed" else 1
        what = ("next layer minus floor", "next layer minus another seed of the same layer")[side < 0]
        rule = RULE.format(what, "above" if side > 0 else "below", CELLS if by == "activation" else " over latents")
        about = {"id": slug, "title": title, "rule": rule, "minimum": MINIMUM}
        following = 100 * compared.has_counterpart("layers", by, way, trained.adjacent).mean()
        name = "next" if control == "seed" else "one_to_one"
        facts |= {f"{by}_{name}": following, f"{by}_{control}": None}
        if trained.seeds == 1 and control == "seed":
            out.claim(**about, verdict="not_tested", reason="the run trains one seed, so there is no other to compare")
            continue
        more = {"claim": slug, "panel": f"{PANELS[control]}, by {by}"}
        for a, b in trained.adjacent:
            one = compared.paired(control, by, way, [(a, b)])
            rows.append(more | {"step": f"{a} → {b}"} | one.summary(p.n_boot, p.seed))
        paired = compared.paired(control, by, way, trained.adjacent)
        rows.append(more | {"step": "all"} | (whole := paired.summary(p.n_boot, p.seed)))
        if exchanged and control == "seed":
            again = exchanged.paired(control, by, way, trained.adjacent).summary(p.n_boot, p.seed)
            rows.append(more | {"step": "all, exchanged"} | again)
            facts[f"{by}_exchanged_gap"] = gap(again)
        facts |= {
            f"{by}_{control}": whole["control"],
            f"{by}_{control}_gap": gap(whole),
            f"{by}_{control}_says": SAYS[whole["sign"]],
        }
        if trained.seeds == 1:  # what layers of one seed share may be where they started
            out.claim(**about, verdict="not_tested", reason="all layers started from the same directions")
            continue
        out.claim(
            **about,
            value=paired.over_latents(p.n_boot, p.seed).scaled(100).shifted(whole["control"]),
            unit="% of latents",
            control=whole["control"],
            control_kind=CONTROLS[control, by],
            verdict=verdict(whole["sign"] == side),
            published=published(slug, family, p.variant),
        )
    table = pd.DataFrame(rows)
    out.table(table, "paired")
    pooled = table[table["step"] == "all"]
    said = [
        f"{panel}: {points:+.1f} points" for panel, points in zip(pooled["panel"], pooled["difference"], strict=True)
    ]
    return facts | {"differences": "; ".join(said)}


def gap(row: dict[str, Any]) -> str:
    """A paired difference in words of a page."""
    over = f"{row['difference']:+.1f} points, {row['low']:+.1f} to {row['high']:+.1f} over latents"
    cells = row["cells_low"] == row["cells_low"]
    return over + (f" and {row['cells_low']:+.1f} to {row['cells_high']:+.1f} over blocks of cells" if cells else "")


PHASE = Phase(
    "06_tracking", Params, compute, title="Latents across layers", part="layers", reads=("01_extract", "02_sae"),
    min_layers=2,
)  # fmt: skip
