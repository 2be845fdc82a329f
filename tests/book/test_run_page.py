"""One page: executed by this very Python, in an order that all pages have; failures are one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from biosae_utils.book.page import TAKEAWAYS
from biosae_utils.book.run_page import command, fill, run_page
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.registry import find
from biosae_utils.runconfig import RunConfig
from biosae_utils.store import read_json

OUT = Path("book/executed/tiny/70_draws.ipynb")


def params(phase: str = "70_draws", model: str | None = None, layer: int | None = None, **other):
    return RunConfig.load("config/tiny.yaml").phase_params(phase, model, layer, **other)


def draws() -> nbformat.NotebookNode:
    run_page(find("70_draws"), params(), config="config/tiny.yaml")
    return nbformat.read(OUT, as_version=4)


def test_a_page_has_the_order_of_all_pages(project):
    page = draws()
    nbformat.validate(page)
    cells = page.cells
    assert cells[0].source.startswith("# Draws of tiny\n\nWhat is drawn with seed 0?")
    assert [next(iter(o.data)) for o in cells[1].outputs] == ["application/vnd.plotly.v1+json"], "the hero"
    assert "Key takeaways" in cells[2].source and "The mean over 30 cells" in cells[2].source
    assert "biosae-" in cells[3].source and "The mean value is positive" in cells[3].source
    assert cells[4].source == "More about it."
    parameters = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    assert len(parameters) == 1 and "n = 30" in parameters[0].source
    assert "page.result()" in parameters[0].source, "folded cells that follow each other are one"
    assert "biosae run 70_draws --config config/tiny.yaml" in cells[-2].source and "| draw |" in cells[-2].source
    assert "How it was computed" in cells[-1].source and "np.random.default_rng(p.seed)" in cells[-1].source
    outputs = [o for c in cells for o in c.get("outputs", [])]
    assert not any(o.output_type == "stream" or TAKEAWAYS in o.get("data", {}) for o in outputs)
    assert len({c.id for c in cells}) == len(cells)
    assert (OUT.parent / "70_draws.values.csv").read_text().startswith("cell,value")


def test_the_same_result_gives_the_same_page(project):
    assert draws() == draws()


def test_a_failure_is_one_line_and_keeps_the_partial_notebook(project):
    draws()
    with pytest.raises(BiosaeError, match="Thirteen is no number"):
        run_page(find("71_two_words"), params("71_two_words", "m", 2, n_top=13))
    logs, out = Path("logs/tiny/m/layer_02"), Path("book/executed/tiny/m/layer_02/71_two_words.ipynb")
    error = read_json(logs / "71_two_words.error.json")
    assert "Thirteen" in error["message"] and "\n" not in error["message"] and error["layer"] == 2
    assert (logs / "71_two_words.failed.ipynb").exists() and not out.exists()
    run_page(find("71_two_words"), params("71_two_words", "m", 2))
    assert out.exists() and not list(logs.glob("*.error.json")) and not list(logs.glob("*.ipynb"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("# # Draws", "# Draws", "starts with its H1"),
        ('tags=["hide-input"]\npage.table', 'tags=["hero"]\npage.table', "one hero figure"),
        ("page.takeaways([", "print([", "states its takeaways once"),
        ("# # Draws of {{ run }}", "# # Draws of {{ rum }}", "is no parameter"),
    ],
)
def test_a_notebook_that_breaks_the_order_is_refused(project, old, new, says):
    path = Path("notebooks/70_draws.py")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(BiosaeError, match=says):
        draws()


def test_somebody_elses_kernel_and_a_long_folder_for_temporary_files_do_no_harm(project, monkeypatch):
    kernel = project / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["false"], "display_name": "Another Python", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(project / "jupyter"))
    deep = project / ("deep" * 20)
    deep.mkdir()
    environment = {**os.environ, "TMPDIR": str(deep), "PYTHONWARNINGS": "error::DeprecationWarning"}
    run = [sys.executable, "-m", "biosae_utils.book.run_page", "70_draws", "--params", '{"run": "tiny"}']
    done = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and OUT.is_file(), done.stderr


def test_text_names_only_parameters():
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# {{ run }} and {{layer}}")])
    with pytest.raises(BiosaeError, match="layer"):
        fill(nb, {"run": "x"})
    assert fill(nb, {"run": "x", "layer": 3}).cells[0].source == "# x and 3"


def test_the_command_names_what_differs_from_the_config(project):
    changed = params("71_two_words", "m", 2, n_top=7)
    assert command(find("71_two_words"), changed, "config/tiny.yaml") == (
        "biosae run 71_two_words --model m --layer 2 --config config/tiny.yaml -p n_top=7"
    )
