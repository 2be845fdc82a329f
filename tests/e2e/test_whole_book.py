"""The main job, from real cells to a rendered book: built, left alone, changed, killed and resumed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from building import build_command, copy_tree, tail

from biosae_utils.claims import Claim
from biosae_utils.phases.places import phase_dir, title
from biosae_utils.phases.registry import phases
from biosae_utils.runconfig import RunConfig

BEFORE_THE_SAE = {"00_data", "01_extract", "16_published"}


def build(checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(build_command(*arguments, "--cores", "2"), cwd=checkout, capture_output=True, text=True)


def manifests(checkout: Path, run: str) -> dict[str, int]:
    """Time stamp of every finished page."""
    base = checkout / "results" / run
    return {str(p.relative_to(base).parent): p.stat().st_mtime_ns for p in sorted(base.rglob("manifest.json"))}


def stamps(folder: Path) -> dict[str, int]:
    """Time stamp of every file in a folder."""
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_page_is_there_and_every_claim_has_its_control(tiny_book, checkout):
    done = manifests(checkout, "tiny")
    assert {Path(page).name for page in done} == set(phases())
    assert len(done) == len(RunConfig.load(checkout / "config" / "tiny.yaml").pages())
    claims = [Claim(**c) for c in json.loads((checkout / "results" / "tiny" / "claims.json").read_text())]
    assert {c.phase for c in claims} == set(phases()) - {"15_scorecard"}  # which only lists the claims of the others
    assert all(c.control is not None for c in claims if c.verdict != "not_tested")
    assert (tiny_book / "index.html").is_file()


def test_a_second_build_starts_no_job_and_writes_nothing(tiny_book, checkout):
    before = stamps(checkout / "results" / "tiny") | stamps(tiny_book)
    done = build(checkout, "--config", "config/tiny.yaml")
    assert done.returncode == 0, tail(done)
    assert stamps(checkout / "results" / "tiny") | stamps(tiny_book) == before
    assert "nothing to be done" in (done.stdout + done.stderr).lower()


@pytest.mark.slow
def test_changing_k_reruns_the_sae_and_no_extraction(tiny_book, checkout, tmp_path):
    checkout = Path(shutil.copytree(checkout, tmp_path / "copy"))  # other tests read the book as it was built
    before = manifests(checkout, "tiny")
    path = checkout / "config" / "tiny.yaml"
    config = yaml.safe_load(path.read_text())
    config["sae"]["k"] = 8
    path.write_text(yaml.safe_dump(config))
    done = build(checkout, "--config", "config/tiny.yaml")
    assert done.returncode == 0, tail(done)
    rerun = {Path(page).name for page, stamp in manifests(checkout, "tiny").items() if stamp != before[page]}
    assert rerun == set(phases()) - BEFORE_THE_SAE


@pytest.mark.slow
def test_killed_in_the_middle_it_finishes_and_keeps_what_was_done(tmp_path):
    checkout = copy_tree(tmp_path)
    command = build_command("--config", "config/tiny.yaml", "--cores", "2")
    log = tmp_path / "build.log"
    with log.open("w") as output:
        running = subprocess.Popen(command, cwd=checkout, start_new_session=True, stdout=output, stderr=output)
    pages = RunConfig.load(checkout / "config" / "tiny.yaml").pages()
    folder = {title(*page): phase_dir("", "", *page).as_posix() for page in pages}

    def finished() -> list[str]:
        """Folders of the results that the driver has reported, in that order."""
        names = re.findall(r"^  (\d\d_.*): \d+ s$", log.read_text(), re.MULTILINE)
        return [folder[name] for name in names]

    while not any(page.endswith("01_extract") for page in finished()):
        assert running.poll() is None, log.read_text()
        time.sleep(0.2)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    kept = {page: stamp for page, stamp in manifests(checkout, "tiny").items() if page in finished()}
    assert len(kept) == len(finished()) > 0
    done = build(checkout, "--config", "config/tiny.yaml")
    assert done.returncode == 0, tail(done)
    after = manifests(checkout, "tiny")
    assert {page: after[page] for page in kept} == kept
    assert (checkout / "_build" / "tiny" / "html" / "index.html").is_file()
