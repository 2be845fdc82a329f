"""What counts as annotated: the published rule, ours, and the steps between, all through the same code.

A rule says what the background is, whether terms are cut to it, which tests form the family and over what it is
corrected. `compare_rules` applies every rule to real lists and to their controls, so that one figure shows what the
rule does and what the biology does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.enrich import Problem, Tests, run_tests
from biosae_utils.analysis.fdr import bh_reject
from biosae_utils.analysis.genesets import GeneSets
from biosae_utils.analysis.nulls import curveball, relabel


@dataclass(frozen=True)
class Rule:
    """When a list counts as annotated.

    Attributes
    ----------
    name, label : str
        Stable key; what the figure says.
    background : {"measured", "listed"}
        Genes that could have been listed, or only the union of all lists.
    cut_terms : bool
        Members outside the background are dropped and the size filter comes after; else the source's size enters the
        test.
    selected : int
        0: the family is every (list, term) pair. Above 0: only pairs that share this many genes are tests at all.
    family : {"feature", "layer"}
        BH over the tests of each list, or over those of all lists together.
    edges : bool
        A single edge of an interaction network between two listed genes also counts as annotation.
    """

    name: str
    label: str
    background: Literal["measured", "listed"]
    cut_terms: bool
    selected: int
    family: Literal["feature", "layer"]
    edges: bool = False

    @property
    def arena(self) -> tuple[str, bool]:
        """Rules with the same arena share overlaps and p-values."""
        return self.background, self.cut_terms


RULES = (
    Rule("published_edges", "published: selected tests, or any edge", "listed", False, 2, "layer", edges=True),
    Rule("published", "published, without edges", "listed", False, 2, "layer"),
    Rule("cut", "terms cut to the background", "listed", True, 2, "layer"),
    Rule("full_listed", "all tests, per feature", "listed", True, 0, "feature"),
    Rule("feature", "all tests, measured background, per feature", "measured", True, 0, "feature"),
    Rule("layer", "all tests, measured background, layer-wide", "measured", True, 0, "layer"),
)
"""From the published rule to ours; the last two are the ones that the book stands on."""


def make_problem(
    lists: sp.csr_matrix, sets: GeneSets, arena: tuple[str, bool], min_size: int = 5, max_size: int = 500
) -> tuple[Problem, np.ndarray]:
    """Lists and terms on the background of an arena.

    Parameters
    ----------
    lists : csr_matrix, shape (n_features, n_genes)
        Over all measured genes, the columns of `sets`.
    sets : GeneSets
        Terms of all sizes on the measured genes (`GeneSets.on_genes`).
    arena : (background, cut_terms)

    Returns
    -------
    problem : Problem
    columns : ndarray of int
        Measured genes that form the background.
    """
    background, cut = arena
    columns = np.arange(lists.shape[1]) if background == "measured" else np.unique(lists.indices)
    inside = sets if len(columns) == lists.shape[1] else sets.on_genes(sets.genes[columns])
    size = inside.terms["size" if cut else "size_source"].to_numpy()
    inside = inside.select((size >= min_size) & (size <= max_size) & (inside.terms["size"].to_numpy() > 0))
    sizes = inside.terms["size" if cut else "size_source"].to_numpy()
    return Problem(lists[:, columns].tocsr(), inside, sizes), columns


def possible_tests(problem: Problem, overlap: sp.csr_matrix, alpha: float) -> Tests:
    """Tests that BH could reject in the family of all tests, per feature or layer-wide.

    With ``c`` pairs that share a gene, no BH threshold over ``m`` tests exceeds ``alpha * c / m``; pairs with too small
    an overlap for that are dropped before their p-value is looked up.
    """
    shared = np.diff(overlap.indptr).max(initial=0)  # the largest c of any feature bounds the layer's mean as well
    shortest = int(problem.list_sizes[problem.list_sizes > 0].min())
    least = problem.table.smallest_overlap(alpha * shared / len(problem.sets), problem.term_sizes, shortest)
    return run_tests(problem, overlap, np.maximum(least, 1))


def annotated(problem: Problem, tests: Tests, rule: Rule, alpha: float) -> np.ndarray:
    """Which lists have at least one test that the rule rejects, shape (n_features,).

    `tests` are those with the rule's smallest overlap where it selects, else `possible_tests`.
    """
    per_feature = rule.family == "feature"
    if rule.selected:
        m = np.bincount(tests.feature)[tests.feature] if per_feature else len(tests.p)
    else:
        m = len(problem.sets) * (1 if per_feature else problem.n_tested)
    out = np.zeros(problem.lists.shape[0], dtype=bool)
    out[tests.feature[bh_reject(tests.p, m, alpha, tests.feature if per_feature else None)]] = True
    return out


def has_edge(lists: sp.csr_matrix, edges: sp.csr_matrix) -> np.ndarray:
    """Which lists hold two genes that `edges` (symmetric, genes by genes) joins: the published criterion."""
    lists = lists.astype(np.int32)
    return np.asarray((lists @ edges.astype(np.int32)).multiply(lists).sum(axis=1)).ravel() > 0


def null_counts(
    problem: Problem,
    rules: Sequence[Rule],
    alpha: float,
    draw: Callable[[int], sp.csr_matrix],
    n: int,
    *,
    n_jobs: int = 1,
    edges: sp.csr_matrix | None = None,
) -> np.ndarray:
    """Annotated lists in `n` null draws under several rules of one arena, shape (n, len(rules)).

    ``draw(i)`` gives the i-th null lists and depends on i alone, so the result is the same for every `n_jobs`.
    """

    def one(i: int) -> list[int]:
        return [int(mask.sum()) for mask in _masks(problem, draw(i), rules, alpha, edges)]

    if n_jobs == 1:
        return np.array([one(i) for i in range(n)]).reshape(n, len(rules))
    with ThreadPoolExecutor(n_jobs) as pool:  # sparse products release the interpreter lock
        return np.array(list(pool.map(one, range(n)))).reshape(n, len(rules))


def _masks(
    problem: Problem, lists: sp.csr_matrix, rules: Sequence[Rule], alpha: float, edges: sp.csr_matrix | None
) -> list[np.ndarray]:
    overlap = problem.overlaps(lists)
    selected = {rule.selected for rule in rules}
    joined = has_edge(lists, edges) if edges is not None and any(r.edges for r in rules) else None
    tests = {n: run_tests(problem, overlap, n) if n else possible_tests(problem, overlap, alpha) for n in selected}
    masks = [annotated(problem, tests[rule.selected], rule, alpha) for rule in rules]
    return [m | joined if r.edges and joined is not None else m for m, r in zip(masks, rules, strict=True)]


def permuted_labels(problem: Problem, seed: int) -> Callable[[int], sp.csr_matrix]:
    """Null in which genes swap names: who shares genes with whom stays, which genes they are does not."""
    return lambda i: problem.relabelled(relabel(problem.background, np.random.default_rng([seed, i])))


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
    edges: sp.csr_matrix | None = None,
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
    edges : csr_matrix, shape (n_genes, n_genes), optional
        Symmetric network; rules with edges are left out when None.

    Returns
    -------
    DataFrame
        rule, source, share, low, high, matched, n_lists, n_tested, n_genes, n_terms, background. For nulls the share is
        the mean and low, high the 2.5 and 97.5 % quantiles over draws; for lists a Wilson interval over lists, and
        ``matched`` the mean share of lists with the same sizes and gene frequencies (every source against its own:
        lists that all hold the same popular genes are annotated together or not at all). ``n_genes``: genes that any
        list of the source holds.
    """
    rules = [r for r in rules if edges is not None or not r.edges]
    matched = {
        name: [curveball(own, np.random.default_rng([seed, i])) for i in range(min(n_matched, 3) if k else n_matched)]
        for k, (name, own) in enumerate(lists.items())
    }
    rows = []
    for arena in dict.fromkeys(r.arena for r in rules):
        here = [r for r in rules if r.arena == arena]
        for k, (source, matrix) in enumerate(lists.items()):
            problem, columns = make_problem(matrix, sets, arena, min_size, max_size)
            network = None if edges is None else edges[columns][:, columns]
            facts = {
                "n_lists": matrix.shape[0],
                "n_tested": problem.n_tested,
                "n_genes": len(np.unique(problem.lists.indices)),
                "n_terms": len(problem.sets),
                "background": problem.background,
            }

            def shares(draw, n, problem=problem, here=here, network=network):
                counts = null_counts(problem, here, alpha, draw, n, n_jobs=n_jobs, edges=network)
                return (counts / problem.lists.shape[0]).T

            own = shares(lambda i, drawn=matched[source], kept=columns: drawn[i][:, kept], len(matched[source]))
            for rule, mask, drawn in zip(here, _masks(problem, problem.lists, here, alpha, network), own, strict=True):
                low, high = wilson(int(mask.sum()), len(mask))
                real = {"share": mask.mean(), "low": low, "high": high, "matched": drawn.mean()}
                rows.append({"rule": rule.name, "source": source, **real, **facts})
            if k or not n_permutations:
                continue
            permuted = shares(permuted_labels(problem, seed), n_permutations)
            for name, null in (("permuted labels", permuted), ("frequency-matched lists", own)):
                for rule, drawn in zip(here, null, strict=True):
                    low, high = np.quantile(drawn, [0.025, 0.975])
                    rows.append(
                        {"rule": rule.name, "source": name, "share": drawn.mean(), "low": low, "high": high, **facts}
                    )
    order = {r.name: i for i, r in enumerate(rules)}
    return pd.DataFrame(rows).sort_values("rule", key=lambda s: s.map(order), kind="stable", ignore_index=True)


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
        Shares; rules with edges are left out.
    """
    rules = [r for r in rules if not r.edges]
    out: list[dict[str, float]] = [{} for _ in parts]
    for arena in dict.fromkeys(r.arena for r in rules):
        here = [r for r in rules if r.arena == arena]
        for row, lists in zip(out, parts, strict=True):
            problem, _ = make_problem(lists, sets, arena, min_size, max_size)
            masks = _masks(problem, problem.lists, here, alpha, None)
            row |= {rule.name: float(mask.mean()) for rule, mask in zip(here, masks, strict=True)}
    return pd.DataFrame(out, columns=[r.name for r in rules])


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % Wilson interval of a share."""
    p, z2 = hits / n, z * z
    centre, half = p + z2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return float((centre - half) / (1 + z2 / n)), float((centre + half) / (1 + z2 / n))
