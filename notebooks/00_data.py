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
# **The question.** Everything in this book is said about some cells, so they come first: which they are, whether the file holds
# what the models expect, which genes the models can see, and which cells are set aside to check what is found in the others.
#
# A model fed with the wrong numbers does not complain. The analysis that this book repeats fed logarithms of logarithms to
# Geneformer and mixed four cell lines under one name {cite:p}`kendiukhov2025`; every later number inherited it. This page
# therefore refuses what is not counts, and shows the cohort before any model runs.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
path = "data/demo/pbmc_ifnb.h5ad"
counts = "auto"
cell_type = "cell_type"
condition = "condition"
donor = None
n_cells = 2000
holdout = 0.2
models = {"mini-geneformer": "data/demo/models/mini-geneformer"}

# %% tags=["hide-input"]
from biosae_utils.book.page import Page

page = Page.open("00_data", globals())
p = page.params

# %% tags=["hide-input"]
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import scipy.sparse as sp

from biosae_utils.analysis import fdr, nulls
from biosae_utils.analysis.catalogue import deal_cells, jackknife
from biosae_utils.analysis.differential import RankSums, comparison
from biosae_utils.book.figures import ACCENT, CONTROL, OKABE_ITO, REAL
from biosae_utils.cells.cohort import make_cohort
from biosae_utils.cells.data import open_cells
from biosae_utils.claims import verdict
from biosae_utils.errors import BiosaeError
from biosae_utils.models.registry import load_model
from biosae_utils.store import write_json

cells = open_cells(p.path, p.counts)
cohort = make_cohort(cells, p)
x = sp.vstack([chunk for _, chunk in cells.chunks(cohort["row"].to_numpy())]).tocsr()
column = {"cell_type": p.cell_type, "condition": p.condition, "donor": p.donor}
kind = cohort["cell_type"].fillna("all cells").astype(str)
has_condition = cohort["condition"].notna().to_numpy()
state = cohort["condition"].fillna("no condition" if has_condition.any() else "all cells").astype(str)
compared = comparison(cohort["condition"].to_numpy()) if has_condition.any() else None
symbol = cells.genes.label

# %% [markdown]
# ## What is in the file
#
# Counts are looked for in layers that are called so (`counts`, `umi`, ...), in `raw/X`, then in `X`, and judged by their values:
# integers are counts, unless they are only 0 and 1 or bins within cells; fractions are taken only if `expm1` gives every cell the same total and, divided by the cell's smallest value, whole
# numbers, because then the counts are known and not guessed. Everything else is refused. Two hundred cells spread over the file
# are looked at first, and every cell that is read later is checked again.

# %% tags=["hide-input"]
found_out = [*cells.messages, *(compared.messages if compared else [])]
page.table(
    pd.DataFrame({"step": np.arange(1, len(found_out) + 1), "what was found": found_out}),
    name="checks",
    caption=f"What was checked in {Path(p.path).name} before any model ran.",
)

# %% [markdown]
# ## The cohort
#
# Cells are drawn evenly over cell type and condition, so that no page of this book is about the most frequent type alone; a type
# with too few cells is taken whole. The same share of every group is held out (whole donors, if the file names donors): no
# autoencoder is trained on these cells, and no list of genes is chosen in them. If the file marks cells that the *models* have not
# seen in pretraining (`pretrain_heldout`), those are held out first.

# %% tags=["hide-input"]
groups = cohort.groupby([kind.rename("cell type"), state.rename("condition")])
sizes = groups.agg(cells=("row", "size"), held_out=("heldout", "sum"), counts=("n_counts", "median"), genes=("n_genes", "median"))
sizes = sizes.reset_index()
fig = go.Figure()
states = sorted(state.unique())
for i, name in enumerate(states):
    part = sizes[sizes["condition"] == name]
    colour = OKABE_ITO[i % (len(OKABE_ITO) - 1)]
    fig.add_bar(
        x=part["cell type"], y=part["cells"] - part["held_out"], name=name, marker_color=colour, offsetgroup=i, legendgroup=name,
    )  # fmt: skip
    fig.add_bar(
        x=part["cell type"], y=part["held_out"], base=part["cells"] - part["held_out"], name=f"{name}, held out", offsetgroup=i, legendgroup=name,
        marker={"color": colour, "opacity": 0.45, "pattern": {"shape": "/"}},
    )  # fmt: skip
fig.update_yaxes(title="cells")
page.figure(
    fig,
    name="cohort",
    alt=f"Bars of cells drawn for each of {kind.nunique()} cell types and {len(states)} conditions, {sizes['cells'].min()} to {sizes['cells'].max()} cells a group, the held-out share hatched.",
    caption="How to read it: bars of equal height mean a balanced cohort; the hatched top of each bar is held out.",
)
page.table(
    sizes.rename(columns={"held_out": "held out", "counts": "median counts", "genes": "median genes"}),
    name="groups",
    caption="The cohort by cell type and condition, with the held-out split.",
)

# %% [markdown]
# ## Depth
#
# How many molecules and genes a cell has decides how long its sequence is, and what a model can know about it. If conditions differ
# in depth, whatever differs between them later has a dull explanation first.

# %% tags=["hide-input"]
fig = go.Figure()
for i, name in enumerate(states):
    q = cohort.loc[state == name, ["n_counts", "n_genes"]].quantile([0.025, 0.25, 0.5, 0.75, 0.975])
    fig.add_box(
        x=["counts", "genes"], lowerfence=q.loc[0.025], q1=q.loc[0.25], median=q.loc[0.5], q3=q.loc[0.75], upperfence=q.loc[0.975],
        name=name, marker_color=OKABE_ITO[i % (len(OKABE_ITO) - 1)],
    )  # fmt: skip
fig.update_layout(boxmode="group")
fig.update_yaxes(type="log", title="per cell")
depth = cohort.groupby(state)["n_counts"].median()
page.figure(
    fig,
    name="depth",
    alt="Box plots of counts and genes per cell by condition. Median counts: " + "; ".join(f"{k} {v:,.0f}" for k, v in depth.items()) + ".",
    caption="How to read it: the line in a box is the median cell, the box holds the middle half of the cells, the whiskers 95 %. Logarithmic axis.",
)

# %% [markdown]
# ## What each model can see
#
# A model knows the genes of its vocabulary. The others are dropped in silence by every loader, so here they are counted: genes
# by number, and by the share of all molecules that they hold.

# %% tags=["hide-input"]
total = np.asarray(x.sum(0, dtype=np.float64)).ravel()
n_with = np.bincount(x.indices, minlength=len(symbol))
genes = pd.DataFrame(
    {"ensembl": cells.genes.ensembl, "symbol": cells.genes.symbol, "n_cells": n_with, "mean": total / x.shape[0]}
)
rows, lost = [], []
for slug, source in p.models.items():
    model = load_model(source, name=slug, device="cpu")
    info = model.info
    seen = model.gene_tokens(cells.genes) >= 0
    if not seen.any():
        raise BiosaeError(
            f"None of the {len(seen):,} genes is in the vocabulary of {slug}",
            where=p.path,
            do="check that gene ids are human Ensembl ids or symbols",
        )
    genes[f"in_{slug}"] = seen
    expressed = n_with > 0
    rows.append(
        {
            "model": slug, "vocabulary": len(info.vocab_ids) - len(info.special_ids), "genes seen": int(seen.sum()), "genes lost": int((~seen).sum()),
            "expressed genes lost": int((~seen & expressed).sum()), "molecules seen (%)": round(100 * total[seen].sum() / total.sum(), 2),
            "longest sequence": info.max_len, "cells cut (%)": round(100 * float((np.diff(sp.csr_matrix(x[:, seen]).indptr) > info.max_len).mean()), 2),
        }
    )  # fmt: skip
    worst = np.flatnonzero(~seen)[np.argsort(-total[~seen], kind="stable")][:20]
    lost.append(pd.DataFrame({"model": slug, "gene": symbol[worst], "mean count": (total / x.shape[0])[worst], "cells": n_with[worst]}))
mapping = pd.DataFrame(rows)
page.table(mapping, name="mapping", caption="Genes of the file that each model knows. Cells cut: with more known genes than the longest sequence holds.")
page.table(pd.concat(lost), name="lost", caption="The most expressed genes that a model does not know.")

# %% [markdown]
# ## Is there anything to find?
#
# Before asking what a model knows about the difference between conditions, ask whether the cells differ at all. Every gene is
# compared between the reference condition and the others by a rank-sum test within cell types (van Elteren), on counts per
# 10,000. The family is *all* genes of the file. Control: the same test after the condition labels were dealt out anew among
# the cells of each type. Interval: leaving out one of ten blocks of cells at a time.

# %% tags=["hide-input"]
FDR, N_NULL = 0.05, 50
RULE = f"genes with BH q <= {FDR} over all genes; supported if the lower end of the jackknife interval over blocks of cells exceeds the largest of {N_NULL} relabelled counts"
tested = compared is not None and compared.is_testable
if not tested:
    page.claim(
        id="conditions_differ",
        title="Whether conditions differ was not tested: the cells have one condition only",
        rule=RULE,
        verdict="not_tested",
    )
else:
    reference, part = compared.reference, compared.has_condition
    other = compared.group[part]
    per_10k = sp.diags(1e4 / cohort["n_counts"].to_numpy()[part]) @ x[part]
    sums = RankSums(per_10k.tocsr(), kind.to_numpy()[part])
    strata = np.unique(kind[part], return_inverse=True)[1]

    def n_different(group: np.ndarray, keep: np.ndarray | None = None) -> int:
        return int(fdr.bh_reject(sums.test(group, keep).p, len(genes), FDR).sum())

    found = n_different(other)
    rng = np.random.default_rng(p.seed)
    by_chance = np.array([n_different(other[nulls.permute_within(strata, rng)]) for _ in range(N_NULL)])
    block = deal_cells(np.zeros(len(other), bool), seed=p.seed)
    interval = jackknife(np.array([n_different(other, block != b) for b in np.unique(block)], float), found)
    page.claim(
        id="conditions_differ",
        title="Genes differ between conditions within cell types, more than between relabelled cells",
        value=found,
        unit="genes",
        interval=interval,
        control=float(by_chance.mean()),
        control_kind="condition labels dealt out anew within each cell type, mean",
        rule=RULE,
        verdict=verdict(interval[0] > by_chance.max()),
    )

# %% tags=["hide-input"]
if tested:
    result = sums.test(other)
    shuffled = sums.test(other[nulls.permute_within(strata, np.random.default_rng(p.seed + 1))])
    high, low = (np.asarray(per_10k[g].mean(0)).ravel() for g in (other, ~other))
    table = pd.DataFrame(
        {"gene": symbol, "AUROC": result.auroc, "z": result.z, "q": fdr.bh_adjust(result.p, len(genes)), "mean, others": high, f"mean, {reference}": low}
    )  # fmt: skip
    page.save(table, "conditions")
    leading = table.reindex(table["z"].abs().sort_values(ascending=False, kind="stable").index)
    fig = go.Figure()
    grid = np.linspace(0, max(np.abs(result.z).max(), 5), 60)
    for values, name, colour in ((shuffled.z, "labels dealt out anew", CONTROL), (result.z, "true labels", REAL)):
        many = [(np.abs(values) >= g).sum() for g in grid]
        fig.add_scatter(x=grid, y=np.where(np.array(many) > 0, many, np.nan), name=name, mode="lines", line={"color": colour, "width": 3})
    for i, row in leading.head(3).reset_index().iterrows():
        fig.add_annotation(x=abs(row["z"]), y=0, text=row["gene"], ax=0, ay=-40 - 22 * i, font={"color": ACCENT})
    fig.update_yaxes(type="log", title="genes at least this different")
    fig.update_xaxes(title="|z| of the stratified rank-sum test")
    page.figure(
        fig,
        name="conditions",
        alt=f"Number of genes above each value of |z|. {found:,} genes differ at q <= {FDR}; with relabelled cells {by_chance.mean():.1f} on average. Leading genes: {', '.join(leading['gene'].head(3))}.",
        caption="How to read it: the further the blue line runs to the right of the grey one, the more genes differ that relabelled cells do not have.",
    )
    page.table(
        leading.head(200).round({"AUROC": 3, "z": 2, "mean, others": 3, f"mean, {reference}": 3}),
        name="leading-genes",
        caption="The 200 most different genes. AUROC: chance that a cell of the other condition is above a reference cell of its type; 0.5 is none.",
    )

# %% [markdown]
# **What it shows.** That the labels mean something in these cells, and which genes say so: a latent that tells conditions apart on
# a later page should be read beside this table. **What it does not show.** That the condition is the cause: a batch, a donor or a
# day that goes with the condition gives the same picture, and only donors or replicates in the file could tell.
#
# ## What a sceptic should check
#
# * Depth by condition, in the figure above. Ranks of counts per 10,000 are not free of it.
# * The genes that a model does not know: is one of those you care about among them?
# * Cell types are labels given by someone from the same counts; a comparison "within type" is only as good as they are.
# * Held-out cells are of the same experiment. They guard against chance, not against another laboratory.
#
# ## Exercise
#
# ```{admonition} Fewer cells
# :class: tip
# Run this page again with `-p n_cells=200`. How many genes differ now, and which of the three leading genes stays in
# front? What does that say about a list of "the" genes of a condition? (Run it once more without the option before reading on:
# other pages use the cohort.)
# ```

# %% tags=["hide-input"]
page.save(cohort, "cohort")
page.save(genes, "genes")
write_json(
    page.dir / "summary.json",
    {
        "file": Path(p.path).name, "sha256": cells.sha256, "encoding": cells.encoding, "location": cells.location,
        "n_cells_file": cells.n_cells, "n_cells": len(cohort), "n_heldout": int(cohort["heldout"].sum()),
        "n_genes": len(genes), "columns": column, "messages": found_out, "models": rows,
    },
)  # fmt: skip

# %% tags=["takeaways"]
held = int(cohort["heldout"].sum())
lines = [
    f"{len(cohort):,} of {cells.n_cells:,} cells of `{Path(p.path).name}`, {kind.nunique()} cell types, {len(states)} condition{'s' if len(states) > 1 else ''}; {held:,} are held out.",
    f"The values are {'counts' if cells.encoding == 'counts' else 'logarithms that were turned back into counts (' + cells.encoding + ')'}; "
    f"the median cell has {cohort['n_counts'].median():,.0f} molecules of {cohort['n_genes'].median():,.0f} genes.",
    "; ".join(f"{r['model']} sees {r['genes seen']:,} of {len(genes):,} genes ({r['molecules seen (%)']} % of the molecules)" for r in rows) + ".",
]
if tested:
    lines.append(
        f"{found:,} genes differ between {reference} and other cells of the same type, {by_chance.mean():.1f} when labels are dealt out anew; "
        f"{leading['gene'].iloc[0]} leads with an AUROC of {leading['AUROC'].iloc[0]:.2f}."
    )
page.close(takeaways=lines)
