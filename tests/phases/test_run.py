"""One computing job: its exit code, what it leaves when it fails, and that it ends with the build that asked for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from biosae_utils.store import read_json

RUN = [sys.executable, "-m", "biosae_utils.phases.run"]
ROWS = {"run": "tiny", "model": "m", "source": "nowhere", "layer": 2}


def run(phase: str, params: dict, *more: str) -> subprocess.CompletedProcess:
    return subprocess.run([*RUN, phase, "--params", json.dumps(params), *more], capture_output=True, text=True)


def test_a_job_leaves_a_complete_folder_and_fails_in_one_line(project):
    done = run("70_draws", {"run": "tiny"}, "--done", "results/tiny/70_draws.done", "--threads", "1")
    assert done.returncode == 0 and Path("results/tiny/70_draws.done").is_file(), done.stderr
    assert read_json("results/tiny/70_draws/manifest.json")["threads"] == 1
    done = run("71_two_words", ROWS | {"n_top": 13})
    assert done.returncode == 1 and done.stderr.startswith("FAILED 71_two_words of m, layer 2: Thirteen is no number")
    error = Path("logs/tiny/m/layer_02/71_two_words.error.json")
    assert "Thirteen" in read_json(error)["message"] and read_json(error)["layer"] == 2
    assert not Path("results/tiny/m/layer_02/71_two_words/manifest.json").exists()
    assert run("71_two_words", ROWS).returncode == 0 and not error.exists()


@pytest.mark.parametrize(
    ("phase", "params", "says"),
    [
        ("70_draws", {"n_cels": 5}, "unknown name n_cels"),
        ("70_draws", {"n": "many"}, "n = 'many'"),
        ("99_dreams", {}, "No phase is called '99_dreams'"),
    ],
)
def test_wrong_requests_are_one_sentence(project, phase, params, says):
    done = run(phase, params)
    assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr


def test_a_programming_error_keeps_its_traceback_and_is_recorded(project):
    path = Path("phases/draws.py")
    path.write_text(path.read_text().replace("size=p.n", "size=p.m"))
    done = run("70_draws", {"run": "tiny"})
    assert done.returncode == 1 and "Traceback" in done.stderr
    assert read_json("logs/tiny/70_draws.error.json")["message"].startswith("AttributeError")


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the processes of Linux")
def test_a_job_ends_when_its_driver_is_gone(project):
    path = Path("phases/draws.py")
    path.write_text(
        path.read_text().replace("    with out.step", "    import time\n\n    time.sleep(120)\n    with out.step")
    )
    driver = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    environment = {**os.environ, "BIOSAE_DRIVER": f"{os.uname().nodename}:{driver.pid}"}
    job = subprocess.Popen([*RUN, "70_draws", "--params", '{"run": "tiny"}'], env=environment)
    try:
        while not Path("results/tiny/70_draws/.state.json").exists():
            assert job.poll() is None
            time.sleep(0.05)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert job.wait(timeout=60) == -signal.SIGKILL and not psutil.pid_exists(job.pid)
    finally:
        for process in (driver, job):
            process.kill()
            process.wait()
