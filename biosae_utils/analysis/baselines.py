"""Gene lists from directions that no sparse autoencoder found: coordinates, principal axes, random directions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp

from biosae_utils.analysis.enrich import top_lists
from biosae_utils.analysis.geometry import principal_axes
from biosae_utils.errors import BiosaeError

PCA_ROWS = 20_000
"""Vectors that suffice for the principal axes of one layer."""


def gene_means(
    sample: np.ndarray, gene: np.ndarray, n_genes: int, shrinkage: float = 10.0
) -> tuple[np.ndarray, np.ndarray]:
    """Shrunken mean activation vector of every gene, about the mean of all positions.

    A projection is linear, so the mean projection of a gene on any direction is the projection of this vector: all
    directions are read off one small matrix.

    Parameters
    ----------
    sample : ndarray, shape (n, d)
        Residual stream at sampled positions.
    gene : ndarray of int, shape (n,)
        Gene of each sampled position; negative leaves it out.
    n_genes : int
    shrinkage : float
        Pseudo-count of positions at the overall mean.

    Returns
    -------
    means : ndarray of float64, shape (n_genes, d)
    count : ndarray of int64, shape (n_genes,)
    """
    if len(gene) != len(sample):
        raise BiosaeError(f"{len(gene):,} genes for {len(sample):,} sampled positions", where="01_extract/sample")
    keep = np.flatnonzero(np.asarray(gene) >= 0)
    one_hot = sp.csr_matrix((np.ones(len(keep), np.float32), (gene[keep], keep)), shape=(n_genes, len(sample)))
    count = np.bincount(gene[keep], minlength=n_genes)
    sums = np.zeros((n_genes, sample.shape[1]))
    for start in range(0, len(sample), 1 << 14):
        part = slice(start, start + (1 << 14))
        sums += one_hot[:, part] @ np.asarray(sample[part], dtype=np.float32)
    overall = sums.sum(axis=0) / max(len(keep), 1)
    return (sums - count[:, None] * overall) / (count + shrinkage)[:, None], count


def direction_lists(
    sample: np.ndarray,
    gene: np.ndarray,
    n_genes: int,
    rows: Mapping[str, np.ndarray],
    *,
    n_top: int = 20,
    min_count: int = 10,
    shrinkage: float = 10.0,
) -> tuple[dict[str, sp.csr_matrix], np.ndarray]:
    """Lists of the genes at the far end of dense directions: those with the highest mean projection.

    Coordinates and principal axes have two ends and give two lists each; any other direction has one.

    Parameters
    ----------
    sample, gene, n_genes, shrinkage : as in `gene_means`
    rows : mapping of name to ndarray, shape (n_directions, d)
        Further directions: decoders, random ones.
    n_top, min_count : int
        Length of a list; positions in the sample below which a gene cannot be listed (fewer where a small sample would
        leave less than five times `n_top` genes).

    Returns
    -------
    lists : dict of csr_matrix, shape (n_directions, len(candidates))
        "raw coordinates", "principal axes", then those of `rows`.
    candidates : ndarray of int
        Genes that could be listed: the background of any test of these lists, and of what they are compared with.
    """
    means, count = gene_means(sample, gene, n_genes, shrinkage)
    wanted = min(5 * n_top, len(count))
    candidates = np.flatnonzero(count >= max(1, min(min_count, np.sort(count)[-wanted])))
    if len(candidates) < 2 * n_top:
        raise BiosaeError(
            f"Only {len(candidates)} genes are in the sample of activations",
            where="01_extract/sample",
            do="raise n_positions of 01_extract",
        )
    step = max(1, len(sample) // PCA_ROWS)
    coordinates = means[candidates].T
    axes = principal_axes(np.asarray(sample[::step], dtype=np.float32)).axes @ coordinates
    scores = {"raw coordinates": np.vstack([coordinates, -coordinates]), "principal axes": np.vstack([axes, -axes])}
    scores |= {name: np.asarray(directions, np.float64) @ coordinates for name, directions in rows.items()}
    return {name: top_lists(s, n_top) for name, s in scores.items()}, candidates
