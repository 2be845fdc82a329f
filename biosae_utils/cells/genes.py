"""The columns of a count matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class Genes:
    """Names of the genes that a count matrix measures, in column order.

    Attributes
    ----------
    ensembl : ndarray of str, shape (n_genes,)
        Ensembl gene ids without version, ``""`` where unknown.
    symbol : ndarray of str, shape (n_genes,)
        HGNC symbols, ``""`` where unknown.
    """

    ensembl: np.ndarray
    symbol: np.ndarray

    def __len__(self) -> int:
        return len(self.symbol)

    @property
    def label(self) -> np.ndarray:
        """What to call each gene: its symbol, else its id."""
        return np.where(self.symbol != "", self.symbol, self.ensembl)


def merge_columns(genes: Genes) -> tuple[Genes, sp.csr_matrix | None, list[str]]:
    """One column per gene: columns of the same Ensembl id (or, without one, the same symbol) are to be summed.

    Returns
    -------
    genes : Genes
        Unique genes in order of first appearance.
    merge : csr_matrix of float32, shape (n_columns, n_genes), or None
        Right factor that sums duplicate columns; None when there are none.
    messages : list of str
    """
    import pandas as pd

    keys = np.where(genes.ensembl != "", genes.ensembl, genes.symbol).astype(object)
    nameless = np.flatnonzero(keys == "")
    keys[nameless] = [f"#{i}" for i in nameless]
    codes, unique = pd.factorize(keys)
    if len(unique) == len(genes):
        return genes, None, []
    first = np.unique(codes, return_index=True)[1]
    merge = sp.csr_matrix((np.ones(len(codes), np.float32), (np.arange(len(codes)), codes)))
    merged = Genes(genes.ensembl[first], genes.symbol[first])
    sizes = np.bincount(codes)
    names = ", ".join(merged.label[sizes > 1][:5].tolist())
    extra, more = len(genes) - len(unique), ", ..." if (sizes > 1).sum() > 5 else ""
    return merged, merge, [f"{extra:,} duplicate columns were summed into their genes ({names}{more})."]
