"""Write what is derived from the declarations of the phases and is kept in the project: run it after changing one.

    python -m biosae_utils.book.sync [--check]

It writes the parameter cell of every notebook, config/README.md and the demo's table of contents. With ``--check`` it
writes nothing and says what would change.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from biosae_utils.book import config_readme
from biosae_utils.book.paths import notebook
from biosae_utils.book.toc import toc_text
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.base import Phase
from biosae_utils.phases.registry import phases
from biosae_utils.runconfig import RunConfig
from biosae_utils.store import atomic_path

CELL = re.compile(r'(?P<head># %% tags=\["parameters"\]\n)(?P<body>.*?)(?=\n# %%|\Z)', re.DOTALL)
DEMO = "config/demo.yaml"


def derived() -> Iterator[tuple[Path, str]]:
    """Every file that is written from the declarations, with the text that it should hold."""
    for phase in phases().values():
        path = notebook(phase.name)
        if not path.is_file():
            raise BiosaeError(
                f"Phase {phase.name} has no notebook", where=str(path), do="write it; see CONTRIBUTING.md"
            )
        text = path.read_text()
        found = CELL.search(text)
        if found is None:
            raise BiosaeError('The notebook has no cell tagged "parameters"', where=str(path), do="add an empty one")
        cell = parameter_cell(phase)
        yield path, text[: found.start("body")] + cell + text[found.end("body") :]
    yield Path("config", "README.md"), config_readme.render()
    yield Path("_toc.yml"), toc_text(RunConfig.load(DEMO))


def parameter_cell(phase: Phase) -> str:
    """The parameter cell of a notebook: every field with its default."""
    fields = phase.params.model_fields.items()
    return "".join(f"{name} = {literal(field.default)}\n" for name, field in fields)


def literal(value: Any) -> str:
    """A default as the formatter would write it."""
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    return repr(value)


def main(argv: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m biosae_utils.book.sync", description="Write what is derived.")
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when something would change")
    check = parser.parse_args(argv).check
    stale = [(path, text) for path, text in derived() if not path.is_file() or path.read_text() != text]
    for path, text in stale:
        print(f"{path} {'is not up to date: run `make sync`' if check else 'written'}")
        if not check:
            with atomic_path(path) as tmp:
                tmp.write_text(text)
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
