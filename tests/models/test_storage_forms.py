"""One set of cells, stored in thirty ways, gives the same tokens; names decide genes, not how they are written."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from biosae_utils.cells.data import open_cells
from biosae_utils.cells.human import human_genes
from biosae_utils.models.registry import load_model

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
N = 30
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    """Real cells on the genes whose id the symbol of 2013 stands for today, and no other one of the file (98 %)."""
    a = ad.read_h5ad(DEMO / "pbmc_ifnb.h5ad")[::133][:N].copy()
    human = human_genes()
    found = a.var["symbol"].map(human.find)
    kept = (found == a.var["ensembl_id"]) & ~found.duplicated(keep=False)
    assert kept.mean() > 0.98
    return a[:, kept].copy()


@pytest.fixture(scope="module")
def models() -> list:
    return [load_model(DEMO / "models" / name, device="cpu") for name in ("mini-geneformer", "mini-scgpt")]


@pytest.fixture(scope="module")
def expected(cells, models) -> list:
    genes = open_cells(DEMO / "pbmc_ifnb.h5ad").genes
    x = ad.read_h5ad(DEMO / "pbmc_ifnb.h5ad")[cells.obs_names].X
    kept = np.isin(genes.ensembl, cells.var["ensembl_id"].to_numpy())
    genes = type(genes)(genes.ensembl[kept], genes.symbol[kept])
    return [model.encode(sp.csr_matrix(x[:, kept]), genes) for model in models]


def logs(a: ad.AnnData, total: float = 1e4) -> sp.csr_matrix:
    scaled = sp.csr_matrix(sp.diags(total / np.asarray(a.X.sum(1)).ravel()) @ a.X)
    return scaled.log1p().astype(np.float32)


def of_type(kind: str):
    def change(a):
        a.X = a.X.astype(kind)

    return change


def in_layer(name: str, x=logs):
    def change(a):
        a.layers[name], a.X = a.X.copy(), x(a)

    return change


def in_raw(a):
    a.raw = a.copy()
    a.X = logs(a)


def in_raw_of_a_cut(a):
    a.raw = a.copy()
    a.X = logs(a)
    return a[:, :50].copy()


def names(index, **columns):
    def change(a):
        read = {"symbol": a.var["symbol"].to_numpy(object), "id": a.var["ensembl_id"].to_numpy(object)}
        made = {k: v(read) for k, v in columns.items()}
        a.var = pd.DataFrame(made, index=pd.Index(index(read)).astype(str))

    return change


def symbols(t):
    return t["symbol"]


def ids(t):
    return t["id"]


def versions(t):
    return [f"{e}.{i % 15 + 1}" for i, e in enumerate(t["id"])]


def mixed(t):
    return [t["id" if i % 3 else "symbol"][i] for i in range(len(t["id"]))]


def numbers(t):
    return np.arange(len(t["id"]))


def with_holes(t):
    return [None if i % 4 == 0 else s for i, s in enumerate(t["symbol"])]


def of_today(t):
    return [human_genes().symbol_of[e] for e in t["id"]]


def permuted(genes: bool, order: bool):
    def change(a):
        rng = np.random.default_rng(3)
        rows = rng.permutation(a.n_obs) if order else np.arange(a.n_obs)
        columns = rng.permutation(a.n_vars) if genes else np.arange(a.n_vars)
        return a[rows][:, columns].copy()

    return change


def with_antibodies(a):
    tags = ad.AnnData(np.full((a.n_obs, 5), 9.0, np.float32), obs=a.obs[[]])
    tags.var_names = ["CD3E", "CD4", "CD8A", "CD14", "MS4A1"]
    types = ["Gene Expression"] * a.n_vars + ["Antibody Capture"] * 5
    var = pd.concat([a.var, pd.DataFrame(index=tags.var_names)]).assign(feature_types=types)
    return ad.AnnData(sp.hstack([a.X, sp.csr_matrix(tags.X)]).tocsr(), obs=a.obs, var=var)


def with_stored_zeros(a):
    a.X = sp.csr_matrix((np.r_[a.X.data, 0.0], np.r_[a.X.indices, 0], np.r_[a.X.indptr[:-1], a.X.nnz + 1]), a.shape)


def share(x, parts: int) -> sp.csr_matrix:
    """A part of every count, rounded down."""
    return sp.csr_matrix((x.data // parts, x.indices, x.indptr), x.shape)


def split_columns(a):
    """Every count in two columns of the same gene."""
    half = share(a.X, 2)
    both = sp.hstack([half, a.X - half]).tocsr().astype(np.float32)
    return ad.AnnData(both, obs=a.obs, var=pd.concat([a.var, a.var.set_axis([f"{n}-1" for n in a.var_names])]))


FORMS = {
    "csr": lambda a: None,
    "csc": lambda a: setattr(a, "X", a.X.tocsc()),
    "dense": lambda a: setattr(a, "X", a.X.toarray()),
    "int16": of_type("int16"),
    "int32": of_type("int32"),
    "int64": of_type("int64"),
    "uint16": of_type("uint16"),
    "uint32": of_type("uint32"),
    "float32": of_type("float32"),
    "float64": of_type("float64"),
    "raw": in_raw,
    "raw of a cut": in_raw_of_a_cut,
    "layer counts": in_layer("counts"),
    "layer UMI": in_layer("UMI"),
    "layer raw_counts beside scaled values": in_layer("raw_counts", lambda a: a.X.toarray() - 1),
    "log1p": lambda a: setattr(a, "X", logs(a)),
    "log1p of a million, dense": lambda a: setattr(a, "X", logs(a, 1e6).toarray()),
    "symbols only": names(symbols),
    "ids only": names(ids),
    "versioned ids only": names(versions),
    "versioned ids in a column": names(symbols, gene_ids=versions),
    "symbols and ids mixed": names(mixed),
    "numbers in the index": names(numbers, ENSEMBL=ids, Symbol=symbols),
    "ids in the index, symbols with holes": names(ids, feature_name=with_holes),
    "ids in the index, names of today": names(ids, feature_name=of_today),
    "genome before the name": names(lambda t: [f"GRCh38_{s}" for s in t["symbol"]]),
    "permuted genes": permuted(True, False),
    "permuted cells": permuted(False, True),
    "permuted both": permuted(True, True),
    "with antibodies": with_antibodies,
    "with stored zeros": with_stored_zeros,
    "two columns a gene": split_columns,
}
WRITTEN = {"zarr", "float16", "gzip", "layers of spliced reads"}


def same_tokens(path: Path, models: list, expected: list, barcodes: pd.Index) -> None:
    found = open_cells(path)
    counts = found.read(found.obs.index.get_indexer(barcodes))
    for model, tokens in zip(models, expected, strict=True):
        got = model.encode(counts, found.genes)
        np.testing.assert_array_equal(got.offsets, tokens.offsets, err_msg=model.info.name)
        np.testing.assert_array_equal(got.ids, tokens.ids, err_msg=model.info.name)
        if tokens.values is not None:
            np.testing.assert_array_equal(got.values, tokens.values)


@pytest.mark.parametrize("form", FORMS)
def test_tokens_do_not_depend_on_how_cells_are_stored(form, cells, models, expected, tmp_path):
    changed = cells.copy()
    changed = FORMS[form](changed) or changed
    changed.write_h5ad(tmp_path / "cells.h5ad")
    same_tokens(tmp_path / "cells.h5ad", models, expected, cells.obs_names)


@pytest.mark.parametrize("form", sorted(WRITTEN))
def test_nor_on_what_they_are_written_to(form, cells, models, expected, tmp_path):
    path, a = tmp_path / "cells.h5ad", cells.copy()
    if form == "zarr":
        path = tmp_path / "cells.zarr"
        a.write_zarr(path)
    elif form == "gzip":
        a.write_h5ad(path, compression="gzip")
    elif form == "float16":
        a.write_h5ad(path)
        with h5py.File(path, "r+") as f:
            attrs = dict(f["X/data"].attrs)
            del f["X/data"]
            f.create_dataset("X/data", data=a.X.data.astype(np.float16)).attrs.update(attrs)
    else:
        third = share(a.X, 3)
        a.layers["spliced"], a.layers["unspliced"] = (a.X - third).tocsr(), third
        a.X = logs(a)
        a.write_h5ad(path)
    same_tokens(path, models, expected, cells.obs_names)
