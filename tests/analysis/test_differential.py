"""Rank sums on sparse values equal SciPy's on dense ones, and find what was put in."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.stats as st

from biosae_utils.analysis.differential import RankSums, contrast, reference_level
from biosae_utils.errors import BiosaeError


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    x = rng.poisson(0.7, (90, 12)).astype(float)
    x[:, 5] = 0
    group = rng.random(90) < 0.4
    x[group, 0] += 2
    return x, group, np.repeat(["a", "b", "c"], [40, 30, 20])


def test_one_stratum_is_the_mann_whitney_test(data):
    x, group, _ = data
    got = RankSums(sp.csr_matrix(x), np.zeros(90)).test(group)
    for g in range(12):
        if g == 5:
            assert got.z[g] == 0 and got.p[g] == 1 and got.auroc[g] == 0.5
            continue
        u = st.mannwhitneyu(x[group, g], x[~group, g], use_continuity=False, method="asymptotic")
        assert got.p[g] == pytest.approx(u.pvalue, rel=1e-9)
        assert got.auroc[g] == pytest.approx(u.statistic / (group.sum() * (~group).sum()))
    assert got.z[0] > 5 and got.auroc[0] > 0.9


def test_strata_are_combined_as_van_elteren_says(data):
    x, group, strata = data
    got = RankSums(sp.csr_matrix(x), strata).test(group)
    for g in (0, 1, 7):
        top = bottom = 0.0
        for s in "abc":
            inside = strata == s
            ranks, ours, n = st.rankdata(x[inside, g]), group[inside], inside.sum()
            top += (ranks[ours].sum() - ours.sum() * (n + 1) / 2) / (n + 1)
            bottom += ours.sum() * (~ours).sum() * ranks.var(ddof=1) / n / (n + 1) ** 2
        assert got.z[g] == pytest.approx(top / np.sqrt(bottom))


def test_leaving_cells_out_equals_not_having_them(data):
    x, group, strata = data
    keep = np.arange(90) % 4 != 1
    left_out = RankSums(sp.csr_matrix(x), strata).test(group, keep)
    absent = RankSums(sp.csr_matrix(x[keep]), strata[keep]).test(group[keep])
    np.testing.assert_allclose(left_out.z, absent.z)
    np.testing.assert_allclose(left_out.auroc, absent.auroc)


def test_a_difference_between_strata_alone_is_not_found(data):
    _, _, strata = data
    rng = np.random.default_rng(0)
    x = rng.poisson(np.where(strata == "a", 5.0, 0.2)[:, None], (90, 50)).astype(float)
    group = rng.random(90) < np.where(strata == "a", 0.9, 0.1)
    assert (RankSums(sp.csr_matrix(x), np.zeros(90)).test(group).p < 1e-4).all()
    assert RankSums(sp.csr_matrix(x), strata).test(group).p.min() > 1e-4


def test_p_values_are_uniform_without_a_difference():
    rng = np.random.default_rng(1)
    x = sp.csr_matrix(rng.poisson(1.0, (300, 400)).astype(float))
    p = RankSums(x, np.arange(300) % 3).test(rng.random(300) < 0.5).p
    assert st.kstest(p, "uniform").pvalue > 0.01


def test_reference_level_is_the_control_or_the_most_frequent():
    assert reference_level(np.array(["STIM", "CTRL", "STIM"])) == "CTRL"
    assert reference_level(np.array(["day1", "day2", "day2"])) == "day2"


@pytest.mark.parametrize(
    "control",
    [
        *(
            "control",
            "CTRL",
            "Healthy",
            "HC",
            "Normal",
            "vehicle",
            "DMSO",
            "Unstimulated",
            "untreated",
            "WT",
            "Wild-type",
        ),
        *(
            "Wild-type",
            "non-targeting",
            "Non_Targeting",
            "baseline",
            "0",
            "0h",
            "day 0",
            "D0",
            "0 uM",
            "mock",
            "None",
            "NT",
        ),
        *("control_1", "ctrl2", "DMSO_24h", "Healthy donor", "non-targeting_00012", "Normal (adjacent)", "WT-rep1"),
    ],
)
@pytest.mark.parametrize("n_other", [5, 200])
def test_a_control_is_recognised_whatever_its_case_and_size(control, n_other):
    condition = np.array([control] * 20 + ["COVID-19"] * n_other, object)
    assert reference_level(condition) == control
    sides = contrast(condition)
    assert sides.reference == control and sides.others == ("COVID-19",) and sides.messages == []
    np.testing.assert_array_equal(sides.group, condition == "COVID-19")


@pytest.mark.parametrize("gene", ["WT1", "NT5E", "HCK", "PREX1", "CTLA4", "NEGR1", "0.5 uM", "10h", "controlled"])
def test_what_only_begins_like_a_control_is_none(gene):
    condition = np.array([gene] * 5 + ["A1"] * 20, object)
    assert reference_level(condition) == "A1"
    assert any("no condition is called like a control" in m for m in contrast(condition).messages)


def test_the_reference_can_be_named():
    condition = np.array(["Healthy"] * 5 + ["COVID-19"] * 9, object)
    assert contrast(condition, "COVID-19").reference == "COVID-19"
    np.testing.assert_array_equal(contrast(condition, "COVID-19").group, condition == "Healthy")
    with pytest.raises(BiosaeError, match=r"'healthy'; there are COVID-19, Healthy"):
        contrast(condition, "healthy")


def test_cells_without_a_condition_are_on_no_side():
    sides = contrast(np.array(["ctrl", None, "stim", np.nan, "ctrl"], object))
    assert sides.has_condition.tolist() == [True, False, True, False, True]
    assert sides.group.tolist() == [False, False, True, False, False]
    assert sides.messages == ["2 of 5 cells have no condition and take no part in the comparison."]
    assert contrast(np.array([None, None], object)) is None
    assert contrast(np.array(["ctrl", "ctrl"], object)).others == ()


def test_pooled_levels_are_listed():
    (said,) = contrast(np.array(["ctrl", "IFN", "LPS", "LPS"], object)).messages
    assert said == "WARNING: 2 conditions are pooled against ctrl: IFN (1 cells), LPS (2 cells)."
