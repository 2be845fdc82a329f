"""The shipped models are the ones their cards describe, and beat what knows only frequency, rank or means."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from biosae_utils.cells.data import open_cells
from biosae_utils.models.registry import load_model
from biosae_utils.store import sha256

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
N_CELLS = 16


@pytest.fixture(scope="module", params=["mini-geneformer", "mini-scgpt"])
def mini(request):
    folder = DEMO / "models" / request.param
    return folder, json.loads((folder / "card.json").read_text())


def test_the_card_is_of_these_weights(mini):
    folder, card = mini
    weights = folder / "model.safetensors"
    assert card["weights_sha256"] == sha256(weights)
    assert weights.stat().st_size < 14e6
    model = load_model(folder, device="cpu")
    assert card["parameters"] == sum(p.numel() for p in model.net.parameters())


def test_it_beats_every_baseline_of_its_card(mini):
    evaluation = mini[1]["evaluation"]
    assert evaluation["heldout_cells"] == 1000 and len(evaluation["baselines"]) >= 3
    best = min(b["mean"] for b in evaluation["baselines"])
    assert evaluation["gain_over_best_baseline"]["low"] > 0
    assert evaluation["model"]["high"] < best


def test_the_readme_holds_the_numbers_of_the_card(mini):
    folder, card = mini
    table = re.findall(r"^\| (?!\|)(.+?) \| ([\d.]+) \|", (folder / "README.md").read_text(), re.MULTILINE)
    evaluation = card["evaluation"]
    expected = {"this model": evaluation["model"]["mean"]} | {b["name"]: b["mean"] for b in evaluation["baselines"]}
    assert {name: float(value) for name, value in table} == pytest.approx(expected, abs=6e-4)


def test_the_loss_can_be_measured_again_on_unseen_cells(mini):
    folder, card = mini
    cells = open_cells(DEMO / "pbmc_ifnb.h5ad")
    rows = np.flatnonzero(cells.obs["pretrain_heldout"].to_numpy())[::25][:N_CELLS]
    model = load_model(folder, device="cpu")
    tokens = model.encode(cells.read(rows), cells.genes)
    last, losses = model.info.n_layers - 1, []
    for cell in range(N_CELLS):
        masked, positions = model.mask(model.collate(tokens, [cell]), 0.15, seed=1)
        losses.append(model.loss(model.hidden(masked, [last])[last], masked, positions).mean().item())
    error = 3 * np.std(losses) / np.sqrt(N_CELLS)
    assert np.mean(losses) == pytest.approx(card["evaluation"]["model"]["mean"], abs=error)
    assert np.mean(losses) + error < max(b["mean"] for b in card["evaluation"]["baselines"])
