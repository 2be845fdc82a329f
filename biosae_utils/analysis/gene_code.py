"""One mean vector per gene, then principal axes of what it leaves: the rival of every reconstruction of a state.

A state holds the identity of its gene, and a decoder that knows the token need not be told. What an autoencoder adds is
what it explains beyond that vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biosae_utils.analysis.baselines import gene_means
from biosae_utils.analysis.geometry import BLOCK, Principal, active_for_bits, pca_residuals, principal_axes
from biosae_utils.errors import BiosaeError

SHRINKAGE = 1.0
"""Positions at the overall mean that each mean vector counts in: a gene seen once is not taken at its word."""


@dataclass(frozen=True)
class GeneCode:
    """A code of two parts: the mean vector of the position's gene, and principal coefficients of the rest.

    Attributes
    ----------
    means : ndarray of float32, shape (n_means, d)
        Mean vectors about the overall mean, from training positions.
    at : ndarray of int64, shape (n_genes,)
        Mean vector of each gene.
    rest : Principal
        Axes of what the mean vectors leave of training positions; its mean is the overall one.
    """

    means: np.ndarray
    at: np.ndarray
    rest: Principal

    @property
    def bits(self) -> float:
        """Bits that say which mean vector is meant."""
        return float(np.log2(len(self.means)))

    def left(self, x: np.ndarray, gene: np.ndarray) -> np.ndarray:
        """What the mean vectors leave of states `x`, shape (n, d), of genes `gene`, shape (n,)."""
        return np.asarray(x, np.float32) - self.means[self.at[gene]]

    def coefficients(self, budget: float) -> dict[str, int]:
        """How many coefficients of the rest `budget` bits buy: leading axes, or each vector's own largest."""
        d = len(self.rest.axes)
        return {"leading": int(min(d, max(budget, 0) // 16)), "largest": active_for_bits(d, budget)}

    def residuals(self, x: np.ndarray, gene: np.ndarray, budget: float) -> dict[str, np.ndarray]:
        """Squared error of each vector when the rest gets `budget` bits, shape (n,), for both ways to spend them."""
        left = self.left(x, gene)
        return {
            way: pca_residuals(self.rest, left, [kept], sparse=way == "largest")[:, 0]
            for way, kept in self.coefficients(budget).items()
        }


def fit(
    sample: np.ndarray, gene: np.ndarray, n_genes: int, *, n_means: int | None = None, shrinkage: float = SHRINKAGE
) -> GeneCode:
    """Mean vectors and the axes of what they leave, from training positions.

    Parameters
    ----------
    sample : ndarray, shape (n, d)
    gene : ndarray of int, shape (n,)
        Gene (token) of each position, from 0.
    n_genes : int
        Genes that there are, seen or not.
    n_means : int, optional
        Mean vectors at most: the commonest genes have one each, all others share the last. By default every gene that
        was seen has its own, and the last, which is the overall mean, stands for genes that were not.
    shrinkage : float
        See `SHRINKAGE`.

    Raises
    ------
    BiosaeError
        Genes and positions differ in number, or no mean vector is allowed.
    """
    if len(gene) != len(sample) or (n_means is not None and n_means < 1):
        raise BiosaeError(
            f"{len(gene):,} genes for {len(sample):,} positions and {n_means} mean vectors",
            where="gene_code.fit",
            do="give each position its gene, and at least one mean vector",
        )
    count = np.bincount(gene, minlength=n_genes)
    own = int((count > 0).sum()) if n_means is None else min(n_means - 1, int((count > 0).sum()))
    at = np.full(n_genes, own)
    at[np.argsort(-count, kind="stable")[:own]] = np.arange(own)
    means = gene_means(sample, at[gene], own + 1, shrinkage)[0].astype(np.float32)
    blocks = (
        np.asarray(sample[i : i + BLOCK], np.float32) - means[at[gene[i : i + BLOCK]]]
        for i in range(0, len(sample), BLOCK)
    )
    return GeneCode(means, at, principal_axes(blocks))


def rivals(x: np.ndarray, gene: np.ndarray, own: GeneCode, common: GeneCode, budget: float) -> dict[str, np.ndarray]:
    """Squared errors of what mean vectors of genes reach within `budget` bits.

    Parameters
    ----------
    x : ndarray, shape (n, d)
        States of cells that took no part in the codes.
    gene : ndarray of int, shape (n,)
    own, common : GeneCode
        One mean vector per gene; only as many as the autoencoder has latents.
    budget : float
        Bits of a vector.

    Returns
    -------
    dict of str -> ndarray of float64, shape (n,)
        gene_mean, common_mean: the mean vectors alone. gene_free_*: the whole budget goes to the rest, for a decoder
        that knows the gene. gene_paid_*, common_paid_*: the budget also pays for saying which mean vector.
    """
    ways = {"gene_mean": own.residuals(x, gene, 0)["leading"], "common_mean": common.residuals(x, gene, 0)["leading"]}
    for name, code, price in (
        ("gene_free", own, 0.0),
        ("gene_paid", own, own.bits),
        ("common_paid", common, common.bits),
    ):
        ways |= {f"{name}_{way}": r for way, r in code.residuals(x, gene, budget - price).items()}
    return ways
