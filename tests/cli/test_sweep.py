"""`biosae sweep` on samples in the layout of 01_extract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from biosae_utils.cli import app
from biosae_utils.cli.sweep import advice
from biosae_utils.runconfig import RunConfig
from biosae_utils.sae.metrics import evaluate
from biosae_utils.sae.training.run import TrainConfig, train_one
from biosae_utils.sae.training.sweep import choose
from biosae_utils.sae.training.trainer import default_lr

D = 16
DEFAULT = default_lr(D)
CONFIG = {
    "run": "r",
    "phases": ["01_extract", "02_sae"],
    "models": {"m": {"source": "s", "layers": [0, 2, 3]}},
    "data": {},
    "sae": {"steps": 40, "batch_size": 64, "k": 3, "expansion": 2},
}
EXTRACT = Path("results/r/m/01_extract")


@pytest.fixture
def extracted(tmp_path, monkeypatch) -> Path:
    """A finished 01_extract of layers 0 and 2: sums of three of 24 directions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("run.yaml").write_text(yaml.safe_dump(CONFIG))
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(24, D))
    for part, n in (("sample", 1_200), ("sample_heldout", 300)):
        (EXTRACT / part).mkdir(parents=True)
        for layer in (0, 2):
            codes = rng.exponential(size=(n, 24)) * (rng.random((n, 24)) < 3 / 24)
            np.save(EXTRACT / part / f"layer_{layer:02d}.npy", (codes @ atoms).astype(np.float16))
    (EXTRACT / "manifest.json").write_text("{}")
    return tmp_path


def sweep(*arguments: object, code: int = 0) -> str:
    base = ["sweep", "--config", "run.yaml", "--device", "cpu"]
    done = CliRunner().invoke(app, [*base, *map(str, arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout if code == 0 else done.stderr


LAYER = ("--model", "m", "--layer", 2)


def test_the_default_grid_and_its_table(extracted):
    text = sweep(*LAYER, "-o", "tables/rates.parquet")
    assert "4 trainings on 1,200 vectors of m, layer 2 (width 16), judged on 300 of held-out cells" in text
    table = pd.read_parquet("tables/rates.parquet")
    assert sorted(table.lr) == pytest.approx([DEFAULT / 9, DEFAULT / 3, DEFAULT, DEFAULT * 3])
    assert table.fvu.is_monotonic_increasing and set(table.steps) == {40}
    assert table.verdict[0].startswith("best")
    facts = ["model", "layer", "d_in", "kind", "seed", "n_vectors", "n_heldout"]
    assert table[facts].iloc[-1].tolist() == ["m", 2, D, "topk", 0, 1_200, 300]
    best = next(line for line in text.splitlines() if " best" in line and "above best" not in line)
    assert f"{table.lr[0]:.3g} " in best and f"{table.fvu[0]:.4f}" in best
    assert sum(" best" in line and "%" in line for line in text.splitlines()) == 1, "only one row is called best"


def test_a_row_is_what_training_alone_gives(extracted):
    sweep(*LAYER, "--lr", "3e-3", "-p", "k=2", "-p", "seed=5", "-o", "one.csv")
    row = pd.read_csv("one.csv").iloc[0]
    sample, heldout = (np.load(EXTRACT / part / "layer_02.npy") for part in ("sample", "sample_heldout"))
    config = TrainConfig(expansion=2, k=2, steps=40, batch_size=64, lr=3e-3, seed=5)
    quality = evaluate(train_one(sample, config).sae, heldout)
    assert row.fvu == pytest.approx(quality.fvu, rel=1e-5) and row.dead == pytest.approx(quality.dead)
    assert (row.k, row.seed, row.steps, row.lr) == (2, 5, 40, 3e-3)


def test_the_advice_is_a_config_that_loads(extracted):
    """What is to be written is YAML, is accepted, and gives the very training that was judged."""
    text = sweep(*LAYER, "--lr", "1e-4", "--lr", "1e-2", "--steps", 20, "--steps", 60, "-p", "k=2")
    line = text.partition("Write `")[2].partition("`")[0]
    Path("new.yaml").write_text(yaml.safe_dump(CONFIG | {"sae": CONFIG["sae"] | yaml.safe_load(line)["sae"]}))
    params = RunConfig.load("new.yaml").phase_params("02_sae", "m")
    assert (params.lr, params.steps, params.k) == (1e-2, 60, 2)
    assert "the default rate, 0.083 / sqrt(16) = 0.0208, was not tried" in text
    assert "The best learning rate is the highest of the grid: extend it, with --lr 0.1 next." in text
    assert "The best number of steps is the highest of the grid: extend it, with --steps 180 next." in text


def test_the_default_rate_is_kept_when_it_is_as_good(extracted):
    text = sweep(*LAYER, "--lr", DEFAULT, "--lr", DEFAULT / 20)
    kept = "Keep the default learning rate, 0.083 / sqrt(16) = 0.0208: write `sae: {steps: 40}` without lr in run.yaml"
    assert f"{kept} (held-out FVU" in text and "the best)" in text
    assert any(line.rstrip().endswith("best, default rate") for line in text.splitlines())
    table = pd.DataFrame({"lr": [DEFAULT * 3, DEFAULT], "steps": [40, 40], "fvu": [0.1, 0.101]})
    (sentence, edge) = advice(choose(table, D), D, {"k": 2, "seed": 1}, Path("run.yaml"))
    assert "write `sae: {k: 2, steps: 40}` without lr" in sentence and "within noise (under 2%)" in sentence
    assert "1.0% above the best, 0.1000" in sentence and "--lr 0.187 next" in edge


def test_a_rate_that_diverges_is_named_in_the_table(extracted):
    text = sweep(*LAYER, "--lr", 0.01, "--lr", 500)
    assert any(line.split()[0] == "500" and line.rstrip().endswith("diverged") for line in text.splitlines()[2:4])
    text = sweep(*LAYER, "--lr", 500, "-o", "none.csv", code=2)
    assert "Every training of the sweep diverged" in text and not Path("none.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "x", "--layer", 2), "There is no model 'x' in this run. What to do: use --model with one of m"),
        (("--model", "m", "--layer", 1), "no layer 1 of m. What to do: use --layer with one of 0, 2, 3"),
        (("--model", "m", "--layer", 3), "biosae run 01_extract --model m --config run.yaml"),
        ((*LAYER, "--lr", 0), "lr = 0.0: input should be greater than 0"),
        ((*LAYER, "--lr", "1e-3", "--lr", "nan"), "lr = nan: input should be greater than 0"),
        ((*LAYER, "--steps", -5), "steps = -5: input should be greater than or equal to 10"),
        ((*LAYER, "-p", "expansio=8"), "unknown name expansio (did you mean expansion?)"),
        ((*LAYER, "-p", "k=many"), "k = 'many': input should be a valid integer"),
        ((*LAYER, "-p", "lr=0.1"), "lr is no -p of a sweep. Where: -p. What to do: use --lr"),
        ((*LAYER, "-p", "n_seeds=2"), "n_seeds makes no difference to a sweep"),
        ((*LAYER, "-p", "k=99"), "99"),
        ((*LAYER, "-o", "rates.xlsx"), "ends in .parquet or .csv"),
        ((*LAYER, "--device", "tpu"), "Unknown device 'tpu'"),
    ],
)
def test_a_wrong_request_is_one_sentence(extracted, arguments, says):
    before = sorted(extracted.rglob("*"))
    text = sweep(*arguments, code=2)
    assert says in text and text.count("\n") == 1 and "Traceback" not in text
    assert sorted(extracted.rglob("*")) == before, "nothing was written"


def test_an_extraction_that_has_not_finished_is_not_read(extracted):
    (EXTRACT / "manifest.json").unlink()
    text = sweep(*LAYER, code=2)
    assert "01_extract has not finished" in text and "biosae run 01_extract --model m --config run.yaml" in text
