"""Bins, ragged arrays and collapsed columns against hand-worked values and the written-out official rule."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from biosae_utils.errors import BiosaeError
from biosae_utils.models.encoding import collapse, frame, join, ranks_to_bins, sort_within_rows


def official_bins(row, n_bins, draw):
    """The published rule: digitise at quantiles from both sides, land `draw` of the way down from the upper side."""
    edges = np.quantile(row.astype(np.float64), np.linspace(0, 1, n_bins - 1))
    upper, lower = np.digitize(row, edges), np.digitize(row, edges, right=True)
    return np.ceil(upper - draw * (upper - lower))


def bins_of(row, n_bins=51, spread=0.5):
    return ranks_to_bins(sp.csr_matrix(np.asarray(row, float)[None]), n_bins, spread)


def test_bins_at_the_quantile_edges():
    # 50 values, 50 edges: every value is an edge, upper = k + 1, lower = k, so value k lands in bin k + 1
    np.testing.assert_array_equal(bins_of(np.arange(1, 51)), np.arange(1, 51))
    # five values, six bins: edges 1, 2, 3, 4, 5
    np.testing.assert_array_equal(bins_of([5, 1, 4, 2, 3], 6), [5, 1, 4, 2, 3])
    # three values, five bins: edges 1, 1.67, 2.33, 3; the middle value lies between two edges
    np.testing.assert_array_equal(bins_of([1, 2, 3], 5), [1, 2, 4])


def test_ties_span_bins():
    # edges of [1, 1, 1, 5] at five bins: 1, 1, 1, 5: the ones may land in 1 to 3, the five in 4
    np.testing.assert_array_equal(bins_of([1, 1, 1, 5], 5, 0.0), [3, 3, 3, 4])
    np.testing.assert_array_equal(bins_of([1, 1, 1, 5], 5, 0.99), [1, 1, 1, 4])
    np.testing.assert_array_equal(bins_of([1, 1, 1, 5], 5, 0.5), [2, 2, 2, 4])
    np.testing.assert_array_equal(bins_of([7, 7], 51, 0.0), [50, 50])
    np.testing.assert_array_equal(bins_of([7], 51, 0.99), [1])


@settings(max_examples=80)
@given(
    rows=st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=70), min_size=1, max_size=4),
    n_bins=st.integers(3, 60),
    draw=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
)
def test_bins_equal_the_official_rule(rows, n_bins, draw):
    x = sp.lil_matrix((len(rows), 70))
    for i, row in enumerate(rows):
        x[i, : len(row)] = row
    x = x.tocsr()
    ours = ranks_to_bins(x, n_bins, draw)
    assert ours.min() >= 1 and ours.max() <= n_bins - 1
    for i, row in enumerate(rows):
        # quantile() rounds: nudge values so that an edge meant to equal a value is not a rounding error away from it
        row = np.array(row)
        edges = np.quantile(row.astype(float), np.linspace(0, 1, n_bins - 1))
        if np.any((np.abs(edges[:, None] - row) < 1e-9) & (edges[:, None] != row)):
            continue
        np.testing.assert_array_equal(ours[x.indptr[i] : x.indptr[i + 1]], official_bins(row, n_bins, draw))


def test_a_logarithm_changes_no_bin():
    row = np.random.default_rng(0).integers(1, 40, 200)
    np.testing.assert_array_equal(bins_of(row), bins_of(np.log1p(row)))


def test_sort_is_stable_within_rows():
    values = np.array([2.0, 1.0, 2.0, 1.0, 3.0, 3.0])
    np.testing.assert_array_equal(sort_within_rows(values, np.array([0, 4, 4, 6])), [1, 3, 0, 2, 4, 5])


def test_collapse_sums_columns_of_one_token_and_drops_unknown():
    x = sp.csr_matrix(np.array([[1, 2, 3, 4], [0, 0, 5, 0]], np.float32))
    collapsed, ids = collapse(x, np.array([9, -1, 4, 9]))
    np.testing.assert_array_equal(ids, [4, 9])
    np.testing.assert_array_equal(collapsed.toarray(), [[3, 5], [5, 0]])


@pytest.mark.parametrize(
    ("x", "tokens", "says"),
    [
        ([[1.0, 2.0]], [-1, -1], "None of the 2 genes"),
        ([[1.0, 2.0]], [1], "has 2 genes, the gene table 1"),
        ([[1.0, -2.0]], [1, 2], "negative"),
        ([[1.0, np.nan]], [1, 2], "missing values"),
        ([[1.0, np.inf]], [1, 2], "infinite"),
    ],
)
def test_collapse_refuses(x, tokens, says):
    with pytest.raises(BiosaeError, match=says):
        collapse(sp.csr_matrix(np.array(x)), np.array(tokens))


def test_frame_and_join():
    one = frame(np.array([7, 8, 9]), np.array([2, 0, 1]), before=(2,), after=(3,))
    np.testing.assert_array_equal(one.ids, [2, 7, 8, 3, 2, 3, 2, 9, 3])
    np.testing.assert_array_equal(one.offsets, [0, 4, 6, 9])
    two = frame(np.array([5]), np.array([1]), before=(1,), values=np.array([4.0]), special_value=-2)
    np.testing.assert_array_equal(two.values, [-2, 4])
    both = join([one, one])
    assert both.n_cells == 6 and both.ids[9:].tolist() == one.ids.tolist()
