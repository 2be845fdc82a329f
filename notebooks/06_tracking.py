# ---
# jupyter:
#   jupytext:
#     formats: notebooks///py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Latents of {{ model }} across layers
#
# **The question.** Is a latent of one layer still there in the next one, or does every layer speak its own language? Published:
# 2 to 3 % of the features of a layer “persist” into the next, so nearly all would be made anew {cite:p}`kendiukhov2025`.
#
# That figure has no yardstick. Two autoencoders that are trained on the **same** layer from different seeds do not agree
# entirely either, and what they do not agree on cannot be blamed on the next layer. And decoder rows of two layers live in bases
# that the block in between has changed: a latent may turn and still fire at the same positions. So every number here stands between
# two others: what **another seed of the same layer** reaches (the ceiling of the method), and what **directions or positions that mean
# nothing** reach (its floor).
#
# **How it is measured.**
#
# * *By decoder*: |cosine| of decoder rows; two latents are the same above {{ threshold }}.
# * *By activation*: both autoencoders encode the **same held-out positions**; two latents are the same when their activations
#   correlate above {{ activation_threshold }}.
# * *One-sided* (the published way): every latent looks for its best counterpart, and many may choose the same one. {term}`One-to-one <one-to-one matching>`: the
#   assignment with the largest total similarity, so a latent has at most one counterpart.
# * A latent takes part when it fires at {{ min_count }} of the held-out positions or more.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
model = "mini-geneformer"
source = "data/demo/models/mini-geneformer"
variant = "trained"
threshold = 0.7
activation_threshold = 0.5
min_count = 10
n_boot = 1000

# %% tags=["hide-input"]
from biosae_utils.book.page import Page

page = Page.open("06_tracking", globals())
p = page.params

# %% tags=["hide-input"]
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import torch
from plotly.subplots import make_subplots

from biosae_utils import intervals
from biosae_utils.analysis import geometry, matching, nulls, tracking
from biosae_utils.analysis.published_figures import family_of, published
from biosae_utils.book.figures import CONTROL, OKABE_ITO, REAL
from biosae_utils.claims import verdict
from biosae_utils.errors import BiosaeError
from biosae_utils.sae import formats
from biosae_utils.sae.positions import Positions

folder, extracted = page.input("02_sae"), page.input("01_extract")
layers = sorted(int(f.parent.name[6:]) for f in folder.glob("layer_*/sae"))
if len(layers) < 2:
    raise BiosaeError(f"Only layer {layers[0]} has an autoencoder", where="02_sae", do="leave 06_tracking out of `phases`, or set `layers: null` under `sae`")
adjacent = list(pairwise(layers))
token = Positions.load(extracted / "positions").token[np.load(extracted / "sample_heldout" / "rows.npy")]


@torch.no_grad()
def encoded(name: str, layer: int):
    """Decoder rows of one autoencoder, and its codes of the held-out positions."""
    sae = formats.load_sae(folder / f"layer_{layer:02d}" / name)
    x = np.load(extracted / "sample_heldout" / f"layer_{layer:02d}.npy", mmap_mode="r")
    parts = [sae.encode(torch.from_numpy(x[i : i + 8192].astype(np.float32))) for i in range(0, len(x), 8192)]
    values, indices = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return sae.W_dec.numpy(), matching.codes_matrix(values, indices, sae.d_sae)


names = ["sae", "seed_1"] if all((folder / f"layer_{layer:02d}" / "seed_1").is_dir() for layer in layers) else ["sae"]
trained = {(layer, s): encoded(name, layer) for layer in layers for s, name in enumerate(names)}
fires = {key: codes.getnnz(axis=0) >= p.min_count for key, (_, codes) in trained.items()}
turn = {layer: number % len(names) for number, layer in enumerate(layers)}  # the seed that stands for a layer
another = {layer: (turn[layer] + 1) % len(names) for layer in layers}

# %% [markdown]
# ## From one layer to another
#
# One trap first. Autoencoders that are trained with the same seed **start from the same random directions**, whatever the layer, and
# keep a memory of them. Their latents then match across layers for a reason that has nothing to do with the model. So layers are
# compared *across seeds*: the first seed of one layer with the second seed of the next, exactly as the ceiling compares two
# seeds of one layer. What the shared start would have added is shown as well.
#
# All pairs go through the same two functions, and so do the floors: decoder rows against **random directions with the
# covariance of the later layer's activations**, and codes against the later layer's codes after **positions were exchanged within
# the same gene**. The second floor keeps what two latents share because both fire on the same genes, and breaks what they share
# because both respond to the same cells.

# %% tags=["hide-input"]
LIMIT = {"decoder": p.threshold, "activation": p.activation_threshold}
rows, matches = [], {}


def compare(kind: str, by: str, a: int, b: int, similarity: np.ndarray, alive: tuple[np.ndarray, np.ndarray]) -> None:
    """Both matchings of layer `a` with what stands for layer `b`."""
    for way, match in (
        ("one-sided", matching.match_one_sided(similarity, *alive)),
        ("one-to-one", matching.match_one_to_one(similarity, *alive)),
    ):
        matches[kind, by, way, a, b] = match
        rows.append(
            {
                "kind": kind, "by": by, "matching": way, "layer_a": a, "layer_b": b, "n_latents": match.n_a,
                "adjacent": a == b or (a, b) in adjacent, "share": match.share(LIMIT[by]),
                "mean_similarity": match.score.sum() / max(match.n_a, 1),
            }
        )  # fmt: skip


def both(kind: str, a: tuple[int, int], b: tuple[int, int]) -> None:
    """Compare two autoencoders, each given as (layer, seed), by decoder and by activation."""
    (w_a, c_a), (w_b, c_b), alive = trained[a], trained[b], (fires[a], fires[b])
    compare(kind, "decoder", a[0], b[0], matching.decoder_similarity(w_a, w_b), alive)
    compare(kind, "activation", a[0], b[0], matching.activation_similarity(c_a, c_b, min_count=p.min_count), alive)


def floor(a: tuple[int, int], b: tuple[int, int]) -> None:
    """The same for random directions, and for codes whose positions were exchanged within genes."""
    rng = np.random.default_rng([p.seed, a[0], b[0]])
    (w_a, c_a), (w_b, c_b) = trained[a], trained[b]
    principal = geometry.principal_axes(np.load(extracted / "sample_heldout" / f"layer_{b[0]:02d}.npy", mmap_mode="r"))
    random = nulls.shaped_directions(len(w_b), principal, rng)
    compare("floor", "decoder", a[0], b[0], matching.decoder_similarity(w_a, random), (fires[a], np.ones(len(random), bool)))
    moved = c_b[nulls.permute_within(token, rng)]
    similarity = matching.activation_similarity(c_a, moved, min_count=p.min_count)
    compare("floor", "activation", a[0], b[0], similarity, (fires[a], fires[b]))


for a, b in combinations(layers, 2):
    both("layers", (a, turn[a]), (b, another[a]))
    if (a, b) in adjacent:
        floor((a, turn[a]), (b, another[a]))
        if len(names) > 1:
            both("shared start", (a, turn[a]), (b, turn[a]))
if len(names) > 1:
    for layer in layers:
        both("seed", (layer, turn[layer]), (layer, another[layer]))
pairs = pd.DataFrame(rows)
page.save(pairs, "pairs")
named = [f"{a} → {b}" for a, b in adjacent]

# %% tags=["hide-input"]
panels = [("decoder", "one-sided"), ("decoder", "one-to-one"), ("activation", "one-sided"), ("activation", "one-to-one")]
fig = make_subplots(rows=2, cols=2, shared_yaxes=True, subplot_titles=[f"by {by}, {way}" for by, way in panels], vertical_spacing=0.16)
for number, (by, way) in enumerate(panels):
    at = {"row": number // 2 + 1, "col": number % 2 + 1}
    part = pairs[(pairs.by == by) & (pairs.matching == way) & pairs.adjacent]
    for kind, text, colour in (
        ("seed", "same layer, another seed (ceiling)", OKABE_ITO[2]),
        ("layers", "next layer", REAL),
        ("shared start", "next layer, same seed (shared start)", OKABE_ITO[4]),
        ("floor", "nothing shared but chance or genes (floor)", CONTROL),
    ):
        own = part[part.kind == kind].set_index("layer_a")["share"].reindex([a for a, _ in adjacent])
        if own.notna().any():
            fig.add_bar(x=named, y=own, name=text, legendgroup=kind, showlegend=number == 0, marker_color=colour, **at)
fig.update_yaxes(range=[0, 1], tickformat=".0%")
fig.update_yaxes(title="latents with a counterpart", col=1)
fig.update_layout(barmode="group", height=620, legend={"y": 1.08})
mean = pairs[pairs.adjacent].groupby(["by", "matching", "kind"])["share"].mean()
page.figure(
    fig,
    name="adjacent",
    alt="Four panels of bars, one group per pair of neighbouring layers: share of latents with a counterpart. Means: "
    + "; ".join(f"{by}, {way}: " + ", ".join(f"{k} {v:.0%}" for k, v in mean[by, way].items()) for by, way in panels),
    caption="How to read it: blue near green means that the next layer is as good a match as another training of the same layer: "
    "nothing is lost that a seed would not lose too. Blue near grey means that no more is shared than chance gives (decoder), or than "
    "firing on the same genes gives (activation).",
)

# %% [markdown]
# **What it shows.** How much of the published turnover is the layer's doing, and how much is the method's. **What it does not
# show.** That a latent *causes* its counterpart: both may read the same token, or the same part of the state that the block
# left as it was (the residual stream is a sum: much of it passes through untouched).
#
# ## All pairs of layers

# %% tags=["hide-input"]
grids = {}
for by in LIMIT:
    part = pairs[(pairs.by == by) & (pairs.matching == "one-to-one") & pairs.kind.isin(["layers", "seed"])]
    grid = part.pivot(index="layer_a", columns="layer_b", values="share").reindex(index=layers, columns=layers)
    grids[by] = grid.combine_first(grid.T)
fig = make_subplots(cols=2, subplot_titles=[f"by {by}" for by in grids], horizontal_spacing=0.2)
for column, grid in enumerate(grids.values(), start=1):
    fig.add_heatmap(
        z=100 * grid.to_numpy(), x=[str(i) for i in layers], y=[str(i) for i in layers], zmin=0,
        zmax=100 * np.nanmax(grid.to_numpy()), colorscale="Cividis",
        texttemplate="%{z:.0f}" if len(layers) <= 8 else None, row=1, col=column,
        colorbar={"title": "%", "x": 0.445 if column == 1 else 1.0, "thickness": 14},
        hovertemplate="layer %{y} and layer %{x}: %{z:.1f} %<extra></extra>",
    )  # fmt: skip
fig.update_xaxes(title="layer", type="category")
fig.update_yaxes(title="layer", type="category", autorange="reversed", col=1)
fig.update_yaxes(type="category", autorange="reversed", col=2)
fig.update_layout(height=480)
page.figure(
    fig,
    name="all-pairs",
    alt="Two heatmaps of all pairs of layers: share of latents with a one-to-one counterpart, by decoder and by activation; the diagonal "
    "is the same layer trained with another seed.",
    caption="How to read it: the diagonal is the control, the same layer with another seed; no other field can be expected to be "
    "brighter. Each panel has its own scale. Fields that darken quickly away from it mean that latents are rebuilt from layer to layer. The share is counted "
    f"among the latents of the earlier layer; matching: {matching.matching_name(trained[layers[0], 0][0].shape[0])}.",
)

# %% [markdown]
# ## How long a latent lives
#
# One-to-one counterparts of neighbouring layers are chained. A latent that is born in some layer lives until a link falls below the
# threshold. The chains of the two floors show how long chance and shared genes would let it live.

# %% tags=["hide-input"]
lives = []
for by in LIMIT:
    for kind, text in (("layers", "latents"), ("floor", "floor")):
        links = [matches[kind, by, "one-to-one", a, b] for a, b in adjacent]
        if kind == "floor" and by == "decoder":  # links to random directions join no chain: each is a life of its own
            table = pd.DataFrame({"length": np.concatenate([1 + (m.score >= LIMIT[by]) for m in links])})
        else:
            table = tracking.lifetimes(links, layers, [fires[layer, turn[layer]] for layer in layers], LIMIT[by])
        if kind == "layers":
            page.save(table, f"lifetimes_{by}")
        count = table["length"].value_counts().sort_index()
        lives.append(pd.DataFrame({"by": by, "which": text, "length": count.index, "share": count / count.sum(), "n": count}))
lives = pd.concat(lives, ignore_index=True)
page.save(lives, "lifetimes")
fig = make_subplots(cols=2, shared_yaxes=True, subplot_titles=[f"by {by}" for by in LIMIT])
for column, by in enumerate(LIMIT, start=1):
    for which, colour in (("latents", REAL), ("floor", CONTROL)):
        part = lives[(lives.by == by) & (lives.which == which)]
        fig.add_bar(x=part.length, y=part.share, name=which, legendgroup=which, showlegend=column == 1, marker_color=colour, row=1, col=column)
fig.update_xaxes(title="layers lived through", dtick=1)
fig.update_yaxes(type="log", tickformat=".2~%")
fig.update_yaxes(title="share of chains", col=1)
fig.update_layout(margin_t=90, legend_y=1.12)
whole = {by: lives[(lives.by == by) & (lives.which == "latents") & (lives.length == len(layers))]["n"].sum() for by in LIMIT}
page.figure(
    fig,
    name="lifetimes",
    alt="Bars: share of chains that live through one, two and more layers, by decoder and by activation, beside their floors. Chains "
    f"through all {len(layers)} layers: {whole['decoder']} by decoder, {whole['activation']} by activation.",
    caption="How to read it: length 1 is a latent that no neighbouring layer has. A chain may begin at any layer, so lives are cut "
    "short at the first and the last one. The axis is logarithmic.",
)

# %% [markdown]
# ## What a sceptic should check
#
# * By decoder and by activation the answers differ. Which one is “the same latent” is a definition, not a finding: directions live in a
#   basis that each block may turn, activations do not. A claim about turnover should survive both.
# * Does the threshold decide? The downloaded `pairs.parquet` holds the mean similarity beside the share; rerun with
#   `-p threshold=0.5`.
# * Frequent latents are matched more easily by activation. The floor within genes answers part of that, not all.
# * The floor keeps the gene and breaks the cell. A latent that follows a gene's *rank* in the cell would need a floor within gene and rank.
# * Intervals resample latents. They hold for this pair of trainings; the spread over layers and seeds in the first figure says more.
# * |Cosine| lets a latent match its own opposite. For latents that cannot be negative that is no match; the published rule has
#   it so, and it is kept here to be comparable.
#
# ## Exercise
#
# ```{admonition} Whose ceiling?
# :class: tip
# Suppose that in the first panel the green bars were at 100 %. What would the blue ones then tell? And if the green ones were at the height
# of the grey ones? Which of the four panels lets you say most about *layers*, and why?
# ```

# %% tags=["hide-input"]

def pooled(kind: str, by: str, way: str) -> tuple[float, float, float]:
    """Share of latents with a counterpart over all neighbouring layers, with its interval over latents."""
    found = [matches[kind, by, way, a, b] for a, b in (adjacent if kind != "seed" else [(i, i) for i in layers])]
    hits = [np.r_[np.ones(int((m.score >= LIMIT[by]).sum())), np.zeros(m.n_a - int((m.score >= LIMIT[by]).sum()))] for m in found]
    share = intervals.bootstrap_mean(np.concatenate(hits), n_boot=p.n_boot, seed=p.seed, over="latents").scaled(100)
    return share.value, share.low, share.high


result = {(by, way): pooled("layers", by, way) for by, way in panels}
ceiling = {by: pooled("seed", by, way) for by, way in (("decoder", "one-sided"), ("activation", "one-to-one"))} if len(names) > 1 else {}
for by, way, slug, title in (
    ("decoder", "one-sided", "turnover_of_directions",
     "Fewer latents have their direction in the next layer than in another training of the same layer"),
    ("activation", "one-to-one", "turnover_of_activation",
     "Fewer latents fire where a latent of the next layer fires than where one of another training of the same layer does"),
):  # fmt: skip
    rule = "supported if the 95 % interval over latents lies below that of another seed of the same layer"
    if not ceiling:
        page.claim(id=slug, title=f"{title}: not tested, the run has one seed", rule=rule, verdict="not_tested")
        continue
    page.claim(
        id=slug, title=title, value=result[by, way][0], unit="% of latents", interval=result[by, way][1:], control=ceiling[by][0],
        control_kind=f"same layer, another seed; {way} by {by}", rule=rule, verdict=verdict(result[by, way][2] < ceiling[by][1]),
        published=published(slug, family_of(p.model), p.variant),
    )  # fmt: skip
for by, title, control_kind in (
    ("decoder", "Latents keep their direction into the next layer more than random directions would match",
     "random directions with the covariance of the next layer"),
    ("activation", "Latents fire where their counterpart in the next layer fires, beyond firing on the same genes",
     "positions of the next layer exchanged within each gene"),
):  # fmt: skip
    value, chance = result[by, "one-to-one"], pooled("floor", by, "one-to-one")
    rule = "supported if the 95 % interval over latents lies above that of the floor, one-to-one matching"
    if not ceiling:  # what layers of one seed share may be where they started
        title += ": not tested, all layers started from the same directions"
        page.claim(id=f"persistence_by_{by}", title=title, rule=rule, verdict="not_tested")
        continue
    page.claim(
        id=f"persistence_by_{by}", title=title, value=value[0], unit="% of latents", interval=value[1:], control=chance[0],
        control_kind=control_kind, verdict=verdict(value[1] > chance[2]), rule=rule,
    )  # fmt: skip

# %% tags=["takeaways"]
lines = [
    f"By decoder, one-sided (the published way), {result['decoder', 'one-sided'][0]:.1f} % of latents have a counterpart in the next layer; "
    + (f"another seed of the same layer has {ceiling['decoder'][0]:.1f} %." if ceiling else "no other seed was trained, so there is no ceiling."),
    f"By activation over the same positions, one-to-one, it is {result['activation', 'one-to-one'][0]:.1f} %"
    + (f", with another seed of the same layer {ceiling['activation'][0]:.1f} %" if ceiling else "")
    + f"; firing on the same genes alone is worth {pooled('floor', 'activation', 'one-to-one')[0]:.1f} %.",
    f"With the same seed, and so the same starting directions, the first figure would read {mean['decoder', 'one-sided']['shared start']:.1%}: "
    "never compare layers whose autoencoders share a start."
    if ceiling
    else "All layers were trained with one seed: what they share may be the starting point.",
    f"{whole['decoder']} latents can be followed by decoder through all {len(layers)} layers, {whole['activation']} by activation.",
]
page.close(takeaways=lines)
