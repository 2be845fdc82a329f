"""04_annotate: latents against gene sets, under the published rule and ours, each beside its controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import Field

from biosae_utils.claims import verdict
from biosae_utils.intervals import Interval, bootstrap_difference, bootstrap_mean
from biosae_utils.params import Controlled, InputFile, LayerPage
from biosae_utils.phases import readers
from biosae_utils.phases.annotate_claims import WORDS
from biosae_utils.phases.annotate_rivals import beyond_directions, beyond_random_weights
from biosae_utils.phases.base import Phase
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output
from biosae_utils.phases.readers import Catalogue

if TYPE_CHECKING:
    import scipy.sparse as sp

    from biosae_utils.analysis.annotation_sources import Libraries
    from biosae_utils.analysis.enrich import Problem
    from biosae_utils.analysis.genesets import GeneSets
    from biosae_utils.analysis.list_sources import LatentLists
    from biosae_utils.analysis.rival_lists import Listed

PLANTED = ((0.25, (2, 3, 4, 5, 6, 8, 10)), (0.05, (4, 6, 8)), (0.02, (4, 6, 8)))
"""Share of lists that get genes of a term, and how many: what is found depends on how much else is there to find."""
MIN_LABELLED = 5
"""Labelled latents below which nothing is said of labels in general."""


class Params(Controlled, LayerPage):
    """Latents against gene sets, with permuted controls."""

    genesets: InputFile = Field("data/demo/genesets.parquet", description="Parquet of gene sets")
    collections: list[str] = Field(
        ["GO_BP", "Reactome", "Hallmark"], description="collections of that file to test against"
    )
    n_top: int = Field(20, ge=3, le=200, description="top genes of a latent that are tested")
    fdr: float = Field(0.05, gt=0, lt=1, description="false discovery rate over all tests of the page")
    min_size: int = Field(5, ge=2, description="smallest gene set tested, in genes the model knows")
    max_size: int = Field(500, ge=5, description="largest gene set tested, in genes the model knows")
    n_permutations: int = Field(25, ge=1, description="draws of each kind of decoy lists")


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Rules on the lists and on all controls; the labels, whether they hold elsewhere, and what could be found."""
    with out.step("lists"):
        here = gather(p, read)
        out.table(here.libraries.table, "sources", download=False)
    with out.step("rules"):
        shares = apply_rules(p, here, out)
        facts = annotated_shares(p, here, shares, out)
    with out.step("rivals"):
        facts |= beyond_directions(p, here, out)
        facts |= beyond_random_weights(p, here, out)
    with out.step("labels"):
        facts |= describe_labels(p, here, out)
    with out.step("power"):
        facts |= power(p, here, out)
    with out.step("labels elsewhere"):
        facts |= labels_elsewhere(p, here, out)
    with out.step("networks"):
        string_edges(p, here, out)
        trrust_targets(p, here, out)
    out.facts(**facts)


@dataclass(frozen=True)
class Here:
    """Everything that is tested on the page, and what against.

    Attributes
    ----------
    model_family : str
        "geneformer", "scgpt", ...
    catalogue : Catalogue
    libraries : Libraries
    own : LatentLists
    untrained : dict of str -> csr_matrix
        Lists of the same network with random weights over the same genes; empty where the run has none.
    twin : Catalogue or None
        Catalogue of that network.
    rivals : list of Listed
        The latents and directions that nobody trained, over the genes of the sample of activations.
    rival_sets : GeneSets
        Terms over those genes.
    problem : Problem
        The latents' lists against terms cut to the background.
    """

    model_family: str
    catalogue: Catalogue
    libraries: Libraries
    own: LatentLists
    untrained: dict[str, sp.csr_matrix]
    twin: Catalogue | None
    rivals: list[Listed]
    rival_sets: GeneSets
    problem: Problem


def family(p: Params) -> dict[str, Any]:
    """Level and sizes of terms, as all functions of the analysis take them."""
    return {"alpha": p.fdr, "min_size": p.min_size, "max_size": p.max_size}


def gather(p: Params, read: Inputs) -> Here:
    """Lists of the latents, of random weights and of directions, each with the terms over the genes it could list."""
    from biosae_utils.analysis import annotation_sources, list_sources
    from biosae_utils.analysis.annotation_rates import RANDOM_WEIGHTS
    from biosae_utils.analysis.annotation_rules import make_problem
    from biosae_utils.analysis.rival_lists import rival_lists

    catalogue = Catalogue.read(read, n_top=p.n_top)
    libraries = annotation_sources.load(p.genesets, p.collections)
    tables = catalogue.features, catalogue.genes, catalogue.top_genes
    own = list_sources.LatentLists(*tables, *catalogue.firing(), libraries.sets, catalogue.params["min_count"])
    twin, untrained = None, {}
    if p.control is not None:
        twin = Catalogue.read(read, model=p.control, n_top=p.n_top)
        untrained[RANDOM_WEIGHTS] = own.of_another(twin.features, twin.top_genes)
    sample, saes = readers.Sample.read(read, [p.layer]), readers.Saes.read(read)
    gene = pd.Index(catalogue.genes["token"]).get_indexer(sample.token)
    trained = [saes.load(p.layer, seed) for seed in saes.seeds]
    rivals, candidates = rival_lists(
        sample.vectors[p.layer], gene, len(catalogue.genes), trained, **list_rule(p, catalogue)
    )
    rival_sets = libraries.sets.on_genes(catalogue.genes["symbol"].to_numpy()[candidates])
    problem, _ = make_problem(own.lists, own.sets, ("measured", True), p.min_size, p.max_size)
    return Here(readers.family(read), catalogue, libraries, own, untrained, twin, rivals, rival_sets, problem)


def list_rule(p: Params, catalogue: Catalogue) -> dict[str, Any]:
    """How the catalogue chose the genes of a list."""
    return {"n_top": p.n_top, **{name: catalogue.params[name] for name in ("min_count", "shrinkage")}}


def apply_rules(p: Params, here: Here, out: Output) -> pd.DataFrame:
    """Annotated share of latents, nulls, random weights and directions under every rule; see `compare_rules`."""
    from biosae_utils.analysis.annotation_rates import LATENTS, compare_rules
    from biosae_utils.analysis.annotation_rules import RULES
    from biosae_utils.analysis.rival_lists import FAR_END, TRAINED

    about = {"seed": p.seed, **family(p)}
    nulls: dict[str, Any] = {"n_permutations": p.n_permutations, "n_matched": min(12, p.n_permutations)}
    network = here.libraries.network(here.own.symbols)
    own = compare_rules({LATENTS: here.own.lists, **here.untrained}, here.own.sets, network=network, **nulls, **about)
    far = {
        FAR_END if one.source == TRAINED else one.source: one.lists
        for one in here.rivals
        if one.rule == "far end" and one.seed == 0
    }
    others = compare_rules(far, here.rival_sets, n_permutations=0, n_matched=3, **about)
    shares = pd.concat([own, others], ignore_index=True)
    out.table(shares.assign(label=shares["rule"].map({rule.name: rule.label for rule in RULES})), "rules")
    return shares


def annotated_shares(p: Params, here: Here, shares: pd.DataFrame, out: Output) -> dict[str, Any]:
    """One claim a rule: the published one, ours per latent, ours layer-wide."""
    from biosae_utils.analysis.annotation_rates import headline, leave_out_shares
    from biosae_utils.analysis.published_figures import FAMILIES, published

    parts = [part for _, part in here.catalogue.without_block.groupby("block")]
    lists = [here.own.of_another(here.own.features, part) for part in parts]
    over_cells = leave_out_shares(lists, here.own.sets, **family(p))
    for rule in ("published", "feature", "layer"):
        found, name = headline(shares, over_cells, rule), f"annotated_{rule}"
        out.claim(
            **WORDS[name],
            value=found.real,
            control=found.null,
            control_kind=f"{found.kind} among real lists",
            verdict=verdict(found.real.low > found.null.high),
            published=published(name, here.model_family, p.variant),
        )
    return {f"published_{family}": published("annotated_published", family) for family in FAMILIES}


def describe_labels(p: Params, here: Here, out: Output) -> dict[str, Any]:
    """All labels with their scores in held-out cells; terms without a threshold for the best-labelled latents."""
    from biosae_utils.analysis.annotated_labels import annotated_labels, coarse_terms, ranked_terms

    own = here.own
    labels = annotated_labels(here.problem, own.latents, own.unseen.on(own.columns), own.listed, alpha=p.fdr)
    out.table(labels, "hits")
    if len(labels):
        mean, coarse = own.firing.mean()[own.columns], coarse_terms(here.problem.sets)
        out.table(ranked_terms(labels, mean, coarse, seed=p.seed), "prerank")
    return {"n_hits": len(labels)}


def power(p: Params, here: Here, out: Output) -> dict[str, Any]:
    """How much of a programme a list must hold to be found."""
    from biosae_utils.analysis.power import power_table

    tables = [power_table(here.problem, share=n, strengths=tried, alpha=p.fdr, seed=p.seed) for n, tried in PLANTED]
    table = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    out.table(table, "power")
    most = table[table["planted"] == PLANTED[0][0]]
    enough = most[most["power_layer"] >= 0.8].groupby("size", sort=False)["strength"].min()
    says = [f"{n} of the genes listed for terms of {size} genes" for size, n in enough.items()]
    rare = table.groupby("planted")[["power_layer", "false_layer"]].mean()
    out.table(
        table.groupby(["planted", "strength"], sort=False)[["power_feature", "power_layer", "false_layer"]].mean()
        .reset_index(), "planted",
    )  # fmt: skip
    return {"enough": ", ".join(says), "power_false": rare["false_layer"].max()}


def labels_elsewhere(p: Params, here: Here, out: Output) -> dict[str, Any]:
    """Whether a label chosen on half of the genes predicts the other half, in other cells."""
    from biosae_utils.analysis.label_scores import split_scores

    how = {name: here.catalogue.params[name] for name in ("min_count", "shrinkage")}
    firing, unseen = (part.on(here.own.columns) for part in (here.own.firing, here.own.unseen))
    split = split_scores(firing, unseen, here.own.sets, n_top=p.n_top, seed=p.seed, **how, **family(p))
    out.table(split, "split_labels")
    labelled = split[split["labelled"]].dropna(subset=["auroc", "control_auroc"])
    about = WORDS["labels_predict"]
    if len(labelled) < MIN_LABELLED:
        out.claim(**about, verdict="not_tested", reason="fewer than five latents are labelled on half of the genes")
        return {}
    own, other = labelled["auroc"].to_numpy(), labelled["control_auroc"].to_numpy()
    terms = labelled.groupby("term")[["auroc", "control_auroc"]].mean().to_numpy().T
    again: dict[str, Any] = {"n_boot": 2000, "seed": p.seed, "over": "terms"}
    value, control = bootstrap_mean(terms[0], **again), bootstrap_mean(terms[1], **again)
    holds = bootstrap_difference(*terms, **again).low > 0
    out.claim(**about, value=value, control=control, verdict=verdict(holds))
    both = {"unrelated labels of other latents": other, "own label": own}
    table = [pd.DataFrame({"which": name, "auroc": values}) for name, values in both.items()]
    out.table(pd.concat(table, ignore_index=True), "label_scores", download=False)
    said = {"label_auroc": value.value, "label_auroc_control": control.value}
    return {"n_labels": len(labelled), "n_terms": len(terms[0]), **said}


def string_edges(p: Params, here: Here, out: Output) -> None:
    """Interactions among the genes of a list, beside genes of the same degree and popularity."""
    from biosae_utils.analysis.annotation_sources import COMMANDS
    from biosae_utils.analysis.edges import edge_test

    about = WORDS["string_edges"]
    network = here.libraries.string_network(here.own.symbols)
    if network is None:
        out.claim(**about, verdict="not_tested", reason=f"STRING is not fetched: {COMMANDS['STRING']}")
        return
    found = edge_test(here.own.lists, network, n=999, seed=p.seed).assign(latent=here.own.latents)
    out.table(found, "string")
    mean, control = bootstrap_mean(found["edges"].to_numpy(), seed=p.seed, over="latents"), found["expected"].mean()
    out.claim(**about, value=mean, control=control, verdict=verdict(mean.low > control))


def trrust_targets(p: Params, here: Here, out: Output) -> None:
    """Targets of one transcription factor in a list, beside decoys among real lists."""
    from biosae_utils.analysis.annotation_rates import LATENTS, compare_rules, stricter
    from biosae_utils.analysis.annotation_rules import RULES
    from biosae_utils.analysis.annotation_sources import COMMANDS
    from biosae_utils.analysis.edges import trrust_sets

    about = WORDS["trrust_targets"]
    if here.libraries.trrust is None:
        out.claim(**about, verdict="not_tested", reason=f"TRRUST is not fetched: {COMMANDS['TRRUST']}")
        return
    sets = trrust_sets(here.libraries.trrust).on_genes(here.own.symbols)
    draws: dict[str, Any] = {"n_permutations": p.n_permutations, "n_matched": min(12, p.n_permutations), "seed": p.seed}
    by = compare_rules({LATENTS: here.own.lists}, sets, rules=RULES[-1:], **draws, **family(p)).set_index("source")
    null, kind = stricter(by)
    share, low, high = (float(by.at[LATENTS, name]) for name in ("share", "low", "high"))
    real, null = Interval(share, low, high, "lists").scaled(100), null.scaled(100)
    kind = f"{kind} among real lists"
    out.claim(**about, value=real, control=null, control_kind=kind, verdict=verdict(real.value > null.high))


PHASE = Phase(
    "04_annotate",
    Params,
    compute,
    title="Annotation",
    part="layer",
    reads=("01_extract", "02_sae", "03_catalogue"),
    control="03_catalogue",
    fetched=("kegg", "string-v12", "trrust-v2"),
)
