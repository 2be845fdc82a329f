"""Which of several matrices holds the counts."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from biosae_utils.cells.choice import no_counts_after_all
from biosae_utils.cells.data import open_cells
from biosae_utils.errors import BiosaeError


@pytest.fixture
def velocity(small):
    """Counts of the small cells as spliced, unspliced and ambiguous reads, with the cells that they are of."""
    rng, total = np.random.default_rng(1), small.X.toarray().astype(int)
    spliced = rng.binomial(total, 0.6)
    unspliced = rng.binomial(total - spliced, 0.8)
    parts = {"spliced": spliced, "unspliced": unspliced, "ambiguous": total - spliced - unspliced}
    return {k: sp.csr_matrix(v.astype(np.float32)) for k, v in parts.items()}


def log1p(x):
    scaled = sp.csr_matrix(sp.diags(1e4 / np.asarray(x.sum(1)).ravel()) @ x)
    return scaled.log1p().astype(np.float32)


def opened(saved, small, x, layers, raw=None, **kwargs):
    a = ad.AnnData(x, obs=small.obs, var=small.var, layers=layers)
    if raw is not None:
        a.raw = ad.AnnData(raw, obs=small.obs, var=small.var)
    return open_cells(saved(a), **kwargs)


def counts_of(cells):
    return cells.read(np.arange(40)).toarray()


def binned(x):
    """scGPT's bins: the same maximum in every cell."""
    dense = x.toarray()
    return sp.csr_matrix(np.where(dense > 0, np.ceil(50 * dense / dense.max(1, keepdims=True)), 0).astype(np.float32))


def test_spliced_reads_do_not_come_before_counts(small, saved, velocity):
    cells = opened(saved, small, log1p(small.X), {"raw_counts": small.X, **velocity})
    assert cells.location == "layers/raw_counts"
    np.testing.assert_array_equal(counts_of(cells), small.X.toarray())


@pytest.mark.parametrize("name", ["counts", "raw_counts", "UMI", "matrix", "Counts"])
def test_a_name_decides(small, saved, name):
    cells = opened(saved, small, small.X * 3, {"a": small.X * 2, name: small.X})
    assert cells.location == f"layers/{name}"
    assert any("other integers in X" in m for m in cells.messages)


def test_parts_are_added_up_where_nothing_else_holds_counts(small, saved, velocity):
    for x in (None, velocity["spliced"], log1p(small.X)):
        cells = opened(saved, small, x, velocity)
        assert cells.location == "layers/spliced + layers/unspliced + layers/ambiguous"
        np.testing.assert_array_equal(counts_of(cells), small.X.toarray())
        assert not (cells.stored == 0).any()


def test_an_x_that_is_more_than_spliced_reads_stays(small, saved, velocity):
    assert opened(saved, small, small.X, velocity).location == "X"


@pytest.mark.parametrize("worse", ["binary", "X_binned"])
def test_presence_and_bins_are_no_counts(small, saved, worse):
    layer = (small.X > 0).astype(np.float32) if worse == "binary" else binned(small.X)
    cells = opened(saved, small, log1p(small.X), {worse: layer})
    assert cells.location == "X" and cells.encoding == "log1p(CP10k) undone"
    assert opened(saved, small, layer, {"z": small.X}).location == "layers/z"
    with pytest.raises(BiosaeError, match=r"presence, not counts|bins within cells"):
        opened(saved, small, layer, {})
    asked = opened(saved, small, log1p(small.X), {worse: layer}, counts=f"layers/{worse}")
    assert asked.location == f"layers/{worse}" and any("was asked for, but" in m for m in asked.messages)


def test_the_counts_behind_x_are_known_by_x(small, saved):
    cells = opened(saved, small, log1p(small.X), {"a_other": small.X * 2 + (small.X > 0), "b_counted": small.X})
    assert cells.location == "layers/b_counted"
    other = (small.X * 2 + (small.X > 0)).tocsr().astype(np.float32)
    cells = opened(saved, small, log1p(small.X), {"a_other": other})
    assert cells.location == "X"  # nothing agrees, so what X says of itself is taken
    np.testing.assert_array_equal(counts_of(cells), small.X.toarray())
    named = opened(saved, small, log1p(small.X), {"counts": other})
    assert named.location == "layers/counts" and any("not those behind the logarithms" in m for m in named.messages)


def test_different_integers_without_a_name_are_refused_and_listed(small, saved):
    with pytest.raises(BiosaeError, match=r"X: integers.*layers/soup: integers.*counts=X"):
        opened(saved, small, small.X, {"soup": small.X * 2})
    assert opened(saved, small, small.X, {"soup": small.X * 2}, counts="X").location == "X"
    assert opened(saved, small, small.X, {"soup": small.X * 2}, counts="soup").location == "layers/soup"
    assert opened(saved, small, small.X, {"copy": small.X}).location == "X"


def test_raw_is_a_name(small, saved):
    assert opened(saved, small, small.X, {}, raw=small.X * 2).location == "raw/X"


def test_a_sum_can_be_asked_for(small, saved, velocity):
    cells = opened(saved, small, small.X, velocity, counts="spliced + unspliced")
    expected = (velocity["spliced"] + velocity["unspliced"]).toarray()
    np.testing.assert_array_equal(counts_of(cells), expected)


def test_few_cells_prove_nothing():
    assert no_counts_after_all(sp.csr_matrix(np.eye(4))) == ""
    assert no_counts_after_all(sp.csr_matrix(np.eye(5))) != ""
