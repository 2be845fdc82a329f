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
# # The cells
#
# Which cells is everything in this book said about, and does the file hold what the models expect? Which genes can the
# models see, and which cells are set aside to check what is found in the others?
#
# A model fed with the wrong numbers does not complain. The analysis that this book repeats fed logarithms of logarithms
# to Geneformer and mixed four cell lines under one name {cite:p}`kendiukhov2025`; every later number inherited it. This
# page therefore refuses what is not counts, and shows the cohort before any model runs.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
path = "data/demo/pbmc_ifnb.h5ad"
counts = "auto"
cell_type = "cell_type"
condition = "condition"
donor = None
reference = None
n_cells = 2000
holdout = 0.2
models = {"mini-geneformer": "data/demo/models/mini-geneformer"}

# %% tags=["hide-input"]
from biosae_utils.book import plots
from biosae_utils.book.figures import CONTROL, REAL
from biosae_utils.book.page import Page

page = Page.open("00_data", globals())
found = page.result()
facts = found.facts

# %% tags=["hero", "hide-input"]
page.figure(
    plots.bars(
        found.table("group_sides"),
        x="cell_type",
        y="n",
        by="condition",
        hatch="side",
        names={"training": "for training", "held_out": "held out"},
        xtitle="",
        ytitle="cells",
    ),
    name="cohort",
    alt=f"Bars of cells drawn for each of {facts.n_types} cell types and {facts.n_conditions} conditions, "
    f"{facts.smallest_group} to {facts.largest_group} cells a group, the held-out share hatched.",
    caption="Bars of equal height mean a balanced cohort; the hatched top of each bar is held out.",
)

# %% [markdown]
# ## What is in the file
#
# Counts are looked for in the places where files keep them: layers that are called so, `raw`, `X`, the sum of spliced
# and unspliced reads. They are judged by their values too: integers are counts, unless they are only 0 and 1 or bins
# within cells; where several differ and no name decides, the file is refused. Fractions are taken only if `expm1` gives
# every cell the same total and, divided by the cell's smallest value, whole numbers, because then the counts are known
# and not guessed. Everything else is refused. Two hundred cells spread over the file are looked at first, and every
# cell that is read later is checked again.

# %% tags=["hide-input"]
page.table(
    found.table("checks"), name="checks", caption=f"What was checked in {facts.file} before any model ran, in order."
)

# %% [markdown]
# ## The cohort
#
# Cells are drawn evenly over cell type and condition, so that no page of this book is about the most frequent type
# alone; a type with too few cells is taken whole. The same share of every group is held out (whole donors, if the file
# names donors): no autoencoder is trained on these cells, and no list of genes is chosen in them. If the file marks
# cells that the *models* have not seen in pretraining (`pretrain_heldout`), those are held out first.

# %% tags=["hide-input"]
page.table(
    found.table("groups"), name="groups", caption="The cohort by cell type and condition, with the held-out split."
)

# %% [markdown]
# ## Depth
#
# How many molecules and genes a cell has decides how long its sequence is, and what a model can know about it. If
# conditions differ in depth, whatever differs between them later has a dull explanation first.

# %% tags=["hide-input"]
page.figure(
    plots.boxes(
        found.table("depth"),
        x="what",
        by="condition",
        quantiles=["low", "q25", "median", "q75", "high"],
        xtitle="",
        ytitle="per cell",
        log="y",
    ),
    name="depth",
    alt=f"Box plots of counts and genes per cell by condition. Median counts: {facts.depth_said}.",
    caption="The line in a box is the median cell, the box holds the middle half of the cells, the whiskers 95 %. "
    "Logarithmic axis.",
)

# %% [markdown]
# ## What each model can see
#
# A model knows the genes of its vocabulary. The others are dropped in silence by every loader, so here they are
# counted: genes by number, and by the share of all molecules that they hold.

# %% tags=["hide-input"]
page.table(
    found.table("models"),
    name="models",
    caption="Genes of the file that each model knows. Genes that fit: the longest sequence without its special tokens. "
    "Cells cut: those that express more known genes than that.",
)

# %% tags=["hide-input"]
page.table(found.table("lost"), name="lost", caption="The most expressed genes that a model does not know.")

# %% [markdown]
# ## Is there anything to find?
#
# Before asking what a model knows about the difference between conditions, ask whether the cells differ at all. Every
# gene is compared between the reference condition and the others by a rank-sum test within cell types (van Elteren), on
# counts per 10,000. The family is *all* genes of the file. Control: the same test after the condition labels were dealt
# out anew among the cells of each type. Interval: leaving out one of ten blocks of cells at a time. Cells without a
# condition take no part; with one condition only there is nothing to compare, and the claim says so.

# %% tags=["hide-input"]
if facts.tested:
    page.figure(
        plots.lines(
            found.table("z"),
            x="at_least",
            y="genes",
            by="which",
            names={"relabelled": "labels dealt out anew", "true": "true labels"},
            colours={"relabelled": CONTROL, "true": REAL},
            xtitle="|z| of the stratified rank-sum test",
            ytitle="genes at least this different",
            log="y",
            xmarks=[(facts.leading_z[0], facts.leading[0])],
        ),
        name="conditions",
        alt=f"Number of genes above each value of |z|. {facts.n_different:,.0f} genes differ at q <= {facts.fdr}; with "
        f"relabelled cells {facts.n_by_chance:.2g} on average. Leading genes: {', '.join(facts.leading)}.",
        caption="The further the blue line runs to the right of the grey one, the more genes differ that relabelled "
        "cells do not have. The dotted line is the most different gene.",
    )

# %% tags=["hide-input"]
if facts.tested:
    page.table(
        found.table("leading_genes"),
        name="leading-genes",
        caption=f"The most different genes, {facts.reference} against {', '.join(facts.others)}. AUROC: chance that a "
        f"cell of the other condition is above a cell of {facts.reference} of the same type; 0.5 is no difference.",
    )

# %% [markdown]
# The same labels are also the bar for every model of this run. For each group of cells, the single gene and the measure
# of depth that tell it from all others best are chosen on the training cells and scored on the held-out ones. A latent
# that tells a group apart has found something only if it does better than these; the pages of the layers say whether
# any does.

# %% tags=["hide-input"]
if found.has("rivals"):
    page.table(
        found.table("rivals"),
        name="one-gene",
        caption="AUROC of the best single gene and of depth for each group of cells. `more`: high values speak for the "
        "group.",
    )

# %% [markdown]
# **What it shows.** That the labels mean something in these cells, and which genes say so: a latent that tells
# conditions apart on a later page should be read beside this table. **What it does not show.** That the condition is
# the cause: a batch, a donor or a day that goes with the condition gives the same picture, and only donors or
# replicates in the file could tell.
#
# ## What argues against it
#
# * Depth by condition, in the figure above. Ranks of counts per 10,000 are not free of it.
# * The genes that a model does not know: is one of those you care about among them?
# * Cell types are labels given by someone from the same counts; a comparison “within type” is only as good as they are.
# * Held-out cells are of the same experiment. They guard against chance, not against another laboratory.
# * Where there are three conditions or more, the reference is compared with all others together, which hides what is
#   different among them.
#
# ## Exercise
#
# ```{admonition} Fewer cells
# :class: tip
# Run this page again with `-p n_cells=200`. How many genes differ now, and which of the three leading genes stays in
# front? What does that say about a list of “the” genes of a condition? (Run it once more without the option before
# reading on: other pages use the cohort.)
# ```

# %% tags=["takeaways", "hide-input"]
page.takeaways(
    [
        f"{facts.n_cells:,} of {facts.n_cells_file:,} cells of `{facts.file}`, of {facts.n_types} cell types and "
        f"{facts.n_conditions} conditions; {facts.n_heldout:,} are held out.",
        f"The values are {facts.values_said}, {facts.median_counts:,.0f} molecules of {facts.median_genes:,.0f} genes "
        f"in the median cell. Of {facts.n_genes:,} genes the models see: {facts.models_said}.",
        facts.difference_said,
    ]
)
