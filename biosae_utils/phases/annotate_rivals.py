"""04_annotate: the latents beside directions that nobody trained, and beside the network with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from biosae_utils.claims import verdict
from biosae_utils.intervals import Interval
from biosae_utils.phases.annotate_claims import WORDS
from biosae_utils.phases.output import Output

if TYPE_CHECKING:
    import scipy.sparse as sp

    from biosae_utils.analysis.genesets import GeneSets
    from biosae_utils.phases.annotate import Here, Params

WITHOUT = "without ribosomal, translation and mitochondrial genes"
N_MATCHED = 6
"""Draws of frequency-matched lists beside each of two networks."""


def beyond_directions(p: Params, here: Here, out: Output) -> dict[str, Any]:
    """One claim a list rule: latents beside untrained directions, each above its own frequency-matched lists."""
    from biosae_utils.analysis.rival_lists import LIST_RULES, TRAINED, over_seeds, side_by_side

    table = side_by_side(here.rivals, here.rival_sets, **_sizes(p))
    out.table(table, "rivals")
    seeds = table.groupby(["list_rule", "source"], sort=False)
    means = seeds[["lists", "genes", "annotated", "matched", "above", "by_energy", "terms"]].mean()
    out.table(means.assign(seeds=seeds.size()).reset_index(), "directions", download=False)
    points: dict[str, Any] = {}
    for rule, words in LIST_RULES.items():
        found = dict(over_seeds(table, rule))
        ours, each = found.pop(TRAINED)
        rival, (theirs, draws) = max(found.items(), key=lambda item: item[1][0].value)
        out.claim(
            **WORDS["annotated_beyond_directions"],
            group=rule,
            value=ours,
            control=theirs,
            control_kind=f"{rival}; genes with the {words}",
            verdict=verdict(ours.low > theirs.high and min(each) > max(draws)),
        )
        points[rule] = {"latents": ours.value, "rival": rival, "control": theirs.value}
    return {"points": points}


def beyond_random_weights(p: Params, here: Here, out: Output) -> dict[str, Any]:
    """Latents beside those of the untrained network: share annotated, and distance from lists as popular."""
    from biosae_utils.analysis.annotation_rates import LATENTS, RANDOM_WEIGHTS

    if p.variant != "trained":
        return {}
    share, excess = WORDS["annotated_beyond_random_weights"], WORDS["excess_beyond_random_weights"]
    claims = (share, None, "annotated"), (excess, None, "above"), (excess, WITHOUT, "above")
    if here.twin is None:
        for about, group, _ in claims:
            reason = "the run has no random weights of this model at this layer"
            out.claim(**about, group=group, verdict="not_tested", reason=reason)
        return {}
    every = {LATENTS: here.own.lists, **here.untrained}
    tables = {None: _beside(p, every, here.own.sets), WITHOUT: _beside(p, *_without_abundant(p, here))}
    out.table(pd.concat([t.assign(genes_of=group or "all genes") for group, t in tables.items()]), "random_weights")
    facts: dict[str, Any] = {}
    for about, group, column in claims:
        ours, theirs = (_interval(tables[group].loc[name], column) for name in (LATENTS, RANDOM_WEIGHTS))
        out.claim(
            **about,
            group=group,
            value=ours,
            control=theirs,
            control_kind=f"{p.control}, its own autoencoder",
            verdict=verdict(ours.low > theirs.high),
        )
        name = "without" if group else column
        facts |= {f"trained_{name}": ours.value, f"untrained_{name}": theirs.value}
    return facts


def _sizes(p: Params) -> dict[str, Any]:
    return {"alpha": p.fdr, "min_size": p.min_size, "max_size": p.max_size, "seed": p.seed}


def _beside(p: Params, lists: dict[str, sp.csr_matrix], sets: GeneSets) -> pd.DataFrame:
    """Lists of both networks, each above its own matched lists; one row a source."""
    from biosae_utils.analysis.rival_lists import Listed, side_by_side

    found = [Listed("catalogue", name, 0, own, np.ones(own.shape[0])) for name, own in lists.items()]
    table = side_by_side(found, sets, n_matched=N_MATCHED, **_sizes(p))
    return table.drop(columns=["list_rule", "seed", "by_energy"]).set_index("source", drop=False)


def _interval(row: pd.Series, column: str) -> Interval:
    """Annotated share, or points above matched lists, with the Wilson interval over lists."""
    back = row["matched"] if column == "annotated" else 0.0
    return Interval(row[column], row["low"] + back, row["high"] + back, "lists")


def _without_abundant(p: Params, here: Here) -> tuple[dict[str, sp.csr_matrix], GeneSets]:
    """Lists of both networks without the genes that every cell is full of, filled up with the next; and the terms."""
    from biosae_utils.analysis.abundant import is_abundant
    from biosae_utils.analysis.annotation_rates import LATENTS, RANDOM_WEIGHTS
    from biosae_utils.analysis.list_sources import lists_on
    from biosae_utils.phases.annotate import list_rule

    own, twin = here.own, here.twin
    assert twin is not None
    theirs = pd.Index(twin.genes["token"]).get_indexer(own.tokens)
    kept = np.flatnonzero(~is_abundant(own.symbols) & (theirs >= 0))
    how = list_rule(p, here.catalogue)
    lists = {
        LATENTS: lists_on(own.firing, own.columns[kept], own.latents, **how),
        RANDOM_WEIGHTS: lists_on(twin.firing()[0], theirs[kept], twin.alive, **how),
    }
    return lists, own.source.on_genes(own.symbols[kept])
