"""`biosae sweep`: learning rate and length of training, chosen on held-out cells."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from biosae_utils.cli.app import DEMO, Config, app, out, parameters
from biosae_utils.errors import BiosaeError
from biosae_utils.sae_options import SaeOptions

if TYPE_CHECKING:
    import pandas as pd

    from biosae_utils.sae.training.sweep import Choice

SAME = (*(f.name for f in fields(SaeOptions) if f.name not in ("lr", "steps")), "seed")
"""Parameters of 02_sae that all trainings of a sweep share and that -p may set."""


@app.command(
    epilog="""**Examples**

`biosae sweep --model mini-geneformer --layer 2`

`biosae sweep --model mini-geneformer --layer 2 --lr 1e-3 --lr 3e-3 --lr 9e-3 --steps 500 --steps 1000 -o rates.csv`

`biosae sweep --model mini-scgpt --layer 1 -p k=8 -p expansion=8 --config config/demo.yaml`"""
)
def sweep(
    model: Annotated[str, typer.Option(help="Slug of a model in the config.", show_default=False)],
    layer: Annotated[int, typer.Option(help="Layer, counted from 0.", show_default=False)],
    config: Config = DEMO,
    lr: Annotated[
        list[float] | None,
        typer.Option(help="Peak learning rate to try; may be repeated. Else the default rate times 1/9, 1/3, 1, 3."),
    ] = None,
    steps: Annotated[list[int] | None, typer.Option(help="Length to try; may be repeated. Else the config's.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("-p", "--set", metavar="NAME=VALUE", help=f"Another value for all: {', '.join(SAME)}."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="Table to write, .parquet or .csv.", show_default=False)
    ] = None,
) -> None:
    """Try learning rates and lengths of training on one layer, and say which to write in the config.

    One SAE is trained on the sample of 01_extract for each rate and length, and judged by the variance that it leaves
    unexplained (FVU) on held-out cells. The rule: two FVUs less than 2 % apart are the same. Of what is the same as the
    best, the default rate, 0.083 / sqrt(width), is preferred, then the shorter training. A best value at an end of the
    grid is said, with the value to try next. `biosae run 01_extract` makes the samples; nothing of the run is changed.
    """
    from biosae_utils.models.loading import pick_device
    from biosae_utils.runconfig import RunConfig
    from biosae_utils.sae.training import sweep as search

    if target is not None and target.suffix not in (".parquet", ".csv"):
        raise BiosaeError(
            "The table is Parquet or CSV", where=str(target), do="give a name that ends in .parquet or .csv"
        )
    settings = RunConfig.load(config)
    folder, remedy = extraction(settings, model, layer, config)
    changed = parameters(set_ or [])
    base = shared(settings, model, changed, lr or [], steps or [])
    on = pick_device(device)
    sample, heldout = search.read_samples(folder, layer, remedy=remedy)
    d_in = sample.shape[1]
    configs = search.grid(base, d_in, lr or (), steps or ())
    out.print(
        f"{len(configs)} trainings on {len(sample):,} vectors of {model}, layer {layer} (width {d_in}), judged on "
        f"{len(heldout):,} of held-out cells; k = {base.k}, {base.expansion * d_in:,} latents, {base.kind}.",
        markup=False,
    )
    found = search.trials(sample, heldout, configs, device=on)
    table = search.as_table(found)
    choice = search.choose(table, d_in)
    table["verdict"] = search.remarks(table, d_in)
    out.print(shown(table, [trial.seconds for trial in found]), soft_wrap=False)
    for sentence in advice(choice, d_in, changed, config):
        out.print(sentence, markup=False)
    if target is not None:
        facts = {"model": model, "layer": layer, "d_in": d_in, "kind": base.kind, "seed": base.seed}
        facts |= {"n_vectors": len(sample), "n_heldout": len(heldout)}
        write(target, table.assign(**facts)[[*facts, *table.columns]])


def shared(settings: Any, model: str, changed: dict[str, Any], rates: list[float], steps: list[int]) -> Any:
    """`TrainConfig` of what all trainings share; what a config could not say is refused before anything is trained."""
    from biosae_utils.sae.training.run import TrainConfig

    options = {"lr": "--lr", "steps": "--steps", "device": "--device", "layers": "--layer"}
    for name in [n for n in changed if n in options]:
        raise BiosaeError(f"{name} is no -p of a sweep", where="-p", do=f"use {options[name]}")
    params = settings.phase_params("02_sae", model, **changed)
    for name in [n for n in changed if n not in SAME]:
        raise BiosaeError(f"{name} makes no difference to a sweep", where="-p", do=f"set one of {', '.join(SAME)}")
    for tried in [{"lr": rate} for rate in rates] + [{"steps": length} for length in steps]:
        settings.phase_params("02_sae", model, **changed, **tried)
    return TrainConfig.of(params, lr=None, seed=params.seed)


def write(target: Path, table: pd.DataFrame) -> None:
    """Table as its name's ending says, whole or not at all."""
    from biosae_utils.store import atomic_path, write_table

    if target.suffix == ".parquet":
        write_table(target, table)
    else:
        with atomic_path(target) as tmp:
            table.to_csv(tmp, index=False)
    out.print(f"{target}: {len(table)} rows", markup=False)


def extraction(settings: Any, model: str, layer: int, config: Path) -> tuple[Path, str]:
    """Finished folder of 01_extract for a layer of a model, and the command that makes it anew."""
    from biosae_utils.phases.manifest import is_complete
    from biosae_utils.phases.places import phase_dir

    settings.page("01_extract", model)
    layers = settings.models[model].layers
    if layer not in layers:
        do = f"use --layer with one of {', '.join(map(str, layers))}"
        raise BiosaeError(f"This run analyses no layer {layer} of {model}", do=do)
    folder = phase_dir(settings.results, settings.run, "01_extract", model)
    remedy = f"biosae run 01_extract --model {model} --config {config}"
    if not is_complete(folder):
        raise BiosaeError("There is no sample to train on: 01_extract has not finished", where=str(folder), do=remedy)
    return folder, remedy


def shown(table: pd.DataFrame, seconds: list[float]) -> Table:
    """One line for each training, the best first, with the seconds that it took (which no file holds)."""
    from biosae_utils.sae.training.sweep import excess

    lines = Table(box=None, pad_edge=False)
    for name in ("lr", "steps", "held-out FVU", "above best", "dead share", "seconds"):
        lines.add_column(name, justify="right", no_wrap=True)
    lines.add_column("verdict")
    best = table["fvu"].min()
    for row, took in zip(table.itertuples(), seconds, strict=True):
        cells = [f"{row.fvu:.4f}", f"{excess(row.fvu, best):.1%}", f"{row.dead:.1%}", f"{took:.1f}"]
        cells = cells if not math.isnan(row.fvu) else [""] * 4
        lines.add_row(f"{row.lr:.3g}", f"{row.steps:,}", *cells, row.verdict, style="bold" if row.fvu == best else None)
    return lines


def advice(choice: Choice, d_in: int, changed: dict[str, Any], config: Path) -> list[str]:
    """What to write in the config, and where the grid should go on."""
    import yaml

    from biosae_utils.sae.training.sweep import NOISE
    from biosae_utils.sae.training.trainer import default_lr

    block = {name: value for name, value in changed.items() if name != "seed"}
    if not choice.is_default:
        block["lr"] = float(f"{choice.lr:.3g}")
    block["steps"] = choice.steps
    line = yaml.safe_dump({"sae": block}, default_flow_style=True, sort_keys=False, width=1000).strip()[1:-1]
    is_best = choice.fvu == choice.best_fvu
    noise = f"{choice.excess:.1%} above the best, {choice.best_fvu:.4f}, which is within noise (under {NOISE:.0%})"
    measured = f"held-out FVU {choice.fvu:.4f}, {'the best' if is_best else noise}"
    default = f"0.083 / sqrt({d_in}) = {default_lr(d_in):.3g}"
    if choice.is_default:
        said = [f"Keep the default learning rate, {default}: write `{line}` without lr in {config} ({measured})."]
    else:
        other = choice.default_fvu
        beside = "was not tried" if other is None else "diverged" if math.isnan(other) else f"leaves {other:.4f}"
        said = [f"Write `{line}` in {config} ({measured}); the default rate, {default}, {beside} at this length."]
    for edge in choice.edges:
        name = "learning rate" if edge.name == "lr" else "number of steps"
        said.append(
            f"The best {name} is the {edge.end} of the grid: extend it, with --{edge.name} {edge.following:g} next."
        )
    return said
