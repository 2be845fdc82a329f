"""A run on somebody's cells takes nobody else's name, results or edits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from biosae_utils.book.own_cells import config_for
from biosae_utils.errors import BiosaeError

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "data" / "demo" / "pbmc3k.h5ad"


@pytest.fixture
def base(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    shutil.copy(ROOT / "config" / "tiny.yaml", "config")
    shutil.copy(ROOT / "config" / "demo.yaml", "config")
    return "config/tiny.yaml"


def put(path: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(DEMO, path)
    return path


def run_of(config: str) -> tuple[str, str]:
    raw = yaml.safe_load(Path(config).read_text())
    return raw["run"], raw["data"]["path"]


def test_the_run_is_named_after_the_file_and_an_edited_config_is_kept(base):
    config = config_for(put("mine/cells.h5ad"), base)
    assert config == "results/cells/config.yaml" and run_of(config) == ("cells", "mine/cells.h5ad")
    edited = Path(config).read_text() + "# mine\n"
    Path(config).write_text(edited)
    assert config_for("mine/cells.h5ad", base) == config and Path(config).read_text() == edited


def test_another_file_of_the_same_name_gets_a_run_of_its_own(base):
    first = config_for(put("a/cells.h5ad"), base)
    second = config_for(put("b/cells.h5ad"), base)
    assert run_of(first) == ("cells", "a/cells.h5ad") and run_of(second) == ("cells-2", "b/cells.h5ad")
    assert config_for("a/cells.h5ad", base) == first and config_for("b/cells.h5ad", base) == second


def test_names_of_shipped_runs_are_taken(base):
    assert run_of(config_for(put("demo.h5ad"), base))[0] == "demo-2"
    assert run_of(config_for(put("tiny.h5ad"), base))[0] == "tiny-2"


@pytest.mark.parametrize("name", ["my {cells} & more.h5ad", "it's.h5ad", 'say "hi".h5ad', "häm ato.h5ad", "---.h5ad"])
def test_a_file_may_be_called_anything(base, name):
    config = config_for(put(name), base)
    run, path = run_of(config)
    assert path == name and run.replace("-", "").isalnum() and Path(config).is_file()


def test_a_file_that_is_not_there(base):
    with pytest.raises(BiosaeError, match="make book DATA"):
        config_for("nothing.h5ad", base)
