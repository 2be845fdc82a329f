"""The table of cases names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def defined(file: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE))


def test_every_test_that_a_case_names_exists():
    every = {name for file in HERE.rglob("test_*.py") for name in defined(file)}
    named = re.findall(r"`(test_\w+)(\.\.\.)?`", (HERE / "CASES.md").read_text())
    assert len(named) > 100
    gone = [n for n, more in named if not any(e.startswith(n) if more else e == n for e in every)]
    assert not gone


def test_every_file_that_a_case_names_exists():
    named = set(re.findall(r"\b((?:[a-z]+/)?test_\w+) `test_", (HERE / "CASES.md").read_text()))
    assert len(named) > 15 and not [name for name in named if not (HERE / f"{name}.py").is_file()]
