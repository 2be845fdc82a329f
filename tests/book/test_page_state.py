"""An executed page is current when its parameters, its result, its notebook and the framework are what made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from biosae_utils.book import page_state
from biosae_utils.book.page_state import record, states, why_page_stale
from biosae_utils.book.paths import notebook, page_path
from biosae_utils.phases import sources
from biosae_utils.phases.registry import find
from biosae_utils.phases.run import compute

DRAWS = ("70_draws", None, None)
OUT = Path("book/executed/tiny/70_draws.ipynb")


@pytest.fixture
def reread():
    """Sources are hashed once a process; a test that edits one says when they are to be read again."""

    def forget() -> None:
        page_state.page_code.cache_clear()
        sources._meaning.cache_clear()

    yield forget
    forget()


def why(config, **changed) -> tuple[str, str]:
    return why_page_stale(find("70_draws"), config.phase_params("70_draws", **changed))


def test_what_was_recorded_is_done(computed):
    assert why(computed) == ("done", "")
    assert {page for page in states(computed).values()} == {(("done", ""), ("done", ""))}


def test_parameters_that_differ_are_said_first(computed):
    assert why(computed, n=31) == ("stale", "its parameters differ")


def test_a_result_that_was_computed_again_and_differs(computed):
    compute(find("70_draws"), computed.phase_params("70_draws", n=31))
    assert why(computed) == ("stale", "its result was computed again")
    compute(find("70_draws"), computed.phase_params("70_draws"))
    assert why(computed) == ("done", ""), "the same result is the same page"


@pytest.mark.parametrize(("old", "new"), [("What is drawn", "What was drawn"), ("n = 50", "n = 51")])
def test_an_edited_notebook(computed, reread, old, new):
    path = notebook("70_draws")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    reread()
    assert why(computed) == ("stale", "its notebook or the page framework was edited")


def test_files_beside_a_page_belong_to_it(computed):
    csv = OUT.with_name("70_draws.values.csv")
    csv.write_text("cell,value\n")
    record(find("70_draws"), computed.phase_params("70_draws"), OUT)
    assert why(computed) == ("done", "")
    csv.write_text("cell,value\n1,2\n")
    assert why(computed) == ("missing", "70_draws.values.csv was changed")
    csv.unlink()
    assert why(computed) == ("missing", "70_draws.values.csv is gone")


def test_a_page_of_a_result_that_is_not_current_says_what_the_result_says(computed):
    Path("results/tiny/70_draws/values.parquet").unlink()
    result, page = states(computed)[DRAWS]
    assert result == page and result[0] != "done" and "values.parquet" in result[1]
    assert page_path("tiny", *DRAWS).is_file()
