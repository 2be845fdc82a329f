"""One test over all phases: module, notebook, test, config, parameter cell and what is generated belong together."""

from __future__ import annotations

import ast
from pathlib import Path

import jupytext
import pytest

from biosae_utils.book import sync
from biosae_utils.book.config_readme import SHIPPED
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.registry import phases
from biosae_utils.runconfig import RunConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_what_is_generated_is_up_to_date():
    stale = [str(path) for path, text in sync.derived() if not path.is_file() or path.read_text() != text]
    assert not stale, f"run `make sync`: {stale}"


@pytest.mark.parametrize("name", list(phases()))
def test_a_phase_is_a_module_a_notebook_a_test_and_a_name_in_the_configs(name):
    phase = phases()[name]
    missing = [
        str(path)
        for path in (
            Path("biosae_utils/phases", f"{phase.short}.py"),
            Path("notebooks", f"{name}.py"),
            Path("tests/phases", f"test_{phase.short}.py"),
        )
        if not path.is_file()
    ]
    assert not missing
    for config in SHIPPED:
        assert name in RunConfig.load(Path("config", config)).phases, f"{name} is not in config/{config}"
    assert phase.params.__doc__ and all(field.description for field in phase.params.model_fields.values())


@pytest.mark.parametrize("name", list(phases()))
def test_a_notebook_is_a_text_and_its_cells_hold_no_logic(name):
    cells = jupytext.read(Path("notebooks", f"{name}.py")).cells
    code, prose = ("\n".join(c.source for c in cells if c.cell_type == kind) for kind in ("code", "markdown"))
    assert len(code.splitlines()) < 2 * len(prose.splitlines()) + 60
    forbidden = (ast.For, ast.While, ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.With, ast.Try)
    for node in ast.walk(ast.parse(code)):
        assert not isinstance(node, forbidden), f"{name}: {ast.unparse(node)[:80]} belongs into the package"
    assert "fmt: skip" not in code and "## Exercise" in prose and "## What argues against it" in prose
    assert sum("hero" in c.metadata.get("tags", []) for c in cells) == 1


def test_a_default_is_written_as_the_formatter_would():
    assert sync.literal({"a": ["x", None, True], "n": 150_000, "f": 1e-3}) == (
        '{"a": ["x", None, True], "n": 150_000, "f": 0.001}'
    )


def test_what_is_forgotten_is_named(monkeypatch, capsys, tmp_path):
    for name in ("notebooks", "config"):
        (tmp_path / name).mkdir()
        for path in (ROOT / name).iterdir():
            if path.is_file():
                (tmp_path / name / path.name).write_text(path.read_text())
    (tmp_path / "_toc.yml").write_text((ROOT / "_toc.yml").read_text())
    monkeypatch.chdir(tmp_path)
    text = Path("notebooks/02_sae.py").read_text()
    Path("notebooks/02_sae.py").write_text(text.replace("steps = 800", "steps = 700"))
    assert sync.main(["--check"]) == 1 and "notebooks/02_sae.py is not up to date" in capsys.readouterr().out
    assert sync.main([]) == 0 and Path("notebooks/02_sae.py").read_text() == text
    assert sync.main(["--check"]) == 0
    Path("notebooks/02_sae.py").unlink()
    with pytest.raises(BiosaeError, match="02_sae has no notebook"):
        sync.main([])
