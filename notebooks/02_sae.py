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
# # Sparse autoencoders of {{ model }}
#
# A layer of the model writes one vector for every gene of every cell, and the numbers in it mean nothing one by one.
# Does a {term}`sparse autoencoder` find better axes, such that every vector, also of cells that it has never seen, is
# nearly a sum of very few of them?
#
# It learns a dictionary of directions, more of them than the vector has numbers. If that works, the few directions that
# are active tell what the model holds about this gene in this cell, and the rest of the book asks what they mean.
# Whether it works is an empirical question, and this page answers it for all layers before anything is read into a
# latent: are unseen vectors rebuilt better than by principal components that may use as many coefficients? Does the
# **model** still work when a layer's states are replaced by their reconstruction? Does **another seed** find the same
# directions?

# %% tags=["parameters"]
expansion = 4
k = 16
kind = "topk"
steps = 800
batch_size = 1024
lr = None
run = "demo"
seed = 0
results = "results"
model = "mini-geneformer"
source = "data/demo/models/mini-geneformer"
variant = "trained"
control = None
options = {}
n_seeds = 3
layers = None
device = "auto"
dtype = "auto"

# %% tags=["hide-input"]
from biosae_utils.book import plots
from biosae_utils.book.figures import CONTROL, OKABE_ITO, REAL
from biosae_utils.book.page import Page
from biosae_utils.numbers import span

page = Page.open("02_sae", globals())
found = page.result()
facts = found.facts

# %% tags=["hero", "hide-input"]
page.figure(
    plots.bars(
        found.table("explained"),
        x="layer",
        y="explained",
        by="which",
        low="low",
        high="high",
        names={
            "sae": "autoencoder",
            "pca_equal_k": "PCA, k largest of each vector",
            "pca_rank_k": "PCA, first k axes",
            "frozen_decoder": "frozen random decoder",
        },
        colours={"sae": REAL, "pca_equal_k": OKABE_ITO[1], "pca_rank_k": OKABE_ITO[3], "frozen_decoder": CONTROL},
        ytitle="variance explained, held-out cells",
        yrange=(0, 1),
    ),
    name="explained",
    alt="Bars of held-out variance explained per layer by the autoencoder, two kinds of PCA and a frozen random "
    "decoder: "
    f"autoencoder {span([facts.explained_min, facts.explained_max], 'share')}, PCA with the k largest coefficients "
    f"{span([facts.pca_min, facts.pca_max], 'share')}.",
    caption="Variance explained on held-out cells, about their mean; whiskers are 95 % intervals over resampled "
    "cells. All "
    "bars of a layer describe the same vectors with k numbers each.",
)

# %% [markdown]
# ## How it is trained
#
# The {term}`TopK` autoencoder {cite:p}`gao2024` subtracts a bias, multiplies by an encoder matrix, keeps the `k`
# largest results of each vector and sets the rest to zero. The kept ones, times their decoder rows, are the
# reconstruction. There is no penalty to tune: `k` *is* the sparsity. Each decoder row has length 1, so the value of a
# latent is the length of the step that it adds, in units of the residual stream.
#
# Three details decide whether a short training works, and each was measured rather than copied. Inputs are scaled once,
# so that a learning rate means the same at every layer. The learning rate itself is an order of magnitude above the
# usual 3e-4, since there are hundreds of steps here and not hundreds of thousands; the second figure of this section
# shows the choice. And a latent that was silent for 200,000 vectors gets its own small task, to explain what the others
# leave over (AuxK), until it fires again.
#
# Training draws batches from the positions that the extraction page sampled. **No vector of a held-out cell is among
# them.**

# %% tags=["hide-input"]
page.figure(
    plots.lines(
        found.table("history"),
        x="step",
        y="fvu",
        by="layer",
        split="seed",
        ytitle="variance unexplained (batch)",
        log="y",
    ),
    name="training",
    alt="Share of variance left unexplained against training step, one line per layer and seed; all fall and flatten.",
    caption="Training curves of all layers. Thick: the first seed, whose codes the book uses. Thin: the other seeds. "
    "A curve "
    "that is still falling at the end would ask for more steps; one that jumps, for a lower learning rate.",
)
page.figure(
    plots.lines(
        found.table("learning_rates"),
        x="lr",
        y="fvu",
        markers=True,
        xtitle="learning rate",
        ytitle="variance unexplained, held-out cells",
        log="x",
        xmarks=[(facts.lr, "used here")],
    ),
    name="rates",
    alt="Held-out variance unexplained at four learning rates around the one used.",
    caption=f"Layer {facts.middle}, {facts.short_steps} steps, four learning rates, judged on held-out cells. The "
    f"lowest "
    f"point should be at or beside the dotted line. Others: `biosae sweep --model {page.params.model} --layer "
    f"{facts.middle}`.",
)

# %% [markdown]
# ## Cells that it has never seen
#
# {term}`Fraction of variance unexplained <FVU>` on held-out cells is the first thing that an autoencoder has to earn.
# Two baselines go through the same code. **PCA at equal k** writes every vector with its own `k` largest principal
# coefficients, so it spends as many numbers as the autoencoder, but may choose from only as many axes as there are
# dimensions. **The frozen decoder** is the same autoencoder, trained in the same way, whose directions stay random:
# what it explains is owed to having many directions to choose from, not to having learned them. The first figure of the
# page holds all four.

# %% tags=["hide-input"]
page.table(
    found.table("metrics"),
    name="quality",
    caption="Held-out quality of every SAE. `dead`: share of latents that did not fire once on the held-out vectors "
    "(n_heldout is the window). `dense`: share that fires on more than a tenth of them. `explained_training`: the same "
    "measure on vectors it was trained on; the difference is what memorising gains.",
)

# %% [markdown]
# The published figures for the full-size models, 81.7 % of variance for Geneformer and 90.2 % for scGPT
# {cite:p}`kendiukhov2025`, were computed on the vectors that the autoencoders were trained on, for other models, cells
# and k. They are no yardstick for the bars above.
#
# ## How often latents fire
#
# A dictionary in which a few directions are always on and the others never is a bad one even if it rebuilds everything.

# %% tags=["hide-input"]
page.figure(
    plots.lines(
        found.table("densities"),
        x="frequency",
        y="latents",
        by="layer",
        steps=True,
        xtitle="share of held-out vectors on which a latent fires",
        log="x",
        xmarks=[(page.params.k / facts.d_sae, "k / d_sae")],
    ),
    name="density",
    alt="Histogram of firing frequency of the latents, one line per layer, on a logarithmic axis.",
    caption="How many latents fire how often on held-out vectors. The dotted line is where all would be if each fired "
    "equally often. Far left: latents too rare to be described; right of 0.1: latents that say little about any gene.",
)

# %% [markdown]
# ## Does the model still work?
#
# Variance counts all directions alike; the model does not. So the reconstruction is put in the place of the layer's
# output, the later blocks run on it, and the model's own {term}`masked-gene loss` is read. {term}`Fidelity <fidelity>`
# is the share of the loss recovered between writing the same mean vector everywhere (0) and leaving the layer alone
# (1). The control is the autoencoder with the frozen decoder, spliced into the same masked cells.
#
# No autoencoder here was trained on the state of a *hidden* gene, so the claim is about the states of the visible ones:
# what later blocks can look up. At the last layer nothing looks anything up any more, and only the states of the hidden
# genes themselves matter; there the claim is the harder one, that the dictionary carries over to states of a kind it
# never saw.

# %% tags=["hide-input"]
page.figure(
    plots.bars(
        found.table("fidelity"),
        x="edit",
        y="recovered",
        by="sae",
        low="low",
        high="high",
        names={"sae": "autoencoder", "frozen": "frozen random decoder"},
        colours={"sae": REAL, "frozen": CONTROL},
        xtitle="",
        ytitle="masked-gene loss recovered",
    ),
    name="fidelity",
    alt="Bars of the share of masked-gene loss recovered per layer, for the autoencoder and for a frozen random "
    "decoder.",
    caption="1: the model predicts hidden genes as well as with the layer untouched. 0: as badly as with the same "
    "vector "
    "everywhere. Whiskers: 95 % intervals over held-out cells. Visible genes: what later blocks look up is replaced. "
    "All "
    "genes, at the last layer: the states of the hidden genes themselves, of a kind that no autoencoder here was "
    "trained on.",
)

# %% [markdown]
# ## Would another seed find the same latents?
#
# If the directions are in the model and not in the training, autoencoders from different seeds should agree on them.
# Latents of two seeds are paired one to one such that the summed cosine of their decoder directions is largest. Random
# directions can be paired too, and the more of them there are, and the fewer dimensions they really use, the better
# they match by luck. So one control draws random directions **with the same covariance as the decoder rows**: as many,
# in the same subspaces, but not the same ones. The harder control is the same network with **random weights**, whose
# states have a structure of their own that any autoencoder would find again: where the run has it, its seeds are paired
# in the same way. The stronger of the two counts. What is compared is the share of latents that have a partner with a
# |cosine| of at least 0.7, since a mean cosine cannot tell a few latents found again from many that are vaguely alike.

# %% tags=["hide-input"]
page.figure(
    plots.violins(
        found.table("seeds"),
        x="layer",
        y="cosine",
        by="kind",
        names={"seeds": "two seeds", "untrained": "two seeds, random weights", "random": "random directions"},
        colours={"seeds": REAL, "untrained": OKABE_ITO[1], "random": CONTROL},
        ytitle="|cosine| of paired decoder rows",
        yrange=(0, 1),
        ymarks=[(facts.same, "counts as the same")],
    ),
    name="seeds",
    alt=f"Violins per layer of the cosine between paired latents of two seeds, beside controls. {facts.agree_said}",
    caption="Agreement of decoder directions between seeds, between seeds on random weights where the run has them, "
    "and between sets of random directions with the same covariance as the decoder rows. What lies above the dotted "
    "line is found again.",
)
page.table(
    found.table("agreement"),
    name="agreement",
    caption="Share of latents found again, with its 95 % interval over latents, and the mean cosine. `untrained`: the "
    "same network with random weights.",
)

# %% [markdown]
# ## What is kept
#
# The autoencoders are written in SAELens layout, so other tools load them, and every position of the cohort is sent
# through the first seed's autoencoder of every layer. Only the `k` values and indices of each are stored; from here on
# they are all that the book needs.

# %% tags=["hide-input"]
page.table(found.table("codes"), name="codes", caption="Sparse codes of all positions, by layer.")

# %% [markdown]
# ## What argues against it
#
# * Does the agreement of seeds come from the frequent latents alone? Join the table of that section with the catalogue
#   by latent.
# * Does a model with **random weights** do as well? Its page, where the run has one, is made by this very notebook.
# * Variance is explained best where vectors of one gene are alike. One mean vector per gene explains much of it; the
#   page on latents and principal components puts that beside the autoencoder.
#
# ## Exercise
#
# ```{admonition} Half as many
# :class: tip
# `biosae run 02_sae --model {{ model }} -p k=8` trains every layer with half as many active latents. Before you look:
# will the variance explained fall by half? Will fidelity fall more or less than variance? Which of the two would you
# rather give up, and what does a latent of the smaller `k` have to do that two latents of the larger one shared?
# ```

# %% tags=["takeaways", "hide-input"]
page.takeaways(
    [
        f"With {page.params.k} of {facts.d_sae} latents active, the SAEs explain "
        f"{span([facts.explained_min, facts.explained_max], 'share')} of the variance of held-out cells; PCA with as "
        f"many "
        f"coefficients explains {span([facts.pca_min, facts.pca_max], 'share')}.",
        f"Spliced into the model they recover {span([facts.recovered_min, facts.recovered_max], 'share')} of the "
        "masked-gene loss; with a frozen random decoder "
        f"{span([facts.recovered_frozen_min, facts.recovered_frozen_max], 'share')}. On the same cells they recover "
        f"more than it in {facts.n_ahead_of_frozen} of {len(facts.layers)} layers."
        if facts.recovered_min is not None
        else "Spliced into the model they cannot be judged: a mean vector everywhere costs this model nothing.",
        facts.agree_said,
    ]
)
