"""Columns of a stored table are read when asked for, and only these."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from biosae_utils.cells.data import open_cells


@pytest.fixture
def obs(tmp_path):
    table = pd.DataFrame({"kind": ["a", "b", "a"], "depth": [1.0, 2.0, 3.0]}, index=["x", "y", "z"])
    genes = pd.DataFrame(index=["ISG15", "CD74", "GAPDH"])
    counts = sp.csr_matrix(np.array([[3, 0, 1], [0, 2, 5], [1, 1, 7]], np.float32))
    ad.AnnData(counts, obs=table, var=genes).write_h5ad(tmp_path / "cells.h5ad")
    return open_cells(tmp_path / "cells.h5ad").obs


def test_names_and_columns_are_known_and_values_read(obs):
    assert len(obs) == 3 and list(obs.index) == ["x", "y", "z"] and list(obs.columns) == ["kind", "depth"]
    assert "kind" in obs and "colour" not in obs
    assert list(obs["kind"].astype(str)) == ["a", "b", "a"] and obs["depth"].sum() == 6


def test_a_column_that_is_not_there_is_an_error(obs):
    with pytest.raises((KeyError, ValueError)):
        obs["colour"]
