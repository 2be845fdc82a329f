"""One command from a config (or someone's h5ad) to the rendered book: check, unlock what a kill left, run, render.

    python -m biosae_utils.book.build --config config/demo.yaml --cores 2 [--data my.h5ad] [--keep-going]

Snakemake decides what has to run. This driver makes sure that one build runs at a time in a project, that the jobs of a
build that was killed are gone before the next one starts, and that what it says can be read.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from biosae_utils.book.own_cells import config_for
from biosae_utils.book.page_state import states
from biosae_utils.book.site import html_dir, render, why_not_rendered
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.jobs import JOBS_LOCK
from biosae_utils.phases.places import log_path
from biosae_utils.runconfig import RunConfig
from biosae_utils.store import sweep_partial

DRIVER_LOCK = JOBS_LOCK.parent / "biosae-driver.lock"
TELLS = re.compile(r"^FAILED |WARNING: |ERROR: |BiosaeError")
"""Lines of Snakemake and of failed jobs that a user has to see."""

SNAKEMAKE = (
    "from biosae_utils.phases.jobs import die_with_driver; die_with_driver(); import snakemake.cli as s; s.main()"
)
"""Snakemake as a child that ends with this driver: alone, it would wait for ever on a pipe that nobody reads."""

WAIT_S = 20
"""How long to wait for the jobs of a killed build to notice and end (seconds)."""


def build(
    config_path: str, *, cores: int, profile: str = "", gpus: int | None = None, keep_going: bool = False
) -> Path:
    """Run what is missing or stale of a run and render its book.

    Parameters
    ----------
    config_path : str
    cores : int
        Jobs and threads in all.
    profile : str, optional
        Name of a folder below workflow/profiles, or a path.
    gpus : int, optional
        Device slots; as many as there are by default. Without a GPU, jobs that could use one are not limited.
    keep_going : bool
        Compute and render what can be, with a page that says so for the rest.

    Returns
    -------
    Path
        ``index.html`` of the book.
    """
    config = RunConfig.load(config_path)
    index = html_dir(config.run) / "index.html"
    with only_build() as lock:
        config.claim_results(config_path)
        todo = sum(result[0] != "done" or page[0] != "done" for result, page in states(config).values())
        n_pages = len(config.pages())
        if not todo and why_not_rendered(config)[0] == "done":
            print(f"Run {config.run}: nothing to be done, all {n_pages} pages and the book are up to date.")
            print(f"The book is {index}. Open it, or run `make serve`.")
            return index
        print(f"Run {config.run}: {todo} of {n_pages} pages to compute, {cores} cores", flush=True)
        snakemake = _snakemake(cores, profile, gpus)
        log = Path("logs", config.run, "snakemake.log")
        code = _run([*snakemake, *(["--keep-going"] if keep_going else [])], config_path, lock, log)
        if code and keep_going:
            return render(config, config_path=config_path, allow_missing=True)
        if code:
            raise BiosaeError("The build stopped", where=str(log), do=_advice(config, config_path))
    print(f"The book is {index}. Open it, or run `make serve`.")
    return index


def _advice(config: RunConfig, config_path: str) -> str:
    """Where to look after a build that stopped."""
    other = "" if config_path == "config/demo.yaml" else f" --config {shlex.quote(config_path)}"
    if any(log_path(config.run, *node).with_suffix(".error.json").is_file() for node in config.pages()):
        again = "mend it and give the same command again, which goes on from there"
        return f"{again}; `biosae status{other}` lists what failed; `--keep-going` renders the rest"
    if all(page[0] == "done" for _, page in states(config).values()):
        return f"all pages are computed and rendering failed: the lines above and logs/{config.run}/book.log say where"
    return "the lines above say why; give the same command again when it is mended"


def _snakemake(cores: int, profile: str, gpus: int | None) -> list[str]:
    """Command line of Snakemake."""
    known = Path("workflow", "profiles", profile)
    folder = known if profile and known.is_dir() else Path(profile)
    if profile and not (folder / "config.yaml").is_file():
        names = sorted(p.name for p in Path("workflow", "profiles").iterdir())
        raise BiosaeError(
            f"No profile called {profile!r}", do=f"use one of {', '.join(names)}, or a folder with config.yaml"
        )
    slots = _gpus() if gpus is None else gpus
    os.environ["BIOSAE_GPUS"] = str(slots)
    command = [sys.executable, "-c", SNAKEMAKE, "--snakefile", "workflow/Snakefile", "--cores", str(cores)]
    command += ["--quiet", "progress", "rules", "host", "reason"]
    command += ["--profile", str(folder)] if profile else []
    return [*command, *(["--resources", f"gpu={slots}"] if slots else [])]


def _gpus() -> int:
    """NVIDIA devices that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([d for d in visible.split(",") if d.strip() and d.strip() != "-1"])
    return len([p for p in Path("/dev").glob("nvidia*") if p.name[6:].isdigit()])


def _run(command: list[str], config_path: str, lock: IO[str], log: Path) -> int:
    """Run Snakemake with this process as the driver of its jobs; returns its exit code.

    What Snakemake says goes to `log`; of it, the terminal gets what failed and why. Jobs print a line each.
    """
    environment = {**os.environ, "BIOSAE_DRIVER": f"{os.uname().nodename}:{os.getpid()}", "BIOSAE_CONFIG": config_path}
    environment["PYTHONWARNINGS"] = "ignore"  # a user's setting for their own code would end or litter the jobs
    # jobs are called `python`: it has to be this one
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    log.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    with (
        open(log, "w") as copy,
        subprocess.Popen(
            command, env=environment, pass_fds=[lock.fileno()], stderr=subprocess.PIPE, text=True
        ) as child,
    ):
        try:
            for line in child.stderr or ():
                copy.write(line)
                copy.flush()
                lines.append(line)
                if TELLS.search(line):
                    print(line, end="", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print("Interrupted: waiting for running jobs to end", file=sys.stderr)  # Snakemake got the signal too
    if child.returncode and not any(TELLS.search(line) for line in lines):
        print("".join(lines[-15:]), end="", file=sys.stderr)
    return child.returncode


@contextmanager
def only_build() -> Iterator[IO[str]]:
    """Hold the project for one build; clear the locks of a build that was killed, once nothing of it lives."""
    DRIVER_LOCK.parent.mkdir(exist_ok=True)
    with open(DRIVER_LOCK, "a+") as handle:
        _wait_for(handle, "Another build is running in this project")
        with open(JOBS_LOCK, "a+") as jobs:
            _wait_for(jobs, "Jobs of another build are still running in this project")
        _sweep()
        left = Path(".snakemake", "locks")
        if left.is_dir() and any(left.iterdir()):
            if alive := _foreign():
                raise BiosaeError(
                    f"Snakemake is running in this project (process {alive})", do="wait for it, or end it"
                )
            print(
                "A build was interrupted here and nothing of it is alive: resuming; finished pages are kept.",
                flush=True,
            )
            shutil.rmtree(left)
        yield handle


def _sweep() -> None:
    """Remove the half-written files that a killed build left beside pages and logs; jobs clear their own folders."""
    for folder in (Path("book", "executed"), Path("logs"), Path(".cache")):
        if folder.is_dir():
            sweep_partial(folder)


def _wait_for(handle: IO[str], message: str) -> None:
    """Take an exclusive lock, waiting a little for processes that are about to end."""
    deadline, said = time.time() + WAIT_S, False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.time() > deadline:
                raise BiosaeError(message, where=str(Path.cwd()), do="wait for it, or end it") from None
            if not said:
                print(f"{message}; waiting up to {WAIT_S} s for it to end", flush=True)
                said = True
            time.sleep(0.5)


def _foreign() -> int | None:
    """Process id of a Snakemake that somebody started in this folder without this driver."""
    here = Path.cwd()
    for process in psutil.process_iter(["cmdline", "cwd", "pid"]):
        line = " ".join(process.info["cmdline"] or [])
        if "snakemake" in line and process.info["cwd"] == str(here) and process.pid != os.getpid():
            return process.pid
    return None


def main(argv: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m biosae_utils.book.build", description="Run and render a book.")
    parser.add_argument("--config", default="config/demo.yaml")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--data", default="", help="h5ad file to run instead of the config's")
    parser.add_argument("--profile", default="", help="folder below workflow/profiles, for instance slurm")
    parser.add_argument("--gpus", type=int, default=None, help="device slots")
    parser.add_argument("--keep-going", action="store_true", help="render what can be computed")
    args = parser.parse_args(argv)
    started = time.time()
    try:
        config = config_for(args.data, args.config) if args.data else args.config
        build(config, cores=args.cores, profile=args.profile, gpus=args.gpus, keep_going=args.keep_going)
    except BiosaeError as e:
        print(f"FAILED: {e}", file=sys.stderr)
        return 1
    print(f"{time.time() - started:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
