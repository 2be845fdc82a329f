"""The labels of latents: every term that passes, what it stands for, and whether it describes more than the list."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.catalogue import GeneFiring
from biosae_utils.analysis.enrich import Problem, group_redundant, overlap_genes, score_all
from biosae_utils.analysis.genesets import GeneSets
from biosae_utils.analysis.label_scores import prerank, score_labels

COLUMNS = (
    "latent", "collection", "term_id", "name", "grouped_under", "overlap", "list_size", "term_size", "fold",
    "odds_ratio", "p", "q_feature", "q_layer", "auroc", "f1", "genes",
)  # fmt: skip
COARSE = "Hallmark"
"""Collection of broad processes that few enough terms describe for a test without a threshold."""


def annotated_labels(
    problem: Problem, latents: np.ndarray, unseen: GeneFiring, listed: sp.csr_matrix, *, alpha: float = 0.05
) -> pd.DataFrame:
    """All terms that pass for their latent, described and scored on what did not choose them.

    Parameters
    ----------
    problem : Problem
        Lists of the latents that fire, and the terms.
    latents : ndarray of int, shape (n_features,)
        Latent of each list of `problem`.
    unseen : GeneFiring
        Firing of all latents in held-out cells, over the genes of `problem`.
    listed : csr_matrix, shape (d_sae, n_genes)
        Genes of each latent's list: they chose the label, so they are left out of its score.
    alpha : float
        Level for q over the terms of a latent.

    Returns
    -------
    DataFrame
        `COLUMNS`, one row a (latent, term), by latent and p. ``grouped_under``: the term that stands for it among
        those of its latent; ``genes``: listed genes of the term; ``auroc`` and ``f1`` as `label_scores` has them.
    """
    every = score_all(problem, p_max=alpha)
    hits = every[every["q_feature"] <= alpha].reset_index(drop=True)
    if not len(hits):
        return pd.DataFrame(columns=list(COLUMNS))
    feature, term = hits["feature"].to_numpy(), hits["term"].to_numpy()
    terms = problem.sets.terms
    name = terms["name"].to_numpy()
    score = score_labels(unseen, problem.sets, latents[feature], term, leave_out=listed)
    described = hits.assign(
        latent=latents[feature],
        collection=terms["collection"].to_numpy()[term],
        term_id=terms["term_id"].to_numpy()[term],
        name=name[term],
        grouped_under=name[group_redundant(problem, hits)],
        genes=overlap_genes(problem, feature, term),
        auroc=score["auroc"],
        f1=score["f1"],
    )
    return described[list(COLUMNS)]


def coarse_terms(sets: GeneSets, most: int = 50) -> GeneSets:
    """Hallmark processes, or the `most` largest terms where there are none."""
    found = sets.collection(COARSE)
    return found if len(found) else sets.select(np.argsort(-sets.terms["size"].to_numpy(), kind="stable")[:most])


def ranked_terms(
    labels: pd.DataFrame, mean: sp.csr_matrix, sets: GeneSets, *, n_latents: int = 3, n_terms: int = 10, seed: int = 0
) -> pd.DataFrame:
    """Enrichment over all genes, without a threshold, for the latents with the strongest labels.

    Parameters
    ----------
    labels : DataFrame
        From `annotated_labels`; not empty.
    mean : csr_matrix, shape (n_genes, d_sae)
        Mean activation of each latent on each gene, zeros included; genes are the columns of `sets`.
    sets : GeneSets
    n_latents, n_terms : int
        How many latents, and how many of the best terms of each.

    Returns
    -------
    DataFrame
        latent, name, nes, p, q, leading (the first twelve genes of the leading edge).
    """
    columns = mean.tocsc()
    leaders = labels.sort_values("q_layer")["latent"].drop_duplicates().head(n_latents)
    ranked = pd.concat(
        [prerank(columns[:, [i]].toarray().ravel(), sets, seed=seed).head(n_terms).assign(latent=i) for i in leaders]
    )
    first = ranked["leading"].str.split(", ").str[:12].str.join(", ")
    return ranked[["latent", "name", "nes", "p", "q"]].assign(leading=first)
