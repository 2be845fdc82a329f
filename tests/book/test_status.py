"""States of pages and the claims of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from biosae_utils import store
from biosae_utils.book.page import Page
from biosae_utils.book.paths import page_path
from biosae_utils.book.status import collect_claims, status
from biosae_utils.errors import BiosaeError
from biosae_utils.runconfig import RunConfig

PAGES = [("00_data", None, None), ("03_catalogue", "m", 0), ("03_catalogue", "m", 2)]


def compute(config: RunConfig, page: tuple) -> None:
    """What a job leaves, without a kernel."""
    one = Page.open(page[0], config.phase_params(*page).model_dump())
    one.save(pd.DataFrame({"a": [1]}), "cells")
    one.claim(id="c", title="Something was not tested", rule="there is no rule yet", verdict="not_tested")
    one.close(["Done."])
    path = page_path(config.run, *page)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")


@pytest.fixture
def config(project) -> RunConfig:
    config = RunConfig.load("config/tiny.yaml")
    old = 1_000_000_000
    for source in Path("notebooks").glob("*.py"):
        os.utime(source, (old, old))
    for page in PAGES:
        compute(config, page)
    return config


def states(config: RunConfig) -> list[str]:
    return [row["state"] for row in status(config)["phases"]]


def test_all_done(config, monkeypatch):
    monkeypatch.setattr("biosae_utils.book.status.sources", lambda phase: [])
    report = status(config)
    assert report["run"] == "tiny" and states(config) == ["done"] * 3
    assert set(report["phases"][0]) == {"phase", "model", "layer", "state", "reason", "seconds", "max_rss_mb"}


def test_changed_parameter_is_stale_and_says_which(config):
    changed = RunConfig.load("config/tiny.yaml").model_copy(update={"catalogue": {"n_top": 7}})
    rows = status(changed)["phases"]
    assert [r["state"] for r in rows] == ["done", "stale", "stale"] and "n_top 20 -> 7" in rows[1]["reason"]


def test_edited_notebook_and_recomputed_input_are_stale(config):
    os.utime("notebooks/03_catalogue.py")
    Path("notebooks/03_catalogue.py").touch()
    assert states(config) == ["done", "stale", "stale"]
    os.utime("notebooks/03_catalogue.py", (1, 1))
    assert states(config) == ["done"] * 3
    manifest = Path("results/tiny/00_data/manifest.json")
    later = manifest.stat().st_mtime + 5
    os.utime(manifest, (later, later))
    rows = status(config)["phases"]
    assert [r["state"] for r in rows] == ["done", "stale", "stale"] and "00_data" in rows[1]["reason"]


def test_lost_file_is_missing_and_error_is_failed(config):
    Path("results/tiny/m/layer_00/03_catalogue/cells.parquet").unlink()
    page_path("tiny", "03_catalogue", "m", 2).unlink()
    rows = status(config)["phases"]
    assert [r["state"] for r in rows] == ["done", "missing", "missing"]
    assert "cells.parquet" in rows[1]["reason"] and "executed page" in rows[2]["reason"]
    store.write_json("logs/tiny/m/layer_00/03_catalogue.error.json", {"message": "Out of genes.", "seconds": 3.0})
    rows = status(config)["phases"]
    assert (rows[1]["state"], rows[1]["reason"], rows[1]["seconds"]) == ("failed", "Out of genes.", 3.0)


def test_nothing_run(project):
    assert states(RunConfig.load("config/tiny.yaml")) == ["not_run"] * 3


def test_claims_of_complete_pages_in_reading_order(config):
    claims = collect_claims("tiny", pages=config.pages())
    assert [(c["phase"], c["model"], c["layer"]) for c in claims] == PAGES
    assert store.read_json("results/tiny/claims.json") == claims
    Path("results/tiny/m/layer_00/03_catalogue/manifest.json").unlink()
    assert len(collect_claims("tiny")) == 2
    assert len(collect_claims("tiny", pages=[("00_data", None, None)], write=False)) == 1
    Path("results/tiny/00_data/claims.json").write_text("[{")
    with pytest.raises((BiosaeError, ValueError)):
        collect_claims("tiny")
