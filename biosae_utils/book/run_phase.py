"""Compute one page: text notebook -> parameters filled in -> executed by papermill -> cleaned and dressed notebook.

    python -m biosae_utils.book.run_phase 04_annotate --params '{"model": "mini-scgpt", "layer": 3}' --out-notebook PATH

This is one job of the Snakemake graph. It returns 0 and leaves the executed page, or returns 1, prints one line and
leaves ``logs/<run>/.../<phase>.error.json`` with the partial notebook beside it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from biosae_utils import store
from biosae_utils.book import manifest
from biosae_utils.book.dag import resources
from biosae_utils.book.page import default_command
from biosae_utils.book.paths import log_path, notebook
from biosae_utils.errors import BiosaeError
from biosae_utils.params import PHASES, PageParams, checked
from biosae_utils.runconfig import RunConfig

THREAD_VARIABLES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
JOBS_LOCK = Path(".snakemake") / "biosae-jobs.lock"
PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def run_phase(
    phase: str, params: dict[str, Any], out: Path | str, *, config: str = "", threads: int = 0, timeout: int = 0
) -> None:
    """Execute the notebook of `phase` with `params` and write the page to `out`, atomically.

    Parameters
    ----------
    phase : str
    params : dict
        Checked against the phase's class; unknown names and wrong types are refused before a kernel starts.
    out : Path
        Executed notebook.
    config : str, optional
        YAML of the run; only used to word the command that computes the page again.
    threads, timeout : int, optional
        Threads of numerical libraries and seconds a cell may take; the phase's own when 0.

    Raises
    ------
    BiosaeError
        The notebook failed; the message is the notebook's own in one line.
    """
    import jupytext

    values: PageParams = checked(PHASES[phase], params, where=f"parameters of {phase}")
    where = (values.run, phase, getattr(values, "model", None), getattr(values, "layer", None))
    takes = resources(phase)
    source = notebook(phase)
    if not source.is_file():
        raise BiosaeError("The notebook is missing", where=str(source), do="run from the root of the project")
    logs, started = log_path(*where), time.time()
    logs.parent.mkdir(parents=True, exist_ok=True)
    dumped = values.model_dump(mode="json")
    environment = {
        "BIOSAE_RUNNER": str(os.getpid()),
        "BIOSAE_COMMAND": command(phase, values, config),
        "IPYTHONDIR": str(Path(tempfile.gettempdir()) / f"biosae-ipython-{os.getuid()}"),
        **{f"{name}_NUM_THREADS": str(threads or takes.threads or os.cpu_count() or 1) for name in THREAD_VARIABLES},
    }
    try:
        text = fill(jupytext.read(source), dumped)
        with ExitStack() as stack:
            if takes.gpu:
                environment |= stack.enter_context(device_slot())
            executed = execute(text, dumped, environment, logs, timeout or takes.runtime * 60)
        from biosae_utils.book.assemble import clean, dress

        page = dress(clean(executed), phase, values, Path(out))
        write_notebook(page, Path(out))
    except Exception as e:
        text = re.sub(r"\s+", " ", str(e)).strip()
        message = text if isinstance(e, BiosaeError) else f"{type(e).__name__}: {text}"
        store.write_json(
            logs.with_suffix(".error.json"),
            {"phase": phase, "model": where[2], "layer": where[3], "message": message, "params": dumped,
             "params_hash": manifest.params_hash(dumped), "seconds": round(time.time() - started, 2)},
        )  # fmt: skip
        raise
    for leftover in (".error.json", ".failed.ipynb"):
        logs.with_suffix(leftover).unlink(missing_ok=True)


def fill(nb: Any, values: dict[str, Any]) -> Any:
    """Replace ``{{ parameter }}`` in the Markdown cells of a notebook; a name that is no parameter is an error."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise BiosaeError(f"The text names {found[0]}, which is no parameter", do=f"use one of {', '.join(values)}")
        return str(values[found[1]])

    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = PLACEHOLDER.sub(value, cell.source)
    return nb


def command(phase: str, values: PageParams, config: str) -> str:
    """The command line that computes this page again, with the parameters in which it differs from its run's config."""
    text = default_command(phase, getattr(values, "model", None), getattr(values, "layer", None))
    if not config:
        return text
    run = RunConfig.load(config)
    planned = run.phase_params(phase, getattr(values, "model", None), getattr(values, "layer", None)).model_dump()
    changed = [f"-p {shlex.quote(f'{k}={v}')}" for k, v in values.model_dump().items() if v != planned[k]]
    return " ".join([text, *([] if config == "config/demo.yaml" else [f"--config {shlex.quote(config)}"]), *changed])


def execute(nb: Any, params: dict[str, Any], environment: dict[str, str], logs: Path, timeout: int) -> Any:
    """Run a notebook in a fresh kernel; its stderr goes to this process's, a failure becomes one line."""
    import nbformat
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    class LocalKernel(AsyncKernelManager):
        """Kernel on Unix sockets in a folder of its own: no port to collide with another job's."""

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(transport="ipc", ip=str(Path(os.environ["JUPYTER_RUNTIME_DIR"]) / "socket"), **kwargs)

    partial = logs.with_suffix(".partial.ipynb")
    with (
        tempfile.TemporaryDirectory(prefix="biosae-") as runtime,
        _environ({**environment, "JUPYTER_RUNTIME_DIR": runtime}),
    ):
        try:
            papermill.execute_notebook(
                nb, str(partial), parameters=params, kernel_name="python3", language="python", progress_bar=False,
                start_timeout=120, execution_timeout=timeout, kernel_manager_class=LocalKernel,
            )  # fmt: skip
        except PapermillExecutionError as e:
            os.replace(partial, logs.with_suffix(".failed.ipynb"))
            text = re.sub(r"\s+", " ", str(e.evalue)).strip()
            raise BiosaeError(
                text if e.ename == "BiosaeError" else f"{e.ename}: {text}", where=f"cell {e.cell_index}"
            ) from None
        except CellTimeoutError:
            raise BiosaeError(
                f"A cell took longer than {timeout} s", do="raise the phase's runtime in book/dag.py"
            ) from None
        except DeadKernelError:
            raise BiosaeError(
                "The kernel died, most likely out of memory", do="use fewer jobs at once, or fewer cells"
            ) from None
    done = nbformat.read(partial, as_version=4)
    partial.unlink()
    for cell in done.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                print(output.text, file=sys.stderr, end="")
    return done


@contextmanager
def _environ(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for the kernel, taken back afterwards."""
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


@contextmanager
def device_slot() -> Iterator[dict[str, str]]:
    """Hold one of the ``BIOSAE_GPUS`` devices of this machine; yields the environment that shows only it."""
    slots = int(os.environ.get("BIOSAE_GPUS") or 0)
    if slots < 1:
        yield {}
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if os.environ.get("CUDA_VISIBLE_DEVICES") else None
    JOBS_LOCK.parent.mkdir(exist_ok=True)
    while True:
        for slot in range(slots):
            with open(JOBS_LOCK.parent / f"biosae-gpu-{slot}.lock", "a") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield {"CUDA_VISIBLE_DEVICES": visible[slot] if visible and slot < len(visible) else str(slot)}
                return
        time.sleep(0.5)


def live_and_die_with_driver() -> Any:
    """Show that a job lives here (a shared lock, held until the process ends), and end when its driver is gone."""
    JOBS_LOCK.parent.mkdir(exist_ok=True)
    handle = open(JOBS_LOCK, "a")
    fcntl.flock(handle, fcntl.LOCK_SH)
    die_with_driver()
    return handle


def die_with_driver() -> None:
    """End this process when the build that asked for it is gone.

    The driver names itself in ``BIOSAE_DRIVER`` as ``host:pid``; jobs on other machines of a cluster ignore it.
    """
    host, _, pid = os.environ.get("BIOSAE_DRIVER", "").rpartition(":")
    if not pid or host != os.uname().nodename:
        return

    def watch() -> None:
        while _alive(int(pid)):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)  # a kernel of this process dies with it

    threading.Thread(target=watch, daemon=True).start()


def _alive(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main(argv: list[str] | None = None) -> int:
    """Command line of one job; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m biosae_utils.book.run_phase", description="Compute one page.")
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument("--params", required=True, help="parameters as JSON")
    parser.add_argument("--out-notebook", required=True, type=Path)
    parser.add_argument("--config", default="", help="YAML of the run")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--timeout", type=int, default=0, help="seconds a cell may take")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    name = args.out_notebook.with_suffix("").as_posix().removeprefix("book/executed/")
    started = time.time()
    lock = live_and_die_with_driver()
    try:
        run_phase(
            args.phase,
            json.loads(args.params),
            args.out_notebook,
            config=args.config,
            threads=args.threads,
            timeout=args.timeout,
        )
    except (BiosaeError, json.JSONDecodeError) as e:
        print(f"FAILED {name}: {e}", file=sys.stderr)
        return 1
    finally:
        lock.close()
    print(f"  {name}: {time.time() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
