"""What the annotation test could have found: programmes planted into lists that mean nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.annotation_rules import possible_tests
from biosae_utils.analysis.enrich import Problem, make_lists
from biosae_utils.analysis.fdr import bh_reject
from biosae_utils.analysis.nulls import permuted_labels


def plant(
    lists: sp.csr_matrix, members: Sequence[np.ndarray], strength: int, rng: np.random.Generator
) -> tuple[sp.csr_matrix, np.ndarray]:
    """Replace genes of some lists by genes of a term.

    Parameters
    ----------
    lists : csr_matrix, shape (n_features, n_genes)
    members : sequence of ndarray of int
        Genes of the term for each planted list; as many lists, drawn at random, receive one.
    strength : int
        Genes of the list that come from the term (fewer where list or term is shorter).

    Returns
    -------
    planted : csr_matrix
        Lists of the same sizes.
    where : ndarray of int, shape (len(members),)
        The lists that received a term.
    """
    rows = [lists.indices[a:b] for a, b in zip(lists.indptr[:-1], lists.indptr[1:], strict=True)]
    long_enough = np.flatnonzero(np.diff(lists.indptr) >= 3)
    where = rng.choice(long_enough, len(members), replace=False)
    for i, term in zip(where, members, strict=True):
        give = rng.choice(term, min(strength, len(term), len(rows[i])), replace=False)
        rest = np.setdiff1d(rows[i], term)
        need = len(rows[i]) - len(give)
        others = np.setdiff1d(np.arange(lists.shape[1]), np.r_[rest, term]) if len(rest) < need else rest
        fill = rest if len(rest) < need else rng.choice(rest, need, replace=False)
        rows[i] = np.r_[give, fill, rng.choice(others, need - len(fill), replace=False)]
    feature = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    return make_lists(feature, np.concatenate(rows), lists.shape), where


def power_table(
    problem: Problem,
    *,
    sizes: Sequence[tuple[int, int]] = ((5, 15), (16, 50), (51, 150), (151, 500)),
    strengths: Sequence[int] = (2, 3, 4, 5, 6, 8, 10),
    share: float = 0.25,
    alpha: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Power and realised false discoveries of both families, over size of the programme and its share of the list.

    The lists are those of `problem` with permuted gene labels, so nothing is in them; a `share` of them then
    gets `strength` genes of a term.

    Returns
    -------
    DataFrame
        planted (the share of lists), size (as ``"16-50"``), strength, n_planted, power_feature, power_layer (planted
        lists whose own term is found), false_layer (share of the layer-wide discoveries that are in lists without a
        programme; 0 without discoveries).
    """
    term_sizes, n = problem.term_sizes, int(share * problem.n_tested)
    rows = []
    for s, (low, high) in enumerate(sizes):
        terms = np.flatnonzero((term_sizes >= low) & (term_sizes <= high))
        if not len(terms) or not n:
            continue
        for strength in strengths:
            rng = np.random.default_rng([seed, s, strength])
            term = rng.choice(terms, n)
            membership = problem.sets.membership[term]
            members = np.split(membership.indices, membership.indptr[1:-1])
            null = permuted_labels(problem, seed)(strength)
            lists, where = plant(null, members, strength, rng)
            overlap = problem.overlaps(lists)
            tests = possible_tests(problem, overlap, alpha)
            wanted = np.full(lists.shape[0], -1)
            wanted[where] = term
            own = tests.term == wanted[tests.feature]
            each = bh_reject(tests.p, len(problem.sets), alpha, tests.feature)
            layer = bh_reject(tests.p, len(problem.sets) * problem.n_tested, alpha)
            false = float((wanted[tests.feature[layer]] < 0).mean()) if layer.any() else 0.0
            rows.append((share, f"{low}-{high}", strength, n, (own & each).sum() / n, (own & layer).sum() / n, false))
    columns = ["planted", "size", "strength", "n_planted", "power_feature", "power_layer", "false_layer"]
    return pd.DataFrame(rows, columns=columns)
