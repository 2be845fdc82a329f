"""A job among others: its threads, its lock, its device."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from biosae_utils.phases import jobs


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("BIOSAE_DRIVER", "BIOSAE_GPUS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def free(path: Path) -> bool:
    """Whether nobody holds a lock."""
    with open(path, "a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_every_numerical_library_gets_the_same_cap():
    assert set(jobs.thread_variables(3).values()) == {"3"}
    assert "OMP_NUM_THREADS" in jobs.thread_variables(3)
    assert set(jobs.thread_variables(0).values()) == {str(os.cpu_count())}


def test_a_job_that_lives_is_seen_and_two_may_live():
    with jobs.living(), jobs.living():
        assert not free(jobs.JOBS_LOCK)
    assert free(jobs.JOBS_LOCK)


@pytest.mark.parametrize("driver", ["", "another-host:1", "no-pid"])
def test_only_a_driver_of_this_machine_is_watched(monkeypatch, driver):
    started = []
    monkeypatch.setattr(jobs.threading, "Thread", lambda **how: started.append(how) or pytest.fail("watched"))
    monkeypatch.setenv("BIOSAE_DRIVER", driver)
    jobs.die_with_driver()
    assert started == []


def test_a_process_that_ended_is_not_alive():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not jobs._alive(child), "a zombie"
    os.waitpid(child, 0)
    assert not jobs._alive(child) and jobs._alive(os.getpid())


def test_without_devices_nothing_is_changed():
    with jobs.device_slot() as environment:
        assert environment == {}


def test_each_job_holds_a_device_of_its_own_and_gives_it_back(monkeypatch):
    monkeypatch.setenv("BIOSAE_GPUS", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with jobs.device_slot() as first:
        with jobs.device_slot() as second:
            assert [e["CUDA_VISIBLE_DEVICES"] for e in (first, second)] == ["4", "7"]
        with jobs.device_slot() as third:
            assert third == second
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with jobs.device_slot() as environment:
        assert environment == {"CUDA_VISIBLE_DEVICES": "0"}


def test_a_job_without_a_free_device_waits(monkeypatch):
    monkeypatch.setenv("BIOSAE_GPUS", "1")
    holder = jobs.device_slot()
    holder.__enter__()
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            holder.__exit__(None, None, None)

    monkeypatch.setattr(jobs.time, "sleep", wait)
    with jobs.device_slot() as environment:
        assert environment == {"CUDA_VISIBLE_DEVICES": "0"} and len(waits) == 2
