"""Annotated shares: every rule applied to real lists, to their controls and to lists from other directions.

One table holds what one figure shows: what the rule does, and what the biology does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.annotation_rules import (
    RULES,
    Network,
    Problem,
    Rule,
    make_problem,
    masks,
    null_counts,
)
from biosae_utils.analysis.enrich import make_lists, score_all
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
    n_permutations: int = 50,
    n_matched: int = 20,
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
        Draws of permuted gene labels and of frequency-matched lists; no rows of nulls without permutations.
    network : Network, optional
        Over the same genes; rules with a network are left out when None.

    Returns
    -------
    DataFrame
        rule, source, share, low, high, matched, n_lists, n_tested, n_genes, n_terms, background. For nulls the share is
        the mean and low, high the 2.5 and 97.5 % quantiles over draws; for lists a Wilson interval over lists, and
        ``matched`` the mean share of lists with the same sizes and gene frequencies (every source against its own:
        lists that all hold the same popular genes are annotated together or not at all). ``n_genes``: genes that any
        list of the source holds.
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
            problem, columns = make_problem(matrix, sets, arena, min_size, max_size)
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
                counts = null_counts(problem, here, alpha, draw, n, n_jobs=n_jobs, network=inside)
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
            problem, _ = make_problem(lists, sets, arena, min_size, max_size)
            found = masks(problem, problem.lists, here, alpha)
            row |= {rule.name: float(mask.mean()) for rule, mask in zip(here, found, strict=True)}
    return pd.DataFrame(out, columns=[r.name for r in rules])


def headline(shares: pd.DataFrame, over_cells: pd.DataFrame, rule: str) -> dict[str, float]:
    """The latents' share under one rule beside permuted labels, all in percent.

    Parameters
    ----------
    shares : DataFrame
        From `compare_rules`.
    over_cells : DataFrame
        From `leave_out_shares`; the interval of the real share is its jackknife.

    Returns
    -------
    dict
        real, low, high; null, null_low, null_high.
    """
    part = shares[shares["rule"] == rule].set_index("source")
    real = jackknife(over_cells[rule].to_numpy(), part.at[LATENTS, "share"]).at_least(0).scaled(100)
    null, null_low, null_high = (100 * part.at[PERMUTED, name] for name in ("share", "low", "high"))
    ends = {"real": real.value, "low": real.low, "high": real.high}
    return {**ends, "null": null, "null_low": null_low, "null_high": null_high}


def coverage(
    lists: Mapping[str, sp.csr_matrix],
    sets: GeneSets,
    shares: pd.DataFrame,
    *,
    alpha: float = 0.05,
    min_size: int = 5,
    max_size: int = 500,
) -> pd.DataFrame:
    """Sources of lists side by side: how much of each is annotated, how far above its own frequency-matched lists.

    Parameters
    ----------
    lists : mapping of name to csr_matrix
        As given to `compare_rules`.
    sets : GeneSets
    shares : DataFrame
        What `compare_rules` said of these lists; its rule ``feature`` (all tests of a list as the family) is shown.

    Returns
    -------
    DataFrame
        source, lists, different genes listed, annotated, own matched lists, above them (percent and points), low and
        high of that difference (Wilson, over lists), and how many different terms pass layer-wide.
    """
    by = shares[shares["rule"] == "feature"].set_index("source")
    rows = []
    for source, own in lists.items():
        problem, _ = make_problem(own, sets, ("measured", True), min_size, max_size)
        passed = score_all(problem, p_max=alpha).query("q_layer <= @alpha")
        share, low, high, matched = (100 * by.at[source, name] for name in ("share", "low", "high", "matched"))
        rows.append(
            {
                "source": source,
                "lists": by.at[source, "n_lists"],
                "different genes listed": by.at[source, "n_genes"],
                "annotated, %": share,
                "own matched lists, %": matched,
                "above own matched lists, points": share - matched,
                "low": low - matched,
                "high": high - matched,
                "different terms found layer-wide": passed["term"].nunique(),
            }
        )
    return pd.DataFrame(rows)


def above_matched(table: pd.DataFrame) -> dict[str, Interval]:
    """How far each source of `coverage` lies above its own frequency-matched lists, in points."""
    rows = table.set_index("source")[["above own matched lists, points", "low", "high"]].astype(float)
    ends = zip(rows.index, *rows.to_numpy().T, strict=True)
    return {str(source): Interval(value, low, high, "lists") for source, value, low, high in ends}
