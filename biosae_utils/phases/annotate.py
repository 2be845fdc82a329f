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
from biosae_utils.phases.base import Phase
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output
from biosae_utils.phases.readers import Catalogue

if TYPE_CHECKING:
    import scipy.sparse as sp

    from biosae_utils.analysis.annotation_sources import Libraries
    from biosae_utils.analysis.enrich import Problem
    from biosae_utils.analysis.list_sources import LatentLists, SampledLists

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
    n_permutations: int = Field(50, ge=1, description="relabelled copies of the lists behind the control")


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Rules on the lists and on all controls; the labels, whether they hold elsewhere, and what could be found."""
    with out.step("lists"):
        here = gather(p, read)
        out.table(here.libraries.table, "sources", download=False)
    with out.step("rules"):
        shares = apply_rules(p, here, out)
        facts = annotated_shares(p, here, shares, out)
    with out.step("directions"):
        facts |= beyond_directions(p, here, shares, out)
        facts |= beyond_random_weights(p, here, shares, out)
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
    catalogue : Catalogue
    libraries : Libraries
    own : LatentLists
    untrained : dict of str -> csr_matrix
        Lists of the same network with random weights over the same genes; empty where the run has none.
    sampled : SampledLists
    problem : Problem
        The latents' lists against terms cut to the background.
    """

    catalogue: Catalogue
    libraries: Libraries
    own: LatentLists
    untrained: dict[str, sp.csr_matrix]
    sampled: SampledLists
    problem: Problem


def family(p: Params) -> dict[str, Any]:
    """Level and sizes of terms, as all functions of the analysis take them."""
    return {"alpha": p.fdr, "min_size": p.min_size, "max_size": p.max_size}


def gather(p: Params, read: Inputs) -> Here:
    """Lists of the latents, of random weights and of directions, each with the terms over the genes it could list."""
    from biosae_utils.analysis import annotation_sources, list_sources
    from biosae_utils.analysis.annotation_rates import RANDOM_WEIGHTS
    from biosae_utils.analysis.annotation_rules import make_problem

    catalogue = Catalogue.read(read, n_top=p.n_top)
    libraries = annotation_sources.load(p.genesets, p.collections)
    tables = catalogue.features, catalogue.genes, catalogue.top_genes
    own = list_sources.LatentLists(*tables, *catalogue.firing(), libraries.sets, catalogue.params["min_count"])
    untrained = {}
    if p.control is not None:
        twin = Catalogue.read(read, model=p.control, n_top=p.n_top)
        untrained[RANDOM_WEIGHTS] = own.of_another(twin.features, twin.top_genes)
    sample = readers.Sample.read(read, [p.layer])
    how = {"n_top": p.n_top, "shrinkage": catalogue.params["shrinkage"], "seed": p.seed}
    sampled = list_sources.sampled_lists(own, sample.vectors[p.layer], sample.token, **how)
    problem, _ = make_problem(own.lists, own.sets, ("measured", True), p.min_size, p.max_size)
    return Here(catalogue, libraries, own, untrained, sampled, problem)


def apply_rules(p: Params, here: Here, out: Output) -> pd.DataFrame:
    """Annotated share of latents, nulls, random weights and directions under every rule; see `compare_rules`."""
    from biosae_utils.analysis.annotation_rates import LATENTS, compare_rules
    from biosae_utils.analysis.annotation_rules import RULES

    sampled, about = here.sampled, {"seed": p.seed, **family(p)}
    nulls: dict[str, Any] = {"n_permutations": p.n_permutations, "n_matched": min(20, p.n_permutations)}
    network = here.libraries.network(here.own.symbols)
    own = compare_rules({LATENTS: here.own.lists, **here.untrained}, here.own.sets, network=network, **nulls, **about)
    others = compare_rules(sampled.lists, sampled.sets, n_permutations=0, n_matched=3, **about)
    shares = pd.concat([own, others], ignore_index=True)
    out.table(shares.assign(label=shares["rule"].map({rule.name: rule.label for rule in RULES})), "rules")
    return shares


def annotated_shares(p: Params, here: Here, shares: pd.DataFrame, out: Output) -> dict[str, Any]:
    """One claim a rule: the published one, ours per latent, ours layer-wide."""
    from biosae_utils.analysis.annotation_rates import headline, leave_out_shares
    from biosae_utils.analysis.published_figures import FAMILIES, family_of, published

    parts = [part for _, part in here.catalogue.without_block.groupby("block")]
    lists = [here.own.of_another(here.own.features, part) for part in parts]
    over_cells = leave_out_shares(lists, here.own.sets, **family(p))
    for rule in ("published", "feature", "layer"):
        found, name = headline(shares, over_cells, rule), f"annotated_{rule}"
        out.claim(
            **WORDS[name],
            value=Interval(found["real"], found["low"], found["high"], "blocks of cells"),
            control=Interval(found["null"], found["null_low"], found["null_high"], "draws"),
            control_kind=f"permuted gene labels, mean of {p.n_permutations}",
            verdict=verdict(found["low"] > found["null_high"]),
            published=published(name, family_of(p.model), p.variant),
        )
    return {f"published_{family}": published("annotated_published", family) for family in FAMILIES}


def beyond_directions(p: Params, here: Here, shares: pd.DataFrame, out: Output) -> dict[str, Any]:
    """Latents beside directions of the same activations, each above its own frequency-matched lists."""
    from biosae_utils.analysis.annotation_rates import above_matched, coverage
    from biosae_utils.analysis.list_sources import SAMPLED

    sampled = here.sampled
    tables = [coverage(sampled.lists, sampled.sets, shares, **family(p)).assign(genes=len(sampled.sets.genes))]
    if here.untrained:
        table = coverage(here.untrained, here.own.sets, shares, **family(p))
        tables.append(table.assign(genes=len(here.own.columns)))
    out.table(pd.concat(tables, ignore_index=True), "directions")
    above = above_matched(tables[0])
    ours = above.pop(SAMPLED)
    rival, theirs = max(above.items(), key=lambda item: item[1].value)
    out.claim(
        **WORDS["annotated_beyond_directions"],
        value=ours,
        control=theirs,
        control_kind=f"{rival}, the highest of the three",
        verdict=verdict(ours.low > theirs.high),
    )
    return {"rival": rival, "above": ours.value, "above_rival": theirs.value}


def beyond_random_weights(p: Params, here: Here, shares: pd.DataFrame, out: Output) -> dict[str, Any]:
    """Latents beside those of the untrained network: share annotated, and distance from lists as popular."""
    from biosae_utils.analysis.annotation_rates import LATENTS, RANDOM_WEIGHTS, above_matched, coverage

    if p.variant != "trained":
        return {}
    words = WORDS["annotated_beyond_random_weights"], WORDS["excess_beyond_random_weights"]
    if not here.untrained:
        for about in words:
            out.claim(**about, verdict="not_tested", reason="the run has no random weights of this model at this layer")
        return {}
    table = coverage({LATENTS: here.own.lists, **here.untrained}, here.own.sets, shares, **family(p))
    above, matched = above_matched(table), table.set_index("source")["own matched lists, %"]
    whole = {source: found.shifted(matched[source]) for source, found in above.items()}
    for about, both in zip(words, (whole, above), strict=True):
        ours, theirs = both[LATENTS], both[RANDOM_WEIGHTS]
        kind, holds = f"{p.control}, its own autoencoder", ours.low > theirs.high
        out.claim(**about, value=ours, control=theirs, control_kind=kind, verdict=verdict(holds))
    return {
        "untrained": whole[RANDOM_WEIGHTS].value,
        "untrained_matched": matched[RANDOM_WEIGHTS],
        "untrained_above": above[RANDOM_WEIGHTS].value,
        "trained_above": above[LATENTS].value,
    }


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

    table = power_table(here.problem, alpha=p.fdr, seed=p.seed)
    out.table(table, "power")
    enough = table[table["power_layer"] >= 0.8].groupby("size", sort=False)["strength"].min()
    says = [f"{n} of the genes listed for terms of {size} genes" for size, n in enough.items()]
    return {"enough": ", ".join(says), "power_false": table["false_layer"].mean()}


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
    # both halves of a latent are drawn together
    again = {"groups": labelled["feature"], "n_boot": 2000, "seed": p.seed, "over": "latents"}
    value, control = bootstrap_mean(own, **again), other.mean()
    holds = bootstrap_difference(own, other, **again).low > 0
    out.claim(**about, value=value, control=control, verdict=verdict(holds))
    both = {"label of another latent": other, "own label": own}
    table = [pd.DataFrame({"which": name, "auroc": values}) for name, values in both.items()]
    out.table(pd.concat(table, ignore_index=True), "label_scores", download=False)
    return {"n_labels": len(labelled), "label_auroc": value.value, "label_auroc_control": control}


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
    """Targets of one transcription factor in a list, beside permuted gene labels."""
    from biosae_utils.analysis.annotation_rates import LATENTS, PERMUTED, compare_rules
    from biosae_utils.analysis.annotation_rules import RULES
    from biosae_utils.analysis.annotation_sources import COMMANDS
    from biosae_utils.analysis.edges import trrust_sets

    about = WORDS["trrust_targets"]
    if here.libraries.trrust is None:
        out.claim(**about, verdict="not_tested", reason=f"TRRUST is not fetched: {COMMANDS['TRRUST']}")
        return
    sets = trrust_sets(here.libraries.trrust).on_genes(here.own.symbols)
    draws: dict[str, Any] = {"n_permutations": p.n_permutations, "n_matched": 1, "seed": p.seed}
    by = compare_rules({LATENTS: here.own.lists}, sets, rules=RULES[-1:], **draws, **family(p)).set_index("source")
    real, null = (
        Interval(float(by.at[n, "share"]), float(by.at[n, "low"]), float(by.at[n, "high"]), over).scaled(100)
        for n, over in ((LATENTS, "lists"), (PERMUTED, "draws"))
    )
    out.claim(**about, value=real, control=null, verdict=verdict(real.value > null.high))


PHASE = Phase(
    "04_annotate",
    Params,
    compute,
    title="Annotation",
    part="layer",
    reads=("01_extract", "03_catalogue"),
    control="03_catalogue",
    fetched=("kegg", "string-v12", "trrust-v2"),
)
