"""01_extract on real cells and a real small model: looking changes nothing, samples keep cells apart."""

from __future__ import annotations

import numpy as np
import pytest

from biosae_utils.models.base import Tokens
from biosae_utils.store import read_json, read_table
from phases.real_project import computed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with computed(tmp_path_factory.mktemp("extract"), "01_extract") as folder:
        yield folder


def test_claims_have_their_controls_and_the_zero_edit_is_exact(folder):
    claims = {claim["id"]: claim for claim in read_json(folder / "claims.json")}
    assert claims["zero-edit"]["value"] == 0 < claims["zero-edit"]["control"] and claims["zero-edit"]["check"]
    learnt = claims["masked-loss"]
    facts, losses = read_json(folder / "facts.json"), read_table(folder / "masked_loss.parquet")
    controls = losses[["random_twin", "shuffled_cells", "baseline"]].mean()
    assert learnt["control"] == pytest.approx(controls.min()) and learnt["interval_over"] == "cells"
    assert learnt["value"] < learnt["control"] and learnt["minimum"] == pytest.approx(0.01 * learnt["control"])
    assert facts["gain"] == pytest.approx((controls.min() - losses["model"].mean()), rel=0.1)


def test_the_best_baseline_without_a_model_is_among_the_controls(folder):
    """The old controls, random weights and shuffled cells, left out what frequency and rank tell."""
    facts, table = read_json(folder / "facts.json"), read_table(folder / "baselines.parquet").set_index("what")["loss"]
    simple = [name for name in table.index if name.startswith("gene ")]
    assert len(simple) == 4 and facts["baseline"] in simple and table.is_monotonic_increasing
    assert table[simple].min() == pytest.approx(facts["loss_baseline"]) and table[simple].idxmin() == facts["baseline"]
    assert facts["loss_baseline"] < facts["loss_random_twin"], "or it would be no opponent"


def test_training_and_held_out_samples_share_no_cell(folder):
    cell = np.load(folder / "positions" / "cell.npy")
    train, test = (np.load(folder / name / "rows.npy") for name in ("sample", "sample_heldout"))
    assert len(train) == 1000 and not np.intersect1d(cell[train], cell[test]).size
    width = read_json(folder / "facts.json")["d_model"]
    for layer in (0, 2):
        assert np.load(folder / "sample" / f"layer_{layer:02d}.npy").shape == (1000, width)
    assert not (folder / "sample" / "layer_01.npy").exists()


def test_tokens_that_are_kept_are_those_that_were_counted(folder):
    facts, tokens = read_json(folder / "facts.json"), Tokens.load(folder / "tokens")
    assert tokens.n_cells == facts["n_cells"] == 24 and facts["family"] == "geneformer"
    some = tokens.take(np.array([5, 2]))
    assert np.array_equal(some.ids[some.offsets[1] :], tokens.ids[tokens.offsets[2] : tokens.offsets[3]])
    assert read_table(folder / "cells.parquet")["n_tokens"].sum() == facts["n_positions"]
