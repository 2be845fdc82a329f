"""Where lists come from: latents, and directions that nobody trained, each over the genes that it could have listed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.annotation_rates import lists_over
from biosae_utils.analysis.baselines import direction_lists
from biosae_utils.analysis.catalogue import GeneFiring, top_genes
from biosae_utils.analysis.enrich import make_lists
from biosae_utils.analysis.genesets import GeneSets

SAMPLED = "latents, sampled genes"


@dataclass(frozen=True)
class LatentLists:
    """Lists of the latents that fire, and terms, over the genes that these cells express often enough to be listed.

    Attributes
    ----------
    features, genes, top : DataFrame
        As 03_catalogue leaves them.
    firing, unseen : GeneFiring
        Over all genes of the catalogue, in training cells and in held-out cells.
    source : GeneSets
        Terms as they were read.
    min_count : int
        Positions below which a gene cannot be listed.
    columns : ndarray of int, shape (n_listable,)
        Rows of `genes` that form the background.
    symbols, tokens : ndarray, shape (n_listable,)
    sets : GeneSets
        Terms of all sizes over the background.
    lists : csr_matrix, shape (n_latents_that_fire, n_listable)
    """

    features: pd.DataFrame
    genes: pd.DataFrame
    top: pd.DataFrame
    firing: GeneFiring
    unseen: GeneFiring
    source: GeneSets
    min_count: int
    columns: np.ndarray = field(init=False)
    symbols: np.ndarray = field(init=False)
    tokens: np.ndarray = field(init=False)
    sets: GeneSets = field(init=False)
    lists: sp.csr_matrix = field(init=False)

    def __post_init__(self) -> None:
        columns = np.flatnonzero((self.genes["n_positions"] >= self.min_count).to_numpy())
        symbols, tokens = (self.genes[name].to_numpy()[columns] for name in ("symbol", "token"))
        made = {"columns": columns, "symbols": symbols, "tokens": tokens, "sets": self.source.on_genes(symbols)}
        for name, value in (made | {"lists": lists_over(self.features, self.top, tokens)}).items():
            object.__setattr__(self, name, value)

    @property
    def latents(self) -> np.ndarray:
        """Latent of each list."""
        return np.flatnonzero((self.features["state"] != "dead").to_numpy())

    @property
    def listed(self) -> sp.csr_matrix:
        """The lists with a row for every latent, shape (d_sae, n_listable)."""
        column = np.searchsorted(self.columns, self.top["gene_index"])
        return make_lists(self.top["latent"].to_numpy(), column, (len(self.features), len(self.columns)))

    def of_another(self, features: pd.DataFrame, top: pd.DataFrame) -> sp.csr_matrix:
        """Lists of another catalogue over the same genes."""
        return lists_over(features, top, self.tokens)


@dataclass(frozen=True)
class SampledLists:
    """Lists of directions and of the latents over the genes that are frequent in a sample of activations.

    Attributes
    ----------
    lists : dict of csr_matrix, shape (n_directions, n_sampled)
        `SAMPLED`, "raw coordinates", "principal axes", "random directions".
    sets : GeneSets
        Terms of all sizes over the same genes.
    """

    lists: dict[str, sp.csr_matrix]
    sets: GeneSets


def sampled_lists(
    of: LatentLists, vectors: np.ndarray, token: np.ndarray, *, n_top: int, shrinkage: float, seed: int = 0
) -> SampledLists:
    """Genes at the far end of coordinates, principal axes and random directions, and the latents over the same genes.

    The sample is smaller than the cohort, so fewer genes can be listed than by the latents, which are therefore listed
    over the sample's genes once more.

    Parameters
    ----------
    of : LatentLists
    vectors : ndarray, shape (n, d)
        Activations at the sampled positions.
    token : ndarray of int, shape (n,)
        Token of each.
    n_top, shrinkage : int, float
        As the latents' lists were made.
    """
    how: dict[str, Any] = {"n_top": n_top, "min_count": of.min_count, "shrinkage": shrinkage}
    gene = pd.Index(of.genes["token"]).get_indexer(token)
    dense, candidates = direction_lists(vectors, gene, len(of.genes), n_random=len(of.latents), seed=seed, **how)
    again = top_genes(of.firing.on(candidates), **how)
    shape = len(of.latents), len(candidates)
    same = make_lists(np.searchsorted(of.latents, again["latent"]), again["gene"], shape)
    return SampledLists({SAMPLED: same, **dense}, of.source.on_genes(of.genes["symbol"].to_numpy()[candidates]))
