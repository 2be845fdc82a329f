"""Jobs among others: one that lives is seen, ends with the build that asked for it, and has a device of its own."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCKS = Path(".snakemake")
JOBS_LOCK = LOCKS / "biosae-jobs.lock"
THREAD_VARIABLES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")


def thread_variables(threads: int) -> dict[str, str]:
    """Environment that caps the threads of numerical libraries; read when they are imported."""
    return {f"{name}_NUM_THREADS": str(threads or os.cpu_count() or 1) for name in THREAD_VARIABLES}


@contextmanager
def living() -> Iterator[None]:
    """Show that a job lives here (a shared lock), and end when the build that asked for it is gone."""
    LOCKS.mkdir(exist_ok=True)
    with open(JOBS_LOCK, "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        die_with_driver()
        yield


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


@contextmanager
def device_slot() -> Iterator[dict[str, str]]:
    """Hold one of the ``BIOSAE_GPUS`` devices of this machine; yields the environment that shows only it."""
    slots = int(os.environ.get("BIOSAE_GPUS") or 0)
    if slots < 1:
        yield {}
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if os.environ.get("CUDA_VISIBLE_DEVICES") else None
    LOCKS.mkdir(exist_ok=True)
    while True:
        for slot in range(slots):
            with open(LOCKS / f"biosae-gpu-{slot}.lock", "a") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield {"CUDA_VISIBLE_DEVICES": visible[slot] if visible and slot < len(visible) else str(slot)}
                return
        time.sleep(0.5)
