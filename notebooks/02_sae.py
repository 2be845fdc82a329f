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
# # Sparse autoencoders of {{ model }}
#
# A layer of the model writes one vector for every gene of every cell. The numbers in such a vector mean nothing one by
# one: the model is free to rotate them. A {term}`sparse autoencoder` looks for better axes. It learns a dictionary of
# directions, more of them than the vector has numbers, such that every vector is nearly a sum of very few of them. If that
# works, the few directions that are active tell what the model holds about this gene in this cell, and the rest of the
# book asks what they mean.
#
# Whether it works is an empirical question, and this page answers it for all layers before anything is read into a latent:
#
# 1. Are vectors of cells that the autoencoder has **never seen** rebuilt, and better than by principal components that may
#    use as many coefficients?
# 2. Does the **model** still work when a layer's states are replaced by their reconstruction?
# 3. Does a second training from **another seed** find the same directions?

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
model = "mini-geneformer"
source = "data/demo/models/mini-geneformer"
variant = "trained"
data = "data/demo/pbmc_ifnb.h5ad"
options = {}
expansion = 4
k = 16
kind = "topk"
steps = 800
batch_size = 1024
lr = None
n_seeds = 3
layers = None
device = "auto"
dtype = "auto"

# %% tags=["hide-input"]
import shutil
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from biosae_utils import intervals, store
from biosae_utils.analysis import geometry, matching, nulls
from biosae_utils.analysis.published_figures import family_of, published
from biosae_utils.book.claims_table import span
from biosae_utils.book.figures import ACCENT, CONTROL, OKABE_ITO, REAL
from biosae_utils.book.page import Page
from biosae_utils.cells.data import open_cells
from biosae_utils.claims import verdict
from biosae_utils.models.base import batches
from biosae_utils.models.registry import load_model, pick_device
from biosae_utils.sae import formats, metrics
from biosae_utils.sae.extract import stream_codes
from biosae_utils.sae.positions import Positions, tokenise
from biosae_utils.sae.training import run as train
from biosae_utils.sae.training.sweep import as_table, rates_around, trials

page = Page.open("02_sae", globals())
p = page.params

foundation = load_model(p.source, name=p.model, variant=p.variant, device=p.device, dtype=p.dtype, seed=p.seed, **p.options)
cohort = store.read_table(page.input("00_data", "cohort.parquet"))
positions = Positions.load(page.input("01_extract", "positions"))
use = list(range(foundation.info.n_layers)) if p.layers is None else p.layers


def stored(folder: str) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """The sample of 01_extract: layer -> vectors (n, d), and the cell of each vector."""
    where = page.input("01_extract", folder)
    vectors = {layer: np.load(where / f"layer_{layer:02d}.npy", mmap_mode="r") for layer in use}
    return vectors, positions.cell[np.load(where / "rows.npy")]


sample, _ = stored("sample")
heldout, cells = stored("sample_heldout")

# %% [markdown]
# ## How it is trained
#
# The {term}`TopK` autoencoder {cite:p}`gao2024` subtracts a bias, multiplies by an encoder matrix, keeps the `k` largest
# results of each vector and sets the rest to zero. The kept ones, times their decoder rows, are the reconstruction. There
# is no penalty to tune: `k` *is* the sparsity. Each decoder row has length 1, so the value of a latent is the length of the
# step that it adds, in units of the residual stream.
#
# Three details decide whether a short training works, and each was measured rather than copied. Inputs are scaled once, so
# that a learning rate means the same at every layer. The learning rate itself is an order of magnitude above the usual
# 3e-4, since there are hundreds of steps here and not hundreds of thousands; the last figure of this section shows the
# choice. And a latent that was silent for 200,000 vectors gets its own small task, to explain what the others leave over
# (AuxK), until it fires again.
#
# Training draws batches from the positions that the extraction page sampled. **No vector of a held-out cell is
# among them.**

# %% tags=["hide-input"]
config = train.TrainConfig.of(p, seed=p.seed)
on = pick_device(p.device)
kept = page.dir / "training"  # trainings of a run that was killed: the next one goes on from them
trained = train.train_layers(sample, config, n_seeds=p.n_seeds, device=on, folder=kept)

middle = use[len(use) // 2]
chosen = config.peak_lr(foundation.info.d_model)
short = max(10, p.steps // 3)
control = replace(config, freeze_decoder=True)
frozen = {i: r[0] for i, r in train.train_layers(sample, control, device=on, folder=kept).items()}
rates = [replace(config, lr=rate, steps=short) for rate in rates_around(chosen)]
tried = as_table(trials(sample[middle], heldout[middle], rates, device=on, folder=kept)).sort_values("lr")

history = pd.concat(
    [r.history_table(layer=i, seed=r.config.seed) for i, results in trained.items() for r in results], ignore_index=True
)
page.save(history, "history")

fig = go.Figure()
for number, layer in enumerate(use):
    for repeat, (_, one) in enumerate(history[history.layer == layer].groupby("seed")):
        fig.add_scatter(
            x=one.step,
            y=one.fvu,
            name=f"layer {layer}",
            legendgroup=f"layer {layer}",
            showlegend=repeat == 0,
            mode="lines",
            line={"color": OKABE_ITO[number % 7], "width": 2.5 if repeat == 0 else 1},
        )
fig.update_layout(xaxis_title="step", yaxis_title="variance unexplained (batch)", yaxis_type="log")
page.figure(
    fig,
    name="training",
    alt="Share of variance left unexplained against training step, one line per layer and seed; all fall and flatten.",
    caption="Training curves of all layers. Thick: the first seed, whose codes the book uses. Thin: the other seeds. A "
    "curve that is still falling at the end would ask for more steps; one that jumps, for a lower learning rate.",
)

# %% tags=["hide-input"]
page.save(tried, "learning_rates")
fig = go.Figure()
fig.add_scatter(x=tried.lr, y=tried.fvu, mode="lines+markers", line_color=REAL, showlegend=False)
fig.add_vline(x=chosen, line_dash="dot", line_color=ACCENT, annotation_text="used here")
fig.update_layout(xaxis_title="learning rate", yaxis_title="variance unexplained, held-out cells", xaxis_type="log")
page.figure(
    fig,
    name="rates",
    alt="Held-out variance unexplained at four learning rates around the one used.",
    caption=f"One layer ({middle}), {short} steps, four learning rates, judged on held-out cells. The lowest point should be "
    f"at or beside the dotted line. Other rates and lengths: `biosae sweep --model {p.model} --layer {middle}`.",
)

# %% [markdown]
# ## Cells that it has never seen
#
# {term}`Fraction of variance unexplained <FVU>` on held-out cells is the first thing that an autoencoder has to earn.
# Two baselines go through the same code. **PCA at equal k** writes every vector with its own `k` largest principal
# coefficients, so it spends as many numbers as the autoencoder, but may choose from only as many axes as there are
# dimensions. **The frozen decoder** is the same autoencoder, trained in the same way, whose directions stay random: what
# it explains is owed to having many directions to choose from, not to having learned them.

# %% tags=["hide-input"]
rows, quality, draws = [], {}, {}
for layer in use:
    x = np.asarray(heldout[layer], np.float32)
    axes = geometry.principal_axes(np.asarray(sample[layer], np.float32))
    quality[layer] = [metrics.evaluate(r.sae, x) for r in trained[layer]]
    table = geometry.explained_by_cell(
        x,
        {
            "sae": quality[layer][0].residual,
            "pca_equal_k": geometry.pca_residuals(axes, x, [min(p.k, x.shape[1])], sparse=True)[:, 0],
            "pca_rank_k": geometry.pca_residuals(axes, x, [min(p.k, x.shape[1])])[:, 0],
            "frozen_decoder": metrics.evaluate(frozen[layer].sae, x).residual,
        },
        cells,
        n_boot=1000,
        seed=p.seed,
    ).set_index("name")
    draws[layer] = table.draws
    seen = np.asarray(sample[layer][:: max(1, len(sample[layer]) // len(x))], np.float32)
    for repeat, (result, held) in enumerate(zip(trained[layer], quality[layer], strict=True)):
        first = repeat == 0
        rows.append(
            {
                "layer": layer,
                "seed": result.config.seed,
                "explained": held.explained,
                "low": table.low["sae"] if first else np.nan,
                "high": table.high["sae"] if first else np.nan,
                "explained_training": metrics.evaluate(result.sae, seen).explained,
                "pca_equal_k": table.explained["pca_equal_k"],
                "pca_rank_k": table.explained["pca_rank_k"],
                "frozen_decoder": table.explained["frozen_decoder"],
                "l0": held.l0,
                "dead": held.dead,
                "dense": float((held.density > 0.1).mean()),
                "n_heldout": held.n,
            }
        )
quality_table = pd.DataFrame(rows)
page.save(quality_table, "metrics")
first_seed = quality_table[quality_table.seed == p.seed].set_index("layer")

fig = go.Figure()
names = [f"layer {i}" for i in use]
fig.add_bar(
    x=names,
    y=first_seed.explained,
    name="autoencoder",
    marker_color=REAL,
    error_y={
        "type": "data",
        "symmetric": False,
        "array": first_seed.high - first_seed.explained,
        "arrayminus": first_seed.explained - first_seed.low,
    },
)
for column, text, colour in (
    ("pca_equal_k", "PCA, k largest of each vector", OKABE_ITO[1]),
    ("pca_rank_k", "PCA, first k axes", OKABE_ITO[3]),
    ("frozen_decoder", "frozen random decoder", CONTROL),
):
    fig.add_bar(x=names, y=first_seed[column], name=text, marker_color=colour)
fig.update_layout(yaxis_title="variance explained, held-out cells", yaxis_range=[0, 1], barmode="group")
page.figure(
    fig,
    name="explained",
    alt="Bars of held-out variance explained per layer by the autoencoder, two kinds of PCA and a frozen random decoder.",
    caption="Variance explained on held-out cells, about their mean; whiskers are 95 % intervals over resampled cells. All "
    "bars of a layer describe the same vectors with k numbers each.",
)
page.table(
    quality_table.round(4),
    name="quality",
    caption="Held-out quality of every SAE. `dead`: share of latents that did not fire once on the held-out vectors "
    "(n_heldout is the window). `dense`: share that fires on more than a tenth of them. `explained_training`: the same "
    "measure on vectors it was trained on; the difference is what memorising gains.",
)

# %% [markdown]
# The published figures for the full-size models, 81.7 % of variance for Geneformer and 90.2 % for scGPT
# {cite:p}`kendiukhov2025`, were computed on the vectors that the autoencoders were trained on, for other models, cells and
# k. They are no yardstick for the bars above.
#
# ## How often latents fire
#
# A dictionary in which a few directions are always on and the others never is a bad one even if it rebuilds everything.

# %% tags=["hide-input"]
fig = go.Figure()
for number, layer in enumerate(use):
    counts, edges = metrics.density_histogram(quality[layer][0])
    fig.add_scatter(
        x=10 ** ((edges[1:] + edges[:-1]) / 2),
        y=counts,
        name=f"layer {layer}",
        mode="lines",
        line={"shape": "hvh", "color": OKABE_ITO[number % 7]},
    )
fig.add_vline(
    x=p.k / (p.expansion * foundation.info.d_model), line_dash="dot", line_color=CONTROL, annotation_text="k / d_sae"
)
fig.update_layout(
    xaxis_title="share of held-out vectors on which a latent fires", yaxis_title="latents", xaxis_type="log"
)
page.figure(
    fig,
    name="density",
    alt="Histogram of firing frequency of the latents, one line per layer, on a logarithmic axis.",
    caption="How many latents fire how often on held-out vectors. The dotted line is where all would be if each fired "
    "equally often. Far left: latents too rare to be described; right of 0.1: latents that say little about any gene.",
)

# %% [markdown]
# ## Does the model still work?
#
# Variance counts all directions alike; the model does not. So the reconstruction is put in the place of the layer's
# output, the later blocks run on it, and the model's own {term}`masked-gene loss` is read. {term}`Fidelity <fidelity>` is
# the share of the loss recovered between writing the same mean vector everywhere (0) and leaving the layer alone (1). The
# control is the autoencoder with the frozen decoder, spliced into the same masked cells.
#
# No autoencoder here was trained on the state of a *hidden* gene, so the claim is about the states of the visible ones: what
# later blocks can look up. At the last layer nothing looks anything up any more, and only the states of the hidden genes
# themselves matter; there the claim is the harder one, that the dictionary carries over to states of a kind it never saw.

# %% tags=["hide-input"]
rng = np.random.default_rng(p.seed)
keep = np.flatnonzero(cohort.heldout.to_numpy())
keep = np.sort(rng.choice(keep, min(24, len(keep)), replace=False))
counts_file = open_cells(p.data)
held_tokens = tokenise(counts_file, cohort.row.to_numpy()[keep], foundation, seed=p.seed)
losses = metrics.fidelity(
    foundation,
    {i: {"sae": trained[i][0].sae, "frozen": frozen[i].sae} for i in use},
    batches(foundation, held_tokens, 8192, rows=np.flatnonzero(held_tokens.lengths >= 30)),
    seed=p.seed,
)
fidelity = pd.DataFrame(
    [
        {**dict(zip(("layer", "sae", "where"), key, strict=True)), "n_cells": len(part)}
        | {"recovered": (share := metrics.recovered(part, seed=p.seed)).value, "low": share.low, "high": share.high}
        | {column: part[column].mean() for column in ("clean", "spliced", "ablated")}
        for key, part in losses.groupby(["layer", "sae", "where"])
    ]
)
page.save(fidelity, "fidelity")

fig = go.Figure()
for name, text, colour in (("sae", "autoencoder", REAL), ("frozen", "frozen random decoder", CONTROL)):
    part = fidelity[fidelity.sae == name]
    fig.add_bar(
        x=[f"layer {i}, {edited} genes" for i, edited in zip(part.layer, part["where"], strict=True)],
        y=part.recovered,
        name=text,
        marker_color=colour,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": part.high - part.recovered,
            "arrayminus": part.recovered - part.low,
        },
    )
fig.update_layout(yaxis_title="masked-gene loss recovered", barmode="group")
page.figure(
    fig,
    name="fidelity",
    alt="Bars of the share of masked-gene loss recovered per layer, for the autoencoder and for a frozen random decoder.",
    caption="1: the model predicts hidden genes as well as with the layer untouched. 0: as badly as with the same vector "
    "everywhere. Whiskers: 95 % intervals over held-out cells. Visible genes: what later blocks look up is replaced. All "
    "genes, at the last layer: the states of the hidden genes themselves, of a kind that no autoencoder here was trained on.",
)

# %% [markdown]
# ## Would another seed find the same latents?
#
# If the directions are in the model and not in the training, autoencoders from different seeds should agree on them. Latents
# of two seeds are paired one to one such that the summed cosine of their decoder directions is largest. Random directions
# can be paired too, and the more of them there are, and the fewer dimensions they really use, the better they match by
# luck. So the control draws random directions **with the same covariance as the decoder rows**: as many, in the same
# subspaces, but not the same ones.

# %% tags=["hide-input"]
pairs = []
for layer in use:
    learned = [r.sae.W_dec.cpu().numpy() for r in trained[layer]]
    spread = geometry.principal_axes(np.concatenate(learned))
    random = [
        nulls.shaped_directions(len(learned[0]), spread, np.random.default_rng(p.seed + i))
        for i in range(max(2, p.n_seeds))
    ]
    for kind_of, directions in (("seeds", learned), ("random", random)):
        for a, b in combinations(range(len(directions)), 2):
            match = matching.match_one_to_one(matching.decoder_similarity(directions[a], directions[b]))
            pairs.append(
                pd.DataFrame(
                    {"layer": layer, "kind": kind_of, "first": a, "second": b, "latent": match.a, "cosine": match.score}
                )
            )
agreement = pd.concat(pairs, ignore_index=True)
page.save(agreement, "seeds")

fig = go.Figure()
for kind_of, text, colour in (("seeds", "two seeds", REAL), ("random", "random directions", CONTROL)):
    part = agreement[agreement.kind == kind_of]
    fig.add_violin(
        x=[f"layer {i}" for i in part.layer.iloc[::4]],
        y=part.cosine.iloc[::4],
        name=text,
        line_color=colour,
        side="negative" if kind_of == "random" else "positive",
        points=False,
        meanline_visible=True,
        spanmode="hard",
    )
fig.update_layout(yaxis_title="|cosine| of paired decoder rows", violinmode="overlay", yaxis_range=[0, 1])
page.figure(
    fig,
    name="seeds",
    alt="Half violins per layer of the cosine between paired latents of two seeds, beside pairs of random directions.",
    caption="Agreement of decoder directions between seeds (right halves) and between sets of random directions with the "
    "same covariance as the decoder rows (left halves). Latents near 1 are found again; those inside the grey are not.",
)

# %% [markdown]
# What a sceptic should check: whether the agreement comes from the frequent latents alone (join the table of this section
# with the catalogue by latent), and whether a model with **random weights** does as well; its page, where the run has one,
# is made by this very notebook.
#
# ## The claims of this page
#
# Their rules were written before the numbers were known, and are the same for every layer and model.

# %% tags=["hide-input"]
for layer in use:
    line, draw = first_seed.loc[layer], draws[layer]
    page.claim(
        id=f"variance.layer_{layer:02d}",
        layer=layer,
        title="On cells it has not seen, the SAE explains more variance than principal components with as many coefficients",
        value=line.explained,
        unit="share of variance",
        interval=(line.low, line.high),
        control=line.pca_equal_k,
        control_kind="PCA, the k largest coefficients of each vector",
        rule="supported if the 95 % interval over cells of the difference lies above 0",
        verdict=verdict(intervals.quantiles(draw["sae"] - draw["pca_equal_k"], over="cells").low > 0),
        published=published(f"variance.layer_{layer:02d}", family_of(p.model), p.variant),
    )
    part = fidelity[fidelity.layer == layer].set_index("sae")
    edited = part["where"].iloc[0]
    one, other = part.loc["sae"], part.loc["frozen"]
    title = f"Hidden genes are still predicted when the states of {edited} genes are replaced by their reconstruction"
    rule = "supported if at least half of the loss is recovered and the interval over cells lies above the control"
    if np.isfinite(one.recovered):
        page.claim(
            id=f"fidelity.layer_{layer:02d}",
            layer=layer,
            title=title,
            value=one.recovered,
            unit="share of loss recovered",
            interval=(one.low, one.high),
            control=other.recovered,
            control_kind="SAE with a frozen random decoder",
            rule=rule,
            verdict=verdict(bool(one.recovered >= 0.5 and one.low > other.recovered)),
        )
    else:
        title = "Fidelity was not tested: a mean vector in place of the states does not raise this model's loss"
        page.claim(id=f"fidelity.layer_{layer:02d}", layer=layer, title=title, rule=rule, verdict="not_tested")
    both = {name: part.cosine.to_numpy() for name, part in agreement[agreement.layer == layer].groupby("kind")}
    title = "Latents of independently trained SAEs agree better than random directions"
    rule = "supported if the 95 % interval over latents of the mean cosine between seeds lies above that of random directions"
    if "seeds" in both:
        agree = intervals.bootstrap_mean(both["seeds"], seed=p.seed, over="latents")
        floor = intervals.bootstrap_mean(both["random"], seed=p.seed, over="latents")
        page.claim(
            id=f"seeds.layer_{layer:02d}",
            layer=layer,
            title=title,
            value=agree.value,
            unit="mean |cosine|",
            interval=agree.pair,
            control=floor.value,
            control_kind="random directions with the covariance of the decoder rows, paired in the same way",
            rule=rule,
            verdict=verdict(agree.low > floor.high),
        )
    else:
        page.claim(id=f"seeds.layer_{layer:02d}", layer=layer, title=title, rule=rule, verdict="not_tested")

# %% [markdown]
# ## What is kept
#
# The autoencoders are written in SAELens layout, so other tools load them, and every position of the cohort is sent
# through the first seed's autoencoder of every layer. Only the `k` values and indices of each are stored; from here on they
# are all that the book needs.

# %% tags=["hide-input"]
for layer in use:
    for result in trained[layer]:
        extra = result.config.seed - p.seed
        formats.save_sae(
            page.dir / f"layer_{layer:02d}" / (f"seed_{extra}" if extra else "sae"),
            result.sae,
            {
                "model_name": p.model,
                "model_sha256": foundation.info.sha256,
                "hook_name": f"block {layer} output",
                "dataset": p.data,
                "seed": result.config.seed,
                "steps": result.config.steps,
                "batch_size": result.config.batch_size,
                "lr": chosen,
                "heldout_fvu": quality[layer][extra].fvu,
            },
        )
tokens = tokenise(counts_file, cohort.row.to_numpy(), foundation, seed=p.seed)
stores = stream_codes(
    foundation,
    {layer: trained[layer][0].sae for layer in use},
    tokens,
    {layer: page.dir / f"layer_{layer:02d}" / "codes" for layer in use},
)
shutil.rmtree(kept)
pd.DataFrame(
    [
        {
            "layer": i,
            "positions": s.n,
            "slots": s.k,
            "latents": s.d_sae,
            "MB": (s.values.nbytes + s.indices.nbytes) / 1e6,
        }
        for i, s in stores.items()
    ]
)

# %% [markdown]
# ## Try it yourself
#
# `biosae run 02_sae --model {{ model }} -p k=8` trains every layer with half as many active latents. Before you look: will
# the variance explained fall by half? Will fidelity fall more or less than variance? Which of the two would you rather give
# up, and what does a latent of the smaller `k` have to do that two latents of the larger one shared?
#
# In a Jupyter session one autoencoder takes seconds:
#
# ```python
# small = train.train_one(sample[use[0]], replace(config, k=8), name="k = 8")
# metrics.evaluate(small.sae, heldout[use[0]]).explained
# ```

# %% tags=["takeaways"]
recovered = fidelity[fidelity.sae == "sae"].set_index("where").recovered
takeaways = [
    f"With {p.k} of {p.expansion * foundation.info.d_model} latents active, the SAEs explain {span(first_seed.explained, 'share')} of the "
    f"variance of held-out cells{', depending on the layer' * (len(use) > 1)}; PCA with as many coefficients explains {span(first_seed.pca_equal_k, 'share')}.",
    f"On vectors that they were trained on they explain "
    f"{(first_seed.explained_training - first_seed.explained).max():+.2%} more at most, which is what memorising gains.",
    f"{first_seed.dead.max():.1%} of latents at most never fire on {int(first_seed.n_heldout.iloc[0]):,} held-out vectors.",
]
for edited, part in recovered.groupby(level=0, sort=False):
    text = {"visible": "in place of the visible genes of a layer", "all": "in place of all genes of the last layer"}[
        edited
    ]
    takeaways.append(
        f"Spliced into the model {text}, they recover {span(part, 'share')} of the masked-gene loss."
        if part.notna().all()
        else f"Spliced into the model {text}, they cannot be judged: a mean vector everywhere costs this model nothing."
    )
if p.n_seeds > 1:
    means = agreement.groupby("kind").cosine.mean()
    takeaways.append(
        f"Latents of two seeds pair up with a mean cosine of {means['seeds']:.2f}; random directions reach {means['random']:.2f}."
    )
page.close(takeaways=takeaways)
