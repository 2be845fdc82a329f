"""Opening someone else's cells: what is accepted gives exact counts, what is not is refused in one sentence."""

from __future__ import annotations

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from biosae_utils.cells.data import open_cells
from biosae_utils.errors import BiosaeError


def log1p_scaled(x: sp.csr_matrix, total: float = 1e4, dtype=np.float32) -> sp.csr_matrix:
    scaled = sp.diags(total / np.asarray(x.sum(1)).ravel()) @ x.astype(np.float64)
    scaled.data = np.log1p(scaled.data)
    return scaled.tocsr().astype(dtype)


def dense(x) -> np.ndarray:
    return x.toarray() if sp.issparse(x) else np.asarray(x)


# ---- what is accepted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, lambda x: x.toarray()], ids=["csr", "csc", "dense"])
def test_every_layout_gives_the_same_counts_in_the_order_asked(demo, saved, layout):
    expected = demo.X.toarray()
    changed = ad.AnnData(layout(demo.X), obs=demo.obs, var=demo.var)
    cells = open_cells(saved(changed))
    rows = np.array([7, 3, 3, 59, 0, 4, 5])
    got = cells.read(rows)
    assert got.dtype == np.float32 and got.has_sorted_indices
    np.testing.assert_array_equal(got.toarray(), expected[rows])
    np.testing.assert_array_equal(cells.stored, (expected > 0).sum(1))
    assert cells.encoding == "counts" and cells.location == "X"


def test_csc_larger_than_a_block_is_turned_in_pieces(demo, saved, monkeypatch):
    monkeypatch.setattr("biosae_utils.cells.matrix.BLOCK", 1000)
    cells = open_cells(saved(ad.AnnData(demo.X.tocsc(), obs=demo.obs, var=demo.var)))
    np.testing.assert_array_equal(cells.read(np.arange(demo.n_obs)).toarray(), demo.X.toarray())


@pytest.mark.parametrize("total", [1e4, 1e6, 3217.0])
def test_log1p_of_scaled_real_counts_is_undone_exactly(demo, saved, total):
    path = saved(ad.AnnData(log1p_scaled(demo.X, total), obs=demo.obs, var=demo.var))
    cells = open_cells(path)
    np.testing.assert_array_equal(cells.read(np.arange(demo.n_obs)).toarray(), demo.X.toarray())
    assert cells.encoding == ("log1p(CP10k) undone" if total == 1e4 else f"log1p(scaled to {total:,.0f}) undone")
    assert any(m.startswith("WARNING") and "logarithms" in m for m in cells.messages)


def test_a_cell_whose_smallest_count_is_two_is_recovered(small, saved):
    counts = small.X.toarray()
    counts[3] = [2, 3, 5, 2] + [0] * 16
    small.X = log1p_scaled(sp.csr_matrix(counts))
    np.testing.assert_array_equal(open_cells(saved(small)).read([3]).toarray()[0], counts[3])


def test_counts_are_preferred_wherever_they_are(small, saved):
    counts = small.X.copy()
    small.layers["counts"] = counts
    small.X = log1p_scaled(counts)
    cells = open_cells(saved(small))
    assert cells.location == "layers/counts" and cells.encoding == "counts"

    del small.layers["counts"]
    small.raw = ad.AnnData(counts, obs=small.obs, var=small.var)
    small = small[:, :7].copy()  # the usual cut to variable genes leaves all genes in raw
    cells = open_cells(saved(small))
    assert cells.location == "raw/X" and len(cells.genes) == 20
    assert open_cells(saved(small), counts="raw").location == "raw/X"


def test_ids_in_raw_are_completed_from_var(demo, saved):
    var = pd.DataFrame({"feature_name": demo.var["symbol"].to_numpy()}, index=demo.var["ensembl_id"].to_numpy())
    full = ad.AnnData(demo.X, obs=demo.obs, var=pd.DataFrame(index=var.index))[:, 1:200].copy()
    full.raw = full
    full.X = log1p_scaled(full.X + sp.csr_matrix(np.ones(full.shape)))
    full.var["feature_name"] = var["feature_name"].iloc[1:200]
    cells = open_cells(saved(full))
    assert cells.location == "raw/X"
    np.testing.assert_array_equal(cells.genes.symbol, var["feature_name"].iloc[1:200])


@pytest.mark.parametrize("name", ["ensembl_id", "gene_ids"])
def test_ensembl_ids_lose_their_version(small, saved, name):
    small.var[name] = [f"ENSG{i:011d}.{i % 7}" for i in range(20)]
    genes = open_cells(saved(small)).genes
    assert list(genes.ensembl) == [f"ENSG{i:011d}" for i in range(20)] and list(genes.symbol) == list(small.var_names)


def test_symbols_alone_and_ids_alone_name_the_same_genes(demo, saved):
    by_symbol = open_cells(saved(ad.AnnData(demo.X, var=pd.DataFrame(index=demo.var_names)), "s.h5ad"))
    agree = (by_symbol.genes.ensembl == demo.var["ensembl_id"]).mean()
    assert agree > 0.98  # the rest has had another Ensembl id since 2013
    named = demo[:, demo.var["ensembl_id"] != ""].copy()
    by_id = open_cells(saved(ad.AnnData(named.X, var=pd.DataFrame(index=named.var["ensembl_id"].to_numpy())), "e.h5ad"))
    assert (by_id.genes.symbol == named.var["symbol"]).mean() > 0.85
    assert "ISG15" in by_id.genes.symbol


def test_a_retired_name_beside_the_present_one_stays_a_gene_of_its_own(small, saved):
    small.var_names = ["PRORP", "KIAA0391", *small.var_names[2:]]
    genes = open_cells(saved(small, "both.h5ad")).genes
    assert len(genes) == 20 and genes.ensembl[0].startswith("ENSG") and genes.ensembl[1] == ""
    small.var_names = ["KIAA0391", *small.var_names[2:], "CCL8"]
    assert open_cells(saved(small, "old.h5ad")).genes.ensembl[0] == genes.ensembl[0]


def test_duplicate_genes_are_summed_with_a_message(small, saved):
    expected = small.X.toarray()
    small.var["ensembl_id"] = [f"ENSG{i:011d}" for i in range(20)]
    small.var.iloc[5, 0] = small.var.iloc[2, 0]
    cells = open_cells(saved(small))
    assert len(cells.genes) == 19 and cells.genes.symbol[2] == "CD3E" and "NKG7" not in cells.genes.symbol
    got = cells.read(np.arange(40)).toarray()
    np.testing.assert_array_equal(got[:, 2], expected[:, 2] + expected[:, 5])
    np.testing.assert_array_equal(got.sum(1), expected.sum(1))
    assert any("1 duplicate columns were summed" in m and "CD3E" in m for m in cells.messages)


def test_only_the_rows_asked_for_are_read(small, saved, monkeypatch):
    n, width = 4000, 20
    counts = sp.random(n, width, 0.5, format="csr", random_state=1, data_rvs=lambda k: 1.0 + np.arange(k) % 3)
    big = ad.AnnData(counts.astype(np.float32), obs=pd.DataFrame(index=[str(i) for i in range(n)]), var=small.var)
    cells = open_cells(saved(big))
    read: list[int] = []
    original = h5py.Dataset.__getitem__

    def counting(self, key, *args, **kwargs):
        value = original(self, key, *args, **kwargs)
        if self.name in ("/X/data", "/X/indices"):
            read.append(np.size(value))
        return value

    _ = cells.stored
    monkeypatch.setattr(h5py.Dataset, "__getitem__", counting)
    rows = np.array([10, 11, 12, 3000])
    got = cells.read(rows)
    assert sum(read) == 2 * counts[rows].nnz
    np.testing.assert_array_equal(got.toarray(), counts[rows].toarray())


# ---- what is refused ---------------------------------------------------------------------------------------------


def refused(path, *words: str, **kwargs) -> None:
    with pytest.raises(BiosaeError) as e:
        open_cells(path, **kwargs)
    for word in words:
        assert word in str(e.value), str(e.value)


def test_files_that_are_no_h5ad(tmp_path, small, saved):
    refused(tmp_path / "absent.h5ad", "no such file")
    (tmp_path / "empty.h5ad").write_bytes(b"")
    refused(tmp_path / "empty.h5ad", "empty")
    (tmp_path / "text.h5ad").write_text("gene,cell\n" * 100)
    refused(tmp_path / "text.h5ad", "not an h5ad")
    with h5py.File(tmp_path / "tenx.h5", "w") as f:
        f["matrix/data"] = [1, 2]
    refused(tmp_path / "tenx.h5", "HDF5 but not an h5ad", "matrix")
    whole = saved(small).read_bytes()
    for share in (0.3, 0.6, 0.95):
        (tmp_path / "cut.h5ad").write_bytes(whole[: int(len(whole) * share)])
        refused(tmp_path / "cut.h5ad", "truncated or damaged")


def test_damage_inside_the_values_is_told_when_they_are_read(demo, tmp_path, saved):
    path = tmp_path / "c.h5ad"
    demo.write_h5ad(path, compression="gzip")
    with h5py.File(path, "r") as f:
        chunk = f["X/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 2 : chunk.byte_offset + chunk.size] = b"\xff" * (chunk.size - 2)
    path.write_bytes(content)
    refused(path, "truncated or damaged")


def test_no_cells_or_no_matrix(small, saved):
    refused(saved(small[:0].copy()), "no cells")
    refused(saved(ad.AnnData(obs=small.obs, var=small.var)), "no cells or no matrix")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: (x - x.mean(0)) / x.std(0), ["negative values"]),
        (lambda x: x / x.sum(1, keepdims=True) * 1e6, ["normalised", "1,000,000"]),
        (lambda x: np.log2(1 + x / x.sum(1, keepdims=True) * 1e4), ["same total"]),
        (lambda x: np.log1p(x), ["same total"]),
        (lambda x: np.log1p(1e6 * (r := x * np.linspace(0.3, 7.0, 20)) / r.sum(1, keepdims=True)), ["no whole counts"]),
        (lambda x: x * 1.37 + 40 * (x > 0), ["neither counts nor logarithms"]),
        (lambda x: np.where(x == 1, np.nan, x), ["missing or infinite"]),
        (lambda x: x * 0, ["all values are zero"]),
    ],
    ids=["scaled", "cpm", "log2", "log-counts", "log-tpm", "corrected", "nan", "zeros"],
)
def test_values_that_are_neither_counts_nor_undoable_logs(small, saved, change, words):
    small.X = sp.csr_matrix(change(small.X.toarray().astype(np.float64)))
    refused(saved(small), "neither counts nor logarithms that can be undone", *words)


def test_logs_of_a_cut_to_some_genes_are_refused(demo, saved):
    cut = ad.AnnData(log1p_scaled(demo.X)[:, ::5], obs=demo.obs, var=demo.var.iloc[::5])
    refused(saved(cut), "same total")


def test_a_layer_that_is_not_there(small, saved):
    refused(saved(small), "no layers/counts", "there are X", counts="layers/counts")


def test_mouse_genes_are_called_mouse(small, saved):
    small.var["gene_ids"] = [f"ENSMUSG{i:011d}" for i in range(20)]
    refused(saved(small), "mouse", "ENSMUSG")


def test_mouse_symbols_are_called_mouse(demo, saved):
    mouse = ad.AnnData(demo.X, var=pd.DataFrame(index=demo.var_names.str.capitalize()))
    refused(saved(mouse), "written as mouse genes")


@pytest.mark.parametrize("names", [[str(i) for i in range(20)], [f"gene_{i}" for i in range(20)]])
def test_genes_without_recognisable_names(small, saved, names):
    small.var_names = names
    refused(saved(small), "0 of 20 genes", repr(names[0]), "ensembl_id")


def test_duplicate_barcodes(small, saved):
    small.obs_names = ["same", "same", *small.obs_names[2:]]
    refused(saved(small), "1 barcodes are used twice", "'same'")


def test_a_cell_outside_the_sample_that_holds_no_counts_is_named(small, saved, monkeypatch):
    monkeypatch.setattr("biosae_utils.cells.choice.N_CHECKED", 3)
    counts = small.X.toarray()
    counts[7, 2] = 1.5
    small.X = sp.csr_matrix(counts)
    cells = open_cells(saved(small))
    assert cells.read([6]).shape == (1, 20)
    with pytest.raises(BiosaeError, match=r"'cell7'.*no counts"):
        cells.read([5, 6, 7])

    logs = log1p_scaled(sp.csr_matrix(small.X.toarray().round()))
    logs.data[logs.indptr[7] : logs.indptr[8]] *= 1.1
    small.X = logs
    cells = open_cells(saved(small, "log.h5ad"))
    with pytest.raises(BiosaeError, match=r"'cell7'.*whole counts"):
        cells.read([5, 6, 7])


def test_rows_outside_the_file(small, saved):
    with pytest.raises(BiosaeError, match="no row 40"):
        open_cells(saved(small)).read([40])
