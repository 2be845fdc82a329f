"""The house rules that a linter does not know: imports go one way, and the GPU rooms stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "biosae_utils"
ROOMS = ["cells", "models", "sae", "analysis", "book"]  # data flows from left to right
LEAVES = {"errors", "store", "claims", "params", "sae_options", "runconfig", "__version__"}


def imported(path: Path) -> set[str]:
    """Modules of this package that a file imports, without the package's own name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("biosae_utils"):
            module = node.module.removeprefix("biosae_utils").lstrip(".")
            found |= {module} if module else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {a.name.removeprefix("biosae_utils.") for a in node.names if a.name.startswith("biosae_utils.")}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_from_later_rooms_to_earlier_ones(room):
    later = ROOMS[ROOMS.index(room) + 1 :]
    for path in sorted((PACKAGE / room).glob("*.py")):
        for module in imported(path):
            first = module.split(".")[0]
            assert first in LEAVES or first in ROOMS, f"{path.name} imports {module}, which is a door, not a room"
            assert first not in later, f"{room}/{path.name} imports {module}"


def test_gpu_rooms_need_no_single_cell_or_web_library():
    code = (
        "import importlib, pkgutil, sys\n"
        "import biosae_utils.models, biosae_utils.sae\n"
        "for room in (biosae_utils.models, biosae_utils.sae):\n"
        "    for m in pkgutil.iter_modules(room.__path__, room.__name__ + '.'):\n"
        "        try:\n"
        "            importlib.import_module(m.name)\n"
        "        except ModuleNotFoundError as e:\n"
        "            assert e.name == 'triton', e\n"
        "heavy = {'scanpy', 'anndata', 'pydantic', 'gseapy', 'plotly', 'papermill', 'statsmodels'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_modules_fit_in_a_head():
    too_long = {
        str(p.relative_to(PACKAGE)): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 320
    }
    assert not too_long
