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
# **The question.** Each latent of the sparse autoencoder fires at some positions and not at others. At which? A position is one
# gene in one cell, so the first suspect is always the gene: a latent that fires whenever the token `CD74` comes by has learnt
# the vocabulary, not biology. This page lists what every latent fires on, and measures how much of it is *only* the gene, or
# only the gene's rank in the cell.

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
from biosae_utils.book.page import Page

page = Page.open("03_catalogue", globals())
p = page.params

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import scipy.sparse as sp

from biosae_utils.analysis import catalogue, celltypes, nulls
from biosae_utils.book.figures import ACCENT, CONTROL, OKABE_ITO, REAL
from biosae_utils.claims import verdict
from biosae_utils.intervals import jackknife
from biosae_utils.sae.codes import CodeStore, group_sums, latent_stats
from biosae_utils.sae.positions import Positions
from biosae_utils.store import atomic_path, read_table, write_table

store = CodeStore.open(page.input("02_sae", f"layer_{p.layer:02d}/codes"))
positions = Positions.load(page.input("01_extract", "positions"))
vocab = read_table(page.input("01_extract", "vocab.parquet"))
cohort = read_table(page.input("00_data", "cohort.parquet"))

cell = np.asarray(positions.cell)
tokens, gene = np.unique(np.asarray(positions.token), return_inverse=True)
symbols = vocab.set_index("token")["symbol"].reindex(tokens).fillna("").to_numpy()
heldout_cell = cohort["heldout"].to_numpy()
n_genes, n_cells, F = len(tokens), len(cohort), store.d_sae

# %% [markdown]
# ## How it is measured
#
# * **Counts, means, maxima** of each latent come from the sparse codes of all positions. A TopK slot whose value is zero did not
#   fire, whatever its index says. A latent is *dead* when it never fires, *rare* below a share of 1e-5 of the positions (or 20
#   firings), *dense* above 10 %; all others are *alive* ({term}`dead latent`, {term}`dense latent`).
# * **Top genes** are chosen on the training cells only. The mean over a gene's firings is shrunk towards the latent's own mean,
#   as if `shrinkage` more firings of average strength had been seen, and a gene with fewer than `min_count` firings is not
#   listed. (The published catalogue ranked by the plain mean without a minimum: one strong firing could lead a list
#   {cite:p}`kendiukhov2025`.) The held-out cells are kept for checking.
# * **Gene share** is the share of the variance of a latent's activation over *all* positions, zeros included, that lies between
#   genes rather than within them (one-way analysis of variance, adjusted for the number of genes, so that an unrelated
#   grouping has 0 on average). **Rank share** is the same for twenty bins of the gene's rank in the cell.
# * **Unit.** Intervals leave out one of ten blocks of *cells* at a time (jackknife); positions of a cell are not independent.
# * **Controls.** Gene names dealt out anew among the positions of each cell; lists of another latent; permuted labels of cells.

# %% tags=["hide-input"]
stats = latent_stats(store)
block_of_cell = catalogue.deal_cells(heldout_cell, seed=p.seed)
block = block_of_cell[cell]
parts = catalogue.firing_by_block(store, gene, block, n_genes)
squares = catalogue.squares_by_block(store, block)
B = catalogue.N_BLOCKS
training, heldout = catalogue.total(parts[:B]), parts[B] if len(parts) > B else None
everywhere = training if heldout is None else training + heldout

top = catalogue.top_genes(training, n_top=p.n_top, min_count=p.min_count, shrinkage=p.shrinkage)
without = [
    catalogue.top_genes(training.minus(part), n_top=p.n_top, min_count=p.min_count, shrinkage=p.shrinkage)
    for part in parts[:B]
]

gene_share = catalogue.explained_share(everywhere.sums, everywhere.positions, squares.sum(axis=0))
bins = catalogue.rank_bins(np.asarray(positions.rank))
by_rank, _ = group_sums(store, bins, int(bins.max()) + 1)
rank_share = catalogue.explained_share(by_rank, np.bincount(bins), squares.sum(axis=0))

# The control needs no more than one block of cells: the adjusted share does not grow with the number of positions.
renamed = np.where(block == 0, gene[nulls.permute_within(cell, np.random.default_rng(p.seed))], -1)
by_renamed, _ = group_sums(store, renamed, n_genes)
control_share = catalogue.explained_share(by_renamed, np.bincount(renamed[block == 0], minlength=n_genes), squares[0])

features = catalogue.feature_table(stats, store.n, gene_share, rank_share, top, symbols)
alive = (features["state"] != "dead").to_numpy()

# %% tags=["hide-input"]
page.save(features, "features")
genes = pd.DataFrame(
    {"gene": np.arange(n_genes), "token": tokens, "symbol": symbols, "n_positions": training.positions}
)
genes["n_positions_heldout"] = 0 if heldout is None else heldout.positions
page.save(genes, "genes")
listed = top.assign(token=tokens[top["gene"]], gene_index=top["gene"], gene=symbols[top["gene"]])
page.save(listed, "top_genes")
page.save(
    pd.concat([t[["latent", "position", "gene"]].assign(block=b) for b, t in enumerate(without)])
    .rename(columns={"gene": "gene_index"})
    .astype({"latent": np.int32, "position": np.int16, "gene_index": np.int32, "block": np.int8}),
    "top_genes_without_block",
)
write_table(
    page.dir / "firing.parquet", catalogue.firing_table(training, heldout)
)  # for later phases, not for download

# %% [markdown]
# ## What the latents are
#
# The table can be searched: type a gene to find the latents that list it.

# %% tags=["hide-input"]
page.table(
    features[alive]
    .sort_values("n_fired", ascending=False)
    .drop(columns=["n_listed"])
    .rename(
        columns={"top_genes": "top genes", "gene_share": "gene share", "rank_share": "rank share", "n_fired": "fired"}
    ),
    name="features",
    caption="All latents that fire, most frequent first. Frequency: share of all positions. Mean: over firings.",
)

# %% [markdown]
# ## Token detectors and the others
#
# Every point is a latent. To the right: fires often. Up: gene identity decides whether and how strongly it fires; a latent at 1
# is a pure token detector. Grey: the same latents after the gene names within each cell were dealt out anew.

# %% tags=["hide-input"]
shown = features[alive]
hover = shown["latent"].astype(str) + ": " + shown["top_genes"].str.split(", ").str[:6].str.join(", ")
fig = go.Figure()
fig.add_scatter(
    x=shown["frequency"], y=control_share[alive], mode="markers", name="gene names dealt out anew",
    marker={"color": CONTROL, "size": 4, "opacity": 0.6}, hoverinfo="skip",
)  # fmt: skip
for colour, name in zip((REAL, OKABE_ITO[1], ACCENT), ("alive", "rare", "dense"), strict=True):
    some = (shown["state"] == name).to_numpy()
    if some.any():
        fig.add_scatter(
            x=shown["frequency"][some], y=shown["gene_share"][some], mode="markers", name=name, text=hover[some],
            marker={"color": colour, "size": 6, "opacity": 0.75}, hovertemplate="%{text}<br>%{x:.2%} of positions, gene share %{y:.2f}<extra></extra>",
        )  # fmt: skip
fig.update_xaxes(type="log", title="share of positions at which the latent fires", exponentformat="power", dtick=1)
fig.update_yaxes(title="share of variance explained by gene identity")
median_share, median_control = float(np.nanmedian(gene_share[alive])), float(np.nanmedian(control_share[alive]))
page.figure(
    fig,
    name="gene-share",
    alt=f"Scatter plot of {alive.sum()} latents: gene share against firing frequency. Median gene share {median_share:.2f}; "
    f"with gene names dealt out anew {median_control:.3f}.",
    caption="How to read it: the distance between a coloured point and the grey ones is what the gene alone explains; the "
    "distance to 1 is what it does not.",
)

# %% [markdown]
# **What it shows.** How far each latent is a reading of the token. **What it does not show.** That the rest is biology: rank, the
# neighbours in the sequence and plain noise are in there too. A low gene share with a high rank share is a latent that reads
# expression level.

# %% tags=["hide-input"]
share_without = []
for b in range(B):
    rest = everywhere.minus(parts[b])
    share = catalogue.explained_share(rest.sums, rest.positions, squares.sum(axis=0) - squares[b])
    share_without.append(np.nanmedian(share[alive]))
share_interval = jackknife(np.array(share_without), median_share)
page.claim(
    id="gene_share",
    title="Gene identity explains part of what latents respond to, beyond what renamed genes do",
    value=median_share,
    unit="share of variance, median latent",
    interval=share_interval.pair,
    control=median_control,
    control_kind="gene names dealt out anew within each cell",
    rule="supported if the lower end of the jackknife interval over blocks of cells exceeds the control",
    verdict=verdict(share_interval.low > median_control),
)
detectors, rank_median = float((gene_share[alive] > 0.5).mean()), float(np.nanmedian(rank_share[alive]))

# %% [markdown]
# ## Do the lists hold in other cells?
#
# The same rule picks top genes in the held-out cells, which neither the autoencoder nor the lists have seen. How many of a
# latent's genes come back, and how many by chance, when the held-out list is another latent's?

# %% tags=["hide-input"]
if heldout is None:
    same = None
    page.claim(
        id="lists_replicate", title="Top genes were not checked: the cohort has no held-out cells",
        rule="supported if the lower end of the jackknife interval exceeds the control", verdict="not_tested",
    )  # fmt: skip
else:
    fewer = max(2, round(p.min_count * heldout.positions.sum() / training.positions.sum()))
    again = catalogue.top_genes(heldout, n_top=p.n_top, min_count=fewer, shrinkage=p.shrinkage)
    other = np.empty(F, dtype=np.int64)
    with_list = np.unique(again["latent"])
    other[with_list] = with_list[nulls.derange(len(with_list), np.random.default_rng(p.seed))]
    swapped = again.assign(latent=other[again["latent"]])
    same = catalogue.list_overlap(top, again, F)
    chance = catalogue.list_overlap(top, swapped, F)
    replicated, by_chance = float(np.nanmean(same)), float(np.nanmean(chance))
    over_cells = jackknife(
        np.array([np.nanmean(catalogue.list_overlap(t, again, F)) for t in without]), replicated
    )
    page.claim(
        id="lists_replicate",
        title="Top genes chosen in training cells come back in held-out cells",
        value=100 * replicated,
        unit="% of listed genes",
        interval=over_cells.scaled(100).pair,
        control=100 * by_chance,
        control_kind="held-out list of another latent",
        rule="supported if the lower end of the jackknife interval over blocks of cells exceeds the control",
        verdict=verdict(over_cells.low > by_chance),
    )
    grid = np.linspace(0, 1, 21)
    fig = go.Figure()
    for values, name, colour in ((chance, "list of another latent", CONTROL), (same, "same latent", REAL)):
        count, _ = np.histogram(values[~np.isnan(values)], grid)
        fig.add_bar(x=(grid[:-1] + grid[1:]) / 2, y=count, name=name, marker_color=colour, opacity=0.8)
    fig.update_layout(barmode="overlay")
    fig.update_xaxes(title="share of the latent's top genes that held-out cells list too", tickformat=".0%")
    fig.update_yaxes(title="latents")
    page.figure(
        fig,
        name="replication",
        alt=f"Histogram over latents of the share of top genes found again in held-out cells: mean {replicated:.0%}, by chance {by_chance:.0%}.",
        caption="How to read it: bars to the right are latents whose list another set of cells confirms.",
    )

# %% [markdown]
# ## Seen from the cells
#
# Averaged over all positions of a cell (zeros included), a latent becomes a number per cell. How well does the best latent tell
# cell types or conditions apart? The latent is *chosen* on the training cells and *scored* on the held-out ones
# ({term}`AUROC`; 0.5 is chance). Control: the same choice and score after the labels were dealt out anew among the cells.

# %% tags=["hide-input"]
means = celltypes.cell_means(store, cell, n_cells)
with atomic_path(page.dir / "cell_means.npz") as tmp:
    sp.save_npz(tmp, means)
columns = [c for c in ("condition", "cell_type") if c in cohort and 1 < cohort[c].nunique() <= 100]
scores = (
    celltypes.best_latents(means, cohort[columns], heldout_cell, seed=p.seed)
    if columns and heldout is not None
    else None
)
if scores is None:
    page.claim(
        id="cells_separate", title="Groups of cells were not tested: there is no cell type, no condition, or no held-out cell",
        rule="supported if the lower end of the interval exceeds the control", verdict="not_tested",
    )  # fmt: skip
else:
    page.save(scores.all, "cell_groups")
    best = scores.best.merge(features[["latent", "top_genes"]], on="latent")
    fig = go.Figure()
    axis = best["column"].str.replace("_", " ") + ": " + best["group"]
    for column, name, colour, symbol in (
        ("control", "labels dealt out anew", CONTROL, "x"), ("heldout", "held-out cells", REAL, "circle"), ("training", "training cells (chosen here)", OKABE_ITO[4], "circle-open"),
    ):  # fmt: skip
        error = {
            "type": "data",
            "symmetric": False,
            "array": best["high"] - best["heldout"],
            "arrayminus": best["heldout"] - best["low"],
        }
        fig.add_scatter(
            x=axis, y=best[column], mode="markers", name=name, marker={"color": colour, "symbol": symbol, "size": 10},
            error_y=error if column == "heldout" else None, text=best["latent"].astype(str) + ": " + best["top_genes"].str.slice(0, 60),
        )  # fmt: skip
    fig.update_yaxes(title="AUROC of the best latent")
    page.figure(
        fig,
        name="cell-groups",
        alt="AUROC of the best latent for each group of cells in held-out cells: "
        + "; ".join(f"{a} {v:.2f}" for a, v in zip(axis, best["heldout"], strict=True)),
        caption="How to read it: blue with its 95 % bootstrap interval over held-out cells is the honest number; the ring is what "
        "the choice alone would make one believe; the cross is the same procedure on labels that mean nothing.",
    )
    page.table(
        best[["column", "group", "latent", "training", "heldout", "low", "high", "control", "top_genes"]],
        name="cell-groups-table",
        caption="The best latent of each group of cells, chosen on training cells and scored on held-out cells.",
    )
    lead = best[best["column"] == columns[0]].sort_values("heldout").iloc[-1]
    page.claim(
        id="cells_separate",
        title=f"One latent tells cells by {columns[0].replace('_', ' ')}",
        value=float(lead["heldout"]),
        unit="AUROC, held-out cells",
        interval=(float(lead["low"]), float(lead["high"])),
        control=float(lead["control"]),
        control_kind="labels dealt out anew among cells, then the same choice and score",
        rule="best group of the column; supported if the lower end of the bootstrap interval over held-out cells exceeds the control and 0.5",
        verdict=verdict(lead["low"] > max(lead["control"], 0.5)),
    )

# %% [markdown]
# ## What a sceptic should check
#
# * A list of twenty genes looks convincing whatever it holds. The next page asks whether the lists mean more than lists with
#   permuted names.
# * The gene share speaks of variance, and a few strong firings own most of it. Compare `mean` and `max` in the table.
# * The most expressed genes sit at the most positions, so they pass `min_count` first. `coverage` in the downloaded
#   `top_genes.parquet` says at how many of a gene's positions the latent really fires.
# * Held-out cells come from the same donors and the same run. They show that a list is no accident of sampling, not that it would
#   hold in another laboratory.
#
# ## Exercise
#
# ```{admonition} Token detectors
# :class: tip
# Run this page again with `-p shrinkage=0.0 -p min_count=1`, the published rule. Which latents change their first gene, and how
# often does that gene fire? Then look up the same latents in the table above: is their gene share high or low?
# ```

# %% tags=["takeaways"]
n_state = features["state"].value_counts()
lines = [
    f"Of {F:,} latents {int(alive.sum()):,} fire; {n_state.get('rare', 0)} are rare, {n_state.get('dense', 0)} dense, {n_state.get('dead', 0)} dead.",
    f"Gene identity explains {median_share:.0%} of the median latent's variance (renamed genes: {median_control:.1%}), rank {rank_median:.0%}; "
    f"for {detectors:.0%} of the latents it explains more than half: they are mostly token detectors.",
]
if same is not None:
    lines.append(
        f"{replicated:.0%} of the listed genes come back in held-out cells, against {by_chance:.0%} by chance."
    )
if scores is not None:
    lines.append(
        f"The best latent for {lead['column'].replace('_', ' ')} “{lead['group']}” is {int(lead['latent'])} ({', '.join(lead['top_genes'].split(', ')[:4])}): "
        f"AUROC {lead['heldout']:.2f} in held-out cells, {lead['control']:.2f} with permuted labels."
    )
page.close(takeaways=lines)
