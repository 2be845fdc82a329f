"""`biosae apply`, `import` and `export`: SAEs on my cells, in from elsewhere, out to others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from commands import biosae

from biosae_utils.sae.formats import load_sae, save_sae
from biosae_utils.sae.topk import TopKSAE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def few_cells(tmp_path_factory) -> Path:
    """Twelve real cells of the demo."""
    import anndata as ad

    path = tmp_path_factory.mktemp("cells") / "few.h5ad"
    ad.read_h5ad(ROOT / "data/demo/pbmc3k.h5ad")[::225].copy().write_h5ad(path)
    return path


@pytest.mark.parametrize("name", ["mini-geneformer", "mini-scgpt"])
def test_apply_writes_the_features_of_my_cells(tmp_path, few_cells, name):
    import anndata as ad

    from biosae_utils.cells.data import open_cells
    from biosae_utils.models.registry import load_model
    from biosae_utils.sae.apply import mean_codes

    directory = ROOT / "data/demo/models" / name
    model = load_model(directory, device="cpu")
    sae = TopKSAE(model.info.d_model, 2 * model.info.d_model, 8, seed=3)
    save_sae(tmp_path / "layer_01", sae, {"model_name": name})
    options = ("--sae", tmp_path / "layer_01", "--model", directory, "--device", "cpu")
    text = biosae("apply", few_cells, *options, "-o", tmp_path / "out.h5ad")
    assert f"12 cells x {sae.d_sae:,} latents" in text
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    expected = mean_codes(model, load_sae(tmp_path / "layer_01"), 1, open_cells(few_cells), np.arange(12))
    np.testing.assert_allclose(out.obsm["X_sae"].toarray(), expected.toarray(), atol=1e-5)
    facts = out.uns["biosae"]
    assert (facts["layer"], facts["model"], facts["model_sha256"]) == (1, name, model.info.sha256)
    assert facts["cells_sha256"] == open_cells(few_cells).sha256 and len(facts["sae_sha256"]) >= 12
    assert (out.X != ad.read_h5ad(few_cells).X).nnz == 0
    (tmp_path / "out.h5ad").unlink()
    text = biosae("apply", few_cells, *options, "--layer", 9, "-o", tmp_path / "out.h5ad", code=2)
    assert "has no layer 9" in text and not (tmp_path / "out.h5ad").exists()


def test_apply_refuses_another_kind_of_output(tmp_path, few_cells):
    text = biosae("apply", few_cells, "--sae", tmp_path, "--model", "m", "-o", tmp_path / "out.csv", code=2)
    assert "ends in .h5ad" in text


def test_import_then_apply_reads_the_same_numbers(tmp_path):
    d, f, k = 6, 10, 3
    generator = torch.Generator().manual_seed(0)
    weights = {
        "W_enc.weight": torch.randn(f, d, generator=generator),
        "W_enc.bias": torch.randn(f, generator=generator),
        "W_dec.weight": torch.randn(d, f, generator=generator),
        "W_dec.bias": torch.randn(d, generator=generator),
    }
    torch.save({"model_state_dict": weights, "d_model": d, "n_features": f, "k": k}, tmp_path / "sae_final.pt")
    mean = torch.randn(d, generator=generator)
    np.save(tmp_path / "activation_mean.npy", mean.numpy())
    assert "10 latents on width 6, k = 3" in biosae("import", tmp_path / "sae_final.pt", "-o", tmp_path / "mine")
    sae = load_sae(tmp_path / "mine")
    x = torch.randn(20, d, generator=generator)
    values, indices = sae.encode(x)
    pre_acts = (x - mean) @ weights["W_enc.weight"].T + weights["W_enc.bias"]
    top = torch.topk(pre_acts, k)
    torch.testing.assert_close(values.sort().values, torch.relu(top.values).sort().values, atol=1e-5, rtol=0)
    assert indices.shape == (20, k) and sae.metadata["imported_from"] == "sae_final.pt"


def test_import_of_something_else_is_refused(tmp_path):
    assert "no SAE of a known format" in biosae("import", tmp_path, "-o", tmp_path / "mine", code=2)
    (tmp_path / "x.pt").write_bytes(b"not a checkpoint")
    biosae("import", tmp_path / "x.pt", "-o", tmp_path / "mine", code=2)
    assert not (tmp_path / "mine").exists()


def test_export_hands_over_every_layer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {"run": "r", "phases": ["02_sae"], "models": {"m": {"source": "s", "layers": [0, 2]}}, "data": {}}
    Path("run.yaml").write_text(yaml.safe_dump(config))
    command = ("export", "m", "-o", "saes", "--config", "run.yaml")
    assert "02_sae has not finished" in biosae(*command, code=2)
    for layer in (0, 2):
        save_sae(Path(f"results/r/m/02_sae/layer_{layer:02d}/sae"), TopKSAE(4, 8, 2, seed=layer), {"model_name": "m"})
    about = dict.fromkeys(("phase", "run", "key", "outputs", "content"))
    Path("results/r/m/02_sae/manifest.json").write_text(json.dumps(about))
    assert "SAEs of layer_00, layer_02" in biosae(*command)
    for layer in (0, 2):
        sae = load_sae(Path(f"saes/layer_{layer:02d}"))
        assert torch.equal(sae.W_enc, TopKSAE(4, 8, 2, seed=layer).W_enc) and sae.metadata["model_name"] == "m"
    assert "Say where to" in biosae("export", "m", "--config", "run.yaml", code=2)
    assert "There is no model 'x' in this run" in biosae("export", "x", "-o", "saes", "--config", "run.yaml", code=2)
