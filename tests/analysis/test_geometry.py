"""PCA from a stream, subspace shares, and the published 'invisible to SVD' rule on directions whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosae_utils.analysis import geometry as G
from biosae_utils.analysis import nulls
from biosae_utils.analysis.nulls import random_directions
from biosae_utils.errors import BiosaeError


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((3000, 24)) * np.linspace(5, 0.2, 24)) @ rng.standard_normal(
        (24, 24)
    ) + 100 * rng.standard_normal(24)


def test_pca_equals_numpy_svd(x: np.ndarray) -> None:
    p = G.principal_axes(x)
    _, s, vt = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(p.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(p.variance, s**2 / len(x), rtol=1e-8)
    np.testing.assert_allclose(np.abs((p.axes * vt).sum(1)), 1, atol=1e-6)
    np.testing.assert_allclose(p.share[-1], 1)


def test_pca_does_not_depend_on_the_size_of_blocks(x: np.ndarray) -> None:
    whole, pieces = G.principal_axes(x), G.principal_axes(iter(np.array_split(x, 17)))
    np.testing.assert_allclose(pieces.variance, whole.variance, rtol=1e-9)
    np.testing.assert_allclose(pieces.axes, whole.axes, atol=1e-6)
    assert pieces.n == whole.n == 3000


@pytest.mark.parametrize("bad", [np.ones((1, 3)), np.array([[1.0, np.nan], [0.0, 1.0]])])
def test_pca_refuses_what_it_cannot_use(bad: np.ndarray) -> None:
    with pytest.raises(BiosaeError, match="finite"):
        G.principal_axes(bad)


def test_residuals_equal_written_out_reconstructions(x: np.ndarray) -> None:
    p = G.principal_axes(x[:2000])
    held = x[2000:2200]
    coef = p.coefficients(held)
    dense = G.pca_residuals(p, held, [0, 5, 24])
    sparse = G.pca_residuals(p, held, [0, 5, 24], sparse=True)
    leading = p.mean + coef[:, :5] @ p.axes[:5]
    np.testing.assert_allclose(dense[:, 1], ((held - leading) ** 2).sum(1), rtol=1e-8)
    keep = np.zeros_like(coef)
    top = np.argsort(-np.abs(coef), axis=1)[:, :5]
    np.put_along_axis(keep, top, np.take_along_axis(coef, top, 1), 1)
    np.testing.assert_allclose(sparse[:, 1], ((held - p.mean - keep @ p.axes) ** 2).sum(1), rtol=1e-8)
    assert (sparse[:, 1] <= dense[:, 1] + 1e-9).all()
    np.testing.assert_allclose(dense[:, 2], 0, atol=1e-6)
    with pytest.raises(BiosaeError, match="between 0 and 24"):
        G.pca_residuals(p, held, [25])


def test_matching_rank_is_the_smallest_that_reaches_the_target(x: np.ndarray) -> None:
    p, held = G.principal_axes(x[:2000]), x[2000:]
    rank = G.matching_rank(p, held, 0.9)
    below, at = (G.explained(held, r) for r in G.pca_residuals(p, held, [rank - 1, rank]).T)
    assert below < 0.9 <= at
    assert G.matching_rank(p, held, 0.9, sparse=True) <= rank
    assert G.matching_rank(p, held, 2.0) == 24


def test_explained_by_cell_agrees_with_the_plain_number_and_covers_it(x: np.ndarray) -> None:
    p = G.principal_axes(x)
    held, cells = x[:600], np.repeat(np.arange(60), 10)
    residual = G.pca_residuals(p, held, [3, 6])
    table = G.explained_by_cell(held, {"three": residual[:, 0], "six": residual[:, 1]}, cells, n_boot=200, seed=0)
    np.testing.assert_allclose(table["explained"], [G.explained(held, r) for r in residual.T])
    whole = ((held - held.mean(0)) ** 2).sum(1)
    np.testing.assert_allclose(G.spread(held), whole)
    beyond = G.share_by_cell(residual[:, 0], {"six": residual[:, 1]}, cells, n_boot=100, seed=0)
    assert beyond["explained"][0] == pytest.approx(1 - residual[:, 1].sum() / residual[:, 0].sum())
    assert (table["low"] < table["explained"]).all() and (table["explained"] < table["high"]).all()
    again = G.explained_by_cell(held, {"three": residual[:, 0]}, cells, n_boot=200, seed=0)
    np.testing.assert_allclose(again["draws"][0], table["draws"][0], rtol=1e-12)


def test_subspace_share_knows_inside_from_outside() -> None:
    axes = np.eye(10)
    directions = np.array([np.eye(10)[0], np.eye(10)[9], np.ones(10)])
    np.testing.assert_allclose(
        G.subspace_share(directions, axes, [0, 3, 10]), [[0, 1, 1], [0, 0, 1], [0, 0.3, 1]], atol=1e-12
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 40), st.data())
def test_random_share_is_r_over_d(d: int, data: st.DataObject) -> None:
    r = data.draw(st.integers(0, d))
    share = G.subspace_share(random_directions(4000, d, np.random.default_rng(1)), np.eye(d), [r])[:, 0]
    mean, low, high = G.random_share(r, d)
    assert abs(share.mean() - mean) < 4 * share.std() / np.sqrt(4000) + 1e-9
    if 0 < r < d:
        assert abs(((share > low) & (share < high)).mean() - 0.95) < 0.02


def test_random_directions_are_novel_by_the_published_rule_and_so_are_rotated_axes() -> None:
    """The rule's answer on directions about which nothing is novel: the book's point, at the published width."""
    d = 1152
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))[0].T
    assert G.published_novel(random_directions(4608, d, np.random.default_rng(0)), axes).mean() == 1.0
    rotated = nulls.rotated_axes(axes[:50], 4608, np.random.default_rng(0))
    np.testing.assert_allclose(G.subspace_share(rotated, axes, [50]), 1)  # wholly inside what an SVD of rank 50 shows
    assert G.published_novel(rotated, axes).mean() > 0.95
    assert not G.published_novel(axes[:50], axes).any()
    assert G.published_novel(axes[50:200], axes).all()


def test_bits_of_a_code() -> None:
    assert G.code_bits(4, 2, value_bits=8) == pytest.approx(16 + np.log2(6))
    assert G.code_bits(100, 100, value_bits=16) == pytest.approx(1600)
    budget = G.code_bits(1024, 16)
    m = G.active_for_bits(256, budget)
    assert G.code_bits(256, m) <= budget < G.code_bits(256, m + 1) and m > 16
    assert G.active_for_bits(10, 3.0) == 0
