"""The shipped data are what PROVENANCE.md says they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosae_utils.cells.cohort import make_cohort
from biosae_utils.cells.data import open_cells
from biosae_utils.phases.data import Params as DataParams
from biosae_utils.store import read_table, sha256

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "data" / "demo"


def test_checksums_and_sizes_of_provenance():
    rows = re.findall(r"^\| `([\w.]+)` \| ([\d,]+) \| `([0-9a-f]{64})` \|$", (DEMO / "PROVENANCE.md").read_text(), re.M)
    written = {name: (int(size.replace(",", "")), digest) for name, size, digest in rows}
    shipped = [p for p in DEMO.iterdir() if p.is_file() and p.name != "PROVENANCE.md"]
    shipped.append(ROOT / "biosae_utils" / "cells" / "human_genes.parquet")
    assert {p.name: (p.stat().st_size, sha256(p)) for p in shipped} == written
    assert sum(size for size, _ in written.values()) < 14e6


@pytest.mark.parametrize(("name", "n_cells"), [("pbmc_ifnb", 4000), ("pbmc3k", 2700)])
def test_cells_are_counts_with_named_genes(name, n_cells):
    cells = open_cells(DEMO / f"{name}.h5ad")
    assert cells.n_cells == n_cells and cells.encoding == "counts" and cells.matrix.kind == "csr"
    assert (cells.genes.ensembl != "").mean() > 0.999 and (cells.genes.symbol != "").mean() > 0.999
    assert len(np.unique(cells.genes.ensembl)) == len(cells.genes)
    assert cells.obs["cell_type"].nunique() == 8


def test_interferon_is_seen_in_the_stimulated_cells():
    cells = open_cells(DEMO / "pbmc_ifnb.h5ad")
    cohort = make_cohort(cells, DataParams(n_cells=800))
    x = cells.read(cohort["row"].to_numpy())
    stimulated = (cohort["condition"] == "stimulated").to_numpy()
    column = {s: i for i, s in enumerate(cells.genes.symbol)}
    for gene in ("ISG15", "IFI6", "MX1"):
        values = x[:, [column[gene]]].toarray().ravel()
        assert values[stimulated].mean() > 5 * values[~stimulated].mean(), gene
    housekeeping = x[:, [column["B2M"]]].toarray().ravel()
    assert 0.5 < housekeeping[stimulated].mean() / housekeeping[~stimulated].mean() < 2


def test_default_cohort_is_balanced_and_evaluated_on_unseen_cells():
    cohort = make_cohort(open_cells(DEMO / "pbmc_ifnb.h5ad"), DataParams())
    assert (cohort.groupby(["cell_type", "condition"]).size() == 125).all()
    assert cohort["heldout"].sum() == 400 and cohort.loc[cohort["heldout"], "pretrain_heldout"].all()


def test_gene_sets_are_whole_and_within_their_sizes():
    sets = read_table(DEMO / "genesets.parquet")
    assert set(sets["collection"]) == {"GO_BP", "Reactome", "Hallmark"}  # KEGG must never be here
    assert not sets.duplicated(["collection", "term_id", "gene"]).any()
    size = sets.groupby(["collection", "term_id"], observed=True).size()
    assert size.between(5, 500).all()
    interferon = sets[sets["term_id"] == "HALLMARK_INTERFERON_ALPHA_RESPONSE"]
    assert {"ISG15", "IFIT3", "MX1"} <= set(interferon["gene"])
    assert set(interferon["name"]) == {"INTERFERON ALPHA RESPONSE"}
    assert "ISG15" in set(sets.loc[sets["name"] == "defense response to virus", "gene"])
    measured = pd.Series(open_cells(DEMO / "pbmc_ifnb.h5ad").genes.symbol)
    assert measured.isin(set(sets["gene"])).mean() > 0.7


@pytest.mark.slow
def test_the_script_rebuilds_the_same_bytes(tmp_path):
    cache = ROOT / ".cache" / "demo-sources"
    if not cache.is_dir():
        pytest.skip("the sources (150 MB) were not downloaded: python scripts/build_demo_data.py")
    script = [sys.executable, str(ROOT / "scripts" / "build_demo_data.py"), "--cache", str(cache)]
    subprocess.run(
        [*script, "--out", str(tmp_path), "--names", str(tmp_path / "names" / "human_genes.parquet")], check=True
    )
    assert (tmp_path / "PROVENANCE.md").read_text() == (DEMO / "PROVENANCE.md").read_text()
