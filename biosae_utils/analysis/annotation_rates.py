"""Annotated shares: every rule applied to real lists, to their controls and to lists from other directions.

One table holds what one figure shows: what the rule does, and what the biology does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.annotation_rules import (
    RULES,
    Network,
    Problem,
    Rule,
    decoy_counts,
    make_problem,
    masks,
)
from biosae_utils.analysis.enrich import make_lists
from biosae_utils.analysis.genesets import GeneSets
from biosae_utils.analysis.nulls import matched_lists, permuted_labels
from biosae_utils.intervals import Interval, jackknife, quantiles, wilson

LATENTS, PERMUTED, MATCHED = "latents", "permuted labels", "frequency-matched lists"
RANDOM_WEIGHTS = "latents of random weights"


def lists_over(features: pd.DataFrame, top: pd.DataFrame, tokens: np.ndarray) -> sp.csr_matrix:
    """Gene lists of the latents that fire, from a catalogue, over a background.

    Parameters
    ----------
    features : DataFrame
        latent, state: one row a latent.
    top : DataFrame
        latent, token: one row a listed gene; genes outside the background are left out.
    tokens : ndarray of int, shape (n_genes,)
        Token of each gene of the background.

    Returns
    -------
    csr_matrix, shape (n_latents_that_fire, n_genes)
    """
    alive = np.flatnonzero((features["state"] != "dead").to_numpy())
    row, column = np.searchsorted(alive, top["latent"]), pd.Index(tokens).get_indexer(top["token"])
    inside = column >= 0
    return make_lists(row[inside], column[inside], (len(alive), len(tokens)))


def compare_rules(
    lists: Mapping[str, sp.csr_matrix],
    sets: GeneSets,
    *,
    alpha: float = 0.05,
    rules: Sequence[Rule] = RULES,
    min_size: int = 5,
    max_size: int = 500,
    n_permutations: int = 25,
    n_matched: int = 12,
    network: Network | None = None,
    seed: int = 0,
    n_jobs: int = 1,
) -> pd.DataFrame:
    """Annotated share under every rule, for real lists, their controls and baselines.

    Parameters
    ----------
    lists : mapping of name to csr_matrix, shape (n_features, n_genes)
        The first is the real one, for which the two nulls are drawn in full; the others are baselines (coordinates,
        principal axes, random directions). Columns are those of `sets`.
    sets : GeneSets
        Terms of all sizes on the measured genes.
    alpha : float
        Level of the false discovery rate.
    n_permutations, n_matched : int
        Draws of permuted gene labels and of frequency-matched lists, judged beside real lists (`decoy_counts`); no rows
        of nulls without permutations.
    network : Network, optional
        Over the same genes; rules with a network are left out when None.

    Returns
    -------
    DataFrame
        rule, source, share, low, high, matched, n_lists, n_tested, n_genes, n_terms, background. For nulls the share is
        the mean and low, high the 2.5 and 97.5 % quantiles over draws; for lists a Wilson interval over lists, and
        ``matched`` the mean share of decoys with the same sizes and gene frequencies (every source against its own:
        lists that all hold the same popular genes are annotated together or not at all). ``n_genes``: genes that any
        list of the source holds. Where the lists of a source leave no term (``n_terms`` 0) or are too short
        (``n_tested`` 0), its share is 0 under the rules without a network.

    Raises
    ------
    BiosaeError
        No term, or no list, is left for the first source on the measured genes.
    """
    rules = [r for r in rules if network is not None or not r.network]
    matched = {
        name: [matched_lists(own, seed)(i) for i in range(min(n_matched, 3) if k else n_matched)]
        for k, (name, own) in enumerate(lists.items())
    }
    rows = []
    for arena in dict.fromkeys(r.arena for r in rules):
        here = [r for r in rules if r.arena == arena]
        for k, (source, matrix) in enumerate(lists.items()):
            own_measured = k == 0 and arena[0] == "measured"  # anything else may list too little to leave a term
            problem, columns = make_problem(matrix, sets, arena, min_size, max_size, may_be_empty=not own_measured)
            inside = None if network is None else network.on(columns)
            facts = {
                "n_lists": matrix.shape[0],
                "n_tested": problem.n_tested,
                "n_genes": len(np.unique(problem.lists.indices)),
                "n_terms": len(problem.sets),
                "background": problem.background,
            }

            def shares(
                draw: Callable[[int], sp.csr_matrix],
                n: int,
                problem: Problem = problem,
                here: list[Rule] = here,
                inside: Network | None = inside,
            ) -> np.ndarray:
                counts = decoy_counts(problem, here, alpha, draw, n, seed=seed, n_jobs=n_jobs, network=inside)
                return (counts / problem.lists.shape[0]).T

            alike = [drawn[:, columns] for drawn in matched[source]]
            own = shares(alike.__getitem__, len(alike))
            for rule, mask, drawn in zip(here, masks(problem, problem.lists, here, alpha, inside), own, strict=True):
                share = wilson(int(mask.sum()), len(mask), over="lists")
                rows.append(_row(rule, source, share, facts | {"matched": drawn.mean()}))
            if k or not n_permutations:
                continue
            permuted = shares(permuted_labels(problem, seed), n_permutations)
            for name, null in ((PERMUTED, permuted), (MATCHED, own)):
                rows += [_row(rule, name, quantiles(drawn), facts) for rule, drawn in zip(here, null, strict=True)]
    order = {r.name: i for i, r in enumerate(rules)}
    return pd.DataFrame(rows).sort_values("rule", key=lambda s: s.map(order), kind="stable", ignore_index=True)


def _row(rule: Rule, source: str, share: Interval, facts: dict[str, float]) -> dict[str, object]:
    return {"rule": rule.name, "source": source, "share": share.value, "low": share.low, "high": share.high, **facts}


def leave_out_shares(
    parts: Sequence[sp.csr_matrix],
    sets: GeneSets,
    *,
    alpha: float = 0.05,
    rules: Sequence[Rule] = RULES,
    min_size: int = 5,
    max_size: int = 500,
) -> pd.DataFrame:
    """Annotated share of lists that were made without one block of cells each, for the jackknife over cells.

    Returns
    -------
    DataFrame, shape (len(parts), n_rules)
        Shares; rules with a network are left out.
    """
    rules = [r for r in rules if not r.network]
    out: list[dict[str, float]] = [{} for _ in parts]
    for arena in dict.fromkeys(r.arena for r in rules):
        here = [r for r in rules if r.arena == arena]
        for row, lists in zip(out, parts, strict=True):
            problem, _ = make_problem(lists, sets, arena, min_size, max_size, may_be_empty=True)
            found = masks(problem, problem.lists, here, alpha)
            row |= {rule.name: float(mask.mean()) for rule, mask in zip(here, found, strict=True)}
    return pd.DataFrame(out, columns=[r.name for r in rules])


@dataclass(frozen=True)
class Headline:
    """An annotated share beside the stricter of the two kinds of decoys, in percent.

    Attributes
    ----------
    real : Interval
        Over blocks of cells.
    null : Interval
        Over draws.
    kind : str
        Which decoys are annotated more often: `PERMUTED` or `MATCHED`.
    """

    real: Interval
    null: Interval
    kind: str


def headline(shares: pd.DataFrame, over_cells: pd.DataFrame, rule: str) -> Headline:
    """The latents' share under one rule beside its decoys.

    Parameters
    ----------
    shares : DataFrame
        From `compare_rules`.
    over_cells : DataFrame
        From `leave_out_shares`; the interval of the real share is its jackknife.

    """
    part = shares[shares["rule"] == rule].set_index("source")
    real = jackknife(over_cells[rule].to_numpy(), part.at[LATENTS, "share"]).at_least(0)
    null, kind = stricter(part)
    return Headline(real.scaled(100), null.scaled(100), kind)


def stricter(part: pd.DataFrame) -> tuple[Interval, str]:
    """The kind of decoys that is annotated more often, from the rows of one rule indexed by source."""
    kind = max((PERMUTED, MATCHED), key=lambda name: part.at[name, "share"])
    share, low, high = (float(part.at[kind, name]) for name in ("share", "low", "high"))
    return Interval(share, low, high, "draws"), kind
