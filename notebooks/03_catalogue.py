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
# # Feature catalogue of {{ model }}, layer {{ layer }}
#
# Each latent of the sparse autoencoder fires at some positions and not at others: at which? A position is one gene in
# one cell, so how much of it is *only* the gene, or only the gene's rank in the cell?
#
# The first suspect is always the gene. A latent may fire whenever one of a fixed set of genes comes by, whatever the
# cell: then it has learnt the vocabulary. This page lists what every latent fires on, and measures how far the gene
# alone explains it, how many genes that is, whether other cells give the same list, and what the latents say about
# whole cells.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
model = "mini-geneformer"
source = "data/demo/models/mini-geneformer"
variant = "trained"
layer = 0
n_top = 20
min_count = 10
shrinkage = 10.0

# %% tags=["hide-input"]
from biosae_utils.book import plots
from biosae_utils.book.figures import ACCENT, CONTROL, OKABE_ITO, REAL
from biosae_utils.book.page import Page

page = Page.open("03_catalogue", globals())
found = page.result()
facts = found.facts

# %% tags=["hero", "hide-input"]
colours = {"gene names dealt out anew": CONTROL, "alive": REAL, "rare": OKABE_ITO[1], "dense": ACCENT}
axes = {"xtitle": "share of positions at which the latent fires", "ytitle": "share of variance owed to the gene"}
look = {"colours": colours, "log": "x", "percent": "x", **axes}
page.figure(
    plots.points(found.table("gene_share"), "frequency", "gene_share", "which", hover="says", size=5, **look),
    name="gene-share",
    alt=f"Scatter plot of {facts.n_firing} latents: gene share against firing frequency. Median gene share "
    f"{facts.gene_share:.2f}; with gene names dealt out anew {facts.gene_share_control:z.3f}.",
    caption="How to read it: every point is a latent. To the right it fires often; upwards gene identity decides "
    "whether and how strongly it fires. Grey: the same latents after the gene names within each cell were dealt out "
    "anew. From grey to coloured is what the gene alone explains; from there to 1 is what it does not.",
)

# %% [markdown]
# **What it shows.** How far each latent is a reading of the gene, whatever the cell. A latent at 1 knows nothing but
# which gene stands there. That is not one gene: the column of effective genes in the table below says how large the
# group is that the latent treats alike.
#
# **What it does not show.** That the rest is biology: rank, the neighbours in the sequence and plain noise are in there
# too. A low gene share with a high rank share is a latent that reads expression level.

# %% [markdown]
# ## How it is measured
#
# * **Counts, means, maxima** of each latent come from the sparse codes of all positions. A TopK slot whose value is
#   zero did not fire, whatever its index says. A latent is *dead* when it never fires, *rare* below a share of 1e-5 of
#   the positions (or 20 firings), *dense* above 10 %; all others are *alive* ({term}`dead latent`, {term}`dense
#   latent`).
# * **Top genes** are chosen on the training cells only. The mean over a gene's firings is shrunk towards the latent's
#   own mean, as if {{ shrinkage }} more firings of average strength had been seen, and a gene with fewer than {{
#   min_count }} firings is not listed. (The published catalogue ranked by the plain mean without a minimum: one strong
#   firing could lead a list {cite:p}`kendiukhov2025`.) The held-out cells are kept for checking.
# * **Gene share** is the share of the variance of a latent's activation over *all* positions, zeros included, that lies
#   between genes rather than within them (one-way analysis of variance, adjusted for the number of genes, so that an
#   unrelated grouping has 0 on average). **Rank share** is the same for twenty bins of the gene's rank in the cell.
# * **Effective genes**: the inverse Simpson index of a latent's activation over genes; 40 where it is spread evenly
#   over forty genes, 1 where all of it falls on one.
# * **Unit.** Intervals leave out one of ten blocks of *cells* at a time (jackknife); positions of a cell are not
#   independent.
# * **Controls.** Gene names dealt out anew among the positions of each cell; lists of another latent; for groups of
#   cells the best single gene, depth, and labels dealt out anew.

# %% [markdown]
# ## What the latents are
#
# The table can be searched: type a gene to find the latents that list it. Latents that gene identity explains best come
# first, rare and dense ones last.

# %% tags=["hide-input"]
page.text(
    f"Of {facts.n_latents:,} latents {facts.n_firing:,} fire at some position, {facts.n_rare:,} of them rarely and "
    f"{facts.n_dense:,} densely; {facts.n_dead:,} are dead. {facts.mostly_said}"
)
page.table(
    found.table("latents"),
    name="features",
    caption="All latents that fire. Frequency: share of all positions. Mean: over firings.",
)

# %% [markdown]
# ## Do the lists hold in other cells?
#
# The same rule picks top genes in the held-out cells, which neither the autoencoder nor the lists have seen. How many
# of a latent's genes come back, and how many by chance, when the held-out list is that of another latent?

# %% tags=["hide-input"]
if found.has("replication"):
    look = {"colours": {"list of another latent": CONTROL, "same latent": REAL}, "ytitle": "latents", "percent": "x"}
    title = "share of the latent's top genes that held-out cells list too"
    page.figure(
        plots.histogram(found.table("replication"), "share", "which", bins=20, xtitle=title, **look),
        name="replication",
        alt=f"Histogram over latents of the share of top genes found again in held-out cells: "
        f"mean {facts.replicated:.0%}, with the list of another latent {facts.replicated_by_chance:.1%}.",
        caption="How to read it: bars to the right are latents whose list another set of cells confirms.",
    )

# %% [markdown]
# **What it shows.** Whether a list is a property of the latent or of the cells that happened to be looked at. **What it
# does not show.** That it would hold in another laboratory: held-out cells come from the same donors and the same run.

# %% [markdown]
# ## Seen from the cells
#
# Averaged over all positions of a cell (zeros included), a latent becomes a number per cell. How well does the best
# latent tell cell types or conditions apart? The latent, and whether its high or its low end speaks for the group, are
# *chosen* on the training cells and *scored* on the held-out ones ({term}`AUROC`; 0.5 is chance).
#
# That is a finding about the model only if nothing simpler does as well. So two rivals go through the same choice and
# score on the same cells: the **best single gene** (logarithm of counts per 10,000, all genes of the file), and
# **depth** (molecules and genes detected). The stronger of the two is the control, and what decides is the paired
# difference on the held-out cells. What the choice among many latents and groups reaches by chance is shown too: the
# labels are dealt out anew, conditions within each cell type and cell types within each condition, every draw chooses
# for itself, and the cross is the end that 97.5 % of the draws stay below.

# %% tags=["hide-input"]
if found.has("best_latents"):
    symbols = {"labels dealt out anew": "x", "best single gene": "diamond", "depth": "square-open"}
    symbols["best latent, training cells (chosen here)"] = "circle-open"
    colours = {"labels dealt out anew": CONTROL, "best latent, held-out cells": REAL, "best single gene": ACCENT}
    columns = {"x": "place", "y": "auroc", "by": "which", "low": "low", "high": "high", "hover": "says"}
    look = {"xtitle": "", "ytitle": "AUROC", "ymarks": [(0.5, "chance")], "colours": colours}
    page.figure(
        plots.points(found.table("best_latents_shown"), **columns, symbols=symbols, size=10, **look),
        name="cell-groups",
        alt=f"AUROC of the best latent for each group of cells, beside one gene and depth. By {facts.best_column}: "
        f"{facts.best_group}, {facts.best_heldout:.3f}; {facts.best_rival} {facts.best_rival_heldout:.3f}; depth "
        f"{facts.best_depth_heldout:.2f}; labels dealt out anew {facts.best_by_chance:.2f}.",
        caption="How to read it: blue with its 95 % bootstrap interval over held-out cells is the latent; the diamond "
        "is one gene, chosen and scored in the same way: only where blue stands clear of it has the network added "
        "something. The ring is what the choice alone would make one believe; the cross is the same procedure on "
        "labels that mean nothing.",
    )
    page.table(
        found.table("best_latents"),
        name="cell-groups-table",
        caption="The best latent of each group of cells beside its rivals, all chosen on training cells and scored on "
        "held-out cells. `ahead`: latent less the stronger rival, with the ends of its interval; `more`: whether high "
        "values of the latent speak for the group.",
    )

# %% [markdown]
# **What it shows.** Whether a latent tells these cells apart better than the counts that went in, read one gene at a
# time. **What it does not show.** Where the latent is ahead, that the network was needed: a sum over a few genes is
# stronger than one gene, and is no rival here. Where it is not ahead, that the model lacks what tells the cells apart.

# %% [markdown]
# ## What argues against it
#
# * A list of twenty genes looks convincing whatever it holds. The next page asks whether the lists mean more than lists
#   with permuted names.
# * The gene share speaks of variance, and a few strong firings own most of it. Compare `mean` and `max` in the table.
# * The most expressed genes sit at the most positions, so they pass `min_count` first. `coverage` in the downloaded
#   `top_genes.parquet` says at how many of a gene's positions the latent really fires.
#
# ## Exercise
#
# ```{admonition} The published rule
# :class: tip
# Run this page again with `-p shrinkage=0.0 -p min_count=1`, the published rule. Which latents change their first gene,
# and how often does that gene fire? Then look up the same latents in the table above: is their gene share high or low?
# ```

# %% tags=["takeaways", "hide-input"]
lines = [
    f"Gene identity explains {facts.gene_share:.0%} of the variance of the median latent (renamed genes "
    f"{facts.gene_share_control:z.1%}), rank {facts.rank_share:z.1%}. {facts.mostly_said}"
]
if found.has("replication"):
    lines.append(
        f"{facts.replicated:.0%} of the listed genes come back in held-out cells, against "
        f"{facts.replicated_by_chance:.1%} in the list of another latent."
    )
if found.has("best_latents"):
    lines.append(
        f"The latent that tells {facts.best_column} “{facts.best_group}” best is {facts.best_latent} "
        f"({facts.best_genes}): AUROC {facts.best_heldout:.3f} in held-out cells, where {facts.best_rival} reaches "
        f"{facts.best_rival_heldout:.3f} (difference {facts.best_ahead:.3f}, 95 % interval {facts.best_ahead_low:.3f} "
        f"to {facts.best_ahead_high:.3f}) and 97.5 % of relabelled draws stay below {facts.best_by_chance:.2f}. Of "
        f"{facts.best_n_groups} groups of cells, the latent is ahead of the stronger of gene and depth in "
        f"{facts.best_n_ahead} and behind in {facts.best_n_behind}."
    )
page.takeaways(lines)
