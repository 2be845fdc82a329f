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
# What goes into the model, and which of its inner states do we keep? And how do we know that looking does not change
# what is seen?
#
# **Layer l** means the output of block l, counted from 0: the residual stream after that block's attention and
# feed-forward parts, one vector for every token of every cell. What libraries call `hidden_states[l + 1]` is the same
# thing. A **position** is one gene token in one cell. Special tokens such as `<cls>` take part in the computation and
# are then left out.

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
from biosae_utils.book import plots
from biosae_utils.book.figures import CONTROL, OKABE_ITO, REAL
from biosae_utils.book.page import Page

page = Page.open("01_extract", globals())
found = page.result()
facts = found.facts

# %% tags=["hero", "hide-input"]
page.figure(
    plots.boxes(
        found.table("masked_loss_long"),
        x="which",
        y="loss",
        by="which",
        names={
            "model": "this model",
            "baseline": "best baseline without a model",
            "shuffled_cells": "shuffled cells",
            "random_twin": "random twin",
        },
        colours={"model": REAL, "baseline": OKABE_ITO[1], "shuffled_cells": CONTROL, "random_twin": CONTROL},
        xtitle="",
        ytitle="loss on hidden genes, mean of a cell",
        log="y",
    ),
    name="masked_loss",
    alt=f"Box plots of the loss per held-out cell: this model {facts.loss:.2f} on average, {facts.baseline} "
    f"{facts.loss_baseline:.2f}, shuffled cells {facts.loss_shuffled_cells:.2f}, random twin "
    f"{facts.loss_random_twin:.2f}.",
    caption=f"Loss of each of {facts.n_asked} held-out cells on genes that were hidden, on a logarithmic axis; lower "
    f"is "
    f"better. What the model has learnt is the distance from the lowest of the controls, here {facts.best_control}.",
)

# %% [markdown]
# ## The model
#
# The hash is that of the file with the weights: two pages with the same hash looked at the same model. A
# `random-weights` or `shuffled-genes` variant is a control that runs through this same page.

# %% tags=["hide-input"]
page.table(found.table("model"), name="model", caption="Where the model comes from.")

# %% [markdown]
# ## From cells to tokens
#
# Every cell is encoded as the model's authors do it: raw counts in, one token for each expressed gene that the model
# knows. What does not fit is lost twice over: genes without a token, and genes beyond the longest input. The figure
# shows both. Cells that fill the longest input expressed more than the model ever saw; a sceptic should ask whether
# these are the large, cycling cells, and the table `cells` under Downloads says.

# %% tags=["hide-input"]
page.figure(
    plots.histogram(
        found.table("cells"),
        x="n_tokens",
        by="heldout",
        bins=50,
        stacked=True,
        names={False: "training cells", True: "held-out cells"},
        colours={False: REAL, True: CONTROL},
        xtitle="gene tokens in a cell",
        ytitle="cells",
        xmarks=[(facts.max_len, "longest input")],
    ),
    name="lengths",
    alt=f"Histogram of gene tokens per cell: median {facts.median_tokens:.0f}, longest input {facts.max_len}; "
    f"{facts.n_full} of {facts.n_cells} cells fill the input.",
    caption="How many genes of each cell the model sees. A pile at the dotted line is cells that were cut there.",
)

# %% [markdown]
# ## Does looking change what is seen?
#
# Later pages cut the forward pass after a block, edit the state and let the remaining blocks run. That is only an
# experiment on the model if the cut itself does nothing. So, on one batch of short and long cells together:
#
# * **resumed**: cut after layer l, edit nothing, resume. No prediction may change, by even one bit.
# * **edited**: the same, with noise of 1 % of each position's norm. If this did not show, *resumed* would prove
#   nothing.
# * **stopped**: a pass that ends after layer l gives the same state as one that goes on.
# * **alone**: a cell in a padded batch has the state that it has by itself, up to rounding. Attention to padding would
#   show here.
#
# That the state is also the one that the model's own library reports is held by the package's tests, against
# `hidden_states`.

# %% tags=["hide-input"]
page.table(
    found.table("checks"),
    name="checks",
    caption="Largest absolute difference of each check. The columns `resumed` and `stopped` must be zero; `edited` "
    "must not.",
)

# %% [markdown]
# ## Has the model learnt anything?
#
# Features of a model that has learnt nothing would be features of its architecture. So the model's own exercise,
# predicting hidden genes, is put to it on held-out cells: 15 % of each cell's genes are hidden and the loss is averaged
# within the cell, because the cell is the unit that was sampled. Two controls go through a model: the **random twin**
# has the same architecture, random weights, and gets the same questions; **shuffled cells** go through this very model,
# but within each cell genes have traded places, so that only what holds for any cell can still help.
#
# Both are weak. The strong opponents need no model: they are fitted on the training cells and asked about the very
# genes that were hidden. Where a hidden gene is to be *named* from its rank, they know how frequent each gene is, at
# which rank it stands, and which visible genes stand beside the hidden one in the order of the genes' medians: genes of
# one count are sorted by their medians in every cell, so the neighbours nearly name what is missing. Where a hidden
# *value* is to be guessed, they know each gene's mean, and a regression knows the cell's mean and number of genes too.
# The model must beat the best of all; what it gains over that is what it has learnt.

# %% tags=["hide-input"]
page.table(
    found.table("baselines"),
    name="baselines",
    caption="Mean loss over the same cells and hidden genes, best first. Baselines are fitted on the training cells of "
    "this run; with more cells to learn from they get a little better.",
)

# %% [markdown]
# ## The sample
#
# Dense states are never stored whole. One pass keeps a uniform sample of positions for training and another of held-out
# cells, drawn without replacement before anything is computed; training and held-out samples share no cell. The next
# page trains on the first and judges on the second, then sends *all* positions through the trained autoencoders and
# keeps only k values and k indices of each.

# %% tags=["hide-input"]
page.table(
    found.table("sizes"),
    name="sizes",
    caption="What storing the states of this run takes. A code is k indices and k values of 2 bytes each.",
)

# %% [markdown]
# The length of the state vector through the layers shows two things: that training and held-out samples look alike, as
# samples of the same cells must, and at which layers the stream grows or a few directions take over. An autoencoder
# sees the state minus its mean; where the mean carries most of the length, the vectors differ little.

# %% tags=["hide-input"]
page.figure(
    plots.lines(
        found.table("norms"),
        x="layer",
        y="median",
        by="sample",
        low="q25",
        high="q75",
        markers=True,
        names={"sample": "training", "sample_heldout": "held-out"},
        colours={"sample": REAL, "sample_heldout": CONTROL},
        ytitle="length of the state vector",
        zero="y",
    ),
    name="norms",
    alt="Median length of the state vector by layer, with quartiles, for training and held-out positions.",
    caption="Median and quartiles over positions. The two lines should lie on each other.",
)
page.table(
    found.table("norms"),
    name="norms-table",
    caption="Length of the state vector by layer. `share_of_mean`: how much of the squared length is the mean vector.",
)

# %% [markdown]
# ## What argues against it
#
# * This page does not show that the model is good, or that its states mean anything.
# * The sample is of *positions*: cells with many genes weigh more, so a cell type of small cells has fewer vectors than
#   its number of cells suggests.
# * The baselines learn from the cells of this run, the model from many more. A baseline fitted on all of those is a
#   stronger opponent; the cards of the demo's models have it.
#
# ## Exercise
#
# ```{admonition} A model that has learnt nothing
# :class: tip
# Run this page with a `random-weights` entry in the config. Which of the two claims survives, and why must the other
# not? Then look at the share of the mean vector, layer by layer: how different are the states of a model that has
# learnt nothing?
# ```

# %% tags=["takeaways", "hide-input"]
page.takeaways(
    [
        f"On hidden genes of {facts.n_asked} held-out cells the loss is {facts.loss:.2f} (95 % interval "
        f"{facts.loss_low:.2f} to {facts.loss_high:.2f}), against {facts.loss_baseline:.2f} of the best baseline "
        f"without a model ({facts.baseline}), {facts.loss_random_twin:.2f} with random weights and "
        f"{facts.loss_shuffled_cells:.2f} in shuffled cells. Paired by cell, the gain over the best of them is "
        f"{facts.gain:.2f} ({facts.gain_low:.2f} to {facts.gain_high:.2f}).",
        f"Cutting and resuming the pass changes predictions by {found.claims['zero-edit']['value']:g} at most; noise "
        f"of 1 % "
        f"changes them by at least {found.claims['zero-edit']['control']:.2g}.",
        f"{facts.n_cells:,} cells became {facts.n_positions:,} positions, {facts.share_full:.1%} of the cells fill the "
        f"longest input; of their states {facts.megabytes_kept:,.0f} MB are kept in place of "
        f"{facts.megabytes_dense:,.0f}.",
    ]
)
