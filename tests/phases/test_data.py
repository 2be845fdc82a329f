"""The cohort of real cells and of hostile ones: logarithms, symbols only, one condition, none for some cells."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from biosae_utils.errors import BiosaeError
from biosae_utils.phases.data import PHASE, Params, conditions
from biosae_utils.phases.output import Output
from biosae_utils.phases.run import compute
from biosae_utils.store import read_json, read_table

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
MODELS = {slug: str(DEMO / "models" / slug) for slug in ("mini-geneformer", "mini-scgpt")}


@pytest.fixture(scope="module")
def stimulated(tmp_path_factory) -> Path:
    """A page on 240 cells of the demo."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return compute(PHASE, Params(path=str(DEMO / "pbmc_ifnb.h5ad"), n_cells=240, models=MODELS)).absolute()


def page(monkeypatch, folder: Path, **params) -> Path:
    monkeypatch.chdir(folder)
    return compute(PHASE, Params(**{"models": MODELS} | params)).absolute()


def test_the_cohort_is_balanced_and_every_table_counts_the_same_cells(stimulated):
    cohort, facts = read_table(stimulated / "cohort.parquet"), read_json(stimulated / "facts.json")
    assert len(cohort) == facts["n_cells"] == 240 and cohort["heldout"].sum() == facts["n_heldout"] == 48
    groups, sides = (read_table(stimulated / f"{name}.parquet") for name in ("groups", "group_sides"))
    assert groups["cells"].sum() == sides["n"].sum() == 240 and groups["cells"].nunique() == 1
    assert sides.loc[sides["side"] == "held_out", "n"].sum() == groups["held out"].sum() == 48
    depth = read_table(stimulated / "depth.parquet")
    assert len(depth) == 4 and (depth[["low", "q25", "median", "q75", "high"]].diff(axis=1).iloc[:, 1:] >= 0).all(None)
    control = cohort.loc[cohort["condition"] == "control", "n_counts"]
    assert depth.query("condition == 'control' and what == 'counts'")["median"].item() == control.median()


def test_the_interferon_response_is_found_beside_its_control(stimulated):
    facts, (claim,) = read_json(stimulated / "facts.json"), read_json(stimulated / "claims.json")
    assert claim["id"] == "conditions_differ" and claim["verdict"] == "supported" and not claim["check"]
    assert claim["interval_over"] == "blocks of cells" and claim["interval"][0] > 50 > 5 > claim["control"]
    assert facts["reference"] == "control" and facts["others"] == ["stimulated"] and "ISG15" in facts["leading"]
    table = read_table(stimulated / "conditions.parquet")
    assert (table["q"] <= 0.05).sum() == claim["value"] == facts["n_different"]
    row = table.set_index("gene").loc["ISG15"]
    assert row["AUROC"] > 0.9 and row["mean, others"] > 10 * row["mean, control"]
    leading = read_table(stimulated / "leading_genes.parquet")
    assert leading["z"].abs().is_monotonic_decreasing and len(leading) == 200
    z = read_table(stimulated / "z.parquet").pivot(index="at_least", columns="which", values="genes")
    assert z["true"].iloc[-1] >= 1 and z["relabelled"].isna().iloc[-1]


def test_what_one_gene_tells_is_left_for_the_latents_to_beat(stimulated):
    best, values = (read_table(stimulated / f"{name}.parquet") for name in ("rivals", "rival_values"))
    rows = best.set_index(["column", "group", "kind"])
    gene = rows.loc[("condition", "stimulated", "one gene")]
    assert gene["name"] in ("ISG15", "ISG20", "IFI6", "IFIT3", "LY6E") and gene["heldout"] > 0.95 and gene["more"]
    assert rows.loc[("condition", "stimulated", "depth"), "heldout"] < 0.75
    assert {"condition", "cell_type"} == set(best["column"]) and values.shape == (240, len(best))


def test_cells_without_a_condition_take_no_part_in_the_comparison(stimulated, tmp_path, monkeypatch):
    from biosae_utils.cells.data import open_cells

    monkeypatch.chdir(tmp_path)
    cells, cohort = open_cells(DEMO / "pbmc_ifnb.h5ad"), read_table(stimulated / "cohort.parquet")
    lost = (np.arange(len(cohort)) % 3 == 0) & (cohort["condition"] == "stimulated")
    cohort["condition"] = cohort["condition"].mask(lost)
    p, counts = Params(models=MODELS), cells.read(cohort["row"].to_numpy())
    facts = conditions(p, cells, cohort, counts, Output(PHASE, p, "biosae run 00_data"))
    assert facts["n_compared"] == (~lost).sum() < len(cohort) and facts["others"] == ["stimulated"]
    alone = cohort.assign(condition=cohort["condition"].where(cohort["condition"] == "control"))
    assert not conditions(p, cells, alone, counts, Output(PHASE, p, "biosae run 00_data"))["tested"]


def test_what_models_see_is_what_they_turn_into_tokens(stimulated):
    models = read_table(stimulated / "models.parquet").set_index("model")
    genes, lost = (read_table(stimulated / f"{name}.parquet") for name in ("genes", "lost"))
    for slug in MODELS:
        seen = genes[f"in_{slug}"]
        assert models.at[slug, "genes seen"] == seen.sum() and models.at[slug, "genes lost"] == (~seen).sum()
        worst = lost.loc[lost["model"] == slug, "mean count"]
        assert worst.is_monotonic_decreasing and worst.iloc[0] == genes.loc[~seen, "mean"].max()
    # of the longest sequence, Geneformer gives two tokens away and scGPT one
    assert models["genes that fit"].to_dict() == {"mini-geneformer": 1024, "mini-scgpt": 1023}


def test_the_cells_that_are_cut_are_those_whose_sequence_is_full(stimulated):
    from biosae_utils.cells.data import open_cells
    from biosae_utils.models.registry import load_model

    rows = read_table(stimulated / "cohort.parquet")["row"].to_numpy()
    cells, model = open_cells(DEMO / "pbmc_ifnb.h5ad"), load_model(MODELS["mini-geneformer"], device="cpu")
    full = model.encode(cells.read(rows), cells.genes).lengths == model.info.max_len
    cut = read_table(stimulated / "models.parquet").set_index("model").at["mini-geneformer", "cells cut (%)"]
    assert 0 < cut <= 100 * full.mean() < cut + 2  # a cell may fill the sequence without losing a gene


def test_logarithms_with_symbols_only_become_a_cohort(tmp_path, monkeypatch):
    source = ad.read_h5ad(DEMO / "pbmc3k.h5ad")[::9].copy()
    scaled = sp.diags(1e4 / np.asarray(source.X.sum(1)).ravel()) @ source.X
    logs = scaled.tocsr().log1p().astype(np.float32)
    path = tmp_path / "mine.h5ad"
    ad.AnnData(logs, obs=source.obs[["cell_type"]], var=pd.DataFrame(index=source.var_names)).write_h5ad(path)
    folder = page(monkeypatch, tmp_path, path=str(path), condition=None, n_cells=None)
    facts, checks = read_json(folder / "facts.json"), read_table(folder / "checks.parquet")
    assert facts["encoding"] == "log1p(CP10k) undone" and "logarithms" in facts["values_said"]
    assert checks["what was found"].str.contains("WARNING").any()
    cohort, genes = read_table(folder / "cohort.parquet"), read_table(folder / "genes.parquet")
    assert len(cohort) == source.n_obs and cohort["condition"].isna().all()
    np.testing.assert_array_equal(cohort["n_counts"], np.asarray(source.X.sum(1)).ravel()[cohort["row"]])
    np.testing.assert_allclose(genes["mean"].sum(), source.X.sum() / source.n_obs)
    (claim,) = read_json(folder / "claims.json")
    assert claim["verdict"] == "not_tested" and "one condition" in claim["reason"] and not facts["tested"]
    assert not (folder / "z.parquet").exists() and set(read_table(folder / "groups.parquet")["condition"]) == {
        "all cells"
    }
    # ids were completed, so that both kinds of vocabulary know the genes
    assert (read_table(folder / "models.parquet")["molecules seen (%)"] > 95).all()


def test_foreign_genes_stop_the_page_before_anything_is_complete(tmp_path, monkeypatch):
    some = ad.read_h5ad(DEMO / "pbmc3k.h5ad")[:40, :20].copy()
    some.var = pd.DataFrame(index=[f"gene_{i}" for i in range(20)])
    some.write_h5ad(tmp_path / "foreign.h5ad")
    with pytest.raises(BiosaeError, match="known human"):
        page(monkeypatch, tmp_path, path=str(tmp_path / "foreign.h5ad"), condition=None)
    assert not list(tmp_path.glob("results/**/manifest.json"))


def test_a_file_without_a_gene_that_a_model_knows_is_refused(tmp_path, monkeypatch):
    from biosae_utils.models.registry import load_model

    some = ad.read_h5ad(DEMO / "pbmc_ifnb.h5ad")[:200].copy()
    known = set(load_model(MODELS["mini-geneformer"], device="cpu").info.vocab_ids)
    column = next(c for c in some.var if some.var[c].astype(str).str.startswith("ENSG").any())
    some = some[:, ~some.var[column].isin(known).to_numpy()].copy()
    some = some[np.asarray(some.X.sum(1)).ravel() > 0].copy()
    some.write_h5ad(tmp_path / "rest.h5ad")
    with pytest.raises(BiosaeError, match="vocabulary of mini-geneformer"):
        page(monkeypatch, tmp_path, path=str(tmp_path / "rest.h5ad"), n_cells=None)


def test_the_files_of_the_models_belong_to_the_result(stimulated):
    about = read_json(stimulated / "manifest.json")
    assert any(name.endswith("pbmc_ifnb.h5ad") for name in about["key"]["data"])
    assert {slug for slug in MODELS if any(f"/{slug}/" in name for name in about["key"]["data"])} == set(MODELS)
    assert about["tables"] == [
        "cohort.parquet",
        "groups.parquet",
        "genes.parquet",
        "models.parquet",
        "rivals.parquet",
        "conditions.parquet",
    ]
