"""What the project declares is what it needs, and what it ships is clean."""

from __future__ import annotations

import ast
import importlib.metadata as metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
HELPERS = [ROOT / folder for folder in PYPROJECT["tool"]["pytest"]["ini_options"]["pythonpath"]]
DEPENDENCIES = PROJECT["dependencies"]
DEV = PROJECT["optional-dependencies"]["dev"]
PEERS = PROJECT["optional-dependencies"]["peers"]  # never installed here: their modules cannot be looked up
BUNDLED = {"triton"}  # comes with torch's CUDA builds, and is imported only there
INSTALLERS = {"pip", "setuptools", "wheel"}  # every environment brings its own


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(r).name) for r in requirements}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    pins = [line.partition("==") for line in lines]
    return {canonicalize_name(name): version for name, _, version in pins}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def third_party(path: Path) -> set[str]:
    """Top-level modules that a file imports, at any depth, without the standard library and ourselves."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    local = (
        {"biosae_utils", "benchmarks", "scripts"}
        | {p.stem for p in path.parent.glob("*.py")}
        | {p.stem for folder in (ROOT / "tests", *HELPERS) for p in folder.iterdir()}
    )
    return found - set(sys.stdlib_module_names) - local - BUNDLED


def undeclared(paths: list[Path], declared: set[str]) -> dict[str, set[str]]:
    owners = {"sparsify": ["eai-sparsify"]} | metadata.packages_distributions()
    problems = {}
    for path in paths:
        missing = {m for m in third_party(path) if not declared & {canonicalize_name(d) for d in owners.get(m, [m])}}
        if missing:
            problems[str(path.relative_to(ROOT))] = missing
    return problems


def test_every_import_of_the_package_is_declared():
    paths = sources("biosae_utils", "notebooks", "scripts")
    assert len(paths) > 10
    assert undeclared(paths, names(DEPENDENCIES)) == {}


def test_every_import_of_tests_and_benchmarks_is_declared():
    assert undeclared(sources("tests", "benchmarks"), names(DEPENDENCIES) | names(DEV) | names(PEERS)) == {}


def test_an_undeclared_import_is_found(tmp_path):
    (tmp_path / "module.py").write_text(
        "import os\ndef f():\n    from numpy import linalg\n    import surely_not_declared\n"
    )
    assert third_party(tmp_path / "module.py") == {"numpy", "surely_not_declared"}


def test_constraints_pin_everything_that_is_installed_with_us():
    pins, todo, seen = constraints(), [*DEPENDENCIES, *DEV], set()
    while todo:
        requirement = Requirement(todo.pop())
        name = canonicalize_name(requirement.name)
        if (
            name in seen
            or name in INSTALLERS
            or (requirement.marker and not requirement.marker.evaluate({"extra": ""}))
        ):
            continue
        seen.add(name)
        try:
            todo += metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # needed only on another platform
        assert name in pins, f"{name} is needed but constraints.txt does not pin it"
    assert len(seen) > 100
    assert pins["torch"] == "2.13.0" and pins["jupyter-book"] == "1.0.4.post1"
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", v) for v in pins.values()), "exact versions without a local suffix"


def test_an_installed_package_has_its_data_files():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["*"]
    data = [p for p in (ROOT / "biosae_utils").rglob("*.*") if p.suffix not in (".py", ".pyc")]
    assert {"sources.yaml"} <= {p.name for p in data}
    assert [str(p) for p in data if not any(p.match(pattern) for pattern in patterns)] == []


def test_conda_environment_equals_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert [line for line in pip if not line.startswith("-")] == DEPENDENCIES
    assert [line for line in pip if line.startswith("-")] == ["--constraint constraints.txt", "--editable ."]


def shipped_text() -> dict[str, str]:
    """Text of every file that git tracks or would track, except what others wrote (vendored scripts)."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files ship")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    texts = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if "vendor" in path.parts or name.endswith(".min.js") or not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" not in data[:8192]:
            texts[name] = data.decode(errors="replace")
    return texts


MACHINE_PATH = re.compile(r"(?<![\w.~})/-])/(?:home|root|work|tmp|Users|mnt|opt)/[\w.-]+")
REGISTRY_HOST = re.compile(
    "|".join(re.escape(h) for h in ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "debian" + ".org"))
)


@pytest.mark.parametrize(
    ("pattern", "bad", "good"),
    [
        (
            MACHINE_PATH,
            ["'/" + "home/ann/cells.h5ad'", "cd /" + "work/main", "(/" + "tmp/x)"],
            ["results/tmp/x", "https://a.b/work/x", "${HOME}/work/x"],
        ),
        (REGISTRY_HOST, ["https://" + "pypi" + ".org/simple"], ["PyPI scanpy==1.11.5"]),
    ],
    ids=["machine path", "registry host"],
)
def test_no_shipped_text_names_a_machine(pattern, bad, good):
    assert all(pattern.search(text) for text in bad) and not any(pattern.search(text) for text in good)
    texts = shipped_text()
    assert {"pyproject.toml", "Makefile", "README.md"} <= set(texts)
    found = {f"{name}: {match[0]}" for name, text in texts.items() for match in pattern.finditer(text)}
    assert found == set()


def make(*arguments: str) -> str:
    run = subprocess.run(["make", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
class TestMakefile:
    def test_default_target_lists_every_target(self):
        text = make()
        targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
        assert targets[0] == "help"
        assert all(f"make {target} " in text for target in targets)

    def test_options_reach_the_build_whatever_is_in_their_names(self, tmp_path):
        python = tmp_path / "python"
        python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        python.chmod(0o755)
        (ready := tmp_path / "installed").touch()
        names = "config/{my} 'runs'.yaml", 'my "cells".h5ad'
        said = make("book", f"READY={ready}", f"BIN={tmp_path}", f"CONFIG={names[0]}", f"DATA={names[1]}",
                    "CORES=3", "PROFILE=slurm", "GPUS=4")  # fmt: skip
        options = ["--config", names[0], "--cores", "3", "--data", names[1], "--profile", "slurm", "--gpus", "4"]
        assert said.splitlines() == ["-m", "biosae_utils.book.build", *options]

    def test_installation_happens_once_and_follows_the_pins(self):
        stamp = ["-o", "pyproject.toml", "-o", "constraints.txt"]
        fresh = make("-n", "lint", "VENV=absent-venv")
        assert fresh.index("torch==2.13.0") < fresh.index("'.[dev]'") and "--index-url" not in fresh
        assert "--index-url some-index torch" in make("-n", "lint", "VENV=absent-venv", "TORCH_INDEX=some-index")
        again = make("-n", "lint", "READY=pyproject.toml", *stamp)
        assert "pip install" not in again and "ruff check" in again

    def test_clean_says_what_it_removes(self):
        plan = make("-n", "clean")
        assert "rm -rf _build results book/executed" in plan and plan.index("Removing") < plan.index("rm -rf")


def commands(text: str) -> set[str]:
    """Targets of make that a text tells to run."""
    return {t for line in re.findall(r"\bmake ((?:[a-z]+\b ?)+)", text) for t in line.split()}


def test_what_runs_elsewhere_is_a_target_of_make():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split())
    assert set(re.findall(r"^([a-z]+):", makefile, re.M)) == targets
    workflows = {p.name: yaml.safe_load(p.read_text()) for p in (ROOT / ".github" / "workflows").glob("*.yml")}
    steps = [s["run"] for w in workflows.values() for job in w["jobs"].values() for s in job["steps"] if "run" in s]
    check = "\n".join(line for line in (ROOT / ".ci" / "run").read_text().splitlines() if not line.startswith("#"))
    assert commands(check) == {"lint", "test"} and any(s == "bash .ci/run" for s in steps)
    assert commands("\n".join(steps)) <= targets
    assert any("-m slow" in s for s in steps), "what takes minutes runs at night"


def test_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()
    assert citation["license"] == PROJECT["license"] == "MIT"
