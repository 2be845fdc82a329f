"""Gene lists against gene sets: overlaps as one sparse product, exact p-values from a table, the full family.

A list is what a latent (or any direction) is summarised by: its top genes. Lists are a sparse matrix, features by
genes; terms are a `GeneSets` over the same genes. Nothing of size features x terms is ever dense.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.fdr import bh_adjust
from biosae_utils.analysis.genesets import GeneSets
from biosae_utils.analysis.hypergeom import HypergeometricTable
from biosae_utils.errors import BiosaeError

MIN_LIST = 3
"""Lists with fewer genes in the background are not tested (they count as not annotated)."""


def make_lists(feature: np.ndarray, gene: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    """Lists as a sparse matrix of ones.

    Parameters
    ----------
    feature, gene : ndarray of int, shape (n,)
        One entry per (feature, listed gene); repeats count once.
    shape : (n_features, n_genes)

    Returns
    -------
    csr_matrix of uint8, shape (n_features, n_genes)
    """
    lists = sp.csr_matrix((np.ones(len(feature), np.int32), (feature, gene)), shape=shape)
    lists.sum_duplicates()
    if np.diff(lists.indptr).max(initial=0) > 255:
        raise BiosaeError("A list has more than 255 genes", do="use a smaller n_top")
    return sp.csr_matrix((np.ones(lists.nnz, np.uint8), lists.indices, lists.indptr), shape=shape)


def top_lists(scores: np.ndarray, n_top: int) -> sp.csr_matrix:
    """Lists of the `n_top` highest-scoring genes, from scores of shape (n_features, n_genes)."""
    best = np.argpartition(-scores, n_top - 1, axis=1)[:, :n_top]
    return make_lists(np.repeat(np.arange(len(scores)), n_top), best.ravel(), scores.shape)


@dataclass(frozen=True)
class Problem:
    """Lists and terms over one background, with the p-values that can occur.

    Attributes
    ----------
    lists : csr_matrix of uint8, shape (n_features, n_genes)
        Columns are the background; lists with fewer than `MIN_LIST` genes are emptied.
    sets : GeneSets
        Terms with the same columns.
    term_sizes : ndarray of int, shape (n_terms,)
        Size that enters the test: members in the background, unless the published rule is asked for.
    may_be_empty : bool
        Whether no term, or no list, may be left: then nothing is annotated. Else that is an error.
    """

    lists: sp.csr_matrix
    sets: GeneSets
    term_sizes: np.ndarray
    may_be_empty: bool = False
    list_sizes: np.ndarray = field(init=False)
    table: HypergeometricTable = field(init=False)
    gene_terms: sp.csr_matrix = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.lists.shape[1] != self.sets.membership.shape[1]:
            raise BiosaeError(f"Lists over {self.lists.shape[1]} genes, terms over {self.sets.membership.shape[1]}")
        if not len(self.sets) and not self.may_be_empty:
            raise BiosaeError(
                "No gene set is left on the measured genes", do="check the symbols of the data, or lower min_size"
            )
        sizes = np.diff(self.lists.indptr)
        if (sizes[sizes > 0] < MIN_LIST).any():
            object.__setattr__(self, "lists", _without_rows(self.lists, sizes < MIN_LIST))
            sizes = np.where(sizes < MIN_LIST, 0, sizes)
        if not sizes.any() and not self.may_be_empty:
            raise BiosaeError(
                f"No list has {MIN_LIST} genes of the background",
                do="lower min_count, or check the symbols of the data",
            )
        gene_terms = self.sets.membership.T.tocsr()
        gene_terms.sort_indices()
        object.__setattr__(self, "list_sizes", sizes)
        object.__setattr__(self, "gene_terms", gene_terms)
        object.__setattr__(self, "table", HypergeometricTable(self.background, sizes[sizes > 0], self.term_sizes))

    @property
    def background(self) -> int:
        """Number of genes that could be listed."""
        return self.lists.shape[1]

    @property
    def n_tested(self) -> int:
        """Lists that are tested."""
        return int(np.count_nonzero(self.list_sizes))

    def overlaps(self, lists: sp.csr_matrix | None = None) -> sp.csr_matrix:
        """Genes shared by every list and term, shape (n_features, n_terms), zeros not stored."""
        return (self.lists if lists is None else lists) @ self.gene_terms

    def relabelled(self, order: np.ndarray) -> sp.csr_matrix:
        """The lists with gene j called ``order[j]``: a relabelling keeps list sizes, gene margins and shared genes."""
        relabelled = order.astype(self.lists.indices.dtype, copy=False)[self.lists.indices]
        return sp.csr_matrix((self.lists.data, relabelled, self.lists.indptr), shape=self.lists.shape)


@dataclass(frozen=True)
class Tests:
    """Tests with an overlap, all of shape (n,): feature, term, overlap, p. The others of the family have p = 1."""

    feature: np.ndarray
    term: np.ndarray
    overlap: np.ndarray
    p: np.ndarray


def run_tests(problem: Problem, overlap: sp.csr_matrix, smallest: np.ndarray | int = 1) -> Tests:
    """p-values of all pairs that share at least `smallest` genes (a number, or one per term).

    One-sided hypergeometric tests, equal to ``scipy.stats.hypergeom.sf(x - 1, background, K, n)``.
    """
    if np.ndim(smallest) or smallest > 1:
        least = np.minimum(np.broadcast_to(smallest, len(problem.sets)), 255).astype(np.uint8)
        kept = np.flatnonzero(overlap.data >= least[overlap.indices])
    else:
        kept = np.arange(overlap.nnz)
    feature = np.searchsorted(overlap.indptr, kept, side="right") - 1
    term, shared = overlap.indices[kept], overlap.data[kept]
    row, column = problem.table.index(problem.list_sizes, problem.term_sizes)
    return Tests(feature, term, shared, problem.table.tail[row[feature], column[term], shared])


def score_all(problem: Problem, p_max: float = 1.0) -> pd.DataFrame:
    """Every test with an overlap, with effect sizes and both adjusted p-values.

    Parameters
    ----------
    problem : Problem
    p_max : float
        Tests with a larger p are left out (not out of the family). Adjusted values up to `p_max` are exact all the
        same, because a test that decides about them has a smaller p than they; larger ones are upper bounds.

    Returns
    -------
    DataFrame
        feature, term (row of ``problem.sets.terms``), overlap, list_size, term_size, p; ``q_feature``: adjusted over
        all terms of the feature; ``q_layer``: over all terms of all tested features; ``fold``: overlap over its
        expectation; ``odds_ratio`` with one half added to each cell. Sorted by feature, then p.
    """
    tests = run_tests(problem, problem.overlaps())
    if p_max < 1:
        kept = np.flatnonzero(tests.p <= p_max)
        tests = Tests(tests.feature[kept], tests.term[kept], tests.overlap[kept], tests.p[kept])
    n = problem.list_sizes[tests.feature].astype(float)
    k = problem.term_sizes[tests.term].astype(float)
    x, b = tests.overlap.astype(float), float(problem.background)
    odds = (x + 0.5) * (np.maximum(b - n - k + x, 0) + 0.5) / ((n - x + 0.5) * (k - x + 0.5))
    table = pd.DataFrame(
        {
            "feature": tests.feature,
            "term": tests.term,
            "overlap": tests.overlap.astype(np.int32),
            "list_size": n.astype(np.int32),
            "term_size": k.astype(np.int32),
            "p": tests.p,
            "q_feature": bh_adjust(tests.p, len(problem.sets), tests.feature),
            "q_layer": bh_adjust(tests.p, len(problem.sets) * problem.n_tested),
            "fold": x * b / (n * k),
            "odds_ratio": odds,
        }
    )
    return table.sort_values(["feature", "p", "fold"], ascending=[True, True, False], ignore_index=True)


def overlap_genes(problem: Problem, feature: np.ndarray, term: np.ndarray) -> list[str]:
    """Symbols that each (feature, term) pair shares, as ``"A, B"``."""
    shared = problem.lists[feature].multiply(problem.sets.membership[term]).tocsr()
    shared.sort_indices()
    names = problem.sets.genes
    return [", ".join(names[shared.indices[a:b]]) for a, b in zip(shared.indptr[:-1], shared.indptr[1:], strict=True)]


def group_redundant(problem: Problem, hits: pd.DataFrame, jaccard: float = 0.5) -> pd.Series:
    """The term that stands for each hit among the hits of its feature.

    Going from the smallest p upwards, a term joins the first leader with which it shares at least `jaccard` of the
    members (union of both), else it becomes a leader itself.

    Parameters
    ----------
    problem : Problem
    hits : DataFrame
        feature, term and p, as from `score_all`, sorted by feature and p.

    Returns
    -------
    Series of int, indexed like `hits`
        Row of the leading term in ``problem.sets.terms``; the term itself where it leads.
    """
    used, code = np.unique(hits["term"].to_numpy(), return_inverse=True)
    members = problem.sets.membership[used].astype(np.int32)
    shared = (members @ members.T).tocsr()
    size = np.diff(members.indptr)
    row = np.repeat(np.arange(len(used)), np.diff(shared.indptr))
    similar = shared.data >= jaccard * (size[row] + size[shared.indices] - shared.data)
    near = sp.csr_matrix((similar[similar], (row[similar], shared.indices[similar])), shape=shared.shape)
    neighbours = [set(near.indices[a:b].tolist()) for a, b in zip(near.indptr[:-1], near.indptr[1:], strict=True)]
    leader = np.empty(len(hits), dtype=np.int64)
    leaders: list[int] = []
    feature = hits["feature"].to_numpy()
    for i, t in enumerate(code.tolist()):
        if i == 0 or feature[i] != feature[i - 1]:
            leaders = []
        found = next((other for other in leaders if other in neighbours[t]), None)
        if found is None:
            leaders.append(t)
        leader[i] = t if found is None else found
    return pd.Series(used[leader], index=hits.index)


def _without_rows(lists: sp.csr_matrix, drop: np.ndarray) -> sp.csr_matrix:
    keep = sp.diags((~drop).astype(np.uint8), format="csr", dtype=np.uint8)
    out = (keep @ lists).tocsr()
    out.eliminate_zeros()
    return out
