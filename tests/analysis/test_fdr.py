"""Benjamini-Hochberg on families that are not written out, against scipy and statsmodels on those that are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from biosae_utils.analysis import fdr
from biosae_utils.errors import BiosaeError


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(0, 500), st.sampled_from([0.01, 0.05, 0.3]))
def test_bh_equals_scipy_and_statsmodels_on_the_written_out_family(p, ones, alpha):
    p = np.array(p)
    family = np.r_[p, np.ones(ones)]
    adjusted = fdr.bh_adjust(p, len(family))
    np.testing.assert_allclose(adjusted, stats.false_discovery_control(family)[: len(p)], rtol=1e-12, atol=1e-300)
    rejected = multipletests(family, alpha, method="fdr_bh")[0][: len(p)]
    np.testing.assert_array_equal(fdr.bh_reject(p, len(family), alpha), rejected)


def test_bh_by_group_equals_one_call_per_group():
    rng = np.random.default_rng(3)
    group, p = rng.integers(0, 40, 3000), rng.random(3000) ** 3
    size = np.bincount(group)[group] + rng.integers(0, 100, 40)[group]
    adjusted, rejected = fdr.bh_adjust(p, size, group), fdr.bh_reject(p, size, 0.05, group)
    assert rejected.any() and not rejected.all()
    for g in range(40):
        here = group == g
        np.testing.assert_allclose(adjusted[here], fdr.bh_adjust(p[here], size[here][0]))
        np.testing.assert_array_equal(rejected[here], adjusted[here] <= 0.05)


def test_bh_refuses_what_is_no_family():
    with pytest.raises(BiosaeError, match="more p-values than its size"):
        fdr.bh_adjust(np.array([0.1, 0.2, 0.3]), 2)
    with pytest.raises(BiosaeError, match=r"\[0, 1\]"):
        fdr.bh_adjust(np.array([0.1, 1.2]), 5)
    assert fdr.bh_adjust(np.array([]), 5).shape == (0,) and fdr.bh_reject(np.array([]), 5, 0.1).shape == (0,)
