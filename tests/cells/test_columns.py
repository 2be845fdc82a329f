"""Columns of obs: which they are, what counts as missing, and flags however they are stored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from biosae_utils.cells.columns import flags, guess_columns, labels, same_groups
from biosae_utils.errors import BiosaeError


def test_a_guessed_donor_that_only_renames_the_condition_is_none():
    obs = pd.DataFrame({"condition": ["ctrl", "stim"] * 10, "sample": ["s1", "s2"] * 10})
    assert guess_columns(obs)["donor"] is None
    obs["patient"] = [str(i % 5) for i in range(20)]
    assert guess_columns(obs)["donor"] == "patient"
    assert guess_columns(obs.drop(columns="condition"))["donor"] == "patient"


def test_same_groups_needs_both_directions():
    a = pd.Series(list("xxyyzz"))
    assert same_groups(a, pd.Series([1, 1, 2, 2, 3, 3])) and not same_groups(a, pd.Series([1, 1, 1, 1, 3, 3]))
    assert not same_groups(pd.Series([1, 1, 1, 1, 3, 3]), a)


@pytest.mark.parametrize("missing", [None, np.nan, "", "NA", "nan", "unknown", " - ", "<NA>", "unassigned"])
def test_a_missing_condition_is_no_level(missing):
    obs = pd.DataFrame({"condition": ["ctrl", missing, "stim"], "cell_type": ["T", missing, "B"]})
    assert labels(obs, "condition", "condition").tolist() == ["ctrl", None, "stim"]
    assert labels(obs, "cell_type", "cell_type").tolist() == ["T", "unknown", "B"]
    assert labels(obs, "donor", None) is None


def test_none_is_a_treatment_where_someone_wrote_it():
    assert labels(pd.DataFrame({"c": ["none", "drug"]}), "condition", "c").tolist() == ["none", "drug"]


@pytest.mark.parametrize(
    "values",
    [
        [True, False, False],
        ["True", "False", None],
        ["yes", "no", ""],
        ["TRUE", "false", "NA"],
        [1, 0, 0],
        [1.0, 0.0, np.nan],
        pd.Categorical(["true", "false", "false"]),
        pd.array([True, False, None], dtype="boolean"),
    ],
)
def test_flags_are_what_they_say(values):
    assert flags(pd.Series(values), where="obs").tolist() == [True, False, False]


def test_a_flag_that_is_neither_is_refused():
    with pytest.raises(BiosaeError, match="'maybe'"):
        flags(pd.Series(["True", "maybe"]), where="obs['pretrain_heldout']")
