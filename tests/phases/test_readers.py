"""Typed readers give what earlier phases left, checked, and cut as it was asked."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from biosae_utils.errors import BiosaeError
from biosae_utils.phases import readers
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.registry import find
from phases.planted_project import IN_PROGRAMME, LAYER, MODEL, N_CELLS, N_GENES, PER_CELL, RUN, UNTRAINED

ABOUT = {**RUN, "model": MODEL, "source": "nowhere"}


def inputs(phase: str, **more) -> Inputs:
    declared = find(phase)
    return Inputs(declared, declared.params(**ABOUT, **more))


@pytest.fixture
def read(catalogued, monkeypatch) -> Inputs:
    """What a page of 04_annotate reads."""
    monkeypatch.chdir(catalogued.root)
    return inputs("04_annotate", layer=LAYER, control=UNTRAINED)


def test_positions_codes_and_cells_agree(read, catalogued):
    reader = inputs("03_catalogue", layer=LAYER)
    table, store, cohort = readers.positions(read), readers.codes(reader), readers.cohort(reader)
    assert len(table.cell) == store.n == N_CELLS * PER_CELL and len(cohort) == N_CELLS
    np.testing.assert_array_equal(table.cell, catalogued.cell)
    np.testing.assert_array_equal(np.asarray(table.token) - 2, catalogued.gene)
    assert len(readers.vocabulary(read)) == N_GENES


def test_a_sample_knows_the_cell_and_token_of_each_vector(read, catalogued):
    sample = readers.Sample.read(read, [LAYER])
    assert sample.vectors[LAYER].shape[0] == len(sample.rows) == len(sample.cell) == len(sample.token)
    np.testing.assert_array_equal(sample.cell, catalogued.cell[sample.rows])
    np.testing.assert_array_equal(sample.token, catalogued.gene[sample.rows] + 2)


def test_lists_are_cut_and_longer_ones_than_there_are_refused(read):
    whole, cut = readers.Catalogue.read(read), readers.Catalogue.read(read, n_top=4)
    assert whole.params["n_top"] == IN_PROGRAMME == whole.top_genes["position"].max()
    assert cut.top_genes["position"].max() == 4 == cut.without_block["position"].max()
    np.testing.assert_array_equal(
        cut.without_block["token"], cut.genes["token"].to_numpy()[cut.without_block["gene_index"]]
    )
    with pytest.raises(BiosaeError, match=r"the catalogue keeps 15 of each latent.*n_top=16"):
        readers.Catalogue.read(read, n_top=16)


def test_dead_latents_are_not_alive_and_their_firing_is_nothing(read):
    catalogue = readers.Catalogue.read(read)
    training, heldout = catalogue.firing()
    dead = set(range(len(catalogue.features))) - set(catalogue.alive.tolist())
    assert dead and training.counts.shape == heldout.counts.shape
    assert training.counts[:, sorted(dead)].sum() == 0 < training.counts.sum()


def test_another_model_is_read_where_it_is_declared(read):
    own, twin = readers.Catalogue.read(read), readers.Catalogue.read(read, model=UNTRAINED)
    assert not own.top_genes.equals(twin.top_genes)


def test_a_page_that_is_about_no_layer_says_which(catalogued, monkeypatch):
    monkeypatch.chdir(catalogued.root)
    of_model = inputs("05_svd")
    assert readers.codes(of_model, LAYER).n == N_CELLS * PER_CELL
    with pytest.raises(BiosaeError, match="not about one layer"):
        readers.codes(of_model)


def test_saes_by_layer_and_seed(layered, monkeypatch):
    monkeypatch.chdir(layered)
    saes = readers.Saes.read(Inputs(find("05_svd"), find("05_svd").params(**run_of(layered))))
    assert saes.layers == sorted({layer for layer, _ in saes.folders}) and 0 in saes.seeds
    assert saes.folders[saes.layers[0], 0].as_posix().endswith(readers.Saes.place(saes.layers[0]))
    assert readers.Saes.place(3, 2) == "layer_03/seed_2"
    assert saes.load(saes.layers[0]).d_in == saes.load(saes.layers[-1]).d_in


def run_of(root) -> dict[str, str]:
    """Run, model and source of a project with one model."""
    (folder,) = root.glob("results/*/*/02_sae")
    return {"run": folder.parts[-3], "model": folder.parts[-2], "source": "nowhere"}


def test_a_file_that_was_changed_is_not_read(catalogued, tmp_path, monkeypatch):
    shutil.copytree(catalogued.root / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    path = next(tmp_path.glob(f"results/*/{MODEL}/layer_00/03_catalogue/features.parquet"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BiosaeError, match=r"features\.parquet has"):
        readers.Catalogue.read(inputs("04_annotate", layer=LAYER))


def test_claims_are_those_of_the_pages_of_the_run(project):
    from biosae_utils.phases.run import compute
    from biosae_utils.runconfig import RunConfig

    config = RunConfig.load("config/tiny.yaml")
    config.claim_results("config/tiny.yaml")
    for node, params in config.all_params().items():
        compute(find(node[0]), params)
    scorecard = find("15_scorecard")
    found = readers.claims(Inputs(scorecard, scorecard.params(run="tiny")))
    assert [(c["phase"], c["id"]) for c in found] == [("70_draws", "mean")]
