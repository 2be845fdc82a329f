# ---
# jupyter:
#   jupytext:
#     formats: notebooks///py:percent
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
# **The question.** {term}`Principal components <principal component>` are the oldest way to find axes in a cloud of vectors.
# Does a {term}`sparse autoencoder` see anything that they do not? Two answers are usually given. One is variance: the
# autoencoder explains more of it. The other is novelty: nearly all latents are “invisible” to the components
# {cite:p}`kendiukhov2025`. Both depend on what is held equal, so this page holds different things equal in turn, and asks
# of every number what **directions that mean nothing** would have given.
#
# **How it is measured.** Principal axes come from one pass over the training positions of each layer (the covariance matrix,
# then its eigenvectors); everything is scored on positions of held-out cells. An axis is a direction in the layer's state; so is
# a latent's decoder row.

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
from biosae_utils.book.page import Page

page = Page.open("05_svd", globals())
p = page.params

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from IPython.display import Markdown, display
from plotly.subplots import make_subplots

from biosae_utils import intervals
from biosae_utils.analysis import geometry, nulls
from biosae_utils.analysis.published_figures import family_of, published
from biosae_utils.book.figures import ACCENT, CONTROL, OKABE_ITO, REAL
from biosae_utils.claims import verdict
from biosae_utils.sae import formats, metrics
from biosae_utils.sae.positions import Positions
from biosae_utils.store import read_table

folder = page.input("02_sae")
layers = sorted(int(f.parent.name[6:]) for f in folder.glob("layer_*/sae"))
extracted = page.input("01_extract")
cells = Positions.load(extracted / "positions").cell[np.load(extracted / "sample_heldout" / "rows.npy")]
sae, axes, heldout = {}, {}, {}
for layer in layers:
    sae[layer] = formats.load_sae(folder / f"layer_{layer:02d}" / "sae")
    axes[layer] = geometry.principal_axes(np.load(extracted / "sample" / f"layer_{layer:02d}.npy", mmap_mode="r"))
    heldout[layer] = np.load(extracted / "sample_heldout" / f"layer_{layer:02d}.npy").astype(np.float32)
d, F, k = sae[layers[0]].d_in, sae[layers[0]].d_sae, sae[layers[0]].k
n_axes = min(p.n_axes, d)
latents = {layer: sae[layer].W_dec.detach().numpy() for layer in layers}

# %% [markdown]
# ## How much variance, with what held equal
#
# A reconstruction can spend its budget in two ways. **Leading axes**: the same r components for every vector. **Largest
# coefficients**: each vector picks its own m components, as the autoencoder picks its own k latents. But picking from a
# dictionary of {term}`d_sae` latents says more than picking from d components, because *which* ones were picked is information
# too. So a third comparison holds the **bits** equal: 16 for each kept number, plus the logarithm of the number of ways to choose.

# %% tags=["hide-input"]
budget = geometry.code_bits(F, k)
same_bits = {"leading": min(d, int(budget // 16)), "largest": geometry.active_for_bits(d, budget)}
kept = np.unique(np.r_[0, np.geomspace(1, d, 40).astype(int), k, *same_bits.values(), n_axes, d])
curves, compared, draws = [], [], {}
for layer in layers:
    x = heldout[layer]
    spread = ((x - x.mean(0, dtype=np.float64)) ** 2).sum()
    residual = {name: geometry.pca_residuals(axes[layer], x, kept, sparse=name == "largest") for name in same_bits}
    for name, r in residual.items():
        curves.append(pd.DataFrame({"layer": layer, "which": name, "kept": kept, "explained": 1 - r.sum(0) / spread}))
    column = {int(n): i for i, n in enumerate(kept)}
    ways = {
        "sae": metrics.evaluate(sae[layer], x).residual,
        "leading_50": residual["leading"][:, column[n_axes]],
        "leading_k": residual["leading"][:, column[k]],
        "largest_k": residual["largest"][:, column[k]],
        "leading_bits": residual["leading"][:, column[same_bits["leading"]]],
        "largest_bits": residual["largest"][:, column[same_bits["largest"]]],
    }
    table = geometry.explained_by_cell(x, ways, cells, n_boot=p.n_boot, seed=p.seed)
    draws[layer] = table.set_index("name")["draws"]
    level = float(table["explained"][0])
    matched = {
        "rank_for_same_variance": geometry.matching_rank(axes[layer], x, level),
        "active_for_same_variance": geometry.matching_rank(axes[layer], x, level, sparse=True),
    }
    compared.append(table.drop(columns="draws").assign(layer=layer, **matched))
curves, compared = pd.concat(curves, ignore_index=True), pd.concat(compared, ignore_index=True)
page.save(curves, "curves")
page.save(compared, "variance")
value = compared.pivot(index="layer", columns="name", values="explained")

n_columns = min(4, len(layers))
fig = make_subplots(
    rows=-(-len(layers) // n_columns), cols=n_columns, shared_yaxes=True, subplot_titles=[f"layer {i}" for i in layers],
    vertical_spacing=0.12,
)  # fmt: skip
for number, layer in enumerate(layers):
    at = {"row": number // n_columns + 1, "col": number % n_columns + 1}
    for name, text, colour in (
        ("leading", "leading axes", CONTROL),
        ("largest", "largest coefficients", OKABE_ITO[1]),
    ):
        line = curves[(curves.layer == layer) & (curves.which == name) & (curves.kept > 0)]
        fig.add_scatter(
            x=line.kept, y=line.explained, name=f"PCA, {text}", legendgroup=name, showlegend=number == 0,
            mode="lines", line_color=colour, **at,
        )  # fmt: skip
    fig.add_scatter(
        x=[k], y=[value.sae[layer]], name=f"autoencoder, k = {k} of {F}", legendgroup="sae", showlegend=number == 0,
        mode="markers", marker={"color": REAL, "size": 11, "symbol": "diamond"}, **at,
    )  # fmt: skip
    fig.add_scatter(
        x=[same_bits["largest"]], y=[value.largest_bits[layer]], name="PCA with as many bits", legendgroup="bits",
        showlegend=number == 0, mode="markers", marker={"color": ACCENT, "size": 9, "symbol": "x"}, **at,
    )  # fmt: skip
fig.update_xaxes(type="log", title="numbers kept", dtick=1)
fig.update_yaxes(range=[0, 1.02])
fig.update_yaxes(title="variance explained, held-out cells", col=1)
fig.update_layout(height=170 + 270 * -(-len(layers) // n_columns), legend={"y": 1.08})
page.figure(
    fig,
    name="variance",
    alt="One panel per layer: variance explained on held-out cells against numbers kept, for principal components (leading, "
    "and largest of each vector), with the autoencoder and the PCA of equal bits as points. Mean over layers: autoencoder "
    f"{value.sae.mean():.2f}, PCA with k largest {value.largest_k.mean():.2f}, PCA with equal bits {value.largest_bits.mean():.2f}.",
    caption="How to read it: the blue diamond above a line means that the autoencoder explains more with that many numbers; "
    "going right from it to a line tells how many numbers a vector PCA needs. The cross spends as many bits as the diamond.",
)

# %% tags=["hide-input"]
page.table(
    value.join(compared.groupby("layer")[["rank_for_same_variance", "active_for_same_variance"]].first()).reset_index().round(4),
    name="variance-table",
    caption=f"Variance explained on held-out cells. leading_50: the first {n_axes} axes, the published comparison. "
    f"bits: as many bits as the autoencoder ({budget:.0f} a vector) buy {same_bits['leading']} leading axes or "
    f"{same_bits['largest']} coefficients of each vector's choice. The last two columns: numbers that PCA needs to explain as "
    f"much as the autoencoder (of {d}).",
)

# %% [markdown]
# **What it shows.** The published comparison sets {{ n_axes }} axes against a dictionary that may use many more directions; at *equal
# numbers per vector* the gap is smaller, and at *equal bits* smaller still. **What it does not show.** Whether either kind of
# axis means anything: variance counts loud directions, not important ones.
#
# ## Where the latents lie
#
# If latents spoke of what principal components miss, their decoder rows would avoid the leading axes. The share of a row's
# squared length inside the span of the first r axes is 1 for a row that lies in it and 0 for one that avoids it. A **random
# direction** has r/d on average, exactly; a random direction **shaped like the data** (a Gaussian with the same
# covariance) has the share of variance that these axes hold.

# %% tags=["hide-input"]
ranks = np.unique(np.r_[np.geomspace(1, d, 30).astype(int), n_axes, d])
shares, inside = [], {}
for layer in layers:
    rng = np.random.default_rng([p.seed, layer])
    p_axes = axes[layer]
    kinds = {
        "latents": latents[layer],
        "random": nulls.random_directions(p.n_random, d, rng),
        "shaped": nulls.shaped_directions(p.n_random, p_axes, rng),
    }
    for name, w in kinds.items():
        share = geometry.subspace_share(w, p_axes.axes, ranks)
        inside[layer, name] = share[:, list(ranks).index(n_axes)]
        low, high = zip(*(intervals.quantiles(column, over="latents").pair for column in share.T), strict=True)
        shares.append(
            pd.DataFrame({"layer": layer, "which": name, "rank": ranks, "share": share.mean(0), "low": low, "high": high})
        )
shares = pd.concat(shares, ignore_index=True)
page.save(shares, "subspace")

exact = np.array([geometry.random_share(int(r), d) for r in ranks])
fig = go.Figure()
fig.add_scatter(
    x=np.r_[ranks, ranks[::-1]], y=np.r_[exact[:, 2], exact[::-1, 1]], fill="toself", line={"width": 0}, fillcolor="rgba(127,127,127,.25)",
    name="random directions, 95 % (exact)", hoverinfo="skip",
)  # fmt: skip
fig.add_scatter(x=ranks, y=exact[:, 0], name="random directions: r / d", line={"color": CONTROL, "dash": "dot"}, mode="lines")
for number, layer in enumerate(layers):
    colour = OKABE_ITO[number % 7]
    for name, dash, text in (("shaped", "dash", "shaped like the data"), ("latents", "solid", "latents")):
        part = shares[(shares.layer == layer) & (shares.which == name)]
        fig.add_scatter(
            x=part["rank"], y=part["share"], mode="lines", name=f"layer {layer}, {text}", legendgroup=f"{layer}",
            line={"color": colour, "dash": dash, "width": 3 if name == "latents" else 1.2},
        )  # fmt: skip
fig.add_vline(x=n_axes, line_dash="dot", line_color=ACCENT, annotation_text=f"{n_axes} axes")
fig.update_xaxes(title="leading axes r")
fig.update_yaxes(title="share of squared length inside their span", range=[0, 1.02])
fig.update_layout(legend={"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"})
pooled = {name: np.concatenate([inside[layer, name] for layer in layers]) for name in ("latents", "random", "shaped")}
page.figure(
    fig,
    name="subspace",
    alt="Share of decoder rows inside the span of the first r principal axes against r, one solid line per layer, beside random "
    f"directions and directions shaped like the data. At {n_axes} axes: latents {pooled['latents'].mean():.2f}, random "
    f"{pooled['random'].mean():.2f}, shaped {pooled['shaped'].mean():.2f}.",
    caption="How to read it: a solid line on the grey one means that latents ignore the principal axes, as random directions "
    "do. Above it, latents prefer the loud directions; below it they would avoid them. The dashed line is what "
    "following the variance alone gives.",
)

# %% [markdown]
# ## “Invisible to SVD”
#
# The published rule looks at one axis at a time: a latent is *novel* when its |cosine| with each of the first {{ n_axes }} axes
# stays at or below {{ cosine }}. In a space of many dimensions that is easy: almost every direction is nearly orthogonal to any fixed
# one. So the rule is put to four kinds of directions whose answer is known:
#
# * **random** ones, about which nothing is novel;
# * random ones **shaped like the data**;
# * random mixtures of the first {{ n_axes }} axes themselves, which lie **wholly inside** what an SVD of that rank shows;
# * the **axes** themselves, which it must see.

# %% tags=["hide-input"]
rows = []
for layer in layers:
    rng = np.random.default_rng([p.seed, layer, 1])
    lead = axes[layer].axes[:n_axes]
    kinds = {
        "latents": latents[layer],
        "random": nulls.random_directions(p.n_random, d, rng),
        "shaped": nulls.shaped_directions(p.n_random, axes[layer], rng),
        "inside": nulls.rotated_axes(lead, p.n_random, rng),
        "axes": lead,
    }
    for name, w in kinds.items():
        novel = geometry.published_novel(w, lead, n_axes=n_axes, threshold=p.cosine)
        closest = geometry.max_abs_cosine(w, lead)
        share = intervals.bootstrap_mean(novel, n_boot=p.n_boot, seed=p.seed, over="latents")
        rows.append(
            {"layer": layer, "which": name, "n": len(w), "novel": share.value, "low": share.low, "high": share.high, "median_cosine": np.median(closest)}
        )
rule = pd.DataFrame(rows)
page.save(rule, "novel")
texts = {
    "latents": ("latents", REAL), "random": ("random directions", CONTROL), "shaped": ("random, shaped like the data", OKABE_ITO[1]),
    "inside": (f"random, wholly inside the first {n_axes} axes", OKABE_ITO[3]), "axes": ("the axes themselves", OKABE_ITO[2]),
}  # fmt: skip
fig = go.Figure()
for name, (text, colour) in texts.items():
    part = rule[rule.which == name]
    fig.add_bar(
        x=[f"layer {i}" for i in part.layer], y=part.novel, name=text, marker_color=colour,
        error_y={"type": "data", "symmetric": False, "array": part.high - part.novel, "arrayminus": part.novel - part.low},
    )  # fmt: skip
fig.update_yaxes(title="called “novel” by the published rule", tickformat=".0%", range=[0, 1.05])
fig.update_layout(barmode="group")
mean = rule.groupby("which")["novel"].mean()
page.figure(
    fig,
    name="novel",
    alt="Bars per layer of the share of directions that the published rule calls novel: "
    + ", ".join(f"{texts[n][0]} {mean[n]:.1%}" for n in texts),
    caption="How to read it: a rule that calls random directions novel as often as latents says nothing about latents. The pink "
    "bars are directions with *all* of their length inside the span of the axes: to call them invisible is to "
    "measure the choice of basis.",
)

# %% [markdown]
# ## Do principal axes mean less?
#
# The published work compared the annotated share of “novel” features with that of the few dozen that an axis sees. The fair
# question is another: take the axes **themselves**, list the genes at the far end of each, and put those lists through the same test as
# the latents' lists. The annotation pages did so, with raw coordinates and random directions beside them, all on the same genes; here are
# all layers together, under the rule that corrects over all tests of a list. Because popular genes make any list easier to name, what is
# shown is the share **above** that of lists of the same size with the same gene frequencies.

# %% tags=["hide-input"]
LISTS = {"latents, sampled genes": ("latents", REAL), "principal axes": ("principal axes", OKABE_ITO[2]), "raw coordinates": ("raw coordinates", OKABE_ITO[1]), "random directions": ("random directions", CONTROL)}  # fmt: skip
done = page.layers("04_annotate")
parts = [read_table(page.input("04_annotate", "rules.parquet", layer=i)).assign(layer=i) for i in done]
annotated = pd.concat(parts, ignore_index=True).query("rule == 'feature' and source in @LISTS") if parts else None
if annotated is not None:
    page.save(annotated, "annotated")
    fig = go.Figure()
    for name, (text, colour) in LISTS.items():
        part = annotated[annotated["source"] == name]
        fig.add_bar(
            x=[f"layer {i}" for i in part["layer"]], y=100 * (part["share"] - part["matched"]), name=text, marker_color=colour,
            error_y={"type": "data", "symmetric": False, "array": 100 * (part["high"] - part["share"]), "arrayminus": 100 * (part["share"] - part["low"])},
        )  # fmt: skip
    fig.update_yaxes(title="annotated lists, points above<br>frequency-matched lists", rangemode="tozero")
    fig.update_layout(barmode="group")
    above = (annotated["share"] - annotated["matched"]).groupby(annotated["source"]).mean()
    page.figure(
        fig,
        name="annotated",
        alt="Bars per layer: share of gene lists with at least one enriched term, above that of frequency-matched lists. Means over layers: "
        + ", ".join(f"{LISTS[name][0]} {100 * value:.1f} points" for name, value in above.items()),
        caption="How to read it: only bars of latents above those of the other three say that the autoencoder makes directions easier to name. "
        "Whiskers: Wilson 95 % intervals over lists; there are fewer axes than latents, so theirs are longer.",
    )
else:
    display(Markdown("**Not run**: no annotation page of this model is complete, so there is nothing to compare."))

# %% [markdown]
# ## What a sceptic should check
#
# * Does the last figure change with the width of the model? The cosine of a random direction with a fixed axis shrinks as one over
#   the root of the width, so the wider the model, the less the rule can see.
# * Are principal axes the right rival? They are the best *orthogonal* axes for variance. Other dictionaries (ICA, NMF, a
#   dictionary of mean vectors per gene) are not on this page.
# * Bits were counted at 16 a number. With 8 the choice of latents weighs more: the exercise below.
# * Intervals resample cells (variance) or latents (shares). Latents of one autoencoder were trained together, so
#   the second kind says how variable latents are, not what another training would find.
#
# ## Exercise
#
# ```{admonition} How few bits?
# :class: tip
# `geometry.code_bits(n_atoms, active, value_bits)` gives the size of a code. At which number of bits per value do the autoencoder and PCA with its
# own choice of coefficients explain the same variance in layer 0? What would you conclude if the crossing lay at 4 bits, and what
# if at 32?
# ```

# %% tags=["hide-input"]
best_rival = value[["leading_bits", "largest_bits"]].idxmax(axis=1)
gain = np.mean([draws[i]["sae"] - draws[i][best_rival[i]] for i in layers], axis=0)
sae_mean, sae_draws = value.sae.mean(), np.mean([draws[i]["sae"] for i in layers], axis=0)
rival_mean = float(np.mean([value.loc[i, best_rival[i]] for i in layers]))
page.claim(
    id="variance_at_equal_bits",
    title="With as many bits a vector, the autoencoder explains more variance of unseen cells than principal components",
    value=sae_mean,
    unit="share of variance, mean over layers",
    interval=intervals.from_draws(sae_mean, sae_draws, over="cells").pair,
    control=rival_mean,
    control_kind="PCA with as many bits, the better of leading axes and largest coefficients in each layer",
    rule="supported if the 95 % interval over cells of the difference, averaged over layers, lies above 0",
    verdict=verdict(intervals.quantiles(gain, over="cells").low > 0),
)
share_value = intervals.bootstrap_mean(pooled["latents"], n_boot=p.n_boot, seed=p.seed, over="latents")
floor = intervals.bootstrap_mean(pooled["random"], n_boot=p.n_boot, seed=p.seed, over="latents")
page.claim(
    id="latents_prefer_leading_axes",
    title="Latents lie inside the leading principal subspace more than random directions do",
    value=share_value.value,
    unit=f"share of squared length inside {n_axes} axes",
    interval=share_value.pair,
    control=floor.value,
    control_kind=f"random directions; expected {n_axes / d:.3f} = {n_axes} / {d}",
    rule="supported if the 95 % interval over latents of all layers lies above that of random directions",
    verdict=verdict(share_value.low > floor.high),
)
real = np.concatenate([geometry.published_novel(latents[i], axes[i].axes, n_axes=n_axes, threshold=p.cosine) for i in layers])
novel_value = intervals.bootstrap_mean(real, n_boot=p.n_boot, seed=p.seed, over="latents")
page.claim(
    id="invisible_to_svd",
    title="Latents are invisible to single principal axes more often than random directions are",
    value=100 * novel_value.value,
    unit="% of latents",
    interval=novel_value.scaled(100).pair,
    control=100 * mean["random"],
    control_kind="random directions, same rule",
    rule="supported if the 95 % interval over latents of all layers lies above the share of random directions",
    verdict=verdict(novel_value.low > mean["random"]),
    published=published("invisible_to_svd", family_of(p.model), p.variant),
)

about = {
    "id": "latents_are_named_more_than_axes",
    "title": "Latents are annotated more often than principal axes",
    "rule": "supported if the 95 % Wilson interval of latents, pooled over layers, lies above that of principal axes",
}
if annotated is None:
    about["title"] += ": not tested, no annotation page of this model is complete"
    page.claim(verdict="not_tested", **about)
else:
    excess = {}
    for name in ("latents, sampled genes", "principal axes"):
        part = annotated[annotated["source"] == name]
        n, chance = int(part["n_lists"].sum()), np.average(part["matched"], weights=part["n_lists"])
        found = int((part["share"] * part["n_lists"]).round().sum())
        excess[name] = intervals.wilson(found, n, over="lists").shifted(-chance).scaled(100)
    mine, theirs = excess.values()
    page.claim(
        value=mine.value, unit="% of lists, above frequency-matched lists", interval=mine.pair, control=theirs.value,
        control_kind="principal axes: same genes, same test, above their own frequency-matched lists", verdict=verdict(mine.low > theirs.high), **about,
    )  # fmt: skip

# %% tags=["takeaways"]
needed = compared.groupby("layer")[["rank_for_same_variance", "active_for_same_variance"]].first()
page.close(
    takeaways=[
        f"{mean['random']:.1%} of random directions are “novel” by the published rule, and {mean['inside']:.1%} of directions that "
        f"lie wholly inside the first {n_axes} axes; the latents' {novel_value.value:.1%} can therefore not be read as discovery.",
        f"To explain as much as the autoencoder with {k} active latents, PCA needs {needed.rank_for_same_variance.min()} to "
        f"{needed.rank_for_same_variance.max()} leading axes of {d}, or {needed.active_for_same_variance.min()} to "
        f"{needed.active_for_same_variance.max()} of each vector's own choice.",
        f"With as many bits a vector ({budget:.0f}) the autoencoder explains {sae_mean:.1%} of the variance of unseen cells (mean over "
        f"layers), PCA {rival_mean:.1%}.",
        f"{share_value.value:.0%} of a latent's squared length lies inside the first {n_axes} axes; of a random direction {floor.value:.0%}, of "
        f"one shaped like the data {pooled['shaped'].mean():.0%}.",
    ]
)
