"""The page on the published atlas: its claims follow from the committed shares; a fetched atlas is shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from atlas_files import N_FEATURES, N_LAYERS, write_atlas

from biosae_utils.cells import fetch
from biosae_utils.errors import BiosaeError
from biosae_utils.phases import published
from biosae_utils.phases.published import FAMILIES, LISTS, PHASE, Params
from biosae_utils.phases.run import compute
from biosae_utils.phases.state import why_stale
from biosae_utils.store import read_json, read_table, write_json

SUMMARY = Path(__file__).resolve().parents[2] / "data" / "published_summary" / "geneformer-v2-316m"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("published"))
        return compute(PHASE, Params(summary=str(SUMMARY))).absolute()


def claims(folder: Path) -> dict[tuple[str, str | None], dict]:
    return {(c["id"], c["group"]): c for c in read_json(folder / "claims.json")}


def test_claims_are_means_over_layers_beside_the_higher_control(page):
    found, shares = claims(page), pd.read_csv(SUMMARY / "rules.csv")
    assert len(found) == len(FAMILIES) * len(LISTS) + 2
    of_all = shares[shares["sets"] == "GO_BP + Hallmark + Reactome"].groupby(["population", "rule"])
    means = of_all[["real", "permuted", "matched"]].mean()
    for population, words in LISTS.items():
        for rule in FAMILIES:
            claim, row = found[f"annotated_{rule}", words], 100 * means.loc[(population, rule)]
            assert claim["value"] == pytest.approx(row["real"])
            assert claim["control"] == pytest.approx(max(row["permuted"], row["matched"]))
            assert claim["interval"][0] <= claim["value"] <= claim["interval"][1]
            assert claim["interval_over"] == "layers" and claim["published"] == pytest.approx(52.43, abs=0.01)
            assert claim["command"].endswith("&& biosae run 16_published")


def test_random_directions_pass_the_rule_for_novelty(page):
    claim, facts = claims(page)["invisible_to_svd", None], read_json(page / "facts.json")
    assert claim["control"] > 99.9 and claim["verdict"] == "not_supported"
    assert 0.9 < facts["novel_inside"] < facts["novel"] < facts["novel_random"]
    lines = read_table(page / "novel.parquet").pivot(index="layer", columns="which", values="novel")
    assert len(lines) == 18 and lines["real"].mean() == pytest.approx(claim["value"] / 100)
    untested = claims(page)["turnover", None]
    assert untested["verdict"] == "not_tested" and "second training" in untested["reason"]


def test_figures_have_one_row_a_mark_and_gaps_where_lists_are_missing(page):
    bars = read_table(page / "rule_bars.parquet")
    assert not bars.duplicated(["sets", "population", "rule", "source"]).any() and len(bars) == 60
    assert bars["rule"].iloc[0] == "published, without edges" and bars["rule"].iloc[-1].endswith("layer-wide")
    lines = read_table(page / "layer_lines.parquet")
    listed = lines[(lines["population"] == "listed") & (lines["source"] == "real")]
    gone = {int(row["file"][6:8]) for row in read_json(SUMMARY / "provenance.json")["problems"]}
    assert gone and set(listed.loc[listed["share"].isna(), "layer"]) == gone
    assert (lines.groupby(["rule", "population", "source"])["layer"].nunique() == 18).all()
    stated = lines[lines["source"] == "stated"]
    assert set(stated["rule"]) == {"published, without edges"} and stated["share"].notna().all()


def test_a_rule_that_is_clean_is_supported_and_one_that_is_not_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SUMMARY, "summary")
    shares = pd.read_csv("summary/rules.csv")
    shares.loc[shares["rule"] == "published", "matched"] = shares["real"]
    shares.to_csv("summary/rules.csv", index=False)
    found = claims(compute(PHASE, Params(summary="summary")))
    for words in LISTS.values():
        assert found["annotated_published", words]["verdict"] == "not_supported"
    assert found["annotated_layer", LISTS["listed"]]["verdict"] == "supported"
    assert found["annotated_layer", LISTS["first five"]]["verdict"] == "trivial"  # half a per cent of the features


def test_a_missing_file_names_the_script_that_writes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SUMMARY, "summary")
    Path("summary/published.csv").unlink()
    with pytest.raises(BiosaeError, match="reanalyse_published"):
        compute(PHASE, Params(summary="summary"))


def test_a_fetched_atlas_is_shown_most_annotated_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = compute(PHASE, Params(summary=str(SUMMARY)))
    assert read_json(folder / "facts.json")["n_features"] == 0 and not (folder / "features.parquet").exists()
    write_atlas(tmp_path / "fetched" / "public" / "data")
    (
        tmp_path / "fetched" / "public" / "data" / "layer_00_features.json.gz"
    ).unlink()  # the first layer need not be there
    monkeypatch.setattr(fetch, "folder_of", lambda name: tmp_path / "fetched")
    monkeypatch.setattr(published, "N_SHOWN", 3)
    folder = compute(PHASE, Params(summary=str(SUMMARY), seed=1))
    features = read_table(folder / "features.parquet")
    alive = (N_FEATURES - 1) * (N_LAYERS - 1)
    assert read_json(folder / "facts.json")["n_features"] == len(features) == alive
    assert features["n_annotations"].is_monotonic_decreasing and features["layer"].unique().tolist() == [1, 2]
    assert features.loc[features["feature"] == 1, "top genes"].tolist() == ["G10, G11, G12"] * 2
    about = read_json(folder / "manifest.json")["outputs"]
    assert "atlas/features.parquet" in about and "atlas/import.json" in about


def test_a_later_fetch_makes_the_page_stale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compute(PHASE, Params(summary=str(SUMMARY)))
    assert why_stale(PHASE, Params(summary=str(SUMMARY)))[0] == "done"
    write_json("data/fetched/atlas-geneformer/lock.json", {})
    assert why_stale(PHASE, Params(summary=str(SUMMARY)))[0] == "stale"


def test_the_committed_summary_is_whole_and_small():
    made, table = read_json(SUMMARY / "provenance.json"), pd.read_csv(SUMMARY / "rules.csv")
    assert sum(f.stat().st_size for f in SUMMARY.iterdir()) < 60_000
    assert made["features_alive"] == pd.read_csv(SUMMARY / "published.csv")["alive"].sum() == 82_525
    gone = {int(row["file"][6:8]) for row in made["problems"] if row["file"].endswith("annotations.json")}
    listed = table[table["population"] == "listed"]
    assert set(listed["layer"]) == set(made["layers_read"]) - gone
    assert set(table.loc[table["population"] == "first five", "layer"]) == set(made["layers_read"])
    assert table[["real", "permuted", "matched"]].to_numpy().min() >= 0 and not table.isna().any().any()
    assert made["code_version"].endswith(")") and "+" not in made["code_version"]  # computed by committed code
