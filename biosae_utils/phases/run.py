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
from biosae_utils.phases import manifest
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
    folder = folder_of(phase, params)
    if why_stale(phase, params)[0] != "done":
        node = node_of(phase.name, params)
        out = Output(phase, params, command or default_command(*node))
        phase.compute(params, Inputs(phase, params), out)
        out.close()
    return folder


def record_failure(params: PageParams, phase: str, error: Exception, seconds: float) -> None:
    """Write why a page failed, for `biosae status` and for the page that stands in its place."""
    node = node_of(phase, params)
    text = re.sub(r"\s+", " ", str(error)).strip()
    message = text if isinstance(error, BiosaeError) else f"{type(error).__name__}: {text}"
    dumped = params.model_dump(mode="json")
    store.write_json(
        log_path(params.run, *node).with_suffix(".error.json"),
        {"phase": phase, "model": node[1], "layer": node[2], "message": message, "params": dumped,
         "params_hash": manifest.params_hash(dumped), "seconds": round(seconds, 2)},
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Command line of one job; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m biosae_utils.phases.run", description="Compute one page.")
    parser.add_argument("phase")
    parser.add_argument("--params", required=True, help="parameters as JSON")
    parser.add_argument("--command", default="", help="the command that computes it again")
    parser.add_argument("--threads", type=int, default=0, help="threads of numerical libraries; all cores when 0")
    parser.add_argument("--device-slot", action="store_true", help="wait for one of this machine's devices")
    parser.add_argument("--done", default="", type=str, help="file to touch at the end")
    args = parser.parse_args(argv)
    os.environ |= thread_variables(args.threads)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started, params = time.time(), None
    try:
        phase = find(args.phase)
        params = checked(phase.params, json.loads(args.params), where=f"parameters of {phase.name}")
        with living():
            if args.device_slot:
                with device_slot() as environment:
                    os.environ |= environment
                    compute(phase, params, command=args.command)
            else:
                compute(phase, params, command=args.command)
    except Exception as e:
        if params is not None:
            record_failure(params, args.phase, e, time.time() - started)
        if not isinstance(e, BiosaeError | json.JSONDecodeError):
            raise
        print(f"FAILED {title(*node_of(args.phase, params)) if params else args.phase}: {e}", file=sys.stderr)
        return 1
    log_path(params.run, *node_of(phase.name, params)).with_suffix(".error.json").unlink(missing_ok=True)
    if args.done:
        Path(args.done).touch()
    print(f"  {title(*node_of(phase.name, params))}: {time.time() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
