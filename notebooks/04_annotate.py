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
# # Annotation of {{ model }}, layer {{ layer }}
#
# Do the genes that a latent fires on belong together in biology? And how often would lists of genes that mean nothing
# look as if they did, once they stand beside real ones?
#
# The share of “annotated” latents is the most quoted figure of this kind of work. It depends on the rule far more than
# on the model, so this page applies several rules to the same lists, each beside its controls.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
model = "mini-geneformer"
source = "data/demo/models/mini-geneformer"
variant = "trained"
layer = 0
control = None
genesets = "data/demo/genesets.parquet"
collections = ["GO_BP", "Reactome", "Hallmark"]
n_top = 20
fdr = 0.05
min_size = 5
max_size = 500
n_permutations = 25

# %% tags=["hide-input"]
from biosae_utils.book import plots
from biosae_utils.book.figures import CONTROL, OKABE_ITO, REAL
from biosae_utils.book.page import Page

page = Page.open("04_annotate", globals())
found = page.result()
facts = found.facts
published = found.claims["annotated_published"]
each, whole = found.claims["annotated_feature"], found.claims["annotated_layer"]

# %% tags=["hero", "hide-input"]
columns = {"x": "label", "y": "share", "by": "source", "low": "low", "high": "high", "dash": "matched"}
colours = {"latents": REAL, "permuted labels": CONTROL, "frequency-matched lists": "#B0B0B0"}
colours |= {"random directions": OKABE_ITO[6], "latents, far end": OKABE_ITO[4]}
look = {"colours": colours, "percent": "y", "yrange": (0, 1.02), "height": 560, "xtitle": ""}
page.figure(
    plots.bars(found.table("rules"), **columns, dash_name="genes swapped", ytitle="lists with a term", **look),
    name="rules",
    alt="Bars: share of annotated lists under each rule, for latents and controls. Published rule: latents "
    f"{published['value']:.1f} %, decoys {published['control']:.1f} %; all tests of a latent as the family: "
    f"{each['value']:.1f} and {each['control']:.1f} %; layer-wide: {whole['value']:.1f} and {whole['control']:.1f} %.",
    caption="How to read it: from left to right the rule goes from the published one to the one that this book "
    "stands on. A rule is worth something where blue stands above all others; where grey is as tall as blue, it "
    "annotates anything. Grey bars are decoys: lists that mean nothing, judged half and half with real ones. Dashes: "
    "the same for the source's own lists after they swapped genes among themselves, so that every gene is listed as "
    "often; only what rises above its own dash says that genes are listed together for a reason. "
    "Lines: 95 % Wilson intervals over lists; for the two nulls 2.5 to 97.5 % of the draws.",
)

# %% [markdown]
# **What it shows.** How much of the headline is the rule. In each group: the latents of the model and everything that
# should *not* be annotated.
#
# **What it does not show.** That latents without a term mean nothing: gene sets are incomplete, and a latent may read a
# state of cells that no set describes.

# %% [markdown]
# ## How it is measured
#
# * **Lists.** The top {{ n_top }} genes of each latent, as the catalogue chose them on training cells. All latents that
#   fire are counted, also those whose list is too short to test.
# * **Background.** The genes that *could* have been listed: those at enough positions of these cells. Terms are cut to
#   it, and keep {{ min_size }} to {{ max_size }} genes after the cut.
# * **Test.** One-sided {term}`hypergeometric test` of every latent against every term.
# * **Family.** *All* tests, also those without any overlap ({term}`family of tests`). {term}`BH` at {{ fdr }}, once
#   over the terms of each latent and once over the whole layer. The published rule leaves out tests with fewer than two
#   shared genes before it corrects, takes the union of the lists as background and does not cut the terms to it
#   {cite:p}`kendiukhov2025`.
# * **Decoys** ({term}`decoy list`). (a) *permuted labels*: genes swap names, so that everything about the lists
#   stays but their meaning; (b) *frequency-matched lists*: lists swap genes, so that popular genes stay popular
#   {cite:p}`strona2014`. Decoys are judged **in one family with real lists**, half and half. A rule that pools the
#   tests of a layer sets its threshold by all of them: in a layer of decoys alone the published rule annotates
#   nearly none, which would say nothing about the meaningless lists of a real layer. The control of a claim is the
#   kind of decoy that is annotated more often.
# * **Rivals.** (c) directions that nobody trained, listed by the same rule as the latents; (d) *random weights*: where
#   the run has it, the same network before any training, with an autoencoder of its own.
# * **Unit.** The interval of the real share leaves out one of ten blocks of cells at a time and makes the lists anew;
#   intervals of the decoys are 2.5 to 97.5 % of up to {{ n_permutations }} draws.
# * **Smallest difference that counts.** An annotated share that exceeds its control by fewer than two points is called
#   trivial, whatever its interval.

# %% tags=["hide-input"]
page.table(
    found.table("sources"),
    name="sources",
    caption="Sources of annotation. What is not shipped is fetched with the command in the last column.",
)

# %% tags=["hide-input"]
page.text(
    f"The published figures, {facts.published_geneformer} % for Geneformer and {facts.published_scgpt} % for scGPT, "
    "come from **other models on other cells** (the full models on K562 and Tabula Sapiens cells) and count single "
    "STRING or TRRUST edges as annotation. They stand beside the claim for orientation and are not replicated here."
)

# %% [markdown]
# ## Latents and directions that nobody trained
#
# Would directions drawn at random have done as well? The comparison is fair only if both sides list their genes by the
# same rule, at the same positions, with as many active directions. So trained autoencoders and untrained ones (random
# directions, the same {term}`TopK`) go through three list rules: genes at the *far end* of the decoder direction, genes
# with the highest mean over *firings*, genes with the highest mean over *all positions*. Raw coordinates and principal
# axes have far ends too. A list can be annotated for a poor reason, so each source is compared with its *own*
# frequency-matched lists, and the table counts how many different genes and terms it covers. *By energy* weights each
# list by how much of the activation it carries.

# %% tags=["hide-input"]
page.table(
    found.table("directions"),
    name="directions",
    caption="Means over trainings and as many draws of random directions; annotated, matched and by energy in % of "
    "lists, above in points; BH over the terms of each list.",
)

# %% [markdown]
# **What it shows.** Whether training the *autoencoder* makes lists that biology names more often. What random
# directions give is owed to the states, which already bring genes together that belong together. **What it does not
# show.** That latents are no better than random directions at anything else: they reconstruct the states with few
# active ones, which random directions do not.
#
# An untrained *network* is the other control. Its latents may well be annotated *more* often than those of the trained
# one: where nothing is learnt, latents list abundant genes, and abundant genes (ribosome, proteasome) have terms. What
# training adds can only show in the distance from lists that are as abundant, and among genes that are not the
# machinery of every cell. All three comparisons are claims, so that none can be left out.

# %% tags=["hide-input"]
if found.has("random_weights"):
    page.table(
        found.table("random_weights").drop(columns=["low", "high"]),
        name="random-weights",
        caption="The trained network and the same network with random weights, each with an autoencoder of its own; "
        "with all genes, and with lists filled up after ribosomal, translation and mitochondrial genes were left out.",
    )

# %% [markdown]
# ## The labels
#
# All terms that pass layer-wide or for their latent alone. Terms that share at least half of their genes are grouped
# under the one with the smallest p. *AUROC* and *F1* say how well membership in the term predicts where the latent
# fires, in **held-out cells and over genes that are not in the latent's list**, so nothing that chose the label is
# asked again; AUROC 0.5 is chance. A label with a small q and an AUROC near 0.5 describes the list, not the latent.

# %% tags=["hide-input"]
if facts.n_hits:
    page.table(
        found.table("hits").sort_values("q_layer").drop(columns=["term_id", "list_size", "p"]),
        name="hits",
        caption="Terms with q ≤ the chosen level among the terms of their latent; q_layer is adjusted over the "
        "whole layer. Search for a gene or a process.",
    )
else:
    page.text("No term passes for any latent, so there is no table of labels.")

# %% [markdown]
# ## Would the label have been right elsewhere?
#
# The stricter question, for every latent at once: genes are cut in two halves. On one half, in training cells, each
# latent gets its best term; on the other half, in held-out cells, the term must predict where the latent fires; then
# the other way round. Control: every labelled latent gets labels of other ones, so the same popular terms meet the
# wrong latents; labels that share half of their genes with its own are left out, and terms of the ribosome and the like
# are exchanged among themselves. Each term has one vote, since a third of the latents may carry the same few.

# %% tags=["hide-input"]
if found.has("label_scores"):
    colours = {"unrelated labels of other latents": CONTROL, "own label": REAL}
    look = {"xtitle": "AUROC on unseen genes and cells", "ytitle": "labels", "xmarks": [(0.5, "chance")]}
    page.figure(
        plots.histogram(found.table("label_scores"), "auroc", "which", colours=colours, xrange=(0, 1), **look),
        name="label-scores",
        alt=f"Histogram of the AUROC of {facts.n_labels} labels on unseen genes and cells: mean over "
        f"{facts.n_terms} terms {facts.label_auroc:.2f}; with labels of other latents {facts.label_auroc_control:.2f}.",
        caption="How to read it: blue to the right of grey means that labels say something about genes that they have "
        "never seen.",
    )

# %% [markdown]
# **What it shows.** Whether a label holds for genes and cells that did not choose it. **What it does not show.** That
# the label is the best one: the labels of other latents are above chance as well, because popular terms hold frequent
# genes.

# %% [markdown]
# ## What could have been found
#
# A latent without a term may mean nothing, or its programme may be too small a part of its list for the test. So
# programmes are planted: the lists with permuted gene names, in which nothing is left, get some genes of a real term
# each, and go through the same test: in a quarter of the lists (figure), and in far fewer (table), since a family in
# which little is true has a stricter threshold.

# %% tags=["hide-input"]
axes = {"xtitle": f"genes of the term among the {page.params.n_top} listed", "ytitle": "genes in the term"}
scale = {"format": ".0%", "zrange": (0, 1), "ztitle": "found layer-wide"}
page.figure(
    plots.heatmap(
        found.table("power").query("planted == planted.max()"), "strength", "size", "power_layer", **scale, **axes
    ),
    name="power",
    alt="Heatmap of the share of planted terms found, by size of the term and number of its genes in the list. "
    f"Found in four cases of five: {facts.enough or 'none of those tried'}.",
    caption="How to read it: a row is a size of term; going right, more of the list belongs to it. Dark fields are "
    f"programmes that this page would have missed. Of all layer-wide discoveries at most {facts.power_false:.1%} "
    f"were in lists without a programme (level {page.params.fdr:.0%}; mean over sizes, highest of the shares planted).",
)

# %% tags=["hide-input"]
page.table(
    found.table("planted"),
    name="planted",
    caption="Share of lists with a planted programme, its genes in the list (mean over sizes of terms), power under "
    "both families, and the share of layer-wide discoveries in lists without a programme.",
)

# %% [markdown]
# **What it shows.** How many genes of a term a list must hold before the strictest rule finds it. **What it does not
# show.** How many latents hold such a programme.

# %% [markdown]
# ## Without a threshold
#
# A list of {{ n_top }} genes throws most of a latent away. For the three latents with the strongest labels, `gseapy`
# ranks *all* genes by the latent's mean activation (zeros included) and asks which hallmark process gathers at the top
# {cite:p}`subramanian2005`. Only ranks count, ties are broken at random.

# %% tags=["hide-input"]
if found.has("prerank"):
    page.table(
        found.table("prerank"),
        name="prerank",
        caption="Ten highest normalised enrichment scores for each of the three latents; 100 gene permutations, q "
        "over the terms tested. Leading: the first twelve genes of the leading edge.",
    )

# %% [markdown]
# ## Networks
#
# STRING: are there more interactions among a latent's genes than among genes of the same degree and popularity? TRRUST:
# are they targets of one transcription factor? Both need files that are not shipped; without them these claims are not
# tested.

# %% tags=["hide-input"]
if found.has("string"):
    page.table(
        found.table("string").sort_values("p")[["latent", "edges", "expected", "p", "q"]],
        name="string",
        caption="STRING edges among the genes of each list and among matched genes; p from 999 draws, q by BH over "
        "latents.",
    )

# %% [markdown]
# ## What argues against it
#
# * Random directions of the trained network are the hardest rival, and the network with random weights the most
#   instructive. Does blue exceed them here, and on the other layers, by every list rule?
# * Genes of one family share names, sequence and terms. A list of ribosomal proteins is annotated by any rule.
# * Terms overlap. Fifty terms for one latent are one finding; look at `grouped_under`.
# * Half of a family of decoys is a choice. Real layers may hold fewer meaningless lists, or more.
#
# ## Exercise
#
# ```{admonition} Turn the knob
# :class: tip
# Run the page again with `-p fdr=0.01`, then with `-p n_top=10`. Which rule's headline moves most, and does the
# distance between blue and grey move with it?
# ```

# %% tags=["takeaways", "hide-input"]
points = facts.points
beside_untrained = (
    f" With random weights {facts.untrained_annotated:.1f} % are annotated, {facts.untrained_above:+z.1f} points from "
    f"lists of their own gene frequencies; of the trained network {facts.trained_annotated:.1f} %, "
    f"{facts.trained_above:+z.1f} points; without the genes of every cell {facts.trained_without:+z.1f} (random "
    f"weights {facts.untrained_without:+z.1f})."
    if "untrained_above" in facts
    else ""
)
page.takeaways(
    [
        f"The published rule without edges annotates {published['value']:.1f} % of the latents, and "
        f"{published['control']:.1f} % of lists that mean nothing and stand beside them.",
        f"With all tests as the family, {each['value']:.1f} % of the latents are annotated per latent (lists that mean "
        f"nothing {each['control']:.1f} %) and {whole['value']:.1f} % layer-wide ({whole['control']:.1f} %).",
        f"Listed by the same rule, latents rise {points['far end']['latents']:.1f} points above lists of the same gene "
        f"frequencies by their far ends ({points['far end']['rival']} {points['far end']['control']:.1f}) and "
        f"{points['firing']['latents']:.1f} by their firings (random directions {points['firing']['control']:.1f})."
        f"{beside_untrained}",
    ]
)
