"""One job: execution, cleaning, dressing, failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from biosae_utils.book.run_phase import command, fill, run_phase
from biosae_utils.errors import BiosaeError
from biosae_utils.params import PHASES
from biosae_utils.store import read_json

OUT = Path("book/executed/tiny/00_data.ipynb")
GIVEN = {"run": "tiny", "path": "cells.h5ad", "condition": None, "n_cells": 50}


@pytest.fixture
def executed(project) -> nbformat.NotebookNode:
    run_phase("00_data", GIVEN, OUT, config="config/tiny.yaml", threads=1)
    return nbformat.read(OUT, as_version=4)


def test_page_is_clean_and_dressed(executed, project):
    nbformat.validate(executed)
    cells = executed.cells
    assert cells[0].source == "# Cells of tiny"
    assert "Key takeaways" in cells[1].source and "The mean over 50 cells" in cells[1].source
    assert "biosae-verdict" in cells[2].source
    assert "biosae run 00_data --config config/tiny.yaml" in cells[3].source and "cells.h5ad" in cells[3].source
    assert "seed 0" in cells[4].source
    outputs = [o for c in cells for o in c.get("outputs", [])]
    assert [next(iter(o.data)) for o in outputs] == [
        "application/vnd.plotly.v1+json",
        "application/vnd.biosae.table+json",
    ]
    assert not any("takeaways" in c.metadata.get("tags", []) for c in cells)
    parameters = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    assert len(parameters) == 1 and "n_cells = 50" in parameters[0].source
    assert len({c.id for c in cells}) == len(cells)
    assert (OUT.parent / "00_data.cells.csv").read_text().startswith("cell,value")
    assert read_json("results/tiny/00_data/manifest.json")["seconds"] > 0
    # the same parameters give the same page, but for time
    run_phase("00_data", GIVEN, OUT, config="config/tiny.yaml", threads=1)
    again = nbformat.read(OUT, as_version=4)
    assert [c for i, c in enumerate(again.cells) if i != 3] == [c for i, c in enumerate(cells) if i != 3]


def test_failure_is_one_line_and_keeps_the_partial_notebook(executed, project):
    out = Path("book/executed/tiny/m/layer_02/03_catalogue.ipynb")
    given = {"run": "tiny", "model": "m", "source": "nowhere", "layer": 2, "n_top": 13}
    with pytest.raises(BiosaeError, match="Thirteen is no number"):
        run_phase("03_catalogue", given, out)
    logs = Path("logs/tiny/m/layer_02")
    error = read_json(logs / "03_catalogue.error.json")
    assert "Thirteen" in error["message"] and "\n" not in error["message"] and error["layer"] == 2
    assert (logs / "03_catalogue.failed.ipynb").exists() and not out.exists()
    run_phase("03_catalogue", {**given, "n_top": 5}, out)
    assert out.exists() and not list(logs.glob("*.error.json")) and not list(logs.glob("*.ipynb"))


def test_command_line_refuses_wrong_parameters(project):
    run = [sys.executable, "-m", "biosae_utils.book.run_phase", "00_data", "--out-notebook", str(OUT), "--params"]
    done = subprocess.run([*run, json.dumps({"n_cels": 5})], capture_output=True, text=True)
    assert done.returncode == 1 and "did you mean n_cells" in done.stderr and "Traceback" not in done.stderr


def test_text_names_only_parameters():
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# {{ run }} and {{layer}}")])
    with pytest.raises(BiosaeError, match="layer"):
        fill(nb, {"run": "x"})
    assert fill(nb, {"run": "x", "layer": 3}).cells[0].source == "# x and 3"


def test_command_names_what_differs_from_the_config(project):
    values = PHASES["03_catalogue"](run="tiny", model="m", source="nowhere", layer=2, n_top=7)
    assert command("03_catalogue", values, "config/tiny.yaml") == (
        "biosae run 03_catalogue --model m --layer 2 --config config/tiny.yaml -p n_top=7"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel to end children")
def test_kernel_dies_with_its_runner(project):
    slow = Path("notebooks/00_data.py").read_text().replace("df = ", "import time; time.sleep(120)\ndf = ")
    Path("notebooks/00_data.py").write_text(slow)
    run = [sys.executable, "-m", "biosae_utils.book.run_phase", "00_data", "--out-notebook", str(OUT)]
    job = subprocess.Popen([*run, "--params", json.dumps(GIVEN)])
    try:
        deadline = time.time() + 40
        while not Path("results/tiny/00_data/.state.json").exists() and time.time() < deadline:
            time.sleep(0.1)
        kernels = psutil.Process(job.pid).children(recursive=True)
        assert kernels, "the kernel did not start"
        os.kill(job.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(kernels, timeout=5)
        assert alive == [] and not OUT.exists()
    finally:
        job.kill()
        job.wait()
