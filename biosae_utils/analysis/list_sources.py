"""Lists of latents over the genes that they could have listed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.annotation_rates import lists_over
from biosae_utils.analysis.catalogue import GeneFiring, top_genes
from biosae_utils.analysis.enrich import make_lists
from biosae_utils.analysis.genesets import GeneSets


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


def lists_on(
    firing: GeneFiring, genes: np.ndarray, latents: np.ndarray, *, n_top: int, min_count: int, shrinkage: float
) -> sp.csr_matrix:
    """Lists of some latents that choose among some genes only, by the catalogue's rule, filled up to `n_top`.

    Parameters
    ----------
    firing : GeneFiring
    genes, latents : ndarray of int
        Rows and columns of `firing` that take part; latents in increasing order.

    Returns
    -------
    csr_matrix, shape (len(latents), len(genes))
    """
    top = top_genes(firing.on(genes), n_top=n_top, min_count=min_count, shrinkage=shrinkage)
    top = top[np.isin(top["latent"], latents)]
    return make_lists(np.searchsorted(latents, top["latent"]), top["gene"].to_numpy(), (len(latents), len(genes)))
