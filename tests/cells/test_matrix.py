"""Matrices on disk: sums of parts, and temporary files that do not end the process."""

from __future__ import annotations

import subprocess
import sys

import anndata as ad
import numpy as np
import scipy.sparse as sp

from biosae_utils.cells.matrix import StoredMatrix, SummedMatrix, scratch


def test_a_sum_of_layers_is_read_like_one_matrix(small, saved):
    small.layers["a"], small.layers["b"] = small.X * 2, sp.csc_matrix(small.X)
    path = saved(small)
    total = SummedMatrix([StoredMatrix(path, "layers/a"), StoredMatrix(path, "layers/b")])
    rows = np.array([5, 2, 2])
    np.testing.assert_array_equal(total.read(rows).toarray(), 3 * small.X.toarray()[rows])
    assert total.key == "layers/a + layers/b" and total.kind == "csc" and total.shape == (40, 20)
    assert not total.is_half and (total.stored() > 0).all()


def test_scratch_arrays_hold_what_is_written():
    a, b = scratch(1000, np.dtype(np.float32), np.dtype(np.int32), where="here")
    a[:], b[:] = np.arange(1000), 7
    assert a.sum() == 499500 and b.sum() == 7000
    assert [len(x) for x in scratch(0, np.dtype(np.int8), where="here")] == [0]


def test_too_little_temporary_space_is_a_sentence_and_no_signal(tmp_path):
    """A limit on the size of files is met as a full disk would be: when space is taken, not when it is written to."""
    rng = np.random.default_rng(0)
    x = sp.csc_matrix(rng.poisson(2.0, (400, 300)).astype(np.float32))
    names = [f"ENSG{i:011d}" for i in range(300)]
    a = ad.AnnData(x)
    a.var_names = names
    a.write_h5ad(tmp_path / "csc.h5ad")
    code = (
        "import resource, signal, sys\nfrom biosae_utils.cells.data import open_cells\n"
        "from biosae_utils.errors import BiosaeError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "try:\n    open_cells(sys.argv[1])\nexcept BiosaeError as e:\n    print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "csc.h5ad")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in ("stored by gene (CSC)", "of temporary files", "TMPDIR", "tocsr()"):
        assert words in done.stdout
