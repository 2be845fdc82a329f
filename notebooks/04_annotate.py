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
# **The question.** Do the genes that a latent fires on belong together in biology? And how often would lists of genes that mean
# nothing look as if they did? The share of “annotated” latents is the most quoted figure of this kind of work. It depends on the
# rule far more than on the model, so this page applies several rules to the same lists, each beside its controls.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
model = "mini-geneformer"
source = "data/demo/models/mini-geneformer"
variant = "trained"
layer = 0
genesets = "data/demo/genesets.parquet"
collections = ["GO_BP", "Reactome", "Hallmark"]
n_top = 20
fdr = 0.05
min_size = 5
max_size = 500
n_permutations = 50
control = None

# %% tags=["hide-input"]
from biosae_utils.book.page import Page

page = Page.open("04_annotate", globals())
p = page.params

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from IPython.display import Markdown, display

from biosae_utils import intervals
from biosae_utils.analysis import (
    annotation_rates,
    annotation_rules,
    annotation_sources,
    baselines,
    catalogue,
    edges,
    enrich,
    label_scores,
    power,
)
from biosae_utils.analysis.published_figures import family_of, published
from biosae_utils.book.figures import ACCENT, CONTROL, OKABE_ITO, REAL, rules_figure
from biosae_utils.claims import verdict
from biosae_utils.store import read_json, read_table

features = read_table(page.input("03_catalogue", "features.parquet"))
genes = read_table(page.input("03_catalogue", "genes.parquet"))
top = read_table(page.input("03_catalogue", "top_genes.parquet")).query("position <= @p.n_top")
without = read_table(page.input("03_catalogue", "top_genes_without_block.parquet")).query("position <= @p.n_top")
firing, unseen = catalogue.firing_from_table(
    read_table(page.input("03_catalogue", "firing.parquet")), genes, len(features)
)
chosen = read_json(page.input("03_catalogue", "manifest.json"))["params"]  # how the catalogue made its lists
min_count, shrinkage = chosen["min_count"], chosen["shrinkage"]
found = annotation_sources.load(p.genesets, p.collections)

# %% [markdown]
# ## How it is measured
#
# * **Lists.** The top {{ n_top }} genes of each latent, as the catalogue chose them on training cells. All latents that fire
#   are counted, also those whose list is too short to test.
# * **Background.** The genes that *could* have been listed: those at enough positions of these cells. Terms are cut to it,
#   and keep {{ min_size }} to {{ max_size }} genes after the cut.
# * **Test.** One-sided {term}`hypergeometric test` of every latent against every term.
# * **Family.** *All* tests, also those without any overlap ({term}`family of tests`). {term}`BH` at {{ fdr }}, once over the terms of each latent and once
#   over the whole layer. The published rule leaves out tests with fewer than two shared genes before it corrects, takes
#   the union of the lists as background and does not cut the terms to it {cite:p}`kendiukhov2025`.
# * **Controls.** (a) *permuted labels*: genes swap names, so that everything about the lists stays but their meaning; (b)
#   *frequency-matched lists*: lists swap genes, so that popular genes stay popular {cite:p}`strona2014`; (c) lists from directions that nobody trained:
#   the model's raw coordinates, principal axes, random directions, each with the genes at its far end (they choose among the genes that are
#   frequent enough in the stored sample of activations; for comparison the latents are listed over the same genes again);
#   (d) *random weights*: where the run has it, the same network before any training, with an autoencoder of its own.
# * **Unit.** The interval of the real share leaves out one of ten blocks of cells at a time and makes the lists anew; intervals of the
#   controls are 2.5 to 97.5 % of {{ n_permutations }} draws.
#
# Which gene sets are here:

# %% tags=["hide-input"]
page.table(
    found.table,
    name="sources",
    caption="Sources of annotation. What is not shipped is fetched with the command in the last column.",
)

# %% tags=["hide-input"]
alive = np.flatnonzero((features["state"] != "dead").to_numpy())
columns = np.flatnonzero((genes["n_positions"] >= min_count).to_numpy())
universe, tokens = genes["symbol"].to_numpy()[columns], genes["token"].to_numpy()[columns]
sets, network = found.sets.on_genes(universe), found.network(universe)

lists = annotation_rates.lists_over(features, top, tokens)
without = without.assign(token=genes["token"].to_numpy()[without["gene_index"]])
lists_without = [annotation_rates.lists_over(features, part, tokens) for _, part in without.groupby("block")]
untrained = {}
if p.control:
    read = {name: read_table(page.input("03_catalogue", f"{name}.parquet", model=p.control)) for name in ("features", "top_genes")}
    untrained[annotation_rates.RANDOM_WEIGHTS] = annotation_rates.lists_over(read["features"], read["top_genes"].query("position <= @p.n_top"), tokens)

sample = np.load(page.input("01_extract", f"sample/layer_{p.layer:02d}.npy"), mmap_mode="r")
sampled = np.load(page.input("01_extract", "positions/token.npy"), mmap_mode="r")[np.load(page.input("01_extract", "sample/rows.npy"))]
dense, candidates = baselines.direction_lists(
    sample, pd.Index(genes["token"]).get_indexer(sampled), len(genes), n_top=p.n_top, min_count=min_count, shrinkage=shrinkage, n_random=len(alive), seed=p.seed
)  # fmt: skip
# The sample of dense states is smaller than the cohort, so fewer genes can be listed: latents are listed over the same genes.
over_sample = catalogue.GeneFiring(firing.sums[candidates], firing.counts[candidates], firing.positions[candidates])
again = catalogue.top_genes(over_sample, n_top=p.n_top, min_count=min_count, shrinkage=shrinkage)
same_genes = enrich.make_lists(np.searchsorted(alive, again["latent"]), again["gene"], (len(alive), len(candidates)))
dense = {"latents, sampled genes": same_genes, **dense}
sampled_sets = found.sets.on_genes(genes["symbol"].to_numpy()[candidates])

# %% tags=["hide-input"]
sizes = {"alpha": p.fdr, "min_size": p.min_size, "max_size": p.max_size}
all_shares = pd.concat(
    [
        annotation_rates.compare_rules(
            {annotation_rates.LATENTS: lists, **untrained}, sets, n_permutations=p.n_permutations, n_matched=min(20, p.n_permutations), network=network, seed=p.seed, **sizes
        ),
        annotation_rates.compare_rules(dense, sampled_sets, n_permutations=0, n_matched=3, seed=p.seed, **sizes),
    ],
    ignore_index=True,
)  # fmt: skip
over_cells = annotation_rates.leave_out_shares(lists_without, sets, **sizes)
headline = {rule: annotation_rates.headline(all_shares, over_cells, rule) for rule in ("published", "feature", "layer")}
page.save(all_shares, "rules")

# %% [markdown]
# ## One set of lists, several rules
#
# From left to right the rule goes from the published one to the one that this book stands on. In each group: the model's latents
# (blue) and everything that should *not* be annotated.

# %% tags=["hide-input"]
colours = {annotation_rates.LATENTS: REAL, annotation_rates.PERMUTED: CONTROL, annotation_rates.MATCHED: "#B0B0B0", annotation_rates.RANDOM_WEIGHTS: OKABE_ITO[6], "latents, sampled genes": OKABE_ITO[4], "raw coordinates": OKABE_ITO[1], "principal axes": OKABE_ITO[2], "random directions": OKABE_ITO[3]}  # fmt: skip
fig = rules_figure(all_shares, {r.name: r.label for r in annotation_rules.RULES}, colours)
page.figure(
    fig,
    name="rules",
    alt="Bars: share of annotated lists under each rule, for latents and controls. "
    + "; ".join(f"{n}: latents {h['real']:.1f} %, permuted labels {h['null']:.1f} %" for n, h in headline.items())
    + "".join(f"; {r.source} under {r.rule} {100 * r.share:.1f} %" for r in all_shares.itertuples() if r.source in untrained and r.rule in headline),
    caption="How to read it: a rule is worth something where blue stands above all others. Where grey is as tall as blue, the rule "
    "annotates anything. Red dashes: the same source after its lists swapped genes among themselves, so that every gene is listed as "
    "often; only what rises above its own dash says that genes are listed together for a reason. Lines: for latents and directions a 95 % Wilson interval over lists, for the two nulls 2.5 to 97.5 % of the draws.",
)

# %% tags=["hide-input"]
titles = {
    "published": "Under the published rule more latents are annotated than lists with permuted gene labels",
    "feature": "With all tests of a latent as the family, more latents are annotated than by chance",
    "layer": "With all tests of the layer as the family, more latents are annotated than by chance",
}
for name, h in headline.items():
    page.claim(
        id=f"annotated_{name}",
        title=titles[name],
        value=h["real"],
        unit="% of latents that fire",
        interval=(h["low"], h["high"]),
        control=h["null"],
        control_kind=f"permuted gene labels, mean of {p.n_permutations}",
        rule="supported if the lower end of the jackknife interval over cells exceeds the 97.5 % quantile of the permutations",
        verdict=verdict(h["low"] > h["null_high"]),
        published=published(f"annotated_{name}", family_of(p.model), p.variant),
    )
display(
    Markdown(
        f"The published figures, {published('annotated_published', 'geneformer')} % for Geneformer and {published('annotated_published', 'scgpt')} % for scGPT, "
        "come from **other models on other cells** (the full models on K562 and Tabula Sapiens cells) and count single STRING or TRRUST "
        "edges as annotation. They stand beside the claim for orientation and are not replicated here."
    )
)

# %% [markdown]
# ## Latents and other directions of the same activations
#
# A raw coordinate or a principal axis also has genes at its end. Its list can be annotated for a poor reason: all axes may list
# the same few abundant genes (ribosomal proteins, say), and then all are annotated at once. So each source is compared with its *own*
# frequency-matched lists, and the table counts how many different genes and terms a source covers. Dense states are kept for a sample of
# positions only, so all sources here, the latents too, choose among the genes that are frequent enough in the sample.

# %% tags=["hide-input"]
compared = pd.concat([
    annotation_rates.coverage(dense, sampled_sets, all_shares, **sizes).assign(genes=len(candidates)),
    *([annotation_rates.coverage(untrained, sets, all_shares, **sizes).assign(genes=len(columns))] if untrained else []),
], ignore_index=True)  # fmt: skip
page.save(compared, "directions")
page.table(
    compared.drop(columns=["low", "high"]),
    name="directions",
    caption="Latents beside directions that nobody trained; genes: how many could be listed; annotated: BH over the terms of each list.",
)
compared = compared.set_index("source")
n_terms, above = compared["different terms found layer-wide"], compared["above own matched lists, points"]
rival = above[[name for name in dense if name != "latents, sampled genes"]].idxmax()
ours, theirs = compared.loc["latents, sampled genes"], compared.loc[rival]
page.claim(
    id="annotated_beyond_directions",
    title="Latents rise further above their own frequency-matched lists than coordinates, principal axes and random directions do",
    value=above["latents, sampled genes"],
    unit="percentage points",
    interval=(ours["low"], ours["high"]),
    control=above[rival],
    control_kind=f"{rival}, the highest of the three",
    rule="BH per list; supported if the lower end of a Wilson interval over latents exceeds the upper end of the baseline's, each less its matched lists",
    verdict=verdict(ours["low"] > theirs["high"]),
)

# %% [markdown]
# An untrained network is the sharpest of these controls, and the most instructive one. Its latents may well be annotated *more* often than
# those of the trained one: where nothing is learnt, latents list abundant genes, and abundant genes (ribosome, proteasome) have terms. What
# training adds can only show in the distance from lists that are as abundant. Both comparisons are claims, so that neither can be left out.

# %% tags=["hide-input"]
rules_untrained = {
    "annotated_beyond_random_weights": ("More latents are annotated than latents of the same network with random weights", "annotated, %"),
    "excess_beyond_random_weights": ("Latents rise further above their own frequency-matched lists than those of random weights do", "above own matched lists, points"),
}  # fmt: skip
if untrained:
    mine = annotation_rates.coverage({annotation_rates.LATENTS: lists}, sets, all_shares, **sizes).set_index("source")
    both = pd.concat([mine, compared.loc[[annotation_rates.RANDOM_WEIGHTS]]])
for name, (title, column) in rules_untrained.items() if p.variant == "trained" else ():
    about = {"id": name, "rule": "BH per list; supported if the lower end of a Wilson interval over latents exceeds the upper end of the control's"}
    if not untrained:
        page.claim(title="Random weights were not analysed at this layer: the config names no such model for it", verdict="not_tested", **about)
        continue
    shift = both["own matched lists, %"] if column == "annotated, %" else 0 * both["low"]  # the interval is of the distance
    low, high = both["low"] + shift, both["high"] + shift
    page.claim(
        title=title, value=both.at[annotation_rates.LATENTS, column], unit="% of latents that fire" if column == "annotated, %" else "percentage points",
        interval=(low[annotation_rates.LATENTS], high[annotation_rates.LATENTS]), control=both.at[annotation_rates.RANDOM_WEIGHTS, column],
        control_kind=f"{p.control}, its own autoencoder", verdict=verdict(low[annotation_rates.LATENTS] > high[annotation_rates.RANDOM_WEIGHTS]), **about,
    )  # fmt: skip

# %% [markdown]
# **What it shows.** How much of the headline is the rule. **What it does not show.** That unannotated latents mean nothing: gene sets are
# incomplete, and a latent may read cell state that no set describes.

# %% [markdown]
# ## The labels
#
# All terms that pass layer-wide or for their latent alone. Terms that share at least half of their genes are grouped under the one
# with the smallest p. *AUROC* and *F1* say how well membership in the term predicts where the latent fires, in
# **held-out cells and over genes that are not in the latent's list**, so nothing that chose the label is asked again; AUROC 0.5 is
# chance. A label with a small q and an AUROC near 0.5 describes the list, not the latent.

# %% tags=["hide-input"]
problem, background = annotation_rules.make_problem(lists, sets, ("measured", True), p.min_size, p.max_size)
every = enrich.score_all(problem, p_max=p.fdr)
hits = every[every["q_feature"] <= p.fdr].reset_index(drop=True)
described = pd.DataFrame()
if len(hits):
    terms = problem.sets.terms
    on_background = catalogue.GeneFiring(unseen.sums[columns], unseen.counts[columns], unseen.positions[columns])
    feature, term = hits["feature"].to_numpy(), hits["term"].to_numpy()
    leave_out = enrich.make_lists(
        top["latent"].to_numpy(), np.searchsorted(columns, top["gene_index"]), (len(features), len(columns))
    )
    quality = label_scores.score_labels(on_background, problem.sets, alive[feature], term, leave_out=leave_out)
    described = hits.drop(columns=["feature", "term"]).assign(
        latent=alive[feature],
        collection=terms["collection"].to_numpy()[term],
        term_id=terms["term_id"].to_numpy()[term],
        name=terms["name"].to_numpy()[term],
        grouped_under=terms["name"].to_numpy()[enrich.group_redundant(problem, hits)],
        genes=enrich.overlap_genes(problem, feature, term),
        auroc=quality["auroc"],
        f1=quality["f1"],
    )
    described = described[
        ["latent", "collection", "term_id", "name", "grouped_under", "overlap", "list_size", "term_size", "fold", "odds_ratio", "p", "q_feature", "q_layer", "auroc", "f1", "genes"]
    ]  # fmt: skip
    page.table(
        described.sort_values("q_layer").drop(columns=["term_id", "list_size", "p"]),
        name="hits",
        caption="Terms with q ≤ the chosen level among the terms of their latent; q_layer is adjusted over the whole layer. Search for a gene or a process.",
    )
    page.save(described, "hits")
else:
    display(Markdown("No term passes for any latent, so there is no table of labels."))

# %% [markdown]
# ## What could have been found
#
# A latent without a term may mean nothing, or its programme may be too small a part of its list for the test. So programmes are
# planted: the lists with permuted gene names, in which nothing is left, get some genes of a real term each, in a quarter of
# the lists, and go through the same test. The number in a cell is the share of planted terms that are found layer-wide.

# %% tags=["hide-input"]
powers = power.power_table(problem, alpha=p.fdr, seed=p.seed)
page.save(powers, "power")
grid = powers.pivot(index="size", columns="strength", values="power_layer").loc[powers["size"].unique()]
fig = go.Figure(
    go.Heatmap(
        z=100 * grid.to_numpy(), x=grid.columns.astype(str), y=grid.index, zmin=0, zmax=100, colorscale="Cividis", texttemplate="%{z:.0f}",
        colorbar={"title": "found, %"},
    )
)  # fmt: skip
fig.update_xaxes(title=f"genes of the planted term among the {p.n_top} of the list", type="category")
fig.update_yaxes(title="genes in the term", type="category")
enough = powers[powers["power_layer"] >= 0.8].groupby("size", sort=False)["strength"].min()
page.figure(
    fig,
    name="power",
    alt="Heatmap of the share of planted terms found, by size of the term and number of its genes in the list. "
    + "; ".join(f"terms of {size} genes need {strength}" for size, strength in enough.items()),
    caption="How to read it: a row is a size of term; going right, more of the list belongs to it. Dark cells are programmes that this "
    f"page would have missed. Of all layer-wide discoveries here {100 * powers['false_layer'].mean():.1f} % were in lists without a programme "
    f"(level {100 * p.fdr:.0f} %).",
)

# %% [markdown]
# ## Would the label have been right elsewhere?
#
# The stricter question, for every latent at once: genes are cut in two halves. On one half, in training cells, each latent
# gets its best term; on the other half, in held-out cells, the term must predict where the latent fires; then the other way
# round. Control: the labels change places among the labelled latents, so the same popular terms meet the wrong latents.


# %% tags=["hide-input"]
def inside(f):
    return catalogue.GeneFiring(f.sums[columns], f.counts[columns], f.positions[columns])


split = label_scores.split_scores(inside(firing), inside(unseen), sets, alpha=p.fdr, n_top=p.n_top, min_count=min_count, shrinkage=shrinkage, min_size=p.min_size, max_size=p.max_size, seed=p.seed)  # fmt: skip
page.save(split, "split_labels")
labelled = split[split["labelled"]].dropna(subset=["auroc", "control_auroc"])
rule_auroc = "labelled latents (BH per latent on the choosing half); supported if the lower end of the bootstrap interval of the difference exceeds 0"
if len(labelled) < 5:
    auroc = None
    page.claim(id="labels_predict", title="Labels were not scored: fewer than five latents are labelled on half of the genes", rule=rule_auroc, verdict="not_tested")  # fmt: skip
else:
    auroc, auroc_control = labelled["auroc"].mean(), labelled["control_auroc"].mean()
    again = {"groups": labelled["feature"], "n_boot": 2000, "seed": p.seed, "over": "latents"}  # both halves of a latent together
    low, high = intervals.bootstrap_mean(labelled["auroc"], **again).pair
    difference_low = intervals.bootstrap_difference(labelled["auroc"], labelled["control_auroc"], **again).low
    fig = go.Figure()
    for column, name, colour in (("control_auroc", "label of another latent", CONTROL), ("auroc", "own label", REAL)):
        count, grid = np.histogram(labelled[column], np.linspace(0, 1, 41))
        fig.add_bar(x=(grid[1:] + grid[:-1]) / 2, y=count, name=name, marker_color=colour, opacity=0.75)
    fig.add_vline(x=0.5, line={"color": ACCENT, "dash": "dot"}, annotation_text="chance")
    fig.update_layout(barmode="overlay")
    fig.update_xaxes(title="AUROC of the label on unseen genes and cells")
    fig.update_yaxes(title="labels")
    page.figure(
        fig,
        name="label-scores",
        alt=f"Histogram of the AUROC of {len(labelled)} labels on unseen genes and cells: mean {auroc:.2f}; with the label of another latent {auroc_control:.2f}.",
        caption="How to read it: blue to the right of grey means that labels say something about genes that they have never seen.",
    )
    page.claim(
        id="labels_predict",
        title="A label chosen on half of the genes predicts where the latent fires on the other half, in other cells",
        value=auroc,
        unit="mean AUROC",
        interval=(low, high),
        control=auroc_control,
        control_kind="labels of other labelled latents",
        rule=rule_auroc,
        verdict=verdict(difference_low > 0),
    )

# %% [markdown]
# ## Without a threshold
#
# A list of twenty genes throws most of a latent away. For the three latents with the strongest labels, `gseapy` ranks *all* genes by the
# latent's mean activation (zeros included) and asks which hallmark process gathers at the top {cite:p}`subramanian2005`. Only ranks count,
# ties are broken at random.

# %% tags=["hide-input"]
leaders = described.sort_values("q_layer")["latent"].drop_duplicates().head(3).tolist() if len(described) else []
coarse = problem.sets.collection("Hallmark")
if not len(coarse):  # other gene sets: the fifty largest terms
    coarse = problem.sets.select(np.argsort(-problem.sets.terms["size"].to_numpy(), kind="stable")[:50])
if leaders:
    mean = firing.mean()[columns].tocsc()
    ranked = [
        label_scores.prerank(mean[:, [i]].toarray().ravel(), coarse, seed=p.seed).head(10).assign(latent=i) for i in leaders
    ]
    first_genes = pd.concat(ranked)["leading"].str.split(", ").str[:12].str.join(", ")
    page.table(
        pd.concat(ranked)[["latent", "name", "nes", "p", "q"]].assign(leading=first_genes),
        name="prerank",
        caption="Ten highest normalised enrichment scores for each of the three latents; 100 gene permutations, q over the terms tested. Leading: the first twelve genes of the leading edge.",
    )

# %% [markdown]
# ## Networks
#
# STRING: are there more interactions among a latent's genes than among genes of the same degree and popularity? TRRUST: are they
# targets of one transcription factor? Both need files that are not shipped.

# %% tags=["hide-input"]
rule_edges = "supported if the lower end of the bootstrap interval over latents of the mean number of edges exceeds the mean of the matched lists"
if found.string is None:
    page.claim(id="string_edges", title="STRING was not tested: its files are not fetched", rule=rule_edges, verdict="not_tested")  # fmt: skip
else:
    matched = edges.edge_test(lists, found.string_network(universe), n=999, seed=p.seed).assign(latent=alive)
    page.save(matched, "string")
    counts = matched["edges"].to_numpy()
    low, high = intervals.bootstrap_mean(counts, seed=p.seed, over="latents").pair
    page.claim(
        id="string_edges", title="Latents list interacting genes more often than matched lists do", value=counts.mean(), unit="STRING edges per list",
        interval=(low, high), control=matched["expected"].mean(), control_kind="genes swapped within strata of degree and popularity",
        rule=rule_edges, verdict=verdict(low > matched["expected"].mean()),
    )  # fmt: skip
    page.table(
        matched.sort_values("p")[["latent", "edges", "expected", "p", "q"]], name="string",
        caption="STRING edges among the genes of each list and among matched genes; p from 999 draws, q by BH over latents.",
    )  # fmt: skip
rule_targets = "all (latent, factor) tests of the layer as one family; supported if the real share exceeds the 97.5 % quantile of permuted labels"
if found.trrust is None:
    page.claim(id="trrust_targets", title="TRRUST was not tested: its file is not fetched", rule=rule_targets, verdict="not_tested")  # fmt: skip
else:
    targets = annotation_rates.compare_rules({"latents": lists}, edges.trrust_sets(found.trrust).on_genes(universe), rules=annotation_rules.RULES[-1:], n_permutations=p.n_permutations, n_matched=1, seed=p.seed, **sizes).set_index("source")  # fmt: skip
    real, null = targets.loc["latents"], targets.loc["permuted labels"]
    page.claim(
        id="trrust_targets", title="Latents list targets of one transcription factor more often than permuted labels do", value=100 * real["share"],
        unit="% of latents that fire", interval=(100 * real["low"], 100 * real["high"]), control=100 * null["share"], control_kind="permuted gene labels",
        rule=rule_targets, verdict=verdict(real["share"] > null["high"]),
    )  # fmt: skip

# %% [markdown]
# ## What a sceptic should check
#
# * Does blue exceed *all* controls under the last two rules, on the other layers too? The network with random weights is the hardest of
#   them: it has learnt nothing, but it still sees which genes are expressed together in its input.
# * Genes of one family share names, sequence and terms. A list of ribosomal proteins is annotated by any rule.
# * Terms overlap. Fifty terms for one latent are one finding; look at `grouped_under`.
# * The permutation of labels breaks everything, also how well genes are studied. The frequency-matched lists keep that. Compare both.
#
# ## Exercise
#
# ```{admonition} Turn the knob
# :class: tip
# Run the page again with `-p fdr=0.01`, then with `-p n_top=10`. Which rule's headline moves most, and does the distance between blue
# and grey move with it?
# ```

# %% tags=["takeaways"]
each, whole, earlier_rule = headline["feature"], headline["layer"], headline["published"]
lines = [
    f"With all tests as the family, {each['real']:.1f} % of the latents are annotated per latent (permuted labels {each['null']:.1f} %, difference {each['real'] - each['null']:.1f} "
    f"[{each['low'] - each['null_high']:.1f}, {each['high'] - each['null_low']:.1f}] points), {whole['real']:.1f} % layer-wide (permuted {whole['null']:.1f} %).",
    f"The published rule without edges annotates {earlier_rule['real']:.1f} % of the same latents, and {earlier_rule['null']:.1f} % of them when gene names are permuted.",
    f"Among the genes of the sample, latents rise {above['latents, sampled genes']:.1f} points above lists with the same gene frequencies, {rival} {above[rival]:.1f} points. Layer-wide the latents "
    f"name {n_terms['latents, sampled genes']} different terms, as many random directions {n_terms['random directions']}.",
]
if untrained:
    share, alike = (both.loc[annotation_rates.RANDOM_WEIGHTS, name] for name in ("annotated, %", "own matched lists, %"))
    lines.append(
        f"With random weights, {share:.1f} % of the latents are annotated per latent, and {alike:.1f} % of lists with the same gene frequencies: "
        f"{share - alike:+.1f} points, where the trained network's latents rise by {both.at[annotation_rates.LATENTS, 'above own matched lists, points']:+.1f}."
    )
if auroc is not None:
    lines.append(
        f"On genes and cells that did not choose them, {len(labelled)} labels reach a mean AUROC of {auroc:.2f}; labels of other latents {auroc_control:.2f}."
    )
if len(enough):
    lines.append(
        f"To be found layer-wide in four cases of five, a term must hold {', '.join(f'{n} of the genes listed (terms of {size})' for size, n in enough.items())}."
    )
missing = [name for name, command in annotation_sources.COMMANDS.items() if name in found.absent]
if missing:
    lines.append("Not fetched, so not tested: " + ", ".join(f"{m} (`{annotation_sources.COMMANDS[m]}`)" for m in missing) + ".")
page.close(takeaways=lines)
