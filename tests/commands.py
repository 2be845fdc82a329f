"""The command line, called as a user would call it, within the process of the tests."""

from __future__ import annotations

from typer.testing import CliRunner

from biosae_utils.cli import app


def biosae(*arguments: object, code: int = 0) -> str:
    """What a command says: on stdout when it ends well, else on stderr."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout if code == 0 else done.stderr
