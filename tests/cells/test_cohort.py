"""Cohorts: balanced, reproducible, and never the same donor on both sides."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from biosae_utils.cells.cohort import balanced_draw, make_cohort, quotas
from biosae_utils.cells.columns import guess_columns
from biosae_utils.cells.data import open_cells
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.data import Params as DataParams


@pytest.fixture
def opened(small, saved):
    """Open the small cells after a change."""

    def change(**columns) -> object:
        return open_cells(saved(ad.AnnData(small.X, obs=small.obs.assign(**columns), var=small.var)))

    return change


def params(**values) -> DataParams:
    return DataParams(**{"n_cells": None, "holdout": 0.25, **values})


@given(st.lists(st.integers(0, 300), min_size=1, max_size=12), st.integers(0, 2000))
def test_quotas_are_as_even_as_the_sizes_allow(sizes, n):
    take = quotas(np.array(sizes), n)
    assert take.sum() == min(n, sum(sizes)) and (take <= sizes).all()
    cut = take[take < sizes]  # groups that could have given more
    if len(cut):
        assert cut.min() >= take.max() - 1


def test_balanced_draw_takes_small_groups_whole(rng=None):
    groups = np.repeat(["a", "b", "c"], [500, 10, 300])
    drawn = balanced_draw(groups, 210, np.random.default_rng(0))
    assert dict(zip(*np.unique(groups[drawn], return_counts=True), strict=True)) == {"a": 100, "b": 10, "c": 100}
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(drawn, balanced_draw(groups, 210, np.random.default_rng(0)))


def test_cohort_is_balanced_and_described(opened, small):
    cells = opened()
    cohort = make_cohort(cells, params(n_cells=24))
    assert (cohort.groupby(["cell_type", "condition"]).size() == 6).all()
    assert cohort["heldout"].sum() == 6
    np.testing.assert_array_equal(cohort["barcode"], small.obs_names[cohort["row"]])
    np.testing.assert_array_equal(cohort["n_counts"], small.X[cohort["row"]].sum(1).A1)
    assert cohort["donor"].isna().all()
    assert cells.messages[-1] == "Cohort: 24 of 40 cells, 6 held out."


def test_a_cohort_depends_on_its_seed_alone(opened):
    first, again, other = (make_cohort(opened(), params(n_cells=24, seed=s)) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first["row"].equals(other["row"])


def test_all_cells_when_no_number_is_given_and_no_columns(opened):
    cohort = make_cohort(opened(), params(cell_type=None, condition=None))
    assert len(cohort) == 40 and cohort["heldout"].sum() == 10
    assert cohort[["cell_type", "condition"]].isna().all(axis=None)


@pytest.mark.parametrize("seed", range(5))
def test_donors_are_on_one_side_only(opened, seed):
    donor = [f"d{i % 7}" for i in range(40)]
    cohort = make_cohort(opened(donor=donor), params(donor="donor", seed=seed))
    sides = cohort.groupby("donor")["heldout"].nunique()
    assert len(sides) == 7 and (sides == 1).all()
    assert 0.1 < cohort["heldout"].mean() < 0.4


def test_one_donor_cannot_be_split(opened):
    with pytest.raises(BiosaeError, match="one donor"):
        make_cohort(opened(donor="d1"), params(donor="donor"))


def test_cells_that_models_have_not_seen_are_held_out_first(opened):
    unseen = np.arange(40) % 5 == 0  # two per group of ten
    cells = opened(pretrain_heldout=unseen)
    cohort = make_cohort(cells, params(n_cells=32))
    assert cohort["heldout"].sum() == 8
    np.testing.assert_array_equal(cohort["heldout"], cohort["pretrain_heldout"])
    assert "8 of them marked pretrain_heldout" in cells.messages[-1]


def test_a_missing_column_is_named_with_those_there_are(opened):
    with pytest.raises(
        BiosaeError, match=r"no column 'tissue' in obs; there are cell_type, condition.*cell_type=cell_type"
    ):
        make_cohort(opened(), params(cell_type="tissue"))
    with pytest.raises(BiosaeError, match="donor=null"):
        make_cohort(opened(), params(donor="donor_id"))


def test_missing_labels_are_a_group_of_their_own(opened):
    cohort = make_cohort(opened(cell_type=["T", None] * 20), params())
    assert set(cohort["cell_type"]) == {"T", "unknown"}


def test_cells_without_counts_are_left_out(small, saved):
    x = small.X.toarray()
    x[[3, 8]] = 0
    stored_zeros = sp.csr_matrix(x)
    small.X = stored_zeros
    cells = open_cells(saved(small))
    assert any("2 cells without a single count" in m for m in cells.messages)
    assert not make_cohort(cells, params())["row"].isin([3, 8]).any()

    small.X = sp.csr_matrix(np.where(x == 0, 7, x))  # store every value, then blank two cells
    small.X.data[np.isin(np.repeat(np.arange(40), 20), [3, 8])] = 0
    cells = open_cells(saved(small))
    cohort = make_cohort(cells, params())
    assert not cohort["row"].isin([3, 8]).any() and len(cohort) == 38
    assert any("2 drawn cells hold no count" in m for m in cells.messages)


def test_too_few_cells(small, saved):
    with pytest.raises(BiosaeError, match="Only 19 cells"):
        make_cohort(open_cells(saved(small[:19].copy())), params())


def test_guess_columns_by_name_and_content(small):
    obs = small.obs.rename(columns={"cell_type": "CellType", "condition": "stim"})
    obs["disease"] = "normal"  # one value tells nothing apart
    obs["patient"] = [str(i % 3) for i in range(40)]
    assert guess_columns(obs) == {"cell_type": "CellType", "condition": "stim", "donor": "patient"}
    assert guess_columns(obs[["disease"]]) == {"cell_type": None, "condition": None, "donor": None}


def nested(n_donors: int, n_cells: int = 40) -> dict[str, list]:
    """Donors that were each seen in one condition only."""
    donor = [f"d{i % n_donors}" for i in range(n_cells)]
    return {"donor": donor, "condition": [f"c{i % n_donors % 2}" for i in range(n_cells)]}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n_donors", [4, 6, 8])
def test_donors_nested_in_conditions_are_held_out_from_every_condition(opened, seed, n_donors):
    cohort = make_cohort(opened(**nested(n_donors)), params(donor="donor", seed=seed))
    assert (cohort.groupby("condition")["heldout"].nunique() == 2).all()
    assert (cohort.groupby("donor")["heldout"].nunique() == 1).all()


def test_one_donor_a_condition_cannot_be_held_out(opened):
    with pytest.raises(BiosaeError, match=r"cells of one donor only.*donor=null"):
        make_cohort(opened(**nested(2)), params(donor="donor"))


def test_a_condition_of_one_donor_keeps_it_in_training(opened):
    donor = ["a", "b", "c", "d"] * 10
    condition = ["x", "x", "x", "y"] * 10
    for seed in range(6):
        cohort = make_cohort(opened(donor=donor, condition=condition), params(donor="donor", seed=seed))
        assert not cohort.loc[cohort["donor"] == "d", "heldout"].any() and cohort["heldout"].any()


def test_cells_without_a_condition_are_drawn_and_have_none(opened):
    condition = ["control", "stimulated", None, "NA"] * 10
    cohort = make_cohort(opened(condition=condition), params())
    assert len(cohort) == 40 and cohort["condition"].isna().sum() == 20
    assert set(cohort["condition"].dropna()) == {"control", "stimulated"}


def test_flags_stored_as_text_are_read_as_flags(opened):
    unseen = np.where(np.arange(40) % 5 == 0, "True", "False")
    cohort = make_cohort(opened(pretrain_heldout=unseen), params(n_cells=32))
    assert cohort["heldout"].sum() == 8
    np.testing.assert_array_equal(cohort["heldout"], cohort["pretrain_heldout"])
