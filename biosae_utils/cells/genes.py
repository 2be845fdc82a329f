"""The columns of a count matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
