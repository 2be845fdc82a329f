"""Fixtures: one small checkpoint of each kind, and cells for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from checkpoints import N_GENES, WRITERS, ensembl

from biosae_utils.models.base import Genes
from biosae_utils.models.registry import load_model


@pytest.fixture(scope="session")
def genes() -> Genes:
    return Genes(np.array([ensembl(i) for i in range(N_GENES)]), np.array([f"GENE{i}" for i in range(N_GENES)]))


@pytest.fixture(scope="session")
def counts() -> sp.csr_matrix:
    """Twelve cells with 0 to 30 genes; cell 3 has none."""
    rng = np.random.default_rng(0)
    keep = rng.random((12, N_GENES)) < np.linspace(0.05, 1, 12)[:, None]
    keep[3] = False
    return sp.csr_matrix(np.where(keep, rng.integers(1, 9, (12, N_GENES)), 0).astype(np.float32))


@pytest.fixture(scope="session", params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One checkpoint folder of each kind."""
    return WRITERS[request.param](tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def model(folder: Path):
    return load_model(folder, device="cpu")
