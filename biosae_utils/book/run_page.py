"""Execute one page: text notebook -> parameters filled in -> run by papermill -> cleaned and assembled notebook.

    python -m biosae_utils.book.run_page 04_annotate --params '{"model": "mini-scgpt", "layer": 3}'

This is one job of the Snakemake graph, after `biosae_utils.phases.run` has computed what the page shows. It returns 0
and leaves the executed page, or returns 1, prints one line and leaves ``logs/<run>/.../<phase>.error.json`` with the
partial notebook beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from biosae_utils import store
from biosae_utils.book import escape
from biosae_utils.book.paths import notebook, page_path
from biosae_utils.errors import BiosaeError
from biosae_utils.params import PageParams, checked
from biosae_utils.phases.base import Phase
from biosae_utils.phases.jobs import living, thread_variables
from biosae_utils.phases.places import default_command, log_path, node_of, title
from biosae_utils.phases.registry import find
from biosae_utils.phases.run import record_failure
from biosae_utils.runconfig import RunConfig

PLAIN = re.compile(r"[\w.-]*")
"""Values that mean nothing in Markdown, in running text or in code."""
PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def run_page(phase: Phase, params: PageParams, *, config: str = "") -> Path:
    """Execute the notebook of `phase` with `params`; writes the page atomically and returns its path.

    Parameters
    ----------
    phase : Phase
    params : PageParams
    config : str, optional
        YAML of the run; only used to word the command that computes the page again.

    Raises
    ------
    BiosaeError
        The notebook failed; the message is the notebook's own in one line.
    """
    import jupytext

    from biosae_utils.book.assemble import assemble, clean
    from biosae_utils.book.page_state import record

    node, source = node_of(phase.name, params), notebook(phase.name)
    if not source.is_file():
        raise BiosaeError("The notebook is missing", where=str(source), do="run from the root of the project")
    out, logs, started = page_path(params.run, *node), log_path(params.run, *node), time.time()
    logs.parent.mkdir(parents=True, exist_ok=True)
    dumped = params.model_dump(mode="json")
    environment = {
        "BIOSAE_COMMAND": command(phase, params, config),
        "IPYTHONDIR": str(Path(tempfile.gettempdir()) / f"biosae-ipython-{os.getuid()}"),
    }
    try:
        with _environ(environment):
            executed = execute(fill(jupytext.read(source), dumped), dumped, logs)
        page = assemble(clean(executed), phase, params, out)
        write_notebook(page, out)
        record(phase, params, out)
    except Exception as e:
        record_failure(phase, params, e, time.time() - started)
        raise
    for leftover in (".error.json", ".failed.ipynb"):
        logs.with_suffix(leftover).unlink(missing_ok=True)
    return out


def fill(nb: Any, values: dict[str, Any]) -> Any:
    """Replace ``{{ parameter }}`` in the Markdown cells of a notebook; a name that is no parameter is an error."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise BiosaeError(f"The text names {found[0]}, which is no parameter", do=f"use one of {', '.join(values)}")
        text = str(values[found[1]])
        return text if PLAIN.fullmatch(text) else escape.md(text)

    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = PLACEHOLDER.sub(value, cell.source)
    return nb


def command(phase: Phase, params: PageParams, config: str) -> str:
    """The command line that computes this page again, with the parameters in which it differs from its run's config."""
    node = node_of(phase.name, params)
    text = default_command(*node)
    if not config:
        return text
    planned = RunConfig.load(config).phase_params(*node).model_dump()
    changed = [f"-p {shlex.quote(f'{k}={v}')}" for k, v in params.model_dump().items() if v != planned[k]]
    return " ".join([text, *([] if config == "config/demo.yaml" else [f"--config {shlex.quote(config)}"]), *changed])


def execute(nb: Any, params: dict[str, Any], logs: Path) -> Any:
    """Run a notebook in this process; what it writes to stderr goes to this process's, a failure becomes one line."""
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from biosae_utils.book.engine import NAME

    partial = logs.with_suffix(".partial.ipynb")
    names = {"kernel_name": "python3", "language": "python"}
    try:
        papermill.execute_notebook(nb, str(partial), parameters=params, engine_name=NAME, progress_bar=False, **names)
    except PapermillExecutionError as e:
        os.replace(partial, logs.with_suffix(".failed.ipynb"))
        text = re.sub(r"\s+", " ", str(e.evalue)).strip()
        what = text if e.ename == "BiosaeError" else f"{e.ename}: {text}"
        raise BiosaeError(what, where=f"cell {e.cell_index} of the notebook") from None
    done = nbformat.read(partial, as_version=4)
    partial.unlink()
    return done


@contextmanager
def _environ(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for the notebook, taken back afterwards."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def write_notebook(nb: Any, out: Path) -> None:
    """Write a notebook, atomically."""
    import nbformat

    with store.atomic_path(out) as tmp:
        nbformat.write(nb, tmp)


def main(argv: list[str] | None = None) -> int:
    """Command line of one job; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m biosae_utils.book.run_page", description="Execute one page.")
    parser.add_argument("phase")
    parser.add_argument("--params", required=True, help="parameters as JSON")
    parser.add_argument("--config", default="", help="YAML of the run")
    args = parser.parse_args(argv)
    os.environ |= thread_variables(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    name, started = args.phase, time.time()
    try:
        phase = find(args.phase)
        params = checked(phase.params, json.loads(args.params), where=f"parameters of {phase.name}")
        name = title(*node_of(phase.name, params))
        with living():
            run_page(phase, params, config=args.config)
    except (BiosaeError, json.JSONDecodeError) as e:
        print(f"FAILED page {name}: {e}", file=sys.stderr)
        return 1
    print(f"  page {name}: {time.time() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
