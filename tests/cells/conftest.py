"""Small h5ad files of the true format, with cells of the demo or with a few made ones."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
SYMBOLS = (
    "ISG15 CD3D CD3E MS4A1 LYZ NKG7 GNLY CD8A B2M ACTB GAPDH MALAT1 RPL3 RPS6 CD14 FCGR3A IFI6 IFIT1 MX1 CCL2".split()
)


@pytest.fixture(scope="session")
def demo() -> ad.AnnData:
    """Sixty real cells on all genes: every 67th of the demo."""
    return ad.read_h5ad(DEMO / "pbmc_ifnb.h5ad")[::67].copy()


@pytest.fixture
def small() -> ad.AnnData:
    """Forty cells x twenty genes of Poisson counts, no cell or gene empty."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(2.0, (40, len(SYMBOLS))) + np.eye(40, len(SYMBOLS), dtype=int)
    obs = pd.DataFrame(
        {"cell_type": ["T", "B"] * 20, "condition": ["control"] * 20 + ["stimulated"] * 20},
        index=[f"cell{i}" for i in range(40)],
    )
    return ad.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=SYMBOLS))


@pytest.fixture
def saved(tmp_path):
    """Write an AnnData and give its path."""

    def save(adata: ad.AnnData, name: str = "cells.h5ad") -> Path:
        adata.write_h5ad(tmp_path / name)
        return tmp_path / name

    return save
