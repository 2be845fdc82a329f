"""The graph of pages: what needs what, and what an edit makes stale."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from biosae_utils.analysis import annotation_sources
from biosae_utils.book import dag
from biosae_utils.cells import fetch
from biosae_utils.cells.sources import shipped_sources
from biosae_utils.errors import BiosaeError
from biosae_utils.params import PHASES, AnnotateParams
from biosae_utils.runconfig import RunConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config() -> RunConfig:
    models = {"a": {"source": "x", "layers": [0, 3]}, "b": {"source": "y", "layers": [1]}}
    return RunConfig(run="t", phases=list(PHASES), models=models, data={})


def read_by(notebook: Path) -> set[str]:
    """Phases that a notebook names in `page.input`."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(notebook.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("input", "layers")
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "page"
        and node.args
    }


@pytest.mark.parametrize("phase", sorted(dag.READS))
def test_declared_inputs_are_those_that_the_notebook_reads(phase):
    assert read_by(ROOT / "notebooks" / f"{phase}.py") == set(dag.READS[phase])


def test_needs_same_layer_else_same_model_else_all(config):
    assert dag.needs(config, ("00_data", None, None)) == []
    assert dag.needs(config, ("03_catalogue", "a", 3)) == [
        ("00_data", None, None), ("01_extract", "a", None), ("02_sae", "a", None)
    ]  # fmt: skip
    assert ("03_catalogue", "a", 3) in dag.needs(config, ("04_annotate", "a", 3))
    assert ("03_catalogue", "a", 0) not in dag.needs(config, ("04_annotate", "a", 3))
    assert {m for _, m, _ in dag.needs(config, ("05_svd", "b", None))} == {"b"}
    assert set(dag.needs(config, ("15_scorecard", None, None))) == set(config.pages()) - {("15_scorecard", None, None)}


def test_annotation_waits_for_the_catalogue_of_the_random_weights(config):
    models = {
        "a": {"source": "x", "layers": [0, 3]},
        "a.random": {"source": "x", "variant": "random-weights", "layers": [3], "phases": ["02_sae", "03_catalogue"]},
    }
    twins = RunConfig(run="t", phases=list(PHASES), models=models, data={})
    assert ("03_catalogue", "a.random", 3) in dag.needs(twins, ("04_annotate", "a", 3))
    assert twins.phase_params("04_annotate", "a", 3).control == "a.random"
    assert twins.phase_params("04_annotate", "a", 0).control is None  # not analysed there
    assert {m for _, m, _ in dag.needs(twins, ("04_annotate", "a", 0))} == {"a"}
    assert twins.twin("a.random", 3) is None
    assert config.phase_params("04_annotate", "a", 3).control is None


def test_what_is_fetched_later_makes_the_pages_that_use_it_stale(config, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ROOT", tmp_path)
    pages = {phase: config.phase_params(phase, "a", 3) for phase in ("03_catalogue", "04_annotate")}
    before = {phase: dag.data_files(params) for phase, params in pages.items()}
    lock = tmp_path / "trrust-v2" / "lock.json"
    lock.parent.mkdir()
    lock.write_text("{}")
    assert dag.data_files(pages["04_annotate"]) == [lock, *before["04_annotate"]]
    assert dag.data_files(pages["03_catalogue"]) == before["03_catalogue"]
    known = shipped_sources()
    assert all(name in known for names in dag.FETCHED.values() for name in names)
    assert set(annotation_sources.FETCHED.values()) == set(dag.FETCHED[AnnotateParams])


def test_the_graph_has_no_cycle(config):
    done: set[dag.Node] = set()
    todo = config.pages()
    while todo:
        ready = [page for page in todo if set(dag.needs(config, page)) <= done]
        assert ready, f"a cycle among {todo}"
        done |= set(ready)
        todo = [page for page in todo if page not in done]


def test_every_phase_has_its_notebook():
    assert {p.stem for p in (ROOT / "notebooks").glob("*.py")} == set(PHASES)


def test_sources_follow_imports_and_leave_out_what_computes_nothing(monkeypatch):
    monkeypatch.chdir(ROOT)
    made_of = {str(p) for p in dag.sources("03_catalogue")}
    assert {"notebooks/03_catalogue.py", "biosae_utils/book/page.py", "biosae_utils/analysis/catalogue.py"} <= made_of
    assert not any(p.startswith("biosae_utils/models/gene") for p in made_of)
    assert not made_of & {"biosae_utils/params.py", "biosae_utils/book/toc.py", "biosae_utils/book/render.py"}
    assert {"biosae_utils/models/geneformer.py", "biosae_utils/models/scgpt.py"} <= {
        str(p) for p in dag.sources("01_extract")
    }


def test_a_wrong_page_is_told_with_the_right_ones(config):
    assert dag.by_name(config, "04_annotate", "a", 3) == ("04_annotate", "a", 3)
    assert dag.by_name(config, "00_data", "a", 3) == ("00_data", None, None)
    for wrong, told in ((("04_annotate", "c", 3), "a, b"), (("04_annotate", "a", 1), "0, 3"), (("nope",), "00_data")):
        with pytest.raises(BiosaeError, match=told):
            dag.by_name(config, *wrong)
