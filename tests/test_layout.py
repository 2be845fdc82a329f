"""Tests mirror the package: a module's tests are where its name says."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def expected(package: Path) -> set[str]:
    """Test file of every module of a package; a door (``__init__``) has none."""
    modules = (path.relative_to(package) for path in package.rglob("*.py") if path.stem != "__init__")
    return {(path.parent / f"test_{path.name}").as_posix() for path in modules}


def test_every_module_has_a_test_file_of_its_own():
    there = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(expected(ROOT / "biosae_utils") - there) == []


def test_every_test_file_holds_a_test():
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    assert files and [p.name for p in files if "def test_" not in p.read_text()] == []


def test_a_module_without_tests_is_named(tmp_path):
    for name in ("__init__.py", "store.py", "sae/__init__.py", "sae/training/run.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert expected(tmp_path) == {"test_store.py", "sae/training/test_run.py"}
