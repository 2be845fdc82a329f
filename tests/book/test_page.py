"""The notebook's side of a phase: parameters are checked, results are loaded when current and computed when not."""

from __future__ import annotations

from pathlib import Path

import pytest

from biosae_utils.book import page as page_module
from biosae_utils.book.page import TAKEAWAYS, Page
from biosae_utils.errors import BiosaeError

GIVEN = {"run": "tiny", "n": 30}


@pytest.fixture
def shown(monkeypatch) -> list[dict]:
    """What cells would have displayed."""
    found: list[dict] = []
    monkeypatch.setattr(page_module.figures, "show", found.append)
    return found


def test_a_notebook_opened_alone_computes_and_then_loads(project):
    found = Page.open("70_draws", GIVEN).result()
    assert len(found.table("values")) == 30 and found.facts.n == 30 and found.has("values")
    assert found.claims["mean"]["control"] == 0
    stamp = (found.folder / "manifest.json").stat().st_mtime_ns
    assert Page.open("70_draws", GIVEN).result().facts == found.facts
    assert (found.folder / "manifest.json").stat().st_mtime_ns == stamp
    assert Page.open("70_draws", GIVEN | {"n": 31}).result().facts.n == 31


def test_what_a_phase_did_not_leave_is_named(project):
    found = Page.open("70_draws", GIVEN).result()
    with pytest.raises(BiosaeError, match=r"no table 'rows'.*there are values"):
        found.table("rows")
    with pytest.raises(AttributeError, match="there are mean, n"):
        found.facts.median  # noqa: B018
    assert not found.has("rows")


def test_unknown_parameters_are_refused_with_the_right_names(project):
    with pytest.raises(BiosaeError, match=r"unknown name npp.*the names are run, seed, results, path, n"):
        Page.open("70_draws", {"npp": 5})
    with pytest.raises(BiosaeError, match="n = '5'"):
        Page.open("70_draws", {"n": "5"})
    with pytest.raises(BiosaeError, match="No phase is called"):
        Page.open("99_none", {})


def test_modules_constants_and_ipython_names_are_not_parameters(project):
    names = {"page_module": page_module, "Page": Page, "REAL": "#0072B2", "In": [], "_i1": "x", "__name__": "m"}
    page = Page.open("70_draws", GIVEN | names)
    assert page.params.n == 30
    assert Page.open("70_draws", GIVEN | {"page": page, "n_genes": 7}).params == page.params


def test_a_session_that_starts_beside_the_notebook_works_from_the_root(project, monkeypatch):
    monkeypatch.chdir("notebooks")
    assert Page.open("70_draws", GIVEN).result().folder == Path("results/tiny/70_draws")
    assert Path("results/tiny/70_draws/manifest.json").is_file()


def test_takeaways_are_few_and_come_with_the_verdicts(project, shown):
    page = Page.open("70_draws", GIVEN)
    page.takeaways(["The mean is above its control."])
    assert shown[0][TAKEAWAYS] == ["The mean is above its control."]
    assert "supported*: The mean value is positive" in shown[0]["text/plain"]
    for wrong in ([], "a sentence", ["one"] * 4):
        with pytest.raises(BiosaeError, match="1 to 3 takeaways"):
            page.takeaways(wrong)


def test_a_page_of_a_control_says_so_first(project, shown):
    Page.open("70_draws", GIVEN).result()
    page = Page.open("71_two_words", {"run": "tiny", "model": "m", "variant": "random-weights"})
    page.takeaways(["Twenty rows."])
    assert shown[0][TAKEAWAYS][0].startswith("**Control with random weights**: what this page shows")


def test_two_figures_need_two_names(project, shown):
    page = Page.open("70_draws", GIVEN)
    page.table(page.result().table("values"), name="t", caption="Values")
    with pytest.raises(BiosaeError, match="Two figures or tables are called 't'"):
        page.table(page.result().table("values"), name="t", caption="Values")
