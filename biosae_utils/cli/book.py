"""Commands on the book: one page, all of it, how far it is, whether it is what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from biosae_utils.cli.app import DEMO, Config, app, err, out, parameters


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

    What the page reads must be there already (`biosae status` shows it); what reads the page becomes stale. Parameters
    given here hold until the next `make book`, which goes by the config.
    """
    from biosae_utils.book.run_page import command, run_page
    from biosae_utils.phases import manifest
    from biosae_utils.phases.jobs import living
    from biosae_utils.phases.places import title
    from biosae_utils.phases.registry import find
    from biosae_utils.phases.run import compute
    from biosae_utils.runconfig import RunConfig

    settings = RunConfig.load(config)
    node = settings.page(phase, model, layer)
    params = settings.phase_params(*node, **parameters(set_ or []))
    settings.claim_results(config)
    declared = find(phase)
    out.print(f"Computing {title(*node)}")
    with living():
        left = compute(declared, params, command=command(declared, params, str(config)))
        target = run_page(declared, params, config=str(config))
    about = manifest.read(left)
    for sentence in json.loads(target.read_text())["metadata"]["takeaways"]:
        out.print(f"- {sentence}", markup=False)
    out.print(f"{about['seconds']:.0f} s; tables in {left}, page in {target}", markup=False)
    if set_:
        out.print(
            f"Not kept: the next `make book` computes this page again as {config} says. To keep a value, write it "
            f"there under `{declared.short}:`.",
            markup=False,
        )
    else:
        out.print("`make book` renders it, and computes what reads it.")


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
    from biosae_utils.phases.places import title

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
    """Read a finished run again: data, tables, claims, pages and HTML against what was noted when they were made.

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
