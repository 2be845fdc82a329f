"""The command line as a user meets it: help that teaches, errors in one sentence, commands that do what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner
from webserver import WebServer

from biosae_utils import __version__
from biosae_utils.cli import app
from biosae_utils.cli.app import parameters
from biosae_utils.errors import BiosaeError
from biosae_utils.sae.formats import load_sae, save_sae
from biosae_utils.sae.topk import TopKSAE

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ["run", "book", "status", "verify", "fetch", "apply", "import", "export", "sweep"]


def biosae(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout if code == 0 else done.stderr


# ---- help and errors -------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_the_way_to_start():
    text = biosae("--help")
    assert all(f" {command} " in text for command in COMMANDS) and "make book" in text
    assert biosae("--version").strip() == __version__


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_example(command):
    text = biosae(command, "--help")
    assert f"biosae {command} " in text.partition("Example")[2]


def test_help_needs_no_heavy_package():
    heavy = {"torch", "anndata", "scanpy", "snakemake", "transformers", "pandas", "plotly"}
    code = f"import sys; from biosae_utils.cli import app; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_bug_keeps_its_traceback(monkeypatch):
    def broken(*_args: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("biosae_utils.cells.fetch.listing", broken)
    done = CliRunner().invoke(app, ["fetch", "--list"])
    assert isinstance(done.exception, RuntimeError)


def test_a_missing_config_is_one_sentence():
    text = biosae("status", "--config", "absent.yaml", code=2)
    assert text.startswith("biosae: There is no such config. Where: absent.yaml.") and text.count("\n") == 1


def test_values_are_yaml_and_exponents_are_numbers():
    values = parameters(["a=0.01", "b=1e-3", "c=[0, 3]", "d=null", "e=text", "f=true", "g=x=y", "h="])
    assert values == {"a": 0.01, "b": 0.001, "c": [0, 3], "d": None, "e": "text", "f": True, "g": "x=y", "h": None}
    assert isinstance(parameters(["k=8"])["k"], int)


@pytest.mark.parametrize("text", ["fdr", "=3", "model=m", "run=other", "x={"])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(BiosaeError):
        parameters([text])


# ---- book ------------------------------------------------------------------------------------------------------------


def test_book_is_make_book(monkeypatch):
    """Options arrive as `make book` gives them, and the exit code is the build's."""
    makefile = (ROOT / "Makefile").read_text()
    seen = []
    monkeypatch.setattr("biosae_utils.book.build.main", lambda argv: seen.append(argv) or 1)
    biosae("book", code=1)
    biosae("book", "--data", "my.h5ad", "--cores", 3, "--profile", "slurm", "--gpus", 4, "--keep-going", code=1)
    assert seen[0] == ["--config", "config/demo.yaml"]
    assert seen[1][2:] == ["--data", "my.h5ad", "--cores", "3", "--profile", "slurm", "--gpus", "4", "--keep-going"]
    assert all(option in makefile for option in ("--data", "--cores", "--profile", "--gpus"))


def test_book_refuses_a_bad_config_like_every_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("run: x\nphasess: []\n")
    done = subprocess.run(
        [sys.executable, "-m", "biosae_utils.book.build", "--config", "bad.yaml"], capture_output=True, text=True
    )
    assert done.returncode == 1 and "phasess" in done.stderr and "Traceback" not in done.stderr


# ---- fetch -----------------------------------------------------------------------------------------------------------


def test_fetch_list_shows_size_licence_and_state(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    text = biosae("fetch", "--list", "--to", tmp_path)
    row = next(line for line in text.splitlines() if line.startswith("geneformer-v2-316m"))
    assert "1.27 GB" in row and "Apache-2.0" in row and "absent" in row


def test_fetch_dry_run_downloads_nothing(tmp_path):
    text = biosae("fetch", "kegg", "geneformer-v1-10m", "--dry-run", "--to", tmp_path)
    assert "never passed on" in text and "would download ctheodoris/Geneformer: Geneformer-V1-10M/config.json" in text
    assert list(tmp_path.iterdir()) == []


def test_fetch_checks_all_names_first(tmp_path):
    text = biosae("fetch", "trrust-v2", "keg", "--to", tmp_path, code=2)
    assert "nothing called 'keg'" in text and "did you mean kegg?" in text and list(tmp_path.iterdir()) == []


def test_fetch_and_verify(tmp_path, monkeypatch):
    from biosae_utils.cells import sources

    with WebServer() as web:
        web.files["/net.tsv"] = b"TF\tgene\n"
        entry = {
            "kind": "network",
            "title": "A net",
            "licence": "CC0",
            "url": web.url + "/",
            "files": [{"path": "net.tsv"}],
        }
        (tmp_path / "sources.yaml").write_text(yaml.safe_dump({"net": entry}))
        table = sources.read_sources(tmp_path / "sources.yaml")
        monkeypatch.setattr(sources, "shipped_sources", lambda: table)
        first = biosae("fetch", "net", "--to", tmp_path / "to")
        assert "Licence: CC0" in first and (tmp_path / "to" / "net" / "net.tsv").read_bytes() == b"TF\tgene\n"
        assert "is here already" in biosae("fetch", "net", "--to", tmp_path / "to")
        assert "1 files of net are what they were" in biosae("fetch", "net", "--verify", "--to", tmp_path / "to")
        (tmp_path / "to" / "net" / "net.tsv").write_bytes(b"TF\tGene\n")
        assert "has changed on disk" in biosae("fetch", "net", "--verify", "--to", tmp_path / "to", code=2)


# ---- SAEs ------------------------------------------------------------------------------------------------------------


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
