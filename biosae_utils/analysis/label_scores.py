"""Is a label worth its name? How well a term predicts where a latent fires, on genes and cells unseen so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.abundant import abundant_terms
from biosae_utils.analysis.catalogue import GeneFiring, top_genes
from biosae_utils.analysis.enrich import Problem, make_lists, score_all
from biosae_utils.analysis.genesets import GeneSets
from biosae_utils.analysis.nulls import derange_within, relabel

MIN_POSITIONS = 10
"""Genes at fewer positions of the scoring cells are left out of a score."""
N_OTHERS = 6
"""Labels of other latents that each latent is scored with."""
SAME = 0.5
"""Jaccard index from which two terms count as the same label."""


def score_labels(
    firing: GeneFiring,
    sets: GeneSets,
    feature: np.ndarray,
    term: np.ndarray,
    *,
    leave_out: sp.csr_matrix | None = None,
    genes: np.ndarray | None = None,
) -> pd.DataFrame:
    """How well membership in a term predicts where a latent fires.

    Parameters
    ----------
    firing : GeneFiring
        Of the scoring cells; genes are the columns of `sets`.
    sets : GeneSets
    feature, term : ndarray of int, shape (n,)
        Pairs to score.
    leave_out : csr_matrix, shape (d_sae, n_genes), optional
        Genes that must not count for a latent, because they chose its label.
    genes : ndarray of bool, shape (n_genes,), optional
        Genes that may count; those at fewer than `MIN_POSITIONS` positions never do.

    Returns
    -------
    DataFrame, shape (n, 4)
        ``auroc``: of a gene's mean activation (zeros included) against membership, over genes; 0.5 is chance, ties
        count half. ``precision``, ``recall``, ``f1``: of "this position's gene is a member" against "the latent fires
        here", over positions. NaN where the term has no member, or only members, among the genes that count.
    """
    usable = firing.positions >= MIN_POSITIONS
    if genes is not None:
        usable &= genes
    keep = sp.diags(usable.astype(np.float64)).tocsr()
    used, row = np.unique(feature, return_inverse=True)
    mean, fired = ((m.T.tocsr()[used] @ keep).tocsr() for m in (firing.mean(), firing.counts))
    n_genes = np.full(len(used), int(usable.sum()))
    skipped = None
    if leave_out is not None:
        skipped = (leave_out[used].astype(np.float64) @ keep).tocsr()
        skipped.eliminate_zeros()
        mean, fired = mean - mean.multiply(skipped > 0), fired - fired.multiply(skipped > 0)
        n_genes = n_genes - np.diff(skipped.indptr)
    mean.eliminate_zeros()
    ranks, zero_rank = _ranks(mean.tocsr(), n_genes)
    members = (sets.membership.astype(np.float64) @ keep).tocsr()[term]
    members.eliminate_zeros()
    inside = _row_sums(members)
    positions = members @ firing.positions
    if skipped is not None:
        dropped = members.multiply(skipped[row])
        inside, positions = inside - _row_sums(dropped), positions - dropped @ firing.positions
    rank_sum = inside * zero_rank[row] + _row_sums(ranks[row].multiply(members))
    pairs = inside * (n_genes[row] - inside)
    hit = _row_sums(fired[row].multiply(members))
    fires = _row_sums(fired)[row]
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "auroc": np.where(pairs > 0, (rank_sum - inside * (inside + 1) / 2) / pairs, np.nan),
                "precision": np.where(pairs > 0, hit / positions, np.nan),
                "recall": np.where(pairs > 0, hit / fires, np.nan),
                "f1": np.where(pairs > 0, 2 * hit / (positions + fires), np.nan),
            }
        )


def _row_sums(matrix: sp.spmatrix) -> np.ndarray:
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()


def _ranks(mean: sp.csr_matrix, n_genes: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray]:
    """Average ranks of the genes of each latent, as their excess over the common rank of all zeros."""
    row = np.repeat(np.arange(mean.shape[0]), np.diff(mean.indptr))
    n_zero = n_genes - np.diff(mean.indptr)
    zero_rank = (n_zero + 1) / 2
    order = np.lexsort((mean.data, row))
    value, group = mean.data[order], row[order]
    within = np.arange(len(order)) - mean.indptr[:-1][group] + 1
    new = np.flatnonzero(np.r_[True, (value[1:] != value[:-1]) | (group[1:] != group[:-1])]) if len(order) else order
    length = np.diff(np.r_[new, len(order)])
    tied = np.repeat(np.add.reduceat(within, new) / length, length) if len(order) else within
    excess = np.empty(len(order))
    excess[order] = tied + n_zero[group] - zero_rank[group]
    return sp.csr_matrix((excess, mean.indices, mean.indptr), shape=mean.shape), zero_rank


def split_scores(
    choose: GeneFiring,
    score: GeneFiring,
    sets: GeneSets,
    *,
    alpha: float = 0.05,
    n_top: int = 20,
    min_count: int = 10,
    shrinkage: float = 10.0,
    min_size: int = 5,
    max_size: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Labels chosen on half of the genes and some cells, scored on the other half and other cells, both ways round.

    Genes are halved at random. On one half, in the choosing cells, every latent gets its top genes and its best term;
    on the other half, in the scoring cells, the term is scored (latents without a term at p <= alpha are left out).
    Control: labels of other latents, drawn without any that stays with its owner, which are as popular terms over genes
    as well studied. Labelled latents get labels of labelled latents, the others those of the others, terms of the
    machinery that every cell is full of (`abundant`) from among such terms; labels that share half of their genes with
    the own one say the same and are left out. The control is the mean over the draws.

    Returns
    -------
    DataFrame
        half, feature, term (row of ``sets.terms``), p, q_feature, labelled (q_feature <= alpha), auroc, f1,
        control_auroc, control_f1 (NaN for a latent without another, unrelated label of its kind).
    """
    rng = np.random.default_rng(seed)
    n_genes, common = len(sets.genes), abundant_terms(sets)
    first = np.zeros(n_genes, dtype=bool)
    first[relabel(n_genes, rng)[: n_genes // 2]] = True
    out = []
    for half, chooses in enumerate((first, ~first)):
        columns = np.flatnonzero(chooses & (choose.positions >= min_count))
        part = GeneFiring(choose.sums[columns], choose.counts[columns], choose.positions[columns])
        top = top_genes(part, n_top=n_top, min_count=min_count, shrinkage=shrinkage)
        lists = make_lists(top["latent"].to_numpy(), top["gene"].to_numpy(), (choose.sums.shape[1], len(columns)))
        here = sets.on_genes(sets.genes[columns])
        kept = np.flatnonzero(here.terms["size"].between(min_size, max_size))
        here = here.select(kept)
        best = score_all(Problem(lists, here, here.terms["size"].to_numpy()), p_max=alpha).drop_duplicates("feature")
        feature, term = best["feature"].to_numpy(), kept[best["term"].to_numpy()]
        own = score_labels(score, sets, feature, term, genes=~chooses)
        labelled = (best["q_feature"] <= alpha).to_numpy()
        others = _unrelated(term, 2 * labelled + common[term], sets, rng)
        scores = [score_labels(score, sets, feature, other, genes=~chooses) for other, _ in others]
        control = _mean_of(scores, [counts for _, counts in others])
        table = pd.DataFrame({"half": half, "feature": feature, "term": term, "p": best["p"].to_numpy()})
        table["q_feature"], table["labelled"] = best["q_feature"].to_numpy(), labelled
        table["auroc"], table["f1"] = own["auroc"], own["f1"]
        table["control_auroc"], table["control_f1"] = control["auroc"], control["f1"]
        out.append(table)
    return pd.concat(out, ignore_index=True)


def _unrelated(
    term: np.ndarray, kind: np.ndarray, sets: GeneSets, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels of others of a latent's kind, `N_OTHERS` times, and which of them share less than half of their genes."""
    paired = np.flatnonzero(np.bincount(kind)[kind] > 1)
    out = []
    for _ in range(N_OTHERS):
        other = term.copy()
        other[paired] = term[paired][derange_within(kind[paired], rng)]
        out.append((other, (other != term) & (_jaccard(sets, term, other) < SAME)))
    return out


def _mean_of(scores: Sequence[pd.DataFrame], counts: Sequence[np.ndarray]) -> pd.DataFrame:
    """Mean of several tables of scores of the same latents over those rows that count; NaN where none does."""
    stacked = np.stack([np.where(mask[:, None], table, np.nan) for table, mask in zip(scores, counts, strict=True)])
    known = np.isfinite(stacked)
    total, n = np.where(known, stacked, 0).sum(axis=0), known.sum(axis=0)
    return pd.DataFrame(np.where(n > 0, total / np.maximum(n, 1), np.nan), columns=scores[0].columns)


def _jaccard(sets: GeneSets, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Share of the genes of two terms that they have in common, for pairs of terms, shape (n,)."""
    members = sets.membership.astype(np.int32)
    size = np.diff(members.indptr)
    shared = _row_sums(members[a].multiply(members[b]))
    return shared / np.maximum(size[a] + size[b] - shared, 1)


def prerank(
    scores: Sequence[float] | np.ndarray, sets: GeneSets, *, n_permutations: int = 100, seed: int = 0
) -> pd.DataFrame:
    """Threshold-free enrichment of one latent over all genes (gseapy prerank, offline).

    Parameters
    ----------
    scores : array, shape (n_genes,)
        Mean activation of the latent per gene; columns of `sets`.
    sets : GeneSets
        Terms to test; all of them are kept whatever their size.
    n_permutations : int
        Gene permutations behind the normalised score.

    Returns
    -------
    DataFrame
        term_id, name, es, nes, p, q, leading genes; sorted by normalised score, highest first.
    """
    import gseapy

    # Most genes have mean 0. Ties are broken at random (seeded) and only ranks count (weight 0): weighted by a score
    # that a few genes own, any term with one of them would look enriched.
    jitter = np.random.default_rng(seed).random(len(scores))
    order = np.lexsort((jitter, np.asarray(scores, dtype=float)))
    rank = np.empty(len(order))
    rank[order] = np.arange(len(order)) - len(order) / 2
    ranking = pd.Series(rank, index=sets.genes).groupby(level=0).max().sort_values(ascending=False)
    result = gseapy.prerank(
        rnk=ranking,
        gene_sets=sets.as_dict(),
        min_size=1,
        max_size=len(ranking),
        permutation_num=n_permutations,
        weight=0,
        seed=seed,
        threads=1,
        outdir=None,
        no_plot=True,
        verbose=False,
    ).res2d
    names = dict(zip(sets.terms["term_id"], sets.terms["name"], strict=True))
    table = pd.DataFrame(
        {
            "term_id": result["Term"],
            "name": result["Term"].map(names),
            "es": result["ES"].astype(float),
            "nes": result["NES"].astype(float),
            "p": result["NOM p-val"].astype(float),
            "q": result["FDR q-val"].astype(float),
            "leading": result["Lead_genes"].str.replace(";", ", "),
        }
    )
    return table.sort_values("nes", ascending=False, ignore_index=True)
