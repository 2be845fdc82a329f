"""The house rules that a linter does not know: imports point down, and what runs on a GPU machine stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "biosae_utils"
GROUND = {"errors", "store", "claims", "intervals", "numbers", "params", "sae_options", "__version__"}
TOWER = ["cells", "models", "sae", "analysis", "phases", "runconfig", "book", "cli"]
"""Rooms from the ground up; what stands later may import what stands earlier."""


def imported(path: Path) -> set[str]:
    """Modules of this package that a file imports, lazily or not, without the package's own name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("biosae_utils"):
            module = node.module.removeprefix("biosae_utils").lstrip(".")
            found |= {module} if module else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {a.name.removeprefix("biosae_utils.") for a in node.names if a.name.startswith("biosae_utils.")}
    return found


def modules(room: str) -> list[Path]:
    """Every file of a room, also in rooms within it; or the one file that the room is."""
    one = PACKAGE / f"{room}.py"
    return [one] if one.is_file() else sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", TOWER)
def test_imports_point_down(room):
    above = TOWER[TOWER.index(room) + 1 :]
    assert modules(room)
    for path in modules(room):
        for module in imported(path):
            first = module.split(".")[0]
            assert first in GROUND or first in TOWER, f"{path.name} imports {module}, which is in no room"
            assert first not in above, f"{path.relative_to(PACKAGE)} imports {module}"


def test_the_ground_stands_on_nothing():
    for name in GROUND - {"__version__"}:
        assert {module.split(".")[0] for module in imported(PACKAGE / f"{name}.py")} <= GROUND, name


def test_every_file_is_in_a_room():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert rooms - {"__init__", "__pycache__"} == {*GROUND - {"__version__"}, *TOWER}


BLOCKED = """
import importlib, importlib.abc, pkgutil, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is not on a GPU machine", name=name)

sys.meta_path.insert(0, Blocked())

def load(name):
    room = importlib.import_module(name)
    for module in pkgutil.iter_modules(getattr(room, "__path__", []), name + "."):
        try:
            load(module.name)
        except ModuleNotFoundError as e:
            if e.name != "triton":
                raise

for name in {rooms!r}:
    load("biosae_utils." + name)
"""


@pytest.mark.parametrize(
    ("rooms", "blocked"),
    [
        (["models", "sae"], {"pydantic", "statsmodels"}),
        (["models", "sae", "analysis", "phases"], {"psutil"}),
    ],
)
def test_what_computes_needs_no_notebook_and_no_web_library(rooms, blocked):
    never = {"plotly", "IPython", "jupytext", "nbformat", "nbclient", "papermill", "jupyter_client", "snakemake"}
    heavy = {"scanpy", "anndata", "gseapy", "matplotlib", "sphinx", "docutils"}
    code = BLOCKED.format(blocked=never | heavy | blocked, rooms=rooms)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_modules_fit_in_a_head():
    too_long = {
        str(p.relative_to(PACKAGE)): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 320
    }
    assert not too_long
