"""Annotation of a layer with its permutations, against a loop that tests one (list, term) pair at a time.

``python -m benchmarks.annotate``: 4,608 lists of 20 genes, 10,000 terms (GO and Reactome as shipped, on 15,000 genes),
100 relabelled copies, BH per list and layer-wide. The loops run on a slice of the same lists and terms, in the same
process, and their p-values must equal ours there.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from scipy.stats import fisher_exact

from benchmarks.common import Row, Timing, measure, print_rows, row, write_results
from biosae_utils.analysis.annotation_rules import RULES, null_counts
from biosae_utils.analysis.enrich import Problem, make_lists, run_tests
from biosae_utils.analysis.genesets import GeneSets, load_genesets
from biosae_utils.analysis.nulls import permuted_labels

GENESETS = Path(__file__).parents[1] / "data/demo/genesets.parquet"
N_LISTS, N_TERMS, N_GENES, N_TOP, ALPHA = 4_608, 10_000, 15_000, 20, 0.05
TARGET_S, TARGET_MB = 10, 2_048
FULL = [r for r in RULES if r.background == "measured"]


def build(seed: int = 0) -> Problem:
    """Lists of popular genes (log-normal weights) and the shipped terms over the same genes."""
    rng = np.random.default_rng(seed)
    sets = load_genesets(GENESETS, ["GO_BP", "Reactome"])
    genes = np.sort(rng.permutation(len(sets.genes))[:N_GENES])
    sets = sets.restrict(sets.genes[genes], min_size=4)
    sets = sets.select(np.sort(rng.permutation(len(sets))[:N_TERMS]))
    weight = rng.lognormal(0, 1, N_GENES)
    # the smallest keys are a weighted draw without replacement
    drawn = np.array([np.argpartition(rng.exponential(size=N_GENES) / weight, N_TOP)[:N_TOP] for _ in range(N_LISTS)])
    lists = make_lists(np.repeat(np.arange(N_LISTS), N_TOP), drawn.ravel(), (N_LISTS, N_GENES))
    return Problem(lists, sets, sets.terms["size"].to_numpy())


def ours(problem: Problem, n_permutations: int, n_jobs: int) -> np.ndarray:
    """Annotated lists, real (first row) and relabelled, under both families."""
    real = null_counts(problem, FULL, ALPHA, lambda _: problem.lists, 1)
    draw = permuted_labels(problem, seed=0)
    return np.vstack([real, null_counts(problem, FULL, ALPHA, draw, n_permutations, n_jobs=n_jobs)])


def fisher(problem: Problem, listed: set[str], members: set[str]) -> float:
    x, n, k = len(listed & members), len(listed), len(members)
    return fisher_exact([[x, n - x], [k - x, problem.background - n - k + x]], alternative="greater").pvalue


def naive(problem: Problem, lists: list[set[str]], terms: list[set[str]], smallest: int) -> np.ndarray:
    """The plain loop; as in the published one, term names are put into upper case again for every list."""
    p = np.ones((len(lists), len(terms)))
    for i, listed in enumerate(lists):
        for j, term in enumerate(terms):
            members = {gene.upper() for gene in term}
            if len(listed & members) >= smallest:
                p[i, j] = fisher(problem, listed, members)
    return p


def check(problem: Problem, p: np.ndarray) -> None:
    """The loop's p-values on its slice are ours."""
    tests = run_tests(problem, problem.overlaps(problem.lists))
    mine = sp.csr_matrix((1 - tests.p, (tests.feature, tests.term)), shape=(N_LISTS, len(problem.sets)))
    np.testing.assert_allclose(1 - mine[: p.shape[0], : p.shape[1]].toarray(), p, rtol=1e-6, atol=1e-12)


def as_names(matrix: sp.csr_matrix, sets: GeneSets, n: int) -> list[set[str]]:
    return [set(sets.genes[matrix[i].indices]) for i in range(n)]


def main(n_permutations: int, n_jobs: int, runs: int) -> list[Row]:
    torch.set_num_threads(n_jobs)  # only names the machine
    problem = build()
    counts: list[np.ndarray] = []
    time = measure(lambda: counts.append(ours(problem, n_permutations, n_jobs)), runs)
    print(
        f"annotated per list: {counts[0][0, 0]}, permuted {counts[0][1:, 0].mean():.1f}; layer-wide {counts[0][0, 1]}"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    n_terms = len(problem.sets)
    lists, terms = as_names(problem.lists, problem.sets, 4), as_names(problem.sets.membership, problem.sets, 2_000)
    p: list[np.ndarray] = []
    every = measure(lambda: p.append(naive(problem, lists, terms, 0)), 1, warm=0)
    check(problem, p[0])
    lists, terms = as_names(problem.lists, problem.sets, 8), as_names(problem.sets.membership, problem.sets, n_terms)
    some = measure(lambda: naive(problem, lists, terms, 2), 1, warm=0)
    pairs = N_LISTS * n_terms * (n_permutations + 1)
    case = f"{N_LISTS:,} lists x {n_terms:,} terms x {n_permutations + 1} labellings, {n_jobs} threads"
    target = Timing((TARGET_S * (n_permutations + 1) / 101,))
    in_ns = {"per": pairs, "scale": 1e9, "unit": "ns a pair"}
    return [
        row(case, time, target, "target", scale=1, unit="s"),
        row(case, time, every, "Fisher loop over all pairs, on 4 x 2,000", reference_per=4 * 2_000, **in_ns),
        row(
            case,
            time,
            some,
            f"published loop, overlap >= 2 only, on 8 x {n_terms:,}",
            reference_per=8 * n_terms,
            **in_ns,
        ),
        Row("peak memory of the process", peak, TARGET_MB, "target", TARGET_MB / peak, None, "MiB", 1, 0.0),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--permutations", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rows = main(options.permutations, options.jobs, options.runs)
    print_rows(torch.device("cpu"), rows)
    if options.permutations == 100:
        write_results("annotate", torch.device("cpu"), rows)
