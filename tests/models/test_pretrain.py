"""The script behind the shipped models: what it writes loads, and its baselines are what they say they are."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from biosae_utils.models.registry import load_model
from biosae_utils.store import sha256

ROOT = Path(__file__).resolve().parents[2]
N_CELLS, N_GENES = 60, 50


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(ROOT))
    yield importlib.import_module("scripts.pretrain_mini")
    sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def made(script, tmp_path_factory):
    """Both models trained for a second on sixty made-up cells; the folder that holds them, and the counts."""
    folder = tmp_path_factory.mktemp("minis")
    rng = np.random.default_rng(0)
    x = sp.csr_matrix(rng.poisson(rng.gamma(1.0, 2.0, N_GENES), (N_CELLS, N_GENES)).astype(np.uint16))
    np.savez(
        folder / "pretrain.npz",
        data=x.data,
        indices=x.indices,
        indptr=x.indptr,
        shape=x.shape,
        ensembl=np.array([f"ENSG{i:011d}" for i in range(N_GENES)]),
        symbol=np.array([f"GENE{i}" for i in range(N_GENES)]),
        dataset=np.full(N_CELLS, "made up"),
        heldout=np.arange(N_CELLS) % 6 == 0,
    )
    argv = ["pretrain_mini", "--data", str(folder / "pretrain.npz"), "--out", str(folder), "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*argv, "--minutes", "0.02", "--batch", "8"])
        for name, value in {"WIDTH": 24, "LAYERS": 2, "HEADS": 2, "FFN": 48}.items():
            patch.setattr(f"scripts.pretrain_layout.{name}", value)
        script.main()
    return folder, x


@pytest.mark.parametrize("name", ["mini-geneformer", "mini-scgpt"])
def test_what_is_written_loads_and_is_described(made, name):
    folder = made[0] / name
    model, card = load_model(folder, device="cpu"), json.loads((folder / "card.json").read_text())
    assert model.info.n_layers == 2 and model.info.d_model == 24
    assert card["weights_sha256"] == sha256(folder / "model.safetensors") == model.info.sha256
    assert card["data"] == {"sources": {"made up": 60}, "training": 45, "validation": 5, "heldout": 10}
    assert card["training"]["steps"] > 0 and card["training"]["history"]
    evaluation = card["evaluation"]
    best = min(evaluation["baselines"], key=lambda b: b["mean"])
    assert best["name"] == evaluation["best_baseline"]
    gain = evaluation["gain_over_best_baseline"]
    assert gain["mean"] == pytest.approx(best["mean"] - evaluation["model"]["mean"], abs=1e-4)
    assert gain["low"] <= gain["mean"] <= gain["high"]
    readme = (folder / "README.md").read_text()
    assert f"{evaluation['model']['mean']:.3f}" in readme and name in readme


def test_medians_are_of_training_cells_alone(made):
    folder, x = made
    training = x.toarray()[np.arange(N_CELLS) % 6 != 0].astype(float)
    per_10k = training / training.sum(1, keepdims=True) * 1e4
    model = load_model(folder / "mini-geneformer", device="cpu")
    kept = (training > 0).sum(0) >= 20
    assert len(model.info.vocab) == kept.sum() + 4
    for gene in np.flatnonzero(kept):
        expected = np.median(per_10k[:, gene][per_10k[:, gene] > 0])
        assert model.dictionaries.median[f"ENSG{gene:011d}"] == pytest.approx(expected)


def test_frequency_baseline_by_hand(script):
    from biosae_utils.models.base import Tokens
    from scripts.pretrain_baselines import gene_baselines

    # three training cells hold gene 4 three times, 5 twice, 6 once; the fourth cell hides gene 5 and shows gene 4
    cells = [[2, 4, 5, 6, 3], [2, 4, 5, 3], [2, 4, 3], [2, 4, 5, 3]]
    tokens = Tokens(np.concatenate(cells).astype(np.int32), None, np.cumsum([0, 5, 4, 3, 4]))
    keys = np.array(["<pad>", "<mask>", "<cls>", "<eos>", "A", "B", "C"])
    info = SimpleNamespace(vocab=keys, vocab_ids=keys, max_len=66, special_ids=(0, 1, 2, 3))
    fake = SimpleNamespace(info=info, dictionaries=SimpleNamespace(median={"A": 1.0, "B": 2.0, "C": 3.0}))
    at = dict(cell=np.array([3]), column=np.array([2]), ids=np.array([5]), loss=np.array([0.1]))
    result = {b["name"]: b["mean"] for b in gene_baselines(fake, tokens, np.arange(3), **at)["baselines"]}
    assert result["gene frequency"] == pytest.approx(-np.log(2 / 3), abs=1e-2)  # 2 of 3 among the genes not seen
    # at absolute rank 1 the two training cells hold gene 5 both times
    assert result["gene at its absolute rank"] == pytest.approx(0.0, abs=1e-2)


def test_intervals_resample_cells(script):
    from scripts.pretrain_baselines import interval

    loss, cell = np.repeat([0.0, 1.0], 500), np.repeat([0, 1], 500)
    assert interval(loss, cell) == {"mean": 0.5, "low": 0.0, "high": 1.0}  # two cells: as wide as can be
    tight = interval(np.random.default_rng(0).normal(size=1000), np.arange(1000))
    assert tight["high"] - tight["low"] == pytest.approx(4 / np.sqrt(1000), rel=0.15)
