"""Results go into a copy of the h5ad, which is otherwise the same and whole or absent."""

from __future__ import annotations

import anndata as ad
import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from biosae_utils.cells.write import add_to_h5ad
from biosae_utils.errors import BiosaeError


@pytest.fixture
def source(small, saved):
    small.obsm["X_pca"] = np.ones((small.n_obs, 2))
    return saved(small)


def test_new_entries_come_beside_the_old_ones(source, small, tmp_path):
    codes = sp.random(small.n_obs, 50, density=0.1, format="csr", dtype=np.float32, random_state=0)
    add_to_h5ad(source, tmp_path / "out.h5ad", obsm={"X_sae": codes}, uns={"biosae": {"layer": 3, "model": "m"}})
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    assert (out.obsm["X_sae"] != codes).nnz == 0 and sp.issparse(out.obsm["X_sae"])
    assert out.uns["biosae"] == {"layer": 3, "model": "m"}
    np.testing.assert_array_equal(out.obsm["X_pca"], small.obsm["X_pca"])
    assert (out.X != small.X).nnz == 0 and out.obs.equals(ad.read_h5ad(source).obs)
    assert "X_sae" not in ad.read_h5ad(source).obsm


def test_a_second_time_replaces(source, small, tmp_path):
    for value in (1.0, 2.0):
        add_to_h5ad(source, source, obsm={"X_sae": np.full((small.n_obs, 2), value)}, uns={})
    assert (ad.read_h5ad(source).obsm["X_sae"] == 2.0).all()


def test_a_matrix_of_another_length_leaves_nothing(source, tmp_path):
    with pytest.raises(BiosaeError, match="3 rows for 40 cells"):
        add_to_h5ad(source, tmp_path / "out.h5ad", obsm={"X_sae": np.ones((3, 2))}, uns={})
    assert [p.name for p in tmp_path.iterdir()] == [source.name]


def test_what_is_no_h5ad_is_refused_in_a_sentence(small, tmp_path):
    small.write_zarr(tmp_path / "cells.zarr")
    with h5py.File(tmp_path / "cells.h5mu", "w") as f:
        ad.io.write_elem(f, "mod/rna", small)
    for name, says in (("cells.zarr", "zarr folder"), ("cells.h5mu", "anndata 0.7 or later")):
        with pytest.raises(BiosaeError, match=says):
            add_to_h5ad(tmp_path / name, tmp_path / "out.h5ad", obsm={"X_sae": np.ones((40, 2))}, uns={})
    assert not (tmp_path / "out.h5ad").exists()
