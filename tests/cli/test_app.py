"""The command line as a user meets it: help that teaches, errors in one sentence, values as they are meant."""

from __future__ import annotations

import subprocess
import sys

import pytest
from commands import biosae
from typer.testing import CliRunner

from biosae_utils import __version__
from biosae_utils.cli import app
from biosae_utils.cli.app import parameters
from biosae_utils.errors import BiosaeError

COMMANDS = ["run", "book", "status", "verify", "fetch", "apply", "import", "export", "sweep"]


def test_help_names_every_command_and_the_way_to_start():
    text = biosae("--help")
    assert all(f" {command} " in text for command in COMMANDS) and "make book" in text
    assert biosae("--version").strip() == __version__


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_example(command):
    text = biosae(command, "--help")
    assert f"biosae {command} " in text.partition("Example")[2]


def test_help_needs_no_heavy_package():
    heavy = {"torch", "anndata", "scanpy", "snakemake", "transformers", "pandas", "plotly"}
    code = f"import sys; from biosae_utils.cli import app; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_bug_keeps_its_traceback(monkeypatch):
    def broken(*_args: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("biosae_utils.cells.fetch.listing", broken)
    done = CliRunner().invoke(app, ["fetch", "--list"])
    assert isinstance(done.exception, RuntimeError)


def test_a_missing_config_is_one_sentence():
    text = biosae("status", "--config", "absent.yaml", code=2)
    assert text.startswith("biosae: There is no such config. Where: absent.yaml.") and text.count("\n") == 1


def test_values_are_yaml_and_exponents_are_numbers():
    values = parameters(["a=0.01", "b=1e-3", "c=[0, 3]", "d=null", "e=text", "f=true", "g=x=y", "h="])
    assert values == {"a": 0.01, "b": 0.001, "c": [0, 3], "d": None, "e": "text", "f": True, "g": "x=y", "h": None}
    assert isinstance(parameters(["k=8"])["k"], int)


@pytest.mark.parametrize("text", ["fdr", "=3", "model=m", "run=other", "x={"])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(BiosaeError):
        parameters([text])
