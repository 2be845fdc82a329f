"""The Page API as a notebook uses it, without a runner."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from biosae_utils.book import figures, manifest
from biosae_utils.book.page import Page
from biosae_utils.claims import of_control
from biosae_utils.errors import BiosaeError
from biosae_utils.store import read_json, read_table

CLAIM = {
    "id": "share",
    "title": "Latents are annotated more often than permuted ones",
    "value": np.float32(0.25),
    "unit": "share",
    "interval": np.array([0.2, 0.3]),
    "control": 0.01,
    "control_kind": "permuted gene labels",
    "rule": "value above 5 x control",
    "verdict": "supported",
}


def finish(page: Page) -> None:
    page.save(pd.DataFrame({"gene": ["ISG15"], "score": [0.5]}), "hits")
    page.claim(**CLAIM)
    page.close(["A quarter of the latents is annotated."])


@pytest.fixture
def data_page(tmp_path) -> Page:
    page = Page.open("00_data", {"results": str(tmp_path), "run": "t"})
    finish(page)
    return page


def test_close_leaves_tables_claims_and_manifest(data_page, tmp_path):
    folder = tmp_path / "t" / "00_data"
    assert read_table(folder / "hits.parquet").gene.tolist() == ["ISG15"]
    (claim,) = json.loads((folder / "claims.json").read_text())
    assert claim["value"] == 0.25 and claim["interval"] == pytest.approx([0.2, 0.3])
    assert claim["phase"] == "00_data" and claim["command"] == "biosae run 00_data"
    about = read_json(folder / "manifest.json")
    assert about["tables"] == ["hits.parquet"] and about["seconds"] >= 0 and about["max_rss_mb"] > 1
    assert set(about["outputs"]) == {"hits.parquet", "claims.json"}
    assert manifest.missing_outputs(folder, about) == []
    (folder / "hits.parquet").unlink()
    assert manifest.missing_outputs(folder, about) == ["hits.parquet"]


def test_same_parameters_same_content(data_page, tmp_path):
    first = read_json(data_page.dir / "manifest.json")["content"]
    finish(Page.open("00_data", {"results": str(tmp_path), "run": "t"}))
    assert read_json(data_page.dir / "manifest.json")["content"] == first
    finish(Page.open("00_data", {"results": str(tmp_path), "run": "t", "seed": 1}))
    assert read_json(data_page.dir / "manifest.json")["content"] != first


def test_unfinished_work_is_kept_only_for_the_same_parameters(tmp_path):
    given = {"results": str(tmp_path), "run": "t"}
    page = Page.open("00_data", given)
    (page.dir / "chunk_0.npy").write_bytes(b"x")
    assert (Page.open("00_data", given).dir / "chunk_0.npy").exists()
    assert not (Page.open("00_data", {**given, "seed": 3}).dir / "chunk_0.npy").exists()


def test_opening_a_page_makes_it_incomplete(data_page, tmp_path):
    assert manifest.is_complete(data_page.dir)
    Page.open("00_data", {"results": str(tmp_path), "run": "t"})
    assert not manifest.is_complete(data_page.dir)


def test_unknown_parameter_is_refused_with_the_right_names(tmp_path):
    with pytest.raises(BiosaeError, match=r"unknown name n_cell .did you mean n_cells") as e:
        Page.open("00_data", {"results": str(tmp_path), "n_cell": 5})
    assert "holdout" in str(e.value)
    with pytest.raises(BiosaeError, match="n_cells = '5'"):
        Page.open("00_data", {"results": str(tmp_path), "n_cells": "5"})
    with pytest.raises(BiosaeError, match="No phase called"):
        Page.open("99_none", {})


def test_modules_constants_and_ipython_names_are_not_parameters(tmp_path):
    page = Page.open(
        "00_data",
        {"results": str(tmp_path), "np": np, "Page": Page, "REAL": "#0072B2", "In": [], "_i1": "x", "__name__": "m"},
    )
    assert page.params.n_cells == 2000
    assert Page.open("00_data", {"results": str(tmp_path), "page": page, "n_genes": 7}).params == page.params


def test_input_resolves_the_scope_and_refuses_incomplete_phases(data_page, tmp_path):
    given = {"results": str(tmp_path), "run": "t", "model": "mini-scgpt", "layer": 2}
    page = Page.open("04_annotate", given)
    assert page.dir == tmp_path / "t" / "mini-scgpt" / "layer_02" / "04_annotate"
    assert page.input("00_data", "hits.parquet") == tmp_path / "t" / "00_data" / "hits.parquet"
    with pytest.raises(BiosaeError, match=r"00_data left no none.parquet"):
        page.input("00_data", "none.parquet")
    with pytest.raises(BiosaeError, match="03_catalogue has not finished"):
        page.input("03_catalogue", "features.parquet")
    earlier = Page.open("03_catalogue", given)
    finish(earlier)
    assert page.input("03_catalogue", "hits.parquet").parent == earlier.dir
    assert page.layers("03_catalogue") == [2]
    with pytest.raises(BiosaeError, match="one folder per layer"):
        Page.open("05_svd", {k: v for k, v in given.items() if k != "layer"}).input("03_catalogue", "hits.parquet")


def test_claims_are_complete_and_unique(tmp_path):
    page = Page.open("00_data", {"results": str(tmp_path)})
    with pytest.raises(BiosaeError, match="needs value, control and control_kind"):
        page.claim(id="a", title="Something holds", value=1.0, rule="value above control", verdict="supported")
    page.claim(id="a", title="Something was not tested", rule="value above control", verdict="not_tested")
    with pytest.raises(BiosaeError, match="Two claims"):
        page.claim(id="a", title="Something was not tested", rule="value above control", verdict="not_tested")
    with pytest.raises(BiosaeError, match="key takeaways"):
        page.close([])


def test_figures_and_tables_say_what_they_show(tmp_path, capsys):
    page = Page.open("00_data", {"results": str(tmp_path)})
    fig = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
    with pytest.raises(BiosaeError, match="alternative text"):
        page.figure(fig, name="a", alt="", caption="Read it.")
    with pytest.raises(BiosaeError, match="is empty"):
        page.figure(go.Figure(go.Scatter(x=[], y=[])), name="b", alt="Nothing at all is shown here", caption="Read it.")
    with pytest.raises(BiosaeError, match="A table is empty"):
        page.table(pd.DataFrame({"a": []}), name="c", caption="Nothing")
    page.figure(fig, name="d", alt="Two points on a rising line", caption="Read it from left to right.")
    with pytest.raises(BiosaeError, match="Two figures or tables"):
        page.figure(fig, name="d", alt="Two points on a rising line", caption="Read it from left to right.")


def test_bundles_are_plain_json():
    fig = go.Figure(go.Bar(x=["a"], y=np.array([1.0])))
    bundle = figures.figure_bundle(fig, name="n", alt="One bar of height one", caption="Higher is more.")
    content = json.loads(json.dumps(bundle))[figures.PLOTLY_MIME]
    assert content["layout"]["meta"]["alt"] == "One bar of height one" and "template" not in content["layout"]
    df = pd.DataFrame(
        {"x": [1.23456, np.nan, np.inf], "n": [1, 2, 3], "g": [["A", "B"], None, "C"], "b": [True, False, True]}
    )
    table = json.loads(json.dumps(figures.table_bundle(df, name="t", caption="A table")))[figures.TABLE_MIME]
    assert table["data"] == [[1.235, 1, "A, B", True], [None, 2, None, False], ["∞", 3, "C", True]]
    assert [c["numeric"] for c in table["columns"]] == [True, True, False, False]
    assert figures.table_bundle(df, name="t", caption="A table", max_rows=2)[figures.TABLE_MIME]["n_rows"] == 3


def test_pages_of_a_control_say_so_and_their_claims_are_told_apart(tmp_path):
    page = Page.open("02_sae", {"results": str(tmp_path), "run": "t", "model": "m", "variant": "random-weights"})
    finish(page)
    (claim,) = json.loads((page.dir / "claims.json").read_text())
    assert claim["title"] == "Control with random weights: latents are annotated more often than permuted ones"
    assert read_json(page.dir / "manifest.json")["takeaways"][0].startswith("**Control with random weights**")
    assert of_control(claim) and not of_control(claim | {"title": CLAIM["title"]})
