"""Commands on the book: one page, all of it, how far it is, whether it is what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from biosae_utils.cli.app import DEMO, Config, app, err, out, parameters
from biosae_utils.errors import BiosaeError


@app.command(
    epilog="""**Examples**

`biosae run 04_annotate --model mini-geneformer --layer 3 -p fdr=0.01`

`biosae run 02_sae --model mini-scgpt -p k=8 -p 'layers=[0, 3]'`

`biosae run 00_data -p n_cells=500`"""
)
def run(
    phase: Annotated[str, typer.Argument(help="Phase, for instance 04_annotate.", show_default=False)],
    model: Annotated[str | None, typer.Option(help="Slug of a model in the config.")] = None,
    layer: Annotated[int | None, typer.Option(help="Layer, counted from 0.")] = None,
    config: Config = DEMO,
    set_: Annotated[
        list[str] | None, typer.Option("-p", "--set", metavar="NAME=VALUE", help="Another value of a parameter.")
    ] = None,
) -> None:
    """Compute one page again, with other parameters if you like.

    What the page reads must be there already (`biosae status` shows it); what reads the page becomes stale.
    """
    from biosae_utils.book.paths import page_path, phase_dir
    from biosae_utils.book.run_phase import live_and_die_with_driver, run_phase
    from biosae_utils.runconfig import RunConfig
    from biosae_utils.store import read_json

    settings = RunConfig.load(config)
    node = page_of(settings, phase, model, layer)
    params = settings.phase_params(*node, **parameters(set_ or []))
    target = page_path(settings.run, *node)
    out.print(f"Computing {title(*node)}")
    lock = live_and_die_with_driver()
    try:
        run_phase(phase, params.model_dump(mode="json"), target, config=str(config))
    finally:
        lock.close()
    left = phase_dir(params.results, settings.run, *node)
    manifest = read_json(left / "manifest.json")
    for sentence in manifest["takeaways"]:
        out.print(f"- {sentence}", markup=False)
    out.print(f"{manifest['seconds']:.0f} s; tables in {left}, page in {target}", markup=False)
    if set_:
        out.print("`make book` renders it and computes what reads it; the same command without -p takes it back.")


@app.command(
    epilog="""**Examples**

`biosae book`

`biosae book --config config/paper.yaml --profile slurm`

`biosae book --data my.h5ad --cores 8`"""
)
def book(
    config: Config = DEMO,
    data: Annotated[Path | None, typer.Option(help="Your own h5ad of counts in place of the config's.")] = None,
    cores: Annotated[int | None, typer.Option(help="Jobs at once on this machine; all cores by default.")] = None,
    profile: Annotated[str | None, typer.Option(help="Folder in workflow/profiles, for instance slurm.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of this machine to share among jobs.")] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Render what can be computed.")] = False,
) -> None:
    """Run everything that a config names and render it; the same as `make book`.

    What is up to date is left alone, and a run that was killed is resumed.
    """
    from biosae_utils.book import build

    options = {"--data": data, "--cores": cores, "--profile": profile, "--gpus": gpus}
    chosen = [str(part) for pair in options.items() if pair[1] is not None for part in pair]
    raise typer.Exit(build.main(["--config", str(config), *chosen, *["--keep-going"] * keep_going]))


@app.command(
    epilog="""**Examples**

`biosae status`

`biosae status --json --config config/paper.yaml`"""
)
def status(
    config: Config = DEMO,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: {run, phases: [...]}.")] = False,
) -> None:
    """Show which pages are done, failed, stale (made from something that has changed since), missing or not run."""
    from biosae_utils.book.status import status as status_of
    from biosae_utils.runconfig import RunConfig

    report = status_of(RunConfig.load(config))
    if as_json:
        typer.echo(json.dumps(report, indent=1))
        return
    out.print(matrix(report), soft_wrap=False)
    for row in report["phases"]:
        if row["reason"]:
            name = title(row["phase"], row["model"], row["layer"])
            out.print(f"{row['state']}: {name}: {row['reason']}", markup=False)


def matrix(report: dict[str, Any]) -> Table:
    """One line for each phase, model and state, with the layers that are in it."""
    table = Table(title=f"Run {report['run']}", title_justify="left", box=None, pad_edge=False)
    for name in ("phase", "model", "layers", "state", "seconds", "peak MB"):
        table.add_column(name, justify="right" if name in ("seconds", "peak MB") else "left")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in report["phases"]:
        groups.setdefault((row["phase"], row["model"], row["state"]), []).append(row)
    for (phase, model, state), rows in groups.items():
        layers = " ".join(str(row["layer"]) for row in rows if row["layer"] is not None)
        seconds = sum(row["seconds"] or 0 for row in rows)
        memory = max(row["max_rss_mb"] or 0 for row in rows)
        table.add_row(
            phase, model or "", layers, state, f"{seconds:.0f}" if seconds else "", f"{memory:,.0f}" if memory else ""
        )
    return table


@app.command(
    epilog="""**Example**

`biosae verify --config config/demo.yaml`"""
)
def verify(config: Config = DEMO) -> None:
    """Read a finished run again: files against their hashes, claims against the pages that made them.

    Ends with 1 when anything differs.
    """
    from biosae_utils.book.verify import verify as verify_run
    from biosae_utils.runconfig import RunConfig

    found = verify_run(RunConfig.load(config))
    for problem in found.problems:
        err.print(f"- {problem}", markup=False)
    agree = "all agree" if not found.problems else f"{len(found.problems)} problems"
    out.print(f"{found.n_pages} pages, {found.n_files} files, {found.n_claims} claims: {agree}")
    if found.problems:
        raise typer.Exit(1)


def page_of(settings: Any, phase: str, model: str | None, layer: int | None) -> tuple[str, str | None, int | None]:
    """The page that is meant; a model or layer that the phase needs or cannot have is told in one sentence."""
    from biosae_utils.book.dag import by_name
    from biosae_utils.params import PHASES, scope

    if phase not in PHASES:
        raise BiosaeError(f"No phase is called {phase!r}", do=f"use one of {', '.join(PHASES)}")
    kind, node = scope(phase), by_name(settings, phase, model, layer)
    if (kind == "run" and model is not None) or (kind != "layer" and layer is not None):
        extra = "--layer" if layer is not None else "--model"
        raise BiosaeError(f"{phase} has one page per {kind}", where=extra, do=f"leave {extra} out")
    return node


def title(phase: str, model: str | None, layer: int | None) -> str:
    """A page in words."""
    return phase + (f" of {model}" if model else "") + (f", layer {layer}" if layer is not None else "")
