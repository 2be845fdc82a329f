"""The driver on a tiny project: failing and healing, locks of the dead and of the living, somebody else's file."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import write_project

from biosae_utils.book import build
from biosae_utils.errors import BiosaeError
from biosae_utils.store import read_json

COMMAND = [sys.executable, "-m", "biosae_utils.book.build", "--config", "config/tiny.yaml", "--cores", "2"]


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)


def configure(**blocks) -> None:
    path = Path("config/tiny.yaml")
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **blocks}))


def test_a_failing_page_stops_the_build_or_is_said_to_be_missing_and_heals(tmp_path, monkeypatch):
    write_project(tmp_path, prose=True)
    monkeypatch.chdir(tmp_path)
    configure(catalogue={"n_top": 13})
    done = run("--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Thirteen is no number" in done.stderr and "Traceback" not in done.stderr
    page = Path("_build/tiny/html/book/executed/tiny/m/layer_02/03_catalogue.html")
    assert "was not computed" in page.read_text() and "Thirteen" in page.read_text()
    kept = Path("results/tiny/00_data/manifest.json").stat().st_mtime_ns

    # a lock that a killed Snakemake left is cleared, because nothing lives
    Path(".snakemake/locks").mkdir(exist_ok=True)
    Path(".snakemake/locks/0.output.lock").write_text(f"{tmp_path}/results/tiny/00_data/manifest.json\n")
    configure(catalogue={"n_top": 5})
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "finished pages are kept" in done.stdout
    assert "was not computed" not in page.read_text() and "Layer 2 has 5 latents" in page.read_text()
    assert Path("results/tiny/00_data/manifest.json").stat().st_mtime_ns == kept
    assert not page.with_suffix(".md").exists() and len(read_json("results/tiny/claims.json")) == 1

    for text in (p.read_text() for p in Path("_build/tiny/html").rglob("*.html")):
        assert "cdn." not in text and "unpkg" not in text and "jsdelivr" not in text


@pytest.mark.slow
def test_when_the_driver_is_killed_all_of_it_dies_and_the_next_build_resumes(tmp_path, monkeypatch):
    write_project(tmp_path, prose=True)
    monkeypatch.chdir(tmp_path)
    first = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any(Path("results/tiny").glob("m/**/.state.json")):  # the second phase has begun
        assert first.poll() is None
        time.sleep(0.05)
    family = psutil.Process(first.pid).children(recursive=True)
    assert len(family) >= 3
    first.kill()
    first.wait()
    kept = Path("results/tiny/00_data/manifest.json").stat().st_mtime_ns
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert psutil.wait_procs(family, timeout=1)[1] == []
    assert Path("results/tiny/00_data/manifest.json").stat().st_mtime_ns == kept


def test_a_wrong_config_is_refused_before_anything_runs(project):
    configure(catalogue={"n_tops": 5})
    done = run()
    assert done.returncode == 1 and "did you mean n_top" in done.stderr and not Path("results").exists()


def test_one_build_at_a_time(project, monkeypatch):
    monkeypatch.setattr(build, "WAIT_S", 0)
    with build.only_build(), pytest.raises(BiosaeError, match="Another build is running"), build.only_build():
        pass
    with open(build.JOBS_LOCK, "a") as job:
        fcntl.flock(job, fcntl.LOCK_SH)
        with pytest.raises(BiosaeError, match="Jobs of another build"), build.only_build():
            pass
    with build.only_build() as lock:
        assert not lock.closed


def test_profiles_and_device_slots(project, monkeypatch):
    for name in ("local", "slurm"):
        Path("workflow/profiles", name).mkdir(parents=True)
        Path("workflow/profiles", name, "config.yaml").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert "gpu=2" in build._snakemake("c.yaml", 4, "slurm", None)
    assert "gpu=5" in build._snakemake("c.yaml", 4, "", 5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "--resources" not in build._snakemake("c.yaml", 4, "", None)
    with pytest.raises(BiosaeError, match="local, slurm"):
        build._snakemake("c.yaml", 4, "slrm", None)


def test_config_for_somebody_elses_file_must_exist(project):
    with pytest.raises(BiosaeError, match="make book DATA"):
        build.config_for("nothing.h5ad", "config/tiny.yaml")
