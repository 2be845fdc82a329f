"""Files as they come: what anndata reads is read, and what cannot be read is told in one true sentence."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from biosae_utils.cells.columns import guess_columns
from biosae_utils.cells.data import open_cells
from biosae_utils.errors import BiosaeError

pytestmark = pytest.mark.filterwarnings("ignore")


def counts_of(cells) -> np.ndarray:
    return cells.read(np.arange(cells.n_cells)).toarray()


def sentence(path, *words: str) -> str:
    with pytest.raises(BiosaeError) as e:
        open_cells(path)
    said = str(e.value)
    assert all(w in said for w in words) and "truncated" not in said and "damaged" not in said, said
    return said


def replace(path, key: str, value, **kwargs) -> None:
    """Store a dataset of an h5ad in another way."""
    with h5py.File(path, "r+") as f:
        attrs = dict(f[key].attrs)
        del f[key]
        f.create_dataset(key, data=value, **kwargs).attrs.update(attrs)


# ---- what is read ------------------------------------------------------------------------------------------------


def test_a_zarr_folder(small, tmp_path):
    small.write_zarr(tmp_path / "cells.zarr")
    cells = open_cells(tmp_path / "cells.zarr")
    np.testing.assert_array_equal(counts_of(cells), small.X.toarray())
    assert guess_columns(cells.obs)["cell_type"] == "cell_type" and len(cells.sha256) == 64
    small.X = small.X.tocsc()
    small.write_zarr(tmp_path / "csc.zarr")
    csc = open_cells(tmp_path / "csc.zarr")
    np.testing.assert_array_equal(counts_of(csc), small.X.toarray())
    assert csc.sha256 != cells.sha256


def test_the_transcripts_of_an_h5mu(small, tmp_path):
    def write(names: list[str]):
        path = tmp_path / "cells.h5mu"
        with h5py.File(path, "w") as f:
            for name in names:
                ad.io.write_elem(f, f"mod/{name}", small)
            ad.io.write_elem(f, "obs", small.obs)
        return path

    cells = open_cells(write(["prot", "rna"]))
    np.testing.assert_array_equal(counts_of(cells), small.X.toarray())
    assert list(cells.obs["cell_type"]) == list(small.obs["cell_type"])
    sentence(write(["adt", "atac"]), "several modalities", "adt, atac", "write_h5ad")


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, lambda x: x.toarray()], ids=["csr", "csc", "dense"])
def test_half_precision(small, saved, layout):
    small.X = layout(small.X)
    path = saved(small)
    key = "X" if isinstance(small.X, np.ndarray) else "X/data"
    replace(path, key, (small.X if key == "X" else small.X.data).astype(np.float16))
    cells = open_cells(path)
    np.testing.assert_array_equal(counts_of(cells), small.X if key == "X" else small.X.toarray())
    assert any("float16" in m and "2,048" in m for m in cells.messages)


def test_filters_of_hdf5plugin(small, tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    path = tmp_path / "blosc.h5ad"
    small.write_h5ad(path, compression=hdf5plugin.FILTERS["zstd"])
    code = "import sys; from biosae_utils.cells.data import open_cells; print(open_cells(sys.argv[1]).read([3]).sum())"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) == small.X[3].sum()


def test_a_file_from_before_anndata_0_7(small, tmp_path):
    """Tables as records with codes, categories in uns, a matrix of h5sparse, raw beside everything else."""
    path = tmp_path / "old.h5ad"
    kind = pd.Categorical(small.obs["cell_type"])

    def table(columns: dict[str, np.ndarray]) -> np.ndarray:
        types = [(name, column.dtype) for name, column in columns.items()]
        records = np.empty(len(next(iter(columns.values()))), dtype=types)
        for name, column in columns.items():
            records[name] = column
        return records

    def sparse(f: h5py.File, key: str, x: sp.csr_matrix) -> None:
        group = f.create_group(key)
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", x.shape
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(x, part)

    with h5py.File(path, "w") as f:
        barcodes, genes = (np.array(list(names), "S20") for names in (small.obs_names, small.var_names))
        f["obs"] = table({"index": barcodes, "cell_type": kind.codes.astype(np.int8)})
        f["var"] = table({"index": genes[:7], "n": np.arange(7)})
        f["raw.var"] = table({"index": genes, "n": np.arange(20)})
        f["uns/cell_type_categories"] = np.array(list(kind.categories), "S5")
        sparse(f, "X", small.X[:, :7].log1p().tocsr())
        sparse(f, "raw.X", small.X)
    cells = open_cells(path)
    assert cells.location == "raw.X" and len(cells.genes) == 20
    np.testing.assert_array_equal(counts_of(cells), small.X.toarray())
    assert list(cells.obs["cell_type"]) == list(small.obs["cell_type"])
    assert open_cells(path, counts="raw").location == "raw.X"


def test_a_path_in_the_home_folder(small, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    small.write_h5ad(tmp_path / "mine.h5ad")
    assert open_cells("~/mine.h5ad").n_cells == 40


def test_a_column_that_cannot_be_read_stops_only_those_who_ask_for_it(small, saved):
    small.obs["other"] = "x"
    path = saved(small)
    with h5py.File(path, "r+") as f:
        for node in (f["obs/other"], f["var"].create_dataset("odd", data=np.arange(20))):
            node.attrs["encoding-type"], node.attrs["encoding-version"] = "quaternion", "9.0"
        f["var"].attrs["column-order"] = np.array(["odd"], dtype=h5py.string_dtype())
    cells = open_cells(path)
    np.testing.assert_array_equal(counts_of(cells), small.X.toarray())
    assert guess_columns(cells.obs)["condition"] == "condition"
    assert "Columns of var that cannot be read were not used: odd." in cells.messages
    with pytest.raises(BiosaeError, match=r"Column 'other' of obs cannot be read.*anndata does not know.*quaternion"):
        _ = cells.obs["other"]


def test_only_the_columns_asked_for_are_read(small, saved, monkeypatch):
    for i in range(30):
        small.obs[f"extra{i}"] = np.arange(40)
    cells = open_cells(saved(small))
    read: list[str] = []
    original = h5py.Dataset.__getitem__

    def noting(self, key, *args, **kwargs):
        read.append(self.name)
        return original(self, key, *args, **kwargs)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", noting)
    open_cells(cells.path)
    _ = cells.obs["cell_type"]
    assert read and not [name for name in read if "extra" in name]


# ---- what is refused ---------------------------------------------------------------------------------------------


def test_a_file_that_another_program_writes(small, saved):
    path = saved(small)
    code = "import h5py, sys\nwith h5py.File(sys.argv[1], 'r+'):\n    print('open', flush=True)\n    sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "open\n"
        sentence(path, "Another program has the file open for writing")
    finally:
        other.communicate("")
    assert open_cells(path).n_cells == 40


@pytest.mark.parametrize("what", ["file", "folder"])
def test_no_permission(small, tmp_path, what):
    folder = tmp_path / "closed"
    folder.mkdir()
    path = folder / "cells.h5ad"
    small.write_h5ad(path)
    (path if what == "file" else folder).chmod(0)
    code = (
        "import os, sys\nif os.geteuid() == 0:\n    os.setgroups([]); os.setegid(65534); os.seteuid(65534)\n"
        "from biosae_utils.cells.container import checked_path, opened\n"
        "from biosae_utils.errors import BiosaeError\n"
        "try:\n    with opened(checked_path(sys.argv[1])) as f:\n        pass\n"
        "except BiosaeError as e:\n    print(e)\n"
    )
    for parent in tmp_path.parents:
        if parent.owner() == "root" and parent.stat().st_mode & 0o077 == 0:
            parent.chmod(0o711)
    tmp_path.chmod(0o711)
    import_all = "import biosae_utils.cells.data\n"
    try:
        done = subprocess.run([sys.executable, "-c", import_all + code, str(path)], capture_output=True, text=True)
    finally:
        (path if what == "file" else folder).chmod(0o700)
    assert "You may not read the file" in done.stdout, done.stdout + done.stderr


def test_a_filter_that_is_not_installed(small, tmp_path):
    path = tmp_path / "cells.h5ad"
    small.write_h5ad(path, compression="gzip")
    content = path.read_bytes()
    gzip_filter, unknown = (
        b"\x01\x00\x08\x00\x01\x00\x01\x00deflate\x00",
        b"\xf0\x7f\x08\x00\x01\x00\x01\x00deflate\x00",
    )
    assert content.count(gzip_filter)
    path.write_bytes(content.replace(gzip_filter, unknown))
    sentence(path, "filter that is not installed", "hdf5plugin", "compression='gzip'")


def test_a_file_packed_as_a_whole(small, saved):
    path = saved(small)
    packed = path.with_name("cells.h5ad.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    sentence(packed, "compressed as a whole (gzip)", "gunzip cells.h5ad.gz")


def test_a_zip_and_a_folder(tmp_path):
    (tmp_path / "a.h5ad").write_bytes(b"PK\x03\x04" + bytes(100))
    sentence(tmp_path / "a.h5ad", "zip archive")
    sentence(tmp_path, "folder, and no zarr store")


def test_a_matrix_in_an_encoding_of_the_future(small, saved):
    path = saved(small)
    with h5py.File(path, "r+") as f:
        f["obs/cell_type"].attrs["encoding-version"] = "99.0"
        f["obs"].attrs["encoding-version"] = "99.0"
    sentence(path, "anndata does not know", "update anndata")


def test_what_is_damaged_is_called_damaged(small, saved):
    path = saved(small)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(BiosaeError, match="truncated or damaged"):
        open_cells(path)
