"""From an executed notebook to a page: noise goes, folded cells are one, downloads and sources are there."""

from __future__ import annotations

from pathlib import Path

import nbformat.v4 as nb4
import pytest

from biosae_utils.book.assemble import WIDGET, assemble, clean, how, merged, placeholder, provenance, takeaways
from biosae_utils.book.page import TAKEAWAYS
from biosae_utils.errors import BiosaeError
from biosae_utils.phases import manifest
from biosae_utils.phases.registry import find

OUT = Path("book/executed/tiny/70_draws.ipynb")
FOLDER = Path("results/tiny/70_draws")


def code(source: str, *tags: str, outputs=()):
    cell = nb4.new_code_cell(source, outputs=list(outputs))
    cell.metadata["tags"] = list(tags)
    return cell


def shown(data: dict, kind: str = "display_data"):
    return nb4.new_output(kind, data=data)


FIGURE = shown({"application/vnd.plotly.v1+json": {"data": []}})
SAID = shown({TAKEAWAYS: ["One.", "Two."], "text/plain": "- One\\."})


def notebook(*cells):
    return nb4.new_notebook(cells=[nb4.new_markdown_cell("# Draws\n\nWhich?\n\nMore."), *cells])


def test_noise_of_a_run_goes_and_what_was_shown_stays():
    noisy = code(
        "work()", "hide-input",
        outputs=[
            nb4.new_output("stream", name="stderr", text="progress"),
            nb4.new_output("stream", name="stdout", text="\n"),
            nb4.new_output("stream", name="stdout", text="a word"),
            shown({"text/plain": "<Figure>"}, "execute_result"),
            shown({WIDGET: {}, "text/plain": "bar"}),
            FIGURE,
        ],
    )  # fmt: skip
    noisy.metadata["execution"] = {"iopub.execute_input": "2026-01-01"}
    cell = clean(notebook(noisy)).cells[1]
    assert [o.output_type for o in cell.outputs] == ["stream", "display_data"] and cell.outputs[0].text == "a word"
    assert cell.metadata == {"tags": ["hide-input"]} and cell.id == "c001"


def test_the_parameters_that_were_used_replace_the_defaults():
    page = clean(notebook(code("n = 50", "parameters"), code("# Parameters\nn = 30\n", "injected-parameters")))
    assert [(c.source, c.metadata["tags"]) for c in page.cells[1:]] == [("n = 30\n", ["parameters", "hide-input"])]
    alone = clean(notebook(code("n = 50", "parameters")))
    assert [c.source for c in alone.cells[1:]] == ["n = 50"]


def test_folded_cells_are_one_until_something_was_shown():
    cells = [
        code("a", "hide-input"), code("b", "hide-input"), code("c", "hide-input", outputs=[FIGURE]),
        code("d", "hide-input"), code("  "), nb4.new_markdown_cell("text"), code("e", "hide-input"), code("f"),
    ]  # fmt: skip
    assert [c.source for c in merged(cells)] == ["a\n\nb\n\nc", "d", "text", "e", "f"]
    assert merged([code("", outputs=[FIGURE])])[0].outputs == [FIGURE], "an empty cell that shows something"


def test_a_page_begins_with_question_hero_takeaways_and_claims(computed):
    cells = (code("a", outputs=[FIGURE]), code("page.takeaways()", outputs=[SAID]), code("h", "hero", outputs=[FIGURE]))
    page = assemble(notebook(*cells), find("70_draws"), computed.phase_params("70_draws"), OUT)
    first = [c.source for c in page.cells]
    assert first[:2] == ["# Draws\n\nWhich?", "h"] and "- Two\\." in first[2] and "mean value is positive" in first[3]
    assert first[4:6] == ["More.", "a"] and len(first) == 8
    assert page.metadata["takeaways"] == ["One.", "Two."]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ([code("x")], "states its takeaways once"),
        ([code("x", outputs=[SAID]), code("y", outputs=[SAID])], "states its takeaways once"),
        ([code("x", "hero"), code("y", "hero"), code("z", outputs=[SAID])], "one hero figure"),
    ],
)
def test_a_page_without_its_order_is_refused(computed, cells, says):
    with pytest.raises(BiosaeError, match=says):
        assemble(notebook(*cells), find("70_draws"), computed.phase_params("70_draws"), OUT)


def test_provenance_has_command_parameters_steps_and_downloads(computed):
    about = manifest.read(FOLDER)
    text = provenance(about, computed.phase_params("70_draws"), FOLDER, OUT)
    assert about["command"] in text and "| `n` | `30` |" in text and "| draw |" in text
    assert "values.parquet <../../../results/tiny/70_draws/values.parquet>" in text
    assert "values.csv <70_draws.values.csv>" in text and OUT.with_name("70_draws.values.csv").is_file()
    assert f"content `{about['content']}`" in text


def test_a_long_table_is_offered_as_parquet_only(computed, monkeypatch):
    monkeypatch.setattr("biosae_utils.book.assemble.CSV_ROWS", 29)
    text = provenance(manifest.read(FOLDER), computed.phase_params("70_draws"), FOLDER, OUT)
    assert "values.parquet" in text and ".csv" not in text


def test_the_source_is_the_installed_one(computed):
    text = how(find("70_draws"))
    assert "`biosae_utils.phases.draws`, as installed" in text and "np.random.default_rng(p.seed)" in text


def test_takeaways_are_a_list_and_a_placeholder_says_why():
    assert takeaways(["One.", "Two."]).splitlines()[2:4] == ["- One\\.", "- Two\\."]
    text = placeholder("04_annotate", "m", 3, "Out of\n  genes.", "biosae run 04_annotate --model m --layer 3")
    assert text.startswith("# 04_annotate of m, layer 3: not available") and "\nOut of genes\\.\n" in text
    assert "```bash\nbiosae run 04_annotate --model m --layer 3\n```" in text
