"""What counts as annotated: the published rule, ours, and the steps between, all through the same code.

A rule says what the background is, whether terms are cut to it, which tests form the family and over what it is
corrected. `annotation_rates.compare_rules` applies every rule to real lists and to their controls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import scipy.sparse as sp
from scipy import stats

from biosae_utils.analysis.enrich import Problem, Tests, run_tests
from biosae_utils.analysis.fdr import bh_reject
from biosae_utils.analysis.genesets import GeneSets
from biosae_utils.errors import BiosaeError


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
    network : bool
        As published: transcription factors among the list are one more test, and a single edge of an interaction
        network between two listed genes counts as annotation without any test.
    """

    name: str
    label: str
    background: Literal["measured", "listed"]
    cut_terms: bool
    selected: int
    family: Literal["feature", "layer"]
    network: bool = False

    @property
    def arena(self) -> tuple[str, bool]:
        """Rules with the same arena share overlaps and p-values."""
        return self.background, self.cut_terms


RULES = (
    Rule("published_edges", "published: selected tests, or any edge", "listed", False, 2, "layer", network=True),
    Rule("published", "published, without edges", "listed", False, 2, "layer"),
    Rule("cut", "terms cut to the background", "listed", True, 2, "layer"),
    Rule("full_listed", "all tests, per feature", "listed", True, 0, "feature"),
    Rule("feature", "all tests, measured background, per feature", "measured", True, 0, "feature"),
    Rule("layer", "all tests, measured background, layer-wide", "measured", True, 0, "layer"),
)
"""From the published rule to ours; the last two are the ones that the book stands on."""


@dataclass(frozen=True)
class Network:
    """What the published rule asks besides gene sets.

    Attributes
    ----------
    edges : csr_matrix, shape (n_genes, n_genes)
        Symmetric: STRING and TRRUST together.
    factors : ndarray of bool, shape (n_genes,)
        Which genes are transcription factors of TRRUST.
    """

    edges: sp.csr_matrix
    factors: np.ndarray

    def on(self, columns: np.ndarray) -> Network:
        """The same between some of the genes."""
        return Network(self.edges[columns][:, columns], self.factors[columns])


def make_problem(
    lists: sp.csr_matrix,
    sets: GeneSets,
    arena: tuple[str, bool],
    min_size: int = 5,
    max_size: int = 500,
    *,
    may_be_empty: bool = False,
) -> tuple[Problem, np.ndarray]:
    """Lists and terms on the background of an arena.

    Parameters
    ----------
    lists : csr_matrix, shape (n_features, n_genes)
        Over all measured genes, the columns of `sets`.
    sets : GeneSets
        Terms of all sizes on the measured genes (`GeneSets.on_genes`).
    arena : (background, cut_terms)
    may_be_empty : bool
        As in `Problem`: for controls, which may list so little that no term is left.

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
    return Problem(lists[:, columns].tocsr(), inside, sizes, may_be_empty), columns


def possible_tests(problem: Problem, overlap: sp.csr_matrix, alpha: float) -> Tests:
    """Tests that BH could reject in the family of all tests, per feature or layer-wide.

    With ``c`` pairs that share a gene, no BH threshold over ``m`` tests exceeds ``alpha * c / m``; pairs with too small
    an overlap for that are dropped before their p-value is looked up.
    """
    if not overlap.nnz:
        return run_tests(problem, overlap)
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


def factor_tests(lists: sp.csr_matrix, factors: np.ndarray, selected: int) -> Tests:
    """Transcription factors among each list, as one more test per list where at least `selected` of them are listed."""
    overlap = np.asarray(lists.astype(np.int32) @ factors.astype(np.int32)).ravel()
    feature = np.flatnonzero(overlap >= selected)
    shared, sizes = overlap[feature], np.diff(lists.indptr)[feature]
    p = stats.hypergeom.sf(shared - 1, lists.shape[1], int(factors.sum()), sizes)
    return Tests(feature, np.full(len(feature), -1), shared, p)


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
    network: Network | None = None,
) -> np.ndarray:
    """Annotated lists in `n` null draws under several rules of one arena, shape (n, len(rules)).

    ``draw(i)`` gives the i-th null lists and depends on i alone, so the result is the same for every `n_jobs`.
    """

    def one(i: int) -> list[int]:
        return [int(mask.sum()) for mask in masks(problem, draw(i), rules, alpha, network)]

    return _draws(one, n, len(rules), n_jobs)


def decoy_counts(
    problem: Problem,
    rules: Sequence[Rule],
    alpha: float,
    draw: Callable[[int], sp.csr_matrix],
    n: int,
    *,
    seed: int = 0,
    n_jobs: int = 1,
    network: Network | None = None,
) -> np.ndarray:
    """Annotated decoys in `n` null draws, each decoy judged *beside real lists*, shape (n, len(rules)).

    A rule that pools the tests of all lists (the published one, ours layer-wide) sets its threshold by all of them. In
    a layer where every list is null that threshold is so strict that nothing passes, which says nothing about
    meaningless lists beside real ones. So in each draw a random half of the lists is exchanged for their decoys, the
    rule is applied to the mixture, and the annotated decoys are counted; then the other half. Each draw counts every
    decoy once.

    Parameters
    ----------
    problem, rules, alpha, draw, n, n_jobs, network
        As in `null_counts`; ``draw(i)`` has a decoy for every list.
    seed : int
        Of the halves.
    """
    n_lists = problem.lists.shape[0]

    def one(i: int) -> np.ndarray:
        decoys, half = draw(i), np.random.default_rng([seed, i, n_lists]).permutation(n_lists) < n_lists // 2
        found = np.zeros(len(rules), int)
        for swapped in (half, ~half):
            both = exchanged(problem.lists, decoys, swapped)
            found += [int(mask[swapped].sum()) for mask in masks(problem, both, rules, alpha, network)]
        return found

    return _draws(one, n, len(rules), n_jobs)


def _draws(one: Callable[[int], Sequence[int] | np.ndarray], n: int, n_rules: int, n_jobs: int) -> np.ndarray:
    """``one(i)`` of every draw, shape (n, n_rules); in threads, since sparse products release the interpreter lock."""
    if n_jobs == 1:
        return np.array([one(i) for i in range(n)]).reshape(n, n_rules)
    with ThreadPoolExecutor(n_jobs) as pool:
        return np.array(list(pool.map(one, range(n)))).reshape(n, n_rules)


def exchanged(lists: sp.csr_matrix, decoys: sp.csr_matrix, swapped: np.ndarray) -> sp.csr_matrix:
    """The lists, those that are `swapped` (bool, one a list) with the decoy of the same row in their place."""
    n = lists.shape[0]
    return sp.vstack([lists, decoys], format="csr")[np.arange(n) + n * swapped]


def masks(
    problem: Problem, lists: sp.csr_matrix, rules: Sequence[Rule], alpha: float, network: Network | None = None
) -> list[np.ndarray]:
    """Which lists each of several rules of one arena annotates, bool (n_features,) each.

    Raises
    ------
    BiosaeError
        If a rule asks for a network and there is none.
    """
    if network is None and any(rule.network for rule in rules):
        raise BiosaeError("The published rule with edges needs STRING and TRRUST", do="fetch both, or leave it out")
    lists = lists if problem.n_tested else problem.lists  # where no real list is tested, no null of it is either
    overlap = problem.overlaps(lists)
    tests = {
        n: run_tests(problem, overlap, n) if n else possible_tests(problem, overlap, alpha)
        for n in {rule.selected for rule in rules}
    }
    found = []
    for rule in rules:
        if network is None or not rule.network:
            found.append(annotated(problem, tests[rule.selected], rule, alpha))
            continue
        factors = factor_tests(lists, network.factors, rule.selected)
        pooled = Tests(
            *(np.concatenate([getattr(t, f.name) for t in (tests[rule.selected], factors)]) for f in fields(Tests))
        )
        found.append(annotated(problem, pooled, rule, alpha) | has_edge(lists, network.edges))
    return found
