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
# # Latents and principal components of {{ model }}
#
# {term}`Principal components <principal component>` are the oldest way to find axes in a cloud of vectors. Does a
# {term}`sparse autoencoder` see anything that they do not?
#
# Two answers are usually given. One is variance: the autoencoder explains more of it. The other is novelty: nearly all
# latents are “invisible” to the components {cite:p}`kendiukhov2025`. Both depend on what they are compared with. A
# state says first of all which gene it belongs to, so the first rival of this page is a table with **one mean vector
# per gene**; what counts is what is explained beyond it. After that, the page holds different things equal in turn,
# and asks of every number what **directions that mean nothing** would have given. Axes and mean vectors come from the
# training positions of each layer; everything is scored on positions of held-out cells. An axis is a direction in the
# layer's state; so is a latent's decoder row.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
model = "mini-geneformer"
source = "data/demo/models/mini-geneformer"
variant = "trained"
n_random = 1000
n_axes = 50
cosine = 0.5
n_boot = 1000

# %% tags=["hide-input"]
from biosae_utils.book import plots
from biosae_utils.book.figures import ACCENT, CONTROL, OKABE_ITO, REAL
from biosae_utils.book.page import Page

page = Page.open("05_svd", globals())
found = page.result()
facts = found.facts

# %% tags=["hero", "hide-input"]
page.figure(
    plots.bars(
        found.table("beyond_marks"),
        x="layer",
        y="explained",
        by="which",
        low="low",
        high="high",
        names={
            "sae": "autoencoder",
            "rest": "components of the rest, gene known",
            "paid": "components of the rest, gene paid for",
        },
        colours={"sae": REAL, "rest": CONTROL, "paid": OKABE_ITO[1]},
        ytitle="share explained of what the gene mean leaves",
        percent="y",
    ),
    name="beyond",
    alt="Bars per layer: share of the variance beyond the gene mean that is explained on held-out cells. Mean over "
    f"layers: autoencoder {facts.beyond_sae:.2f}, principal components of the rest with as many bits "
    f"{facts.beyond_rest:.2f}.",
    caption="Zero is one mean vector per gene; a bar below zero explains less than that. The rivals add principal "
    "components of what the mean vector leaves, with as many bits as the autoencoder. Whiskers: 95 % over cells.",
)

# %% [markdown]
# ## Beyond the gene
#
# Whoever has the cell's tokens knows the gene of every position, so its mean vector costs no bits. The autoencoder does
# not look at the token and must spend part of its code on the gene. The rival is therefore also shown where it
# **pays** for the gene: the logarithm of the number of genes, taken from its budget. A table with a vector for every
# gene is also larger than the autoencoder's dictionary, so a third rival has **as many mean vectors as there are
# latents**: the commonest genes keep theirs, and all others share one. Each rival then spends what is left of its bits
# on principal components of the rest, in the better of the two ways described below.

# %% tags=["hide-input"]
page.table(
    found.table("genes_wide"),
    name="genes-table",
    caption="Variance explained on held-out cells. gene_mean: one mean vector per gene and nothing else. common_mean: "
    f"{facts.n_common} mean vectors and nothing else. The others have the autoencoder's {facts.bits:.0f} bits a "
    "vector: pca_bits no gene, common_bits a common gene that is paid for, gene_paid a gene that is paid for, "
    f"gene_free a gene that is known. Saying which of {facts.n_genes:,} genes takes {facts.gene_bits:.1f} bits. Whole "
    f"coefficients are bought: {facts.largest_at_bits} with the gene known, {facts.largest_if_paid} with the gene "
    "paid for.",
)

# %% tags=["hide-input"]
page.text(
    f"**What it shows.** One mean vector per gene explains {facts.gene_mean_min:.1%} to {facts.gene_mean_max:.1%} of "
    f"the variance, more than the autoencoder in {facts.gene_mean_ahead} of {facts.n_layers} layers. With components "
    f"of the rest it is ahead in {facts.free_ahead} of {facts.n_layers} layers where the gene is known, and in "
    f"{facts.paid_ahead} where it is paid for. Mean over layers: autoencoder {facts.sae_mean:.1%}, gene known "
    f"{facts.free_mean:.1%}, gene paid for {facts.paid_mean:.1%}, as many mean vectors as latents "
    f"{facts.atoms_mean:.1%}."
)

# %% [markdown]
# **What it does not show.** That latents say nothing beyond genes. A rival that names the gene explains variance
# without taking the state apart, and an autoencoder that was given the gene might explain more.
#
# ## Components alone, with what held equal
#
# A reconstruction can spend its budget in two ways. **Leading axes**: the same r components for every vector. **Largest
# coefficients**: each vector picks its own m components, as the autoencoder picks its own k latents. But picking from a
# dictionary of {term}`d_sae` latents says more than picking from d components, because *which* ones were picked is
# information too. So a third comparison holds the **bits** equal: 16 for each kept number, plus the logarithm of the
# number of ways to choose.

# %% tags=["hide-input"]
page.figure(
    plots.lines(
        found.table("variance_marks"),
        x="kept",
        y="explained",
        by="which",
        facet="layer",
        symbols={"sae": "diamond", "bits": "x"},
        names={
            "leading": "PCA, leading axes",
            "largest": "PCA, largest coefficients",
            "sae": f"autoencoder, k = {facts.k} of {facts.d_sae}",
            "bits": "PCA with as many bits",
        },
        colours={"leading": CONTROL, "largest": OKABE_ITO[1], "sae": REAL, "bits": ACCENT},
        xtitle="numbers kept",
        ytitle="variance explained, held-out cells",
        log="x",
        yrange=(0, 1.02),
    ),
    name="variance",
    alt="One panel per layer: variance explained on held-out cells against numbers kept by principal components, with "
    "the autoencoder and the PCA of equal bits as points. Mean over layers: autoencoder "
    f"{facts.sae_mean:.2f}, PCA with k largest {facts.largest_k_mean:.2f}, PCA with equal bits {facts.bits_mean:.2f}.",
    caption="The blue diamond above a line means that the autoencoder explains more with that many numbers; going "
    "right from it to a line tells how many numbers a vector PCA needs. The cross spends as many bits as the diamond.",
)

# %% tags=["hide-input"]
page.table(
    found.table("variance_wide"),
    name="variance-table",
    caption=f"Variance explained on held-out cells. leading_50: the first {facts.n_axes} axes, the published "
    f"comparison, which take {facts.leading_50_bits} bits. bits: as many bits as the autoencoder ({facts.bits:.0f} a "
    f"vector) buy {facts.leading_at_bits} leading axes or {facts.largest_at_bits} coefficients of each vector's "
    f"choice. The last two columns: numbers that PCA needs to explain as much as the autoencoder (of {facts.d}).",
)

# %% tags=["hide-input"]
page.text(
    f"**What it shows.** How far the lead depends on what is held equal. Mean over layers, the autoencoder explains "
    f"{facts.sae_mean:.1%} with {facts.k} numbers a vector. The first {facts.n_axes} axes, the published comparison, "
    f"explain {facts.leading_50_mean:.1%} with {facts.n_axes}; {facts.k} coefficients of each vector's own choice "
    f"explain {facts.largest_k_mean:.1%}; PCA with as many bits explains {facts.bits_mean:.1%}. The strongest of these "
    f"rivals is {facts.nearest}, in {facts.nearest_layers} of {facts.n_layers} layers: {facts.nearest_mean:.1%}."
)

# %% [markdown]
# **What it does not show.** Whether either kind of axis means anything: variance counts loud directions, not important
# ones.
#
# ## Where the latents lie
#
# If latents spoke of what principal components miss, their decoder rows would avoid the leading axes. The share of a
# row's squared length inside the span of the first r axes is 1 for a row that lies in it and 0 for one that avoids it.
# A **random direction** has r/d on average, exactly; a random direction **shaped like the data** (a Gaussian with the
# same covariance) has about the share of variance that these axes hold. The second is the control that decides: nearly
# any direction made from the data beats the first.

# %% tags=["hide-input"]
page.figure(
    plots.lines(
        found.table("subspace_marks"),
        x="rank",
        y="share",
        by="who",
        dash="which",
        low="low",
        high="high",
        band=True,
        names={
            "latents": "latents",
            "shaped": "shaped like the data",
            "random, exact": "random directions, 95 % (exact)",
        },
        colours={"random directions: r / d": CONTROL},
        xtitle="leading axes r",
        ytitle="share of squared length inside their span",
        yrange=(0, 1.02),
        xmarks=[(facts.n_axes, f"{facts.n_axes} axes")],
    ),
    name="subspace",
    alt=f"Share of decoder rows inside the span of the first r principal axes against r, beside random directions and "
    f"directions shaped like the data. At {facts.n_axes} axes: latents {facts.inside_latents:.2f}, random "
    f"{facts.inside_random:.2f}, shaped {facts.inside_shaped:.2f}.",
    caption="Latents on the grey line would ignore the principal axes, as random directions do. Above it, latents "
    "lie more in the loud directions than chance; below it they would avoid them. The line of directions shaped like "
    "the data is what following the variance alone gives: latents below it prefer quieter directions than that.",
)

# %% tags=["hide-input"]
page.text(
    f"**What it shows.** Latents have {facts.inside_latents:.0%} of their squared length inside the first "
    f"{facts.n_axes} axes, random directions {facts.inside_random:.0%}, directions shaped like the data "
    f"{facts.inside_shaped:.0%}. Latents have less than the last in {facts.below_shaped} of {facts.n_layers} layers."
)

# %% [markdown]
# ## “Invisible to SVD”
#
# The published rule looks at one axis at a time: a latent is *novel* when its |cosine| with each of the first {{ n_axes
# }} axes stays at or below {{ cosine }}. In a space of many dimensions that is easy: almost every direction is nearly
# orthogonal to any fixed one. So the rule is put to four kinds of directions whose answer is known:
#
# * **random** ones, about which nothing is novel;
# * random ones **shaped like the data**;
# * random mixtures of the first {{ n_axes }} axes themselves, which lie **wholly inside** what an SVD of that rank
#   shows;
# * the **axes** themselves, which it must see.

# %% tags=["hide-input"]
page.figure(
    plots.bars(
        found.table("novel"),
        x="layer",
        y="novel",
        by="which",
        low="low",
        high="high",
        names={
            "latents": "latents",
            "random": "random directions",
            "shaped": "random, shaped like the data",
            "inside": f"random, wholly inside the first {facts.n_axes} axes",
            "axes": "the axes themselves",
        },
        colours={
            "latents": REAL,
            "random": CONTROL,
            "shaped": OKABE_ITO[1],
            "inside": OKABE_ITO[3],
            "axes": OKABE_ITO[2],
        },
        ytitle="called “novel” by the published rule",
        percent="y",
    ),
    name="novel",
    alt=f"Bars per layer of the share of directions that the published rule calls novel: latents "
    f"{facts.novel_latents:.1%}, random directions {facts.novel_random:.1%}, directions inside the axes "
    f"{facts.novel_inside:.1%}.",
    caption="A rule that calls random directions novel as often as latents says nothing about latents. The pink bars "
    "are directions with *all* of their length inside the span of the axes: to call them invisible is to measure the "
    "choice of basis.",
)

# %% [markdown]
# ## Do principal axes mean less?
#
# The published work compared the annotated share of “novel” features with that of the few dozen that an axis sees. The
# fair question is another: take the axes **themselves**, list the genes at the far end of each, and put those lists
# through the same test as the latents' lists. The annotation pages did so, with raw coordinates and random directions
# beside them, all on the same genes; here are all layers together, under the rule that corrects over all tests of a
# list. Because popular genes make any list easier to name, what is shown is the share **above** that of lists of the
# same size with the same gene frequencies.

# %% tags=["hide-input"]
if found.has("annotated"):
    page.figure(
        plots.bars(
            found.table("annotated"),
            x="layer",
            y="share_above",
            by="source",
            low="low_above",
            high="high_above",
            names={"latents, far end": "latents"},
            colours={
                "latents, far end": REAL,
                "principal axes": OKABE_ITO[2],
                "raw coordinates": OKABE_ITO[1],
                "random directions": CONTROL,
            },
            ytitle="annotated lists, points above frequency-matched lists",
        ),
        name="annotated",
        alt="Bars per layer: share of gene lists with at least one enriched term, above that of frequency-matched "
        "lists, for latents, principal axes, raw coordinates and random directions.",
        caption="Only bars of latents above those of the other three say that the autoencoder makes directions easier "
        "to name. Whiskers: Wilson 95 % intervals over lists; there are fewer axes than latents, so theirs are longer.",
    )
else:
    page.text("**Not tested**: " + found.claims["latents_are_named_more_than_axes"]["reason"] + ".")

# %% [markdown]
# ## What argues against it
#
# * Does the published rule depend on the width of the model? The cosine of a random direction with a fixed axis shrinks
#   as one over the root of the width, so the wider the model, the less the rule can see.
# * Is a table of genes a fair rival? It says nothing that was not known, and it is larger than the autoencoder's
#   dictionary; that is why it is also shown at equal bits and with as many vectors. The last of these still has its
#   principal axes besides, which the autoencoder has not.
# * Are principal axes the right rival? They are the best *orthogonal* axes for variance. Other dictionaries (ICA, NMF)
#   are not on this page.
# * Of several rivals the strongest is taken in each layer, on the cells that it is judged on: that favours the rival.
# * Bits were counted at 16 a number. With 8 the choice of latents weighs more: the exercise below.
# * Intervals resample cells (variance), latents (shares) or lists (annotation). Latents of one autoencoder were trained
#   together, so the last two kinds say how variable latents are, not what another training would find.
#
# ## Exercise
#
# ```{admonition} How few bits?
# :class: tip
# `geometry.code_bits(n_atoms, active, value_bits)` gives the size of a code. At which number of bits per value do the
# autoencoder and PCA with its own choice of coefficients explain the same variance in layer 0? What would you conclude
# if the crossing lay at 4 bits, and what if at 32?
# ```

# %% tags=["takeaways", "hide-input"]
page.takeaways(
    [
        f"Of the variance that one mean vector per gene leaves, the autoencoder explains {facts.beyond_sae:.1%} (mean "
        f"over layers, from {facts.beyond_sae_min:.1%} to {facts.beyond_sae_max:.1%}), principal components of the "
        f"rest with as many bits {facts.beyond_rest:.1%}.",
        f"With as many bits a vector ({facts.bits:.0f}) the autoencoder explains {facts.sae_mean:.1%} of the variance "
        f"of unseen cells, PCA alone {facts.bits_mean:.1%}, gene means that are paid for and PCA of the rest "
        f"{facts.paid_mean:.1%}, as many mean vectors as latents and PCA of the rest {facts.atoms_mean:.1%}.",
        f"{facts.inside_latents:.0%} of a latent's squared length lies inside the first {facts.n_axes} axes; of a "
        f"direction shaped like the data {facts.inside_shaped:.0%}, of a random one {facts.inside_random:.0%}. The "
        f"published rule calls {facts.novel_latents:.1%} of latents novel, {facts.novel_random:.1%} of random "
        f"directions and {facts.novel_inside:.1%} of directions wholly inside these axes.",
    ]
)
