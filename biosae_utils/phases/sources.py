"""Which code a result was made by: the modules that a file imports, directly or not, hashed without what only explains.

Comments, docstrings, layout and the descriptions of parameters take no part: rewording them makes nothing stale.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from biosae_utils.phases.base import Phase
from biosae_utils.store import fingerprint

PACKAGE = Path(__file__).resolve().parents[1]
FRAMEWORK = frozenset(
    {
        "params.py", "errors.py", "store.py", "claims.py", "runconfig.py",
        *(
            f"phases/{name}.py"
            for name in (
                "base", "inputs", "jobs", "manifest", "output", "places", "registry", "run", "size", "sources", "state",
            )
        ),
    }
)  # fmt: skip
"""Modules that carry results and compute none: their edits make nothing stale. Parameters are compared themselves."""


def closure(*starts: Path) -> list[Path]:
    """These files and every module of the package that they import, directly or not, but for `FRAMEWORK`."""
    found: set[Path] = set()
    todo = list(starts)
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [PACKAGE / name for name in _imports(path) if name not in FRAMEWORK]
    return sorted(found)


def code_hash(paths: Iterable[Path]) -> str:
    """Hash of what files of Python do, whatever they are called and wherever they lie."""
    return fingerprint(sorted(_meaning(path) for path in paths))


def module_of(phase: Phase) -> Path:
    """The file of a phase's module."""
    return Path(inspect.getfile(phase.compute))


@cache
def _imports(path: Path) -> frozenset[str]:
    """Modules of this package that a file names, relative to the package; lazy imports and names in strings count."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *[f"{node.module}.{a.name}" for a in node.names]}
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"biosae_utils(\.\w+)+", node.value)
        ):
            found.add(node.value)
    files = (
        name.removeprefix("biosae_utils.").replace(".", "/") + ".py"
        for name in found
        if name.startswith("biosae_utils.")
    )
    return frozenset(f for f in files if (PACKAGE / f).is_file())


class _Explanations(ast.NodeTransformer):
    """Takes docstrings and ``description=`` out of a tree."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        node.keywords = [k for k in node.keywords if k.arg != "description"]
        return node


@cache
def _meaning(path: Path) -> str:
    return ast.dump(_Explanations().visit(ast.parse(path.read_text())))
