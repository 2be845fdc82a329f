"""Notebooks run in this process as they would in a kernel: outputs, namespace, errors."""

from __future__ import annotations

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill.exceptions import PapermillExecutionError

from biosae_utils.book.engine import NAME


def run(tmp_path, *sources: str) -> nbformat.NotebookNode:
    nb = new_notebook(cells=[new_markdown_cell("# Text"), *[new_code_cell(source) for source in sources]])
    out = str(tmp_path / "out.ipynb")
    options = {"engine_name": NAME, "kernel_name": "python3", "language": "python", "progress_bar": False}
    return papermill.execute_notebook(nb, out, parameters={}, **options)


def outputs(nb: nbformat.NotebookNode) -> list:
    return [[(o.output_type, o.get("text") or dict(o.get("data", {}))) for o in c.get("outputs", [])] for c in nb.cells]


def test_what_cells_show_is_kept_and_names_go_from_cell_to_cell(tmp_path, capfd):
    data = {"text/plain": "x", "application/x+json": {"n": 1}}
    shown = f"from IPython.display import display\ndisplay({data}, raw=True)\nprint('said')"
    nb = run(tmp_path, "n = 1", shown, "import sys\nprint('why', file=sys.stderr)\nn + 1")
    nbformat.validate(nb)
    assert outputs(nb)[2] == [("display_data", data), ("stream", "said\n")]
    assert outputs(nb)[3] == [("display_data", {"text/plain": "2"})] and "why" in capfd.readouterr().err


def test_nothing_is_left_over_from_an_earlier_notebook(tmp_path):
    run(tmp_path, "left = 1")
    assert outputs(run(tmp_path, "'left' in globals()"))[1] == [("display_data", {"text/plain": "False"})]


@pytest.mark.parametrize(("source", "name"), [("1 / 0", "ZeroDivisionError"), ("x = = 1", "SyntaxError")])
def test_an_error_ends_the_notebook_and_is_in_it(tmp_path, source, name):
    with pytest.raises(PapermillExecutionError) as e:
        run(tmp_path, source, "print('never')")
    assert e.value.ename == name
    left = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert any(o.output_type == "error" for c in left.cells for o in c.get("outputs", []))
    assert "never" not in str([o.get("text") for c in left.cells for o in c.get("outputs", [])])
