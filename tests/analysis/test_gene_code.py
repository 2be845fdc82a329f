"""Mean vectors of genes and the axes of the rest, on states that are a vector of their gene and some noise."""

from __future__ import annotations

import numpy as np
import pytest

from biosae_utils.analysis import gene_code
from biosae_utils.analysis.geometry import code_bits, principal_axes, spread
from biosae_utils.errors import BiosaeError

N_GENES, D = 60, 12


def planted(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """States and genes: gene g at a position with weight 1 / (g + 1); the last ten genes never in training."""
    rng = np.random.default_rng(seed)
    vectors = 7 + np.random.default_rng(0).standard_normal((N_GENES, D))
    weight = 1 / (1 + np.arange(N_GENES - 10))
    gene = rng.choice(N_GENES - 10, n, p=weight / weight.sum())
    return vectors[gene] + 0.1 * rng.standard_normal((n, D)), gene


@pytest.fixture(scope="module")
def training() -> tuple[np.ndarray, np.ndarray]:
    return planted(20_000, 1)


def test_the_mean_of_each_gene_explains_what_was_planted(training):
    code = gene_code.fit(*training, N_GENES)
    x, gene = planted(4000, 2)
    assert len(code.means) == N_GENES - 10 + 1 and code.bits == pytest.approx(np.log2(51))
    error = code.residuals(x, gene, 0)["leading"]
    by_hand = np.array([training[0][training[1] == g].mean(0) for g in range(N_GENES - 10)])
    np.testing.assert_allclose(error, ((x - by_hand[gene]) ** 2).sum(1), rtol=0.2, atol=0.05)
    assert 1 - error.sum() / spread(x).sum() > 0.98
    assert code.residuals(x, gene, 10_000)["leading"].max() < 1e-6  # all axes of the rest leave nothing


def test_a_gene_never_seen_gets_the_overall_mean(training):
    code = gene_code.fit(*training, N_GENES)
    x = np.random.default_rng(3).standard_normal((50, D))
    error = code.residuals(x, np.full(50, N_GENES - 1), 0)["leading"]
    np.testing.assert_allclose(error, ((x - training[0].mean(0)) ** 2).sum(1), rtol=1e-3)


def test_a_gene_seen_once_is_drawn_to_the_overall_mean():
    x, gene = np.zeros((101, 2)), np.r_[np.zeros(100, int), 1]
    x[100] = 10
    code = gene_code.fit(x, gene, 2, shrinkage=1.0)
    overall = x.mean(0)
    np.testing.assert_allclose(code.means[code.at[1]], (10 - overall) / 2, rtol=1e-5)


def test_a_small_dictionary_keeps_the_commonest_genes(training):
    sample, gene = training
    code = gene_code.fit(sample, gene, N_GENES, n_means=5)
    assert len(code.means) == 5 and code.bits == pytest.approx(np.log2(5))
    common = np.argsort(-np.bincount(gene, minlength=N_GENES))[:4]
    assert set(code.at[common]) == {0, 1, 2, 3} and (np.delete(code.at, common) == 4).all()
    whole = gene_code.fit(sample, gene, N_GENES, n_means=1000)
    assert len(whole.means) == N_GENES - 10 + 1  # no more than there are
    one = gene_code.fit(sample, gene, N_GENES, n_means=1)
    alone = principal_axes(sample)
    np.testing.assert_allclose(one.rest.variance, alone.variance, rtol=1e-4)  # a single mean is plain PCA


def test_budgets_are_kept(training):
    own, common = (gene_code.fit(*training, N_GENES, n_means=most) for most in (None, 5))
    budget = 90.0
    for price in (0.0, own.bits):
        kept = own.coefficients(budget - price)
        assert 16 * kept["leading"] + price <= budget < 16 * (kept["leading"] + 1) + price
        assert code_bits(D, kept["largest"]) + price <= budget < code_bits(D, kept["largest"] + 1) + price
    x, gene = planted(500, 4)
    ways = gene_code.rivals(x, gene, own, common, budget)
    total = {name: r.sum() for name, r in ways.items()}
    assert set(total) == {"gene_mean", "common_mean"} | {
        f"{name}_{way}" for name in ("gene_free", "gene_paid", "common_paid") for way in ("leading", "largest")
    }
    assert total["gene_free_leading"] <= total["gene_paid_leading"] <= total["gene_mean"] < total["common_mean"]
    assert gene_code.rivals(x, gene, own, common, 18.0)["gene_paid_leading"].sum() == total["gene_mean"]
    free = gene_code.rivals(x, gene, own, common, 18.0)["gene_free_leading"].sum()
    assert free < total["gene_mean"]  # what knowing the gene for nothing is worth


def test_what_cannot_be_fitted_is_refused(training):
    with pytest.raises(BiosaeError, match="positions"):
        gene_code.fit(training[0], training[1][:-1], N_GENES)
    with pytest.raises(BiosaeError, match="0 mean vectors"):
        gene_code.fit(*training, N_GENES, n_means=0)
