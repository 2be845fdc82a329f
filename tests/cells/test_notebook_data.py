"""The notebook of phase 00 on cells that are not the demo: logarithms, symbols only, no condition."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from biosae_utils.errors import BiosaeError
from biosae_utils.store import read_json, read_table

ROOT = Path(__file__).resolve().parents[2]
MODELS = {"mini-geneformer": "data/demo/models/mini-geneformer", "mini-scgpt": "data/demo/models/mini-scgpt"}


def run_notebook(monkeypatch, **params) -> Path:
    """Execute the notebook's code with other parameters; returns the folder that it wrote."""
    monkeypatch.chdir(ROOT)
    code = (ROOT / "notebooks" / "00_data.py").read_text()
    for name, value in params.items():
        code, n = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", code, flags=re.M)
        assert n == 1, name
    exec(compile(code, "00_data.py", "exec"), {"__name__": "__main__"})
    return Path(params["results"]) / "demo" / "00_data"


def test_logarithms_with_symbols_only_become_a_cohort(tmp_path, monkeypatch):
    source = ad.read_h5ad(ROOT / "data" / "demo" / "pbmc3k.h5ad")[::9].copy()
    scaled = sp.diags(1e4 / np.asarray(source.X.sum(1)).ravel()) @ source.X
    logs = scaled.tocsr().log1p().astype(np.float32)
    path = tmp_path / "mine.h5ad"
    ad.AnnData(logs, obs=source.obs[["cell_type"]], var=pd.DataFrame(index=source.var_names)).write_h5ad(path)
    folder = run_notebook(
        monkeypatch, path=str(path), condition=None, n_cells=None, results=str(tmp_path / "r"), models=MODELS
    )

    summary = read_json(folder / "summary.json")
    assert summary["encoding"] == "log1p(CP10k) undone" and any("WARNING" in m for m in summary["messages"])
    cohort, genes = read_table(folder / "cohort.parquet"), read_table(folder / "genes.parquet")
    assert len(cohort) == source.n_obs and cohort["condition"].isna().all()
    np.testing.assert_array_equal(cohort["n_counts"], np.asarray(source.X.sum(1)).ravel()[cohort["row"]])
    np.testing.assert_allclose(genes["mean"].sum(), source.X.sum() / source.n_obs)
    claims = json.loads((folder / "claims.json").read_text())
    assert [c["verdict"] for c in claims] == ["not_tested"]
    for model in summary["models"]:  # ids were completed, so that both kinds of vocabulary know the genes
        assert model["molecules seen (%)"] > 95, model


def test_foreign_genes_stop_the_page_before_anything_is_written(tmp_path, monkeypatch, small):
    small.var_names = [f"gene_{i}" for i in range(20)]
    small.write_h5ad(tmp_path / "foreign.h5ad")
    with pytest.raises(BiosaeError, match="known human"):
        run_notebook(monkeypatch, path=str(tmp_path / "foreign.h5ad"), results=str(tmp_path / "r"))
    assert not (tmp_path / "r" / "demo" / "00_data" / "manifest.json").exists()
