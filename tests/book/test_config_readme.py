"""config/README.md explains every key where it is checked, and knows which configs are the project's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from biosae_utils.book.config_readme import SHIPPED, default, limits, render, table, type_name
from biosae_utils.params import Filled, marked
from biosae_utils.phases.registry import phases
from biosae_utils.runconfig import ModelEntry, ResourceEntry, RunConfig

ROOT = Path(__file__).resolve().parents[2]


class Keys(BaseModel):
    kind: Literal["topk", "batchtopk"] = Field("topk", description="which one")
    rates: list[float] = Field([], description="some numbers")
    n: int | None = Field(None, gt=0, le=20_000, description="how many")
    names: dict[str, str] = Field(description="what is called what")


@pytest.mark.parametrize(
    ("name", "type_", "limits_", "default_"),
    [
        ("kind", "`topk` or `batchtopk`", "", "`topk`"),
        ("rates", "list of number", "", "`[]`"),
        ("n", "whole number or null", "> 0, ≤ 20,000", "`null`"),
        ("names", "mapping of text to text", "", "*required*"),
    ],
)
def test_a_key_is_written_as_a_biologist_reads_it(name, type_, limits_, default_):
    field = Keys.model_fields[name]
    assert (type_name(field.annotation), limits(field), default(field)) == (type_, limits_, default_)


def test_a_table_has_a_row_a_key():
    rows = table(Keys, skip={"rates"}).splitlines()
    assert len(rows) == 2 + 3
    assert rows[3] == "| `n` | whole number or null (> 0, ≤ 20,000) | `null` | how many |"


def test_every_key_of_every_phase_is_explained(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = render()
    for cls in (RunConfig, ModelEntry, ResourceEntry, *(phase.params for phase in phases().values())):
        hidden = {*marked(cls, Filled), "blocks"}
        for name in set(cls.model_fields) - hidden:
            assert f"| `{name}` |" in text, f"{name} of {cls.__module__}"
            assert cls.model_fields[name].description, f"{name} of {cls.__module__} has no description"
    assert all(f"## `{phase.short}`" in text for phase in phases().values())


def test_somebody_s_own_config_is_none_of_the_project_s(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = render()
    shutil.copytree("config", tmp_path / "config")
    (tmp_path / "config" / "mine.yaml").write_text("not: [a config\n")
    monkeypatch.chdir(tmp_path)
    assert render() == text and "mine.yaml` | " not in text


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a git checkout")
def test_every_config_that_git_tracks_is_listed():
    listed = subprocess.run(["git", "ls-files", "config"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {Path(n).name for n in listed.stdout.splitlines() if n.endswith(".yaml")} == set(SHIPPED)
