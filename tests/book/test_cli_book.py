"""`biosae run`, `status` and `verify` on a project of two tiny phases."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from biosae_utils.cli import app

TINY = ("--config", "config/tiny.yaml")


@pytest.fixture
def biosae(project):
    def call(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*arguments, *TINY])
        assert done.exit_code == code, (done.output, done.exception)
        return done.stdout if code == 0 else done.stderr

    return call


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["99_dreams"], "No phase is called '99_dreams'. What to do: use one of 00_data"),
        (["04_annotate"], "This run has no phase '04_annotate'"),
        (["03_catalogue", "--layer", "0"], "no model None. What to do: use --model with one of m"),
        (["03_catalogue", "--model", "x", "--layer", "0"], "no model 'x'"),
        (["03_catalogue", "--model", "m"], "no layer None. What to do: use --layer with one of 0, 2"),
        (["03_catalogue", "--model", "m", "--layer", "1"], "no layer 1"),
        (["00_data", "--model", "m"], "00_data has one page per run. Where: --model. What to do: leave --model out"),
        (["00_data", "--layer", "2"], "leave --layer out"),
        (["00_data", "-p", "n_cell=10"], "unknown name n_cell (did you mean n_cells?); the names are run, seed"),
        (["00_data", "-p", "n_cells=many"], "n_cells = 'many': input should be a valid integer"),
        (["00_data", "-p", "holdout=7"], "holdout = 7: input should be less than 0.9"),
        (["00_data", "-p", "n_cells"], "'n_cells' is not NAME=VALUE"),
        (["00_data", "-p", "models=[1"], "cannot be read"),
        (["03_catalogue", "--model", "m", "--layer", "0", "-p", "layer=2"], "use --layer"),
    ],
)
def test_a_wrong_request_is_one_sentence_before_anything_runs(biosae, project, arguments, says):
    text = biosae("run", *arguments, code=2)
    assert says in text and text.count("\n") == 1 and "Traceback" not in text
    assert not (project / "results").exists()


def test_one_page_again_with_another_parameter(biosae, project):
    text = biosae("run", "00_data", "-p", "n_cells=30", "-p", "holdout=1e-1")
    assert "- The mean over 30 cells is" in text and "without -p takes it back" in text
    folder = Path("results/tiny/00_data")
    assert len(pd.read_parquet(folder / "cells.parquet")) == 30
    assert json.loads((folder / "manifest.json").read_text())["params"]["holdout"] == 0.1
    assert Path("book/executed/tiny/00_data.ipynb").is_file()

    report = json.loads(biosae("status", "--json"))
    rows = {(r["phase"], r["layer"]): r for r in report["phases"]}
    assert report["run"] == "tiny" and rows["03_catalogue", 0]["state"] == "not_run"
    assert rows["00_data", None]["state"] == "stale" and "n_cells 30 -> 50" in rows["00_data", None]["reason"]
    assert "stale: 00_data: the config differs" in biosae("status")


def test_a_page_that_fails_is_told_without_a_traceback(biosae):
    biosae("run", "00_data")
    text = biosae("run", "03_catalogue", "--model", "m", "--layer", "2", "-p", "n_top=13", code=2)
    assert "Thirteen is no number of top genes" in text and "Traceback" not in text
    assert "failed: 03_catalogue of m, layer 2: Thirteen" in biosae("status")


def test_a_page_whose_input_is_missing_names_the_command(biosae):
    assert "biosae run 00_data" in biosae("run", "03_catalogue", "--model", "m", "--layer", "0", code=2)


def test_verify_finds_what_was_changed_afterwards(biosae):
    from biosae_utils.book.status import collect_claims

    assert "run `biosae book` first" in biosae("verify", code=2)
    biosae("run", "00_data")
    assert "claims.json" in biosae("verify", code=2), "nothing was collected yet"
    collect_claims("tiny")
    assert biosae("verify").startswith("1 pages, 2 files, 1 claims: all agree")

    collected = Path("results/tiny/claims.json")
    claims = json.loads(collected.read_text())
    collected.write_text(json.dumps([claims[0] | {"value": 99.0}]))
    assert "00_data/mean: value is 99.0 in" in biosae("verify", code=1)
    collected.write_text(json.dumps([]))
    assert "00_data/mean is not in" in biosae("verify", code=1)
    collected.write_text(json.dumps([*claims, claims[0] | {"id": "invented"}]))
    assert "00_data/invented in results/tiny/claims.json is of no page" in biosae("verify", code=1)

    collected.write_text(json.dumps(claims))
    table = Path("results/tiny/00_data/cells.parquet")
    data = table.read_bytes()
    table.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "cells.parquet was changed after it was computed" in biosae("verify", code=1)
    table.unlink()
    assert "cells.parquet is gone" in biosae("verify", code=1)


def test_verify_refuses_malformed_claims(biosae):
    from biosae_utils.book.status import collect_claims

    biosae("run", "00_data")
    path = Path("results/tiny/00_data/claims.json")
    claim = json.loads(path.read_text())[0]
    for change, says in (
        ({"control": None}, "needs value, control"),
        ({"phase": "03_catalogue"}, "of another page"),
        ({"rule": ""}, "rule = ''"),
    ):
        path.write_text(json.dumps([claim | change]))
        collect_claims("tiny")
        assert says in biosae("verify", code=1)
    path.write_text(json.dumps([claim, claim]))
    collect_claims("tiny")
    assert "claim 00_data/mean is there 2 times" in biosae("verify", code=1)
