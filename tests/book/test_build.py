"""The driver on a tiny project: failing and healing, doing nothing, what an edit makes run, locks of the dead."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from tiny_project import enter, leave, write_project

from biosae_utils.book import build
from biosae_utils.errors import BiosaeError
from biosae_utils.store import read_json

COMMAND = [sys.executable, "-m", "biosae_utils.book.build", "--cores", "2", "--config"]
CONFIG = "config/tiny.yaml"
PAGE = Path("_build/tiny/html/book/executed/tiny/m/layer_02/71_two_words.html")


def run(*arguments: str, config: str = CONFIG) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, config, *arguments], capture_output=True, text=True)


def configure(**blocks) -> None:
    path = Path(CONFIG)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **blocks}))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The tiny project with its book, built once and copied for every test."""
    root = tmp_path_factory.mktemp("built")
    write_project(root, prose=True)
    with pytest.MonkeyPatch.context() as patch:
        enter(root, patch)
        done = run()
        assert done.returncode == 0, done.stdout + done.stderr
    leave()
    return root


@pytest.fixture
def book(built, tmp_path, monkeypatch) -> Path:
    """A copy of the built project, made as a student would make it: with new time stamps."""
    root = tmp_path / "copy"
    shutil.copytree(built, root, copy_function=shutil.copy)
    site = root / "site" / "sitecustomize.py"
    site.write_text(site.read_text().replace(str(built), str(root)))
    enter(root, monkeypatch)
    yield root
    leave()


def would_run() -> set[str]:
    """Rules that Snakemake would run now, with the number of their jobs."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--quiet", "host", "--config", f"run_config={CONFIG}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    counts = re.search(r"job +count\n[- ]+\n(.*?)\ntotal", done.stdout + done.stderr, re.DOTALL)
    return set() if counts is None else {" x ".join(line.split()) for line in counts[1].splitlines()} - {"all x 1"}


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


EDITS = {
    "nothing": (lambda: None, set()),
    "a comment in a phase": (lambda: edit("phases/draws.py", "    with out", "    # why\n    with out"), set()),
    "a caption": (
        lambda: edit("notebooks/70_draws.py", "Higher bars hold", "The higher bars hold"),
        {"draws_page x 1", "book x 1"},
    ),
    "a sentence of a layer's page": (
        lambda: edit("notebooks/71_two_words.py", "Which rows come", "Which of the rows come"),
        {"two_words_page x 2", "book x 1"},
    ),
    "a parameter": (
        lambda: configure(two_words={"n_top": 7}),
        {"two_words x 2", "two_words_page x 2", "book x 1"},
    ),
    "code of the first phase": (
        lambda: edit("phases/draws.py", "n=p.n)", "n=p.n + 0)"),
        {"draws x 1", "draws_page x 1", "two_words x 2", "two_words_page x 2", "book x 1"},
    ),
    "prose of the book": (lambda: edit("book/intro.md", "#", "# The"), {"book x 1"}),
    "a lost result": (
        lambda: Path("results/tiny/m/layer_00/71_two_words/manifest.json").unlink(),
        {"two_words x 1", "two_words_page x 1", "book x 1"},
    ),
    "a lost page of HTML": (lambda: PAGE.unlink(), {"book x 1"}),
    "emptied claims": (
        lambda: Path("results/tiny/70_draws/claims.json").write_text("[]"),
        {"draws x 1", "draws_page x 1", "two_words x 2", "two_words_page x 2", "book x 1"},
    ),
    "data replaced by an older file": (
        lambda: (Path("cells.h5ad").write_bytes(b"others"), os.utime("cells.h5ad", (1, 1))),
        {"draws x 1", "draws_page x 1", "two_words x 2", "two_words_page x 2", "book x 1"},
    ),
}


@pytest.mark.parametrize("what", list(EDITS))
def test_what_an_edit_makes_run(book, what):
    change, expected = EDITS[what]
    change()
    assert would_run() == expected


def test_a_second_build_does_nothing_and_a_lost_page_is_rendered_again(book):
    done = run()
    assert done.returncode == 0 and "nothing to be done, all 3 pages and the book are up to date" in done.stdout
    PAGE.unlink()
    done = run()
    assert done.returncode == 0 and PAGE.is_file() and "0 of 3 pages to compute" in done.stdout


def test_an_unchanged_input_ends_the_chain(book):
    edit("phases/draws.py", "n=p.n)", "n=p.n + 0)")
    rows = Path("results/tiny/m/layer_00/71_two_words/manifest.json")
    stamp = rows.stat().st_mtime_ns
    assert run().returncode == 0
    assert rows.stat().st_mtime_ns == stamp


def test_a_failing_page_stops_the_build_or_is_said_to_be_missing_and_heals(book):
    configure(two_words={"n_top": 13})
    done = run()
    assert done.returncode == 1 and "FAILED 71_two_words of m" in done.stderr
    assert "Thirteen is no number" in done.stderr and "biosae status --config config/tiny.yaml" in done.stderr
    done = run("--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "was not computed" in PAGE.read_text() and "Thirteen" in PAGE.read_text()
    kept = Path("results/tiny/70_draws/manifest.json").stat().st_mtime_ns

    # a lock that a killed Snakemake left is cleared, because nothing lives
    Path(".snakemake/locks").mkdir(exist_ok=True)
    Path(".snakemake/locks/0.output.lock").write_text(f"{book}/results/tiny/70_draws.done\n")
    configure(two_words={"n_top": 5})
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "finished pages are kept" in done.stdout
    assert "was not computed" not in PAGE.read_text() and "Layer 2 has 5 rows" in PAGE.read_text()
    assert Path("results/tiny/70_draws/manifest.json").stat().st_mtime_ns == kept
    assert not PAGE.with_suffix(".md").exists() and len(read_json("results/tiny/claims.json")) == 1


def test_a_build_that_stops_at_rendering_says_where(book):
    Path("book/intro.md").write_text("# Intro\n\n{nonsense}`role`\n")
    done = run()
    assert done.returncode == 1 and "rendering failed" in done.stderr and "book.log" in done.stderr
    assert "biosae status" not in done.stderr


@pytest.mark.parametrize("name", ["my {run}.yaml", "it's mine.yaml", 'say "tiny".yaml'])
def test_a_config_may_be_called_anything(book, name):
    shutil.move(CONFIG, f"config/{name}")
    edit(f"config/{name}", "n: 30", "n: 31")
    done = run(config=f"config/{name}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_json("results/tiny/70_draws/manifest.json")["params"]["n"] == 31


def test_no_run_takes_over_the_results_of_another_config(book):
    shutil.copy(CONFIG, "config/other.yaml")
    done = run(config="config/other.yaml")
    assert done.returncode == 1 and "belongs to another config" in done.stderr and "another name" in done.stderr


def test_nothing_of_the_book_comes_from_the_network(book):
    for text in (p.read_text() for p in Path("_build/tiny/html").rglob("*.html")):
        assert "cdn." not in text and "unpkg" not in text and "jsdelivr" not in text


@pytest.mark.slow
def test_when_the_driver_is_killed_all_of_it_dies_and_the_next_build_resumes(tmp_path, monkeypatch):
    write_project(tmp_path, prose=True)
    enter(tmp_path, monkeypatch)
    first = subprocess.Popen([*COMMAND, CONFIG], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any(Path("results/tiny").glob("m/**/.state.json")):  # the second phase has begun
        assert first.poll() is None
        time.sleep(0.05)
    family = psutil.Process(first.pid).children(recursive=True)
    assert len(family) >= 2
    first.kill()
    first.wait()
    kept = Path("results/tiny/70_draws/manifest.json").stat().st_mtime_ns
    done = run()
    leave()
    assert done.returncode == 0, done.stdout + done.stderr
    assert psutil.wait_procs(family, timeout=60)[1] == []
    assert Path("results/tiny/70_draws/manifest.json").stat().st_mtime_ns == kept


def test_a_wrong_config_is_refused_before_anything_runs(project):
    configure(two_words={"n_tops": 5})
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
    for name in ("default", "slurm"):
        Path("workflow/profiles", name).mkdir(parents=True)
        Path("workflow/profiles", name, "config.yaml").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert "gpu=2" in build._snakemake(4, "slurm", None)
    assert "gpu=5" in build._snakemake(4, "", 5) and "--profile" not in build._snakemake(4, "", 5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "--resources" not in build._snakemake(4, "", None)
    with pytest.raises(BiosaeError, match="default, slurm"):
        build._snakemake(4, "slrm", None)
