# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Extraction: {{ model }}
#
# What goes into the model, which of its inner states we keep, and how we know that looking does not change what is seen.
#
# **Layer l** means the output of block l, counted from 0: the residual stream after that block's attention and
# feed-forward parts, one vector for every token of every cell. What libraries call `hidden_states[l + 1]` is the same thing.
# A **position** is one gene token in one cell. Special tokens such as `<cls>` take part in the computation and are then
# left out.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
model = "mini-geneformer"
source = "data/demo/models/mini-geneformer"
variant = "trained"
data = "data/demo/pbmc_ifnb.h5ad"
options = {}
n_positions = 150_000
n_positions_heldout = 20_000
layers = None
max_tokens = None
device = "auto"
dtype = "auto"

# %% tags=["hide-input"]
import time

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from biosae_utils import intervals
from biosae_utils.book import figures
from biosae_utils.book.page import Page
from biosae_utils.cells.data import open_cells
from biosae_utils.models.registry import load_model, pick_device
from biosae_utils.models.variants import shuffle_genes
from biosae_utils.sae.batching import device_report
from biosae_utils.sae.extract import sample_activations
from biosae_utils.sae.extraction_checks import layer_checks, masked_loss
from biosae_utils.sae.positions import Positions, sample_rows, tokenise
from biosae_utils.store import read_table

page = Page.open("01_extract", globals())
p = page.params
cohort = read_table(page.input("00_data", "cohort.parquet"))
cells = open_cells(p.data)
net = load_model(p.source, name=p.model.removesuffix(f".{p.variant}"), variant=p.variant, device=p.device, dtype=p.dtype, seed=p.seed, **p.options)
info = net.info
use = list(range(info.n_layers)) if p.layers is None else p.layers
heldout = cohort["heldout"].to_numpy(bool)
rng = np.random.default_rng(p.seed)
blue, grey = figures.REAL, figures.CONTROL

# %% [markdown]
# ## The model
#
# The hash is that of the file with the weights: two pages with the same hash looked at the same model. A `random-weights` or
# `shuffled-genes` variant is a control that runs through this same page.

# %% tags=["hide-input"]
facts = {
    "name": info.name,
    "family": info.family,
    "variant": info.variant,
    "source": info.source,
    "SHA-256 of the weights": info.sha256 or "none: weights were drawn from the seed",
    "blocks": f"{info.n_layers}",
    "width of the residual stream": f"{info.d_model:,}",
    "longest input": f"{info.max_len:,} tokens",
    "vocabulary": f"{len(info.vocab):,} tokens, {len(info.special_ids)} of them special",
    "computed on": device_report(pick_device(p.device)),
}
page.table(
    pd.DataFrame({"fact": facts.keys(), "value": facts.values()}), name="model", caption="Where the model comes from."
)

# %% [markdown]
# ## From cells to tokens
#
# Every cell is encoded as the model's authors do it: raw counts in, one token for each expressed gene that the model knows.
# What does not fit is lost twice over: genes without a token, and genes beyond the longest input. The figure shows both.

# %% tags=["hide-input"]
tokens = tokenise(cells, cohort["row"].to_numpy(), net, seed=p.seed)
positions = Positions.of(tokens, info)
positions.save(page.dir / "positions")
special = np.isin(np.arange(len(info.vocab)), info.special_ids)
page.save(
    pd.DataFrame(
        {"token": np.arange(len(info.vocab)), "symbol": info.vocab, "key": info.vocab_ids, "special": special}
    ),
    "vocab",
)
n_tokens = np.bincount(positions.cell, minlength=tokens.n_cells)
cropped = tokens.lengths >= info.max_len
coverage = n_tokens / np.maximum(cohort["n_genes"].to_numpy(), 1)
page.save(
    cohort[["barcode", "cell_type", "condition", "heldout"]].assign(n_tokens=n_tokens, full=cropped, coverage=coverage),
    "cells",
)

fig = go.Figure()
fig.add_histogram(x=n_tokens[~heldout], name="training cells", marker_color=blue, nbinsx=50)
fig.add_histogram(x=n_tokens[heldout], name="held-out cells", marker_color=grey, nbinsx=50)
fig.add_vline(x=info.max_len, line_dash="dot", annotation_text="longest input")
fig.update_layout(barmode="stack", xaxis_title="gene tokens in a cell", yaxis_title="cells")
page.figure(
    fig,
    name="lengths",
    alt=f"Histogram of gene tokens per cell: median {np.median(n_tokens):.0f}, longest input {info.max_len}; "
    f"{cropped.sum()} of {len(cropped)} cells fill the input.",
    caption="How many genes of each cell the model sees. A pile at the dotted line is cells that were cut there.",
)

# %% tags=["hide-input"]
from IPython.display import Markdown

Markdown(
    f"{tokens.n_cells:,} cells gave **{len(positions):,} positions** (median {np.median(n_tokens):,.0f} a cell). Of the genes that "
    f"a cell expresses, a median of {np.median(coverage):.1%} became tokens. {cropped.sum():,} cells ({cropped.mean():.1%}) fill "
    f"the longest input: what they expressed beyond it, the model never saw. A sceptic should ask whether these are the large, "
    f"cycling cells; the table `cells` under Downloads says."
)

# %% [markdown]
# ## Does looking change what is seen?
#
# Later pages cut the forward pass after a block, edit the state and let the remaining blocks run. That is only an experiment
# on the model if the cut itself does nothing. So, on one batch of short and long cells together:
#
# * **resumed**: cut after layer l, edit nothing, resume. No prediction may change, by even one bit.
# * **edited**: the same, with noise of 1 % of each position's norm. If this did not show, *resumed* would prove nothing.
# * **stopped**: a pass that ends after layer l gives the same state as one that goes on.
# * **alone**: a cell in a padded batch has the state that it has by itself, up to rounding. Attention to padding would show here.
#
# That the state is also the one that the model's own library reports is held by the package's tests, against `hidden_states`.

# %% tags=["hide-input"]
order = np.argsort(tokens.lengths, kind="stable")
probe = order[np.linspace(0, len(order) - 1, 5).astype(int)]
checks = layer_checks(net, tokens, probe, edit=0.01, seed=p.seed)
page.save(checks, "checks")
page.table(
    checks,
    name="checks",
    caption="Largest absolute difference of each check. The first and third columns must be zero; the second must not.",
)
identity = page.claim(
    id="zero-edit",
    title="Cutting the forward pass at any layer and resuming it unedited leaves every prediction as it was",
    value=checks["resumed"].max(),
    unit="largest change of a prediction",
    control=checks["edited"].min(),
    control_kind="smallest over layers of the change after noise of 1 % of the norm",
    rule="the largest change over all layers is exactly 0, and the edited control is above 0 in every layer",
    verdict="supported" if checks["resumed"].max() == 0 and checks["edited"].min() > 0 else "not_supported",
)

# %% [markdown]
# ## Has the model learnt anything?
#
# Features of a model that has learnt nothing would be features of its architecture. So the model's own exercise, predicting hidden
# genes, is put to it on held-out cells: 15 % of each cell's genes are hidden and the loss is averaged within the cell, because the
# cell is the unit that was sampled. Two controls run through the same code: the **random twin** has the same architecture, random
# weights, and gets the same questions; **shuffled cells** go through this very model, but within each cell genes have traded places,
# so that only what holds for any cell can still help. The model must beat both. The cards of the demo's models hold more opponents,
# which know each gene's frequency and rank.

# %% tags=["hide-input"]
asked = np.sort(rng.choice(np.flatnonzero(heldout), min(60, heldout.sum()), replace=False))
twin = load_model(p.source, variant="random-weights", device=p.device, dtype=p.dtype, seed=p.seed + 1, **p.options)
shuffled = shuffle_genes(tokens, info.special_ids, p.seed)
losses = pd.DataFrame(
    {
        "cell": asked,
        "model": masked_loss(net, tokens, asked, seed=p.seed),
        "random_twin": masked_loss(twin, tokens, asked, seed=p.seed),
        "shuffled_cells": masked_loss(net, shuffled, asked, seed=p.seed),
    }
).dropna()
page.save(losses, "masked_loss")
ours, controls = losses["model"].to_numpy(), losses[["random_twin", "shuffled_cells"]]
best = controls.mean().idxmin()
paired = np.column_stack([ours, controls[best].to_numpy() - ours])
draws = intervals.resampled_means(paired, n_boot=2000, seed=rng)
interval, gain = (intervals.from_draws(v, d, over="cells") for v, d in zip(paired.mean(0), draws.T, strict=True))
learnt = page.claim(
    id="masked-loss",
    title="The model predicts hidden genes of held-out cells better than with random weights and better than in shuffled cells",
    value=ours.mean(),
    unit="loss (the model's own), mean over cells",
    interval=interval.pair,
    control=controls[best].mean(),
    control_kind={
        "random_twin": "same architecture, random weights",
        "shuffled_cells": "same model, genes shuffled within cells",
    }[best],
    rule="the 95 % interval of the paired difference from the better of the two controls, cells resampled, lies above 0",
    verdict="supported" if gain.low > 0 else "not_supported",
)

fig = go.Figure()
shown = {"model": "this model", "shuffled_cells": "shuffled cells", "random_twin": "random twin"}
for column, name in shown.items():
    colour = blue if column == "model" else grey
    fig.add_box(x=losses[column], name=name, marker_color=colour, boxpoints="all", jitter=0.5, pointpos=0)
fig.update_layout(xaxis={"title": "loss on hidden genes, mean of a cell", "type": "log"}, showlegend=False)
page.figure(
    fig,
    name="masked_loss",
    alt="Box plots of the loss per held-out cell: "
    + ", ".join(f"{name} {losses[column].mean():.2f} on average" for column, name in shown.items())
    + ".",
    caption=f"Loss of each of {len(losses)} held-out cells, on a logarithmic axis; further left is better.",
)

# %% [markdown]
# ## The sample
#
# Dense states are never stored whole. One pass keeps a uniform sample of positions for training and another of held-out cells, drawn
# without replacement before anything is computed; training and held-out samples share no cell. The next page trains on the first and
# judges on the second, then sends *all* positions through the trained autoencoders and keeps only k values and k indices of each.

# %% tags=["hide-input"]
train_rows, test_rows = sample_rows(positions, heldout, p.n_positions, p.n_positions_heldout, seed=p.seed)
started = time.perf_counter()
samples = {}
for folder, rows in (("sample", train_rows), ("sample_heldout", test_rows)):
    samples[folder] = sample_activations(net, tokens, rows, use, folder=page.dir / folder, max_tokens=p.max_tokens)
    np.save(page.dir / folder / "rows.npy", rows)
seconds = time.perf_counter() - started
assert not np.intersect1d(positions.cell[train_rows], positions.cell[test_rows]).size, "a cell is on both sides"

# %% tags=["hide-input"]
kept = sum(array.nbytes for group in samples.values() for array in group.values())
dense = len(positions) * info.d_model * len(use) * 4
codes = len(positions) * len(use) * 4
sizes = pd.DataFrame(
    [
        ("every state of these layers in float32, as published", dense / 1e6, "not stored"),
        (f"the sample: {len(train_rows):,} + {len(test_rows):,} positions, float16", kept / 1e6, "this page"),
        ("codes of all positions at k = 16", codes * 16 / 1e6, "next page"),
        ("codes of all positions at k = 32", codes * 32 / 1e6, "next page, if so configured"),
    ],
    columns=["what", "megabytes", "where"],
)
page.table(
    sizes,
    name="sizes",
    caption="What storing the states of this run takes. A code is k indices and k values of 2 bytes each.",
)
Markdown(
    f"The pass over {tokens.n_cells:,} cells took {seconds:.0f} s ({tokens.n_cells / seconds:,.0f} cells a second)."
)

# %% [markdown]
# The length of the state vector through the layers shows two things: that training and held-out samples look alike, as samples of the
# same cells must, and at which layers the stream grows or a few directions take over. An autoencoder sees the state minus its mean; where
# the mean carries most of the length, the vectors differ little.

# %% tags=["hide-input"]
rows = []
for folder, group in samples.items():
    for layer, array in group.items():
        x = np.asarray(array[:: max(1, len(array) // 5_000)], np.float32)
        norm = np.linalg.norm(x, axis=1)
        low, mid, high = np.percentile(norm, [25, 50, 75])
        share = float((x.mean(0) ** 2).sum() / (x**2).sum(1).mean())
        rows.append((folder, layer, low, mid, high, share))
norms = pd.DataFrame(rows, columns=["sample", "layer", "q25", "median", "q75", "share_of_mean"])
page.save(norms, "norms")
fig = go.Figure()
for folder, label, colour, shift in (("sample", "training", blue, -0.05), ("sample_heldout", "held-out", grey, 0.05)):
    part = norms[norms["sample"] == folder]
    fig.add_scatter(
        x=part["layer"] + shift,
        y=part["median"],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": part["q75"] - part["median"],
            "arrayminus": part["median"] - part["q25"],
        },
        customdata=part["share_of_mean"],
        hovertemplate="norm %{y:.2f}<br>share of the mean vector %{customdata:.0%}",
        name=label,
        mode="lines+markers",
        marker_color=colour,
    )
fig.update_layout(
    xaxis={"title": "layer", "dtick": 1}, yaxis_title="length of the state vector", yaxis_rangemode="tozero"
)
first, last = norms[norms["sample"] == "sample"].iloc[[0, -1]].itertuples(index=False)
page.figure(
    fig,
    name="norms",
    alt=f"Median length of the state vector by layer, {first.median:.1f} after block 0 and {last.median:.1f} after the last, "
    "with quartiles, for training and held-out positions.",
    caption="Median and quartiles over positions. The two lines should lie on each other; hover for how much of the length is the mean vector.",
)

# %% [markdown]
# **What this page does not show.** That the model is good, or that its states mean anything. And the sample is of *positions*: cells with
# many genes weigh more, so a cell type of small cells has fewer vectors than its number of cells suggests.
#
# ```{admonition} Exercise
# :class: tip
# Rerun this page with `variant=random-weights` in the config. Which of the two claims survives, and why must the other not?
# Then look at the share of the mean vector, layer by layer: how different are the states of a model that has learnt nothing?
# ```

# %% tags=["takeaways"]
page.close(
    takeaways=[
        f"{tokens.n_cells:,} cells became {len(positions):,} positions; {cropped.mean():.1%} of the cells fill the longest input of "
        f"{info.max_len:,} tokens.",
        f"Cutting and resuming the pass changes predictions by {identity.value:g} at most; noise of 1 % changes them by at least {identity.control:.2g}.",
        f"On hidden genes of {len(losses)} held-out cells the loss is {ours.mean():.2f} (95 % interval {interval.low:.2f} to {interval.high:.2f}), "
        f"against {controls['random_twin'].mean():.2f} with random weights and {controls['shuffled_cells'].mean():.2f} in shuffled cells.",
        f"Kept: {len(train_rows):,} training and {len(test_rows):,} held-out positions of {len(use)} layer{'s' * (len(use) > 1)}, {kept / 1e6:,.0f} MB in place of "
        f"{dense / 1e6:,.0f} MB.",
    ]
)
