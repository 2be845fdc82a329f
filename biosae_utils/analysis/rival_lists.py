"""Latents beside directions that nobody trained: the same positions, the same rule by which genes are listed.

A trained autoencoder and an untrained one (random directions, the same k) are taken through three list rules, and every
list is compared with lists that swap genes among themselves. What differs between the two sides is the training alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.annotation_rules import RULES, make_problem, masks, null_counts
from biosae_utils.analysis.baselines import direction_lists
from biosae_utils.analysis.catalogue import GeneFiring
from biosae_utils.analysis.enrich import score_all, top_lists
from biosae_utils.analysis.genesets import GeneSets
from biosae_utils.analysis.list_sources import lists_on
from biosae_utils.analysis.matching import codes_matrix
from biosae_utils.analysis.nulls import matched_lists
from biosae_utils.intervals import Interval, wilson

if TYPE_CHECKING:
    from biosae_utils.sae.topk import TopKSAE

TRAINED, RANDOM = "latents", "random directions"
FAR_END = "latents, far end"
"""What the latents are called where only far ends are compared."""
LIST_RULES = {
    "far end": "highest mean projection on the decoder direction",
    "firing": "highest mean over the positions at which it is among the k active ones",
    "all positions": "highest mean over all positions of the gene, zeros included",
}
"""How the genes of a direction are listed."""
MAX_POSITIONS = 100_000
"""Positions of the sample that are encoded at most: they decide which genes are frequent enough to be listed."""
RANDOM_SEED = 1000
"""Where the seeds of untrained autoencoders start, apart from those of trained ones."""
PER_LIST = next(rule for rule in RULES if rule.name == "feature")


@dataclass(frozen=True)
class Listed:
    """Lists of one source under one list rule.

    Attributes
    ----------
    rule, source : str
        One of `LIST_RULES`; `TRAINED`, `RANDOM`, "raw coordinates" or "principal axes".
    seed : int
        Which training, or which draw of random directions.
    lists : csr_matrix, shape (n_lists, n_genes)
    energy : ndarray, shape (n_lists,)
        Sum of the squared code over all positions, by which a list may be weighted; ones without codes.
    """

    rule: str
    source: str
    seed: int
    lists: sp.csr_matrix
    energy: np.ndarray


def rival_lists(
    vectors: np.ndarray,
    gene: np.ndarray,
    n_genes: int,
    saes: Sequence[TopKSAE],
    *,
    n_top: int,
    min_count: int,
    shrinkage: float,
) -> tuple[list[Listed], np.ndarray]:
    """Lists of trained and untrained autoencoders under every list rule; of coordinates and axes at their far ends.

    Parameters
    ----------
    vectors : ndarray, shape (n, d)
        Activations at sampled positions.
    gene : ndarray of int, shape (n,)
        Gene of each.
    n_genes : int
    saes : sequence of TopKSAE
        Trainings of one layer that differ in their seed; as many untrained ones are drawn.
    n_top, min_count, shrinkage
        As the latents' lists were made; genes at fewer positions of the sample cannot be listed.

    Returns
    -------
    lists : list of Listed
    candidates : ndarray of int
        Genes that could be listed: columns of the lists.
    """
    step = max(1, -(-len(vectors) // MAX_POSITIONS))
    x, gene = np.asarray(vectors[::step], np.float32), np.asarray(gene)[::step]
    every = [(TRAINED, seed, sae) for seed, sae in enumerate(saes)]
    every += [(RANDOM, seed, _untrained(sae, x.mean(0), seed)) for seed, sae in enumerate(saes)]
    rows = {f"{source} {seed}": sae.W_dec.detach().numpy() for source, seed, sae in every}
    far, candidates = direction_lists(x, gene, n_genes, rows, n_top=n_top, min_count=min_count, shrinkage=shrinkage)
    out = [
        Listed("far end", name, 0, far[name], np.ones(far[name].shape[0]))
        for name in ("raw coordinates", "principal axes")
    ]
    for source, seed, sae in every:
        codes = _codes(sae, x)
        fires = np.flatnonzero(codes.getnnz(axis=0))
        firing = firing_of(codes, gene, n_genes)
        energy = np.asarray(codes.multiply(codes).sum(axis=0)).ravel()[fires]
        listed = {
            "far end": far[f"{source} {seed}"][fires],
            "firing": lists_on(firing, candidates, fires, n_top=n_top, min_count=min_count, shrinkage=shrinkage),
            "all positions": _highest(firing.on(candidates).mean().T.tocsr()[fires], n_top),
        }
        out += [Listed(rule, source, seed, lists, energy) for rule, lists in listed.items()]
    return out, candidates


def _untrained(like: TopKSAE, centre: np.ndarray, seed: int) -> TopKSAE:
    """An autoencoder of the same sizes before any training: random directions about the mean of the activations."""
    import torch

    from biosae_utils.sae.topk import TopKSAE

    sae = TopKSAE(like.d_in, like.d_sae, like.k, seed=RANDOM_SEED + seed).eval()
    with torch.no_grad():
        sae.b_dec.copy_(torch.from_numpy(centre))
    return sae


def _codes(sae: TopKSAE, x: np.ndarray, block: int = 8192) -> sp.csr_matrix:
    """Sparse codes of vectors, shape (n, d_sae)."""
    import torch

    parts = []
    with torch.no_grad():
        for start in range(0, len(x), block):
            values, indices = sae.encode(torch.from_numpy(x[start : start + block]))
            parts.append(codes_matrix(values.numpy(), indices.numpy(), sae.d_sae))
    return sp.vstack(parts, format="csr")


def firing_of(codes: sp.csr_matrix, gene: np.ndarray, n_genes: int) -> GeneFiring:
    """Firing of codes (n, d_sae) on the gene of each position; a negative gene leaves a position out."""
    keep = np.flatnonzero(gene >= 0)
    one_hot = sp.csr_matrix((np.ones(len(keep)), (gene[keep], keep)), shape=(n_genes, len(gene)))
    fired = codes.copy()
    fired.data = np.ones_like(fired.data)
    sums, counts = (one_hot @ codes).tocsr(), (one_hot @ fired).tocsr().astype(np.int64)
    sums.sort_indices()
    counts.sort_indices()
    return GeneFiring(sums.astype(np.float64), counts, np.bincount(gene[keep], minlength=n_genes))


def _highest(mean: sp.csr_matrix, n_top: int) -> sp.csr_matrix:
    """Lists of the genes with the highest mean, of those with any, from a sparse (n_lists, n_genes)."""
    mean = mean.tocsr()
    dense = mean.toarray()
    lists = top_lists(dense, min(n_top, dense.shape[1])).multiply(dense > 0).tocsr().astype(np.uint8)
    lists.eliminate_zeros()
    return lists


def side_by_side(
    found: Sequence[Listed],
    sets: GeneSets,
    *,
    alpha: float = 0.05,
    min_size: int = 5,
    max_size: int = 500,
    n_matched: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """How far each source lies above its own frequency-matched lists; BH over the terms of each list.

    Parameters
    ----------
    found : sequence of Listed
        Over the genes of `sets`.
    n_matched : int
        Draws of matched lists.

    Returns
    -------
    DataFrame
        list_rule, source, seed, lists, annotated, matched, above, low, high (percent and points; Wilson over lists),
        by_energy (annotated share weighted by energy, percent), genes (different ones listed), terms (different ones
        found layer-wide).
    """
    rows = []
    for one in found:
        problem, _ = make_problem(one.lists, sets, ("measured", True), min_size, max_size, may_be_empty=True)
        (mask,) = masks(problem, problem.lists, [PER_LIST], alpha)
        drawn = null_counts(problem, [PER_LIST], alpha, matched_lists(one.lists, seed), n_matched) / len(mask)
        matched, share = 100 * drawn.mean(), wilson(int(mask.sum()), len(mask), over="lists").scaled(100)
        above = share.shifted(-matched)
        rows.append(
            {
                "list_rule": one.rule, "source": one.source, "seed": one.seed, "lists": len(mask),
                "annotated": share.value, "matched": matched, "above": above.value, "low": above.low,
                "high": above.high, "by_energy": 100 * np.average(mask, weights=one.energy),
                "genes": len(np.unique(one.lists.indices)),
                "terms": score_all(problem, p_max=alpha).query("q_layer <= @alpha")["term"].nunique(),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def over_seeds(table: pd.DataFrame, rule: str) -> Mapping[str, tuple[Interval, list[float]]]:
    """Points above matched lists of each source under one list rule: mean over seeds with mean ends, and every seed."""
    out = {}
    for source, part in table[table["list_rule"] == rule].groupby("source", sort=False):
        value, low, high = part[["above", "low", "high"]].mean()
        out[str(source)] = Interval(value, low, high, "lists"), part["above"].tolist()
    return out
