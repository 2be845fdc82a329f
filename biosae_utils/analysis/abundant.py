"""Genes that every cell is full of: ribosome, translation, mitochondrion. They carry much of any gene set's hits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from biosae_utils.analysis.genesets import GeneSets

SYMBOLS = r"^(?:RP[LS]\d|RPLP|RPSA|MRP[LS]\d|MT-|EEF\d|EIF\d|FAU$|UBA52$|RACK1$|GNB2L1$|NACA$|BTF3$|TPT1$)"
"""Approved symbols of ribosomal proteins, translation factors and genes of the mitochondrial genome."""
MOSTLY = 0.25
"""Share of a term's genes from which the term counts as one of them."""


def is_abundant(symbols: np.ndarray) -> np.ndarray:
    """Which symbols are of that kind, bool, same shape."""
    return pd.Series(symbols, dtype=str).str.upper().str.match(SYMBOLS).to_numpy()


def abundant_terms(sets: GeneSets) -> np.ndarray:
    """Which terms have at least a quarter of such genes, bool (n_terms,)."""
    members = sets.membership.astype(np.int32)
    size = np.maximum(np.diff(members.indptr), 1)
    return members @ is_abundant(sets.genes).astype(np.int32) >= MOSTLY * size
