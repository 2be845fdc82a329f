"""`biosae book` is make book; `run`, `status` and `verify` on a project of two tiny phases."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from commands import biosae

ROOT = Path(__file__).resolve().parents[2]
TINY = ("--config", "config/tiny.yaml")


@pytest.fixture
def tiny(project):
    """A command on the tiny project."""
    return lambda *arguments, code=0: biosae(*arguments, *TINY, code=code)


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["99_dreams"], "No phase is called '99_dreams'. What to do: use one of 00_data"),
        (["04_annotate"], "This run has no phase '04_annotate'"),
        (["71_two_words", "--layer", "0"], "a page per layer: which model? What to do: add --model with one of m"),
        (
            ["71_two_words", "--model", "x", "--layer", "0"],
            "no model 'x' in this run. What to do: use --model",
        ),
        (["71_two_words", "--model", "m"], "which layer? What to do: use --layer with one of 0, 2"),
        (["71_two_words", "--model", "m", "--layer", "1"], "there is no layer 1 of m"),
        (["70_draws", "--model", "m"], "70_draws has one page per run. Where: --model. What to do: leave --model out"),
        (["70_draws", "--layer", "2"], "leave --layer out"),
        (["70_draws", "-p", "nn=10"], "unknown name nn (did you mean n?); the names are run, seed"),
        (["70_draws", "-p", "n=many"], "n = 'many': input should be a valid integer"),
        (["70_draws", "-p", "n=0"], "n = 0: input should be greater than or equal to 1"),
        (["70_draws", "-p", "n"], "'n' is not NAME=VALUE"),
        (["70_draws", "-p", "n=[1"], "cannot be read"),
        (["71_two_words", "--model", "m", "--layer", "0", "-p", "layer=2"], "use --layer"),
    ],
)
def test_a_wrong_request_is_one_sentence_before_anything_runs(tiny, project, arguments, says):
    text = tiny("run", *arguments, code=2)
    assert says in text and text.count("\n") == 1 and "Traceback" not in text
    assert not (project / "results").exists()


def test_a_model_s_own_phases_are_respected(tiny, project):
    path = Path("config/tiny.yaml")
    path.write_text(path.read_text().replace("layers: [0, 2]}", "layers: [0, 2], phases: []}"))
    text = tiny("run", "71_two_words", "--model", "m", "--layer", "0", code=2)
    assert "71_two_words is not run for m" in text and "models.m.phases" in text


def test_one_page_again_with_another_parameter(tiny, project):
    text = tiny("run", "70_draws", "-p", "n=25")
    assert "- The mean over 25 cells is" in text and "Not kept: the next `make book`" in text and "`draws:`" in text
    folder = Path("results/tiny/70_draws")
    assert len(pd.read_parquet(folder / "values.parquet")) == 25
    assert Path("book/executed/tiny/70_draws.ipynb").is_file()

    report = json.loads(tiny("status", "--json"))
    rows = {(r["phase"], r["layer"]): r for r in report["phases"]}
    assert report["run"] == "tiny" and rows["71_two_words", 0]["state"] == "not_run"
    assert rows["70_draws", None]["state"] == "stale" and "n 25 -> 30" in rows["70_draws", None]["reason"]
    assert rows["book", None]["state"] == "not_run"
    assert "stale: 70_draws: the config differs" in tiny("status")


def test_a_page_that_fails_is_told_without_a_traceback(tiny):
    tiny("run", "70_draws")
    text = tiny("run", "71_two_words", "--model", "m", "--layer", "2", "-p", "n_top=13", code=2)
    assert "Thirteen is no number of rows" in text and "Traceback" not in text
    assert "failed: 71_two_words of m, layer 2: Thirteen" in tiny("status")


def test_a_page_whose_input_is_missing_names_the_command(tiny):
    assert "biosae run 70_draws" in tiny("run", "71_two_words", "--model", "m", "--layer", "0", code=2)


def test_verify_ends_with_1_when_something_differs(tiny):
    assert "run `biosae book` first" in tiny("verify", code=2)
    tiny("run", "70_draws")
    assert "71_two_words of m, layer 0 was not computed" in tiny("verify", code=1)
