"""Compute what one page of the book is made of; no notebook, no browser library: it runs on a bare GPU machine.

    python -m biosae_utils.phases.run 04_annotate --params '{"model": "mini-scgpt", "layer": 3}'

This is one job of the Snakemake graph. It returns 0 and leaves the folder of the page complete, or returns 1, prints
one line and leaves ``logs/<run>/.../<phase>.error.json``. What is current is left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

from biosae_utils import store
from biosae_utils.errors import BiosaeError
from biosae_utils.params import PageParams, checked
from biosae_utils.phases.base import Phase
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.jobs import device_slot, living, thread_variables
from biosae_utils.phases.output import Output
from biosae_utils.phases.places import default_command, log_path, node_of, title
from biosae_utils.phases.registry import find
from biosae_utils.phases.state import folder_of, why_stale


def compute(phase: Phase, params: PageParams, *, command: str = "") -> Path:
    """Compute a page if it is not current, and return its folder.

    Parameters
    ----------
    phase : Phase
    params : PageParams
    command : str, optional
        The command that computes it again, for claims and provenance.
    """
    folder, node, started = folder_of(phase, params), node_of(phase.name, params), time.time()
    if why_stale(phase, params)[0] != "done":
        try:
            out = Output(phase, params, command or default_command(*node))
            phase.compute(params, Inputs(phase, params), out)
            out.close()
        except Exception as e:
            record_failure(phase, params, e, time.time() - started)
            raise
        error_path(phase, params).unlink(missing_ok=True)
    return folder


def error_path(phase: Phase, params: PageParams) -> Path:
    """Where it is written why a page failed."""
    return log_path(params.run, *node_of(phase.name, params)).with_suffix(".error.json")


def record_failure(phase: Phase, params: PageParams, error: Exception, seconds: float) -> None:
    """Write why a page failed, for `biosae status` and for the page that stands in its place."""
    _, model, layer = node_of(phase.name, params)
    text = re.sub(r"\s+", " ", str(error)).strip()
    message = text if isinstance(error, BiosaeError) else f"{type(error).__name__}: {text}"
    about = {"phase": phase.name, "model": model, "layer": layer, "message": message, "seconds": round(seconds, 2)}
    store.write_json(error_path(phase, params), about)


def main(argv: list[str] | None = None) -> int:
    """Command line of one job; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m biosae_utils.phases.run", description="Compute one page.")
    parser.add_argument("phase")
    parser.add_argument("--params", required=True, help="parameters as JSON")
    parser.add_argument("--command", default="", help="the command that computes it again")
    parser.add_argument("--threads", type=int, default=0, help="threads of numerical libraries; all cores when 0")
    parser.add_argument("--device-slot", action="store_true", help="wait for one of this machine's devices")
    parser.add_argument("--done", default="", help="file to touch at the end")
    args = parser.parse_args(argv)
    os.environ |= thread_variables(args.threads)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started, name = time.time(), args.phase
    try:
        phase = find(args.phase)
        params = checked(phase.params, json.loads(args.params), where=f"parameters of {phase.name}")
        name = title(*node_of(phase.name, params))
        with living():
            if args.device_slot:
                with device_slot() as environment:
                    os.environ |= environment
                    compute(phase, params, command=args.command)
            else:
                compute(phase, params, command=args.command)
    except (BiosaeError, json.JSONDecodeError) as e:
        print(f"FAILED {name}: {e}", file=sys.stderr)
        return 1
    if args.done:
        Path(args.done).touch()
    print(f"  {name}: {time.time() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # all is written; threads of libraries that are still starting can abort an interpreter that ends
