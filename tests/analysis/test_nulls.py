"""Every null keeps what it promises, and is a null: its p-values are uniform where nothing is to be found."""

import inspect
import re
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from gene_lists import binary, random_network
from scipy import stats

from biosae_utils.analysis import nulls
from biosae_utils.analysis.geometry import Principal
from biosae_utils.errors import BiosaeError


def uniform(ranks, n):
    """p of a chi-square test that ranks 0 .. n - 1 are equally frequent."""
    return stats.chisquare(np.bincount(ranks, minlength=n)).pvalue


def rank_among_draws(observed, draws, rng):
    """Rank of the observed statistic among the null ones, ties broken at random: uniform under the null."""
    draws = np.asarray(draws)
    return int((draws < observed).sum() + rng.integers(0, (draws == observed).sum() + 1))


# ---- frequency-matched lists -------------------------------------------------------------------------------------


def test_curveball_keeps_both_margins_and_forgets_the_start():
    rng = np.random.default_rng(0)
    lists = binary(rng, 300, 400, 15)
    drawn = nulls.curveball(lists, rng)
    np.testing.assert_array_equal(drawn.sum(axis=0), lists.sum(axis=0))
    np.testing.assert_array_equal(drawn.sum(axis=1), lists.sum(axis=1))
    assert set(drawn.data.tolist()) == {1} and drawn.nnz == lists.nnz and drawn.dtype == lists.dtype
    kept = [lists.astype(int).multiply(nulls.curveball(lists, rng, r)).sum() for r in (1, 0, None, 60)]
    assert kept[1] == lists.nnz > kept[0] > kept[2]
    assert abs(kept[2] - kept[3]) < 0.1 * lists.nnz  # more rounds than the default change nothing


def test_curveball_is_uniform_over_all_matrices_with_the_margins():
    rows, columns = (2, 2, 1, 1), (2, 2, 1, 1)
    start = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.uint8)
    every = [
        m
        for m in (np.array(bits).reshape(4, 4) for bits in product((0, 1), repeat=16))
        if tuple(m.sum(axis=1)) == rows and tuple(m.sum(axis=0)) == columns
    ]
    index = {m.tobytes(): i for i, m in enumerate(np.asarray(m, np.uint8) for m in every)}
    assert len(index) > 20 and start.tobytes() in index
    rng = np.random.default_rng(1)
    seen = [index[nulls.curveball(sp.csr_matrix(start), rng, 12).toarray().tobytes()] for _ in range(1500)]
    assert uniform(np.array(seen), len(index)) > 1e-3


def test_curveball_gives_uniform_p_on_lists_drawn_from_it_and_small_p_on_structure():
    rng = np.random.default_rng(2)
    weight = rng.random((60, 60))

    def statistic(lists):
        lists = lists.astype(float)
        return (lists.T @ lists).multiply(weight).sum()

    lists = binary(rng)
    ranks = []
    for _ in range(120):
        lists = nulls.curveball(lists, rng, 15)
        value = statistic(lists)
        ranks.append(rank_among_draws(value, [statistic(nulls.curveball(lists, rng)) for _ in range(9)], rng))
    assert uniform(ranks, 10) > 1e-3
    blocks = np.zeros((40, 60), np.uint8)
    for i in range(40):
        blocks[i, 6 * (i % 10) : 6 * (i % 10) + 6] = 1  # ten programmes, each four times

    def squares(lists):
        return ((lists.astype(int).T @ lists.astype(int)).toarray() ** 2).sum()

    structured = sp.csr_matrix(blocks)
    assert all(squares(nulls.curveball(structured, rng)) < squares(structured) for _ in range(20))


# ---- permutations ------------------------------------------------------------------------------------------------


def test_permutation_within_groups_never_leaves_a_group_and_is_uniform():
    rng = np.random.default_rng(3)
    groups = rng.integers(-5, 5, 500)
    order = nulls.permute_within(groups, rng)
    np.testing.assert_array_equal(np.sort(order), np.arange(500))
    np.testing.assert_array_equal(groups[order], groups)
    assert (order != np.arange(500)).mean() > 0.9
    seen = {}
    for _ in range(3600):
        drawn = tuple(nulls.permute_within(np.array([1, 0, 1, 0, 1]), rng))
        seen[drawn] = seen.get(drawn, 0) + 1
    assert len(seen) == 12  # 3! x 2!
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_relabelling_is_a_null_for_lists_without_meaning():
    rng = np.random.default_rng(4)
    term = np.zeros(60)
    term[:12] = 1
    ranks = []
    for _ in range(300):
        lists = binary(rng).toarray()[
            :, rng.permutation(60)
        ]  # popular genes and genes of the term have nothing in common
        largest = (lists @ term).max()
        draws = [(lists @ term[nulls.relabel(60, rng)]).max() for _ in range(9)]
        ranks.append(rank_among_draws(largest, draws, rng))
    assert uniform(ranks, 10) > 1e-3


def test_labels_are_dealt_out_anew_within_each_group():
    rng = np.random.default_rng(12)
    labels, heldout = np.repeat(["a", "b", "c", "d"], 50), np.arange(200) % 3 == 0
    drawn = nulls.shuffled_within(labels, heldout, rng)
    for part in (heldout, ~heldout):
        np.testing.assert_array_equal(np.sort(drawn[part]), np.sort(labels[part]))
    assert 0.1 < (drawn == labels).mean() < 0.4  # a quarter agrees by chance
    assert labels[0] == "a" and labels[-1] == "d"  # the labels themselves stay


@pytest.mark.parametrize(("n", "possible"), [(2, 1), (3, 2), (4, 9), (5, 44)])
def test_no_label_stays_with_its_owner_and_all_ways_are_equally_frequent(n, possible):
    rng = np.random.default_rng(13)
    seen = {}
    for _ in range(2500):
        order = nulls.derange(n, rng)
        assert not (order == np.arange(n)).any() and set(order.tolist()) == set(range(n))
        seen[order.tobytes()] = seen.get(order.tobytes(), 0) + 1
    assert len(seen) == possible
    assert possible == 1 or stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_derangement_within_groups_is_uniform_and_never_leaves_a_group():
    rng = np.random.default_rng(14)
    groups = np.array([5, -1, 5, -1, 5, 5, -1])
    seen = {}
    for _ in range(3000):
        order = nulls.derange_within(groups, rng)
        assert not (order == np.arange(7)).any()
        np.testing.assert_array_equal(groups[order], groups)
        seen[order.tobytes()] = seen.get(order.tobytes(), 0) + 1
    assert len(seen) == 9 * 2 and stats.chisquare(list(seen.values())).pvalue > 1e-3
    large = rng.integers(0, 40, 5000)
    order = nulls.derange_within(large, rng)
    assert not (order == np.arange(5000)).any() and len(np.unique(order)) == 5000 and (large[order] == large).all()
    assert len(nulls.derange_within(np.zeros(0, int), rng)) == 0


def test_one_alone_has_no_other_to_swap_with():
    with pytest.raises(BiosaeError, match="one member"):
        nulls.derange(1, np.random.default_rng(0))
    with pytest.raises(BiosaeError, match="Group 3 has one member"):
        nulls.derange_within(np.array([1, 1, 3]), np.random.default_rng(0))


def test_numbered_draws_depend_on_seed_and_number_alone():
    rng = np.random.default_rng(15)
    lists, network = binary(rng, 30, 120, 8), random_network(rng)
    for make, what in ((nulls.matched_lists, (lists,)), (nulls.matched_networks, (lists, network))):
        third = make(*what, 1)(3)
        assert (third != make(*what, 1)(3)).nnz == 0
        assert (third != make(*what, 1)(4)).nnz > 0 and (third != make(*what, 2)(3)).nnz > 0
    moved = nulls.matched_networks(lists, network, 0)(0)
    assert moved.nnz == network.nnz and (moved != moved.T).nnz == 0
    assert sorted(np.diff(moved.indptr)) == sorted(np.diff(network.indptr))


# ---- within gene -------------------------------------------------------------------------------------------------


def sparse_codes(rng, n=400, d_sae=12, n_genes=7, density=0.2):
    groups = rng.integers(0, n_genes, n) * 3 - 2
    codes = sp.random(n, d_sae, density, "csr", random_state=rng, data_rvs=lambda k: rng.random(k) + 0.1)
    dense = codes.toarray()
    dense[groups == groups[0], 0] = rng.random((groups == groups[0]).sum()) + 0.1  # a token detector: fires everywhere
    return sp.csr_matrix(dense), groups


def test_scatter_keeps_firings_and_values_of_each_latent_in_each_gene():
    rng = np.random.default_rng(5)
    codes, groups = sparse_codes(rng)
    drawn = nulls.scatter_within(codes, groups, rng)
    assert drawn.nnz == codes.nnz  # no two firings fell on one place
    for g in np.unique(groups):
        before, after = codes[groups == g].toarray(), drawn[groups == g].toarray()
        np.testing.assert_array_equal((before > 0).sum(axis=0), (after > 0).sum(axis=0))
        np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
    assert (drawn != codes).nnz > 0
    with pytest.raises(BiosaeError, match="positions"):
        nulls.scatter_within(codes, groups[:-1], rng)


@pytest.mark.parametrize(("fires", "of"), [(2, 6), (4, 5), (5, 5)])
def test_scattered_places_are_uniform(fires, of):
    rng = np.random.default_rng(6)
    codes = np.zeros((9, 2))
    codes[:fires, 1] = 1
    groups = np.r_[np.zeros(of, int), np.ones(9 - of, int)]
    seen = {}
    for _ in range(1500):
        places = nulls.scatter_within(sp.csr_matrix(codes), groups, rng)[:, 1].toarray().ravel() > 0
        assert not places[of:].any()
        seen[places.tobytes()] = seen.get(places.tobytes(), 0) + 1
    n_choices = {(2, 6): 15, (4, 5): 5, (5, 5): 1}[fires, of]
    assert len(seen) == n_choices
    assert n_choices == 1 or stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_scatter_gives_uniform_p_for_latents_that_only_share_a_gene():
    rng = np.random.default_rng(7)
    ranks = []
    for _ in range(200):
        groups = np.repeat(np.arange(4), 50)
        rate = rng.random((4, 2)) ** 2  # both latents prefer the same genes, otherwise they are independent
        rate[:, 1] = rate[:, 0]
        fires = sp.csr_matrix((rng.random((200, 2)) < rate[groups]).astype(float))
        joint = [fires[:, [0]].multiply(fires[:, [1]]).sum()]
        for _ in range(9):
            drawn = nulls.scatter_within(fires, groups, rng)
            joint.append(drawn[:, [0]].multiply(drawn[:, [1]]).sum())
        ranks.append(rank_among_draws(joint[0], joint[1:], rng))
    assert uniform(ranks, 10) > 1e-3


# ---- directions --------------------------------------------------------------------------------------------------


def test_random_directions_are_isotropic_unit_vectors():
    x = nulls.random_directions(4000, 16, np.random.default_rng(8))
    assert x.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)
    cosine = x[:2000] @ x[2000:].T
    # the squared cosine of two random directions follows Beta(1/2, (d - 1)/2)
    assert stats.kstest(cosine.diagonal() ** 2, stats.beta(0.5, 7.5).cdf).pvalue > 1e-3
    np.testing.assert_allclose(x.T @ x / 4000, np.eye(16) / 16, atol=0.01)


def test_shaped_directions_follow_the_covariance():
    variance = np.r_[np.full(4, 16.0), np.full(12, 1.0)]
    axes = np.linalg.qr(np.random.default_rng(16).standard_normal((16, 16)))[0].T
    x = nulls.shaped_directions(4000, Principal(np.zeros(16), axes, variance, 100), np.random.default_rng(17))
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1)
    inside = ((x @ axes[:4].T) ** 2).sum(axis=1)
    rng = np.random.default_rng(20)  # squared lengths are chi-square, 16 times as large inside as outside
    long, short = 16 * rng.chisquare(4, 20_000), rng.chisquare(12, 20_000)
    assert inside.mean() == pytest.approx((long / (long + short)).mean(), abs=0.01)  # isotropic: 4/16
    assert np.abs(x.mean(axis=0)).max() < 0.03


def test_rotated_axes_lie_inside_their_span_and_nowhere_in_particular():
    axes = np.linalg.qr(np.random.default_rng(18).standard_normal((16, 16)))[0].T
    x = nulls.rotated_axes(axes[:5], 4000, np.random.default_rng(19))
    np.testing.assert_allclose(((x @ axes[:5].T) ** 2).sum(axis=1), 1)
    np.testing.assert_allclose((x @ axes[:5].T).T @ (x @ axes[:5].T) / 4000, np.eye(5) / 5, atol=0.02)


def test_the_table_names_every_null():
    named = set(re.findall(r"^`(\w+)`", nulls.__doc__, re.MULTILINE))
    here = {name for name, f in vars(nulls).items() if inspect.isfunction(f) and f.__module__ == nulls.__name__}
    assert named == {name for name in here if not name.startswith("_")} - {"edge_strata"}
