"""The command line itself: help, errors, and the words in which parameters are given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from biosae_utils import __version__
from biosae_utils.errors import BiosaeError

out = Console(highlight=False, soft_wrap=True)  # lines are for terminals and for grep alike
err = Console(stderr=True, highlight=False, soft_wrap=True)


class SpeakingGroup(TyperGroup):
    """Tells a `BiosaeError` in one message and exits with 2; other exceptions keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BiosaeError as e:
            err.print(f"[bold red]biosae:[/] {escape(str(e))}")
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=SpeakingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="What single-cell foundation models know: run the book, one page of it, or its parts on your own cells.",
    epilog="Start with `make book` (or `biosae book`), then `biosae status`. Every command has `--help` with examples.",
)

Config = Annotated[Path, typer.Option("--config", "-c", help="YAML of the run; see config/README.md.")]
DEMO = Path("config/demo.yaml")


def _show_version(asked: bool) -> None:
    if asked:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


def parameters(assignments: list[str]) -> dict[str, Any]:
    """``["fdr=0.01", "layers=[0, 3]"]`` as values; the right-hand side is YAML, and 1e-3 is a number."""
    values = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BiosaeError(f"{text!r} is not NAME=VALUE", where="-p", do="write for instance -p fdr=0.01")
        if name in ("model", "layer", "run", "results"):
            do = f"use --{name}" if name in ("model", "layer") else "set it in the config"
            raise BiosaeError(f"{name} says which page this is and is no parameter of it", where="-p", do=do)
        try:
            values[name] = float(value) if re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value) else yaml.safe_load(value)
        except yaml.YAMLError as e:
            raise BiosaeError(f"The value of {name} cannot be read", where=value, do="quote it as in YAML") from e
    return values
