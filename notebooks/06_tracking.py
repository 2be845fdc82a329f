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
# # Latents of {{ model }} across layers
#
# Is a latent of one layer still there in the next one, or does every layer speak its own language? Published, for
# Geneformer: 2 to 3 % of the features of a layer “persist” into the next, so nearly all would be made anew
# {cite:p}`kendiukhov2025`.
#
# That figure has no yardstick. Two autoencoders that are trained on the **same** layer from different seeds do not
# agree entirely either, and what they do not agree on cannot be blamed on the next layer. And decoder rows of two
# layers live in bases that the block in between has changed: a latent may turn and still fire at the same positions. So
# the question here is: do **the same latents** find a counterpart in the next layer less often than in **another
# training of their own layer**, and more often than among **directions or positions that mean nothing** (the floor)?

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
from biosae_utils.book import plots
from biosae_utils.book.figures import CONTROL, OKABE_ITO, REAL
from biosae_utils.book.page import Page

page = Page.open("06_tracking", globals())
found = page.result()
facts = found.facts

# %% tags=["hero", "hide-input"]
page.figure(
    plots.bars(
        found.table("adjacent"),
        x="step",
        y="share",
        by="kind",
        facet="panel",
        names={
            "seed": "same layer, another seed",
            "layers": "next layer",
            "shared start": "next layer, same seed (shared start)",
            "floor": "nothing shared but chance or genes (floor)",
        },
        colours={"seed": OKABE_ITO[2], "layers": REAL, "shared start": OKABE_ITO[4], "floor": CONTROL},
        xtitle="",
        ytitle="latents with a counterpart",
        percent="y",
        columns=2,
    ),
    name="adjacent",
    alt=f"Four panels of bars, one group per pair of neighbouring layers: share of latents with a counterpart. By "
    f"decoder, one-to-one, {facts.decoder_one_to_one:.1f} % in the next layer, random directions "
    f"{facts.decoder_floor:.1f} %; by activation, one-to-one, {facts.activation_one_to_one:.1f} %, the same genes "
    f"alone {facts.activation_floor:.1f} %.",
    caption="All bars of a group are shares of the same latents, those of the earlier layer. Blue near green or above "
    "it: the next layer is no worse a match than another training of the same layer, and no turnover is shown. Blue "
    "near grey: no more is shared than chance gives (decoder), or than firing on the same genes gives (activation). "
    f"Both seeds of a layer see the same cells, so green is no upper bound. {facts.shared_start}",
)

# %% [markdown]
# ## How it is measured
#
# * *By decoder*: |cosine| of decoder rows; two latents are the same above {{ threshold }}.
# * *By activation*: both autoencoders encode the **same held-out positions**; two latents are the same when their
#   activations correlate above {{ activation_threshold }}.
# * *One-sided* (the published way): every latent looks for its best counterpart, and many may choose the same one.
#   {term}`One-to-one <one-to-one matching>`: the assignment with the largest total similarity, so a latent has at most
#   one counterpart.
# * A latent takes part when it fires at {{ min_count }} of the held-out positions or more.
#
# One trap first. Autoencoders that are trained with the same seed **start from the same random directions**, whatever
# the layer, and keep a memory of them. Their latents then match across layers for a reason that has nothing to do with
# the model. So layers are compared *across seeds*: the first seed of one layer with the second seed of the next,
# exactly as the yardstick compares two seeds of one layer. What the shared start would have added is shown as well.
#
# All pairs go through the same two functions, and so do the floors: decoder rows against **random directions with the
# covariance of the later layer's activations**, and codes against the later layer's codes after **positions were
# exchanged within the same gene**. The second floor keeps what two latents share because both fire on the same genes,
# and breaks what they share because both respond to the same cells.
#
# The comparisons are **paired**. A latent of layer *l* is looked for three times: in layer *l* + 1, in another training
# of layer *l*, and in the floor. The last layer has no next one and takes no part. What is judged is the mean
# difference within latents, not whether two intervals overlap.
#
# **What it shows.** How much of the published turnover is the layer's doing, and how much is the method's. **What it
# does not show.** That a latent *causes* its counterpart: both may read the same token, or the same part of the state
# that the block left as it was (the residual stream is a sum: much of it passes through untouched).
#
# ## The same latents, paired

# %% tags=["hide-input"]
page.figure(
    plots.bars(
        found.table("paired"),
        x="step",
        y="difference",
        low="low",
        high="high",
        facet="panel",
        xtitle="",
        ytitle="difference, points of latents",
        columns=2,
    ),
    name="paired",
    alt=f"Panels of bars with whiskers: share of latents with a counterpart in the next layer minus that of the same "
    f"latents under a control, for each pair of neighbouring layers and for all. {facts.differences}.",
    caption="Below 0: fewer latents have a counterpart in the next layer than under the control. Whiskers: 95 % "
    "interval over latents, both outcomes of a latent drawn together. “All, exchanged”, where it is shown, repeats the "
    "comparison after the two trainings of every layer changed places: how far it is from “all” hints at what another "
    "training would change, which no interval here covers. `paired.parquet` also holds the interval over blocks of "
    "cells and the number of latents that only one side has.",
)

# %% [markdown]
# ## All pairs of layers

# %% tags=["hide-input"]
page.figure(
    plots.heatmap(
        found.table("grid"),
        x="layer_b",
        y="layer_a",
        z="share",
        facet="by",
        names={"decoder": "by decoder", "activation": "by activation"},
        xtitle="layer",
        ytitle="layer",
    ),
    name="all-pairs",
    alt="Two heatmaps of all pairs of layers: share of latents with a one-to-one counterpart, by decoder and by "
    "activation; on the diagonal, where there is one, the same layer trained with another seed.",
    caption="On the diagonal, where there is one, stands the same layer with another seed. Each other field is counted "
    "among the latents of its earlier layer, whose field on the diagonal is its yardstick and not its upper bound. "
    f"Shares that fall quickly with the distance mean that latents are rebuilt on the way. Matching: {facts.matching}.",
)

# %% [markdown]
# ## How long a latent lives
#
# One-to-one counterparts of neighbouring layers are chained. A latent that is born in some layer lives until a link
# falls below the threshold. The chains of the two floors show how long chance and shared genes would let it live.

# %% tags=["hide-input"]
page.figure(
    plots.bars(
        found.table("lifetimes"),
        x="length",
        y="share",
        by="which",
        facet="by",
        names={"decoder": "by decoder", "activation": "by activation"},
        colours={"latents": REAL, "floor": CONTROL},
        xtitle="layers lived through",
        ytitle="share of chains",
        log="y",
        percent="y",
    ),
    name="lifetimes",
    alt=f"Bars: share of chains that live through one, two and more layers, by decoder and by activation, beside "
    f"their floors. Chains through all {facts.n_layers} layers: {facts.whole_decoder} by decoder, "
    f"{facts.whole_activation} by activation.",
    caption="Length 1 is a latent that no neighbouring layer has. A chain may begin at any layer, so lives are cut "
    "short at the first and the last one. The axis is logarithmic.",
)

# %% [markdown]
# ## What argues against it
#
# * By decoder and by activation the answers differ. Which one is “the same latent” is a definition, not a finding:
#   directions live in a basis that each block may turn, activations do not. A claim about turnover should survive both.
# * Does the threshold decide? The downloaded `pairs.parquet` holds the mean similarity beside the share; rerun with `-p
#   threshold=0.5`.
# * Frequent latents are matched more easily by activation. The floor within genes answers part of that, not all.
# * The floor keeps the gene and breaks the cell. A latent that follows a gene's *rank* in the cell would need a floor
#   within gene and rank.
# * Intervals over latents treat latents of one training as independent draws. They are not quite: one-to-one, latents
#   compete for counterparts. By activation, latents are also matched anew without each block of held-out cells, and a
#   claim must hold over these as well; the floor's exchange of positions is drawn once. By decoder no cell enters
#   after training. **No interval covers another training**: a difference that changes much when trainings are exchanged
#   is no property of the model.
# * An untrained network has a residual stream too, and a stream alone carries states on. No such network is followed
#   here, so that latents persist is not shown to be learned.
# * The published figure is of another model, over all features that were alive, and is not known to compare different
#   seeds. It stands beside ours for orientation; no claim is judged by it.
# * |Cosine| lets a latent match its own opposite. For latents that cannot be negative that is no match; the published
#   rule has it so, and it is kept here to be comparable.
#
# ## Exercise
#
# ```{admonition} Whose yardstick?
# :class: tip
# Suppose that in the first panel the green bars were at 100 %. What would the blue ones then tell? And if the green
# ones were at the height of the grey ones? Which of the four panels lets you say most about *layers*, and why?
# ```

# %% tags=["takeaways", "hide-input"]
page.takeaways(
    [
        f"By decoder, one-sided (the published way), {facts.decoder_next:.1f} % of latents have a counterpart in the "
        f"next layer: {facts.decoder_seed_says} the {facts.decoder_seed:.1f} % of the same latents in another training "
        f"of their own layer ({facts.decoder_seed_gap}; with trainings exchanged {facts.decoder_exchanged_gap})."
        if facts.has_other_seed
        else f"By decoder, one-sided, {facts.decoder_next:.1f} % of latents have a counterpart in the next layer; one "
        f"seed was trained, so there is no yardstick.",
        f"By activation over the same positions, one-to-one, it is {facts.activation_next:.1f} %: "
        f"{facts.activation_seed_says} the {facts.activation_seed:.1f} % of the same latents in another training of "
        f"their own layer ({facts.activation_seed_gap}; with trainings exchanged {facts.activation_exchanged_gap})."
        if facts.has_other_seed
        else f"By activation over the same positions, one-to-one, it is {facts.activation_next:.1f} %, and no other "
        f"training stands beside it.",
        f"Against the floor, one-to-one: by decoder {facts.decoder_one_to_one:.1f} %, {facts.decoder_floor_says} the "
        f"{facts.decoder_floor:.1f} % of random directions ({facts.decoder_floor_gap}); by activation "
        f"{facts.activation_one_to_one:.1f} %, {facts.activation_floor_says} the {facts.activation_floor:.1f} % that "
        f"firing on the same genes alone gives ({facts.activation_floor_gap}).",
    ]
)
