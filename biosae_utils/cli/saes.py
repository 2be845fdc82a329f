"""Commands on SAEs: on your own cells, in from other formats, out to others."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from biosae_utils import __version__
from biosae_utils.cli.app import DEMO, Config, app, err, out
from biosae_utils.errors import BiosaeError

Folder = Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)]


@app.command(
    epilog="""**Examples**

`biosae apply --sae results/demo/mini-geneformer/02_sae/layer_03/sae --model data/demo/models/mini-geneformer
data/demo/pbmc3k.h5ad -o pbmc3k.sae.h5ad`

`biosae apply --sae my_sae --model geneformer-v2-316m --layer 11 cells.h5ad -o out.h5ad`"""
)
def apply(
    cells: Annotated[Path, typer.Argument(help="h5ad of counts.", show_default=False)],
    sae: Annotated[Path, typer.Option(help="Folder of an SAE in SAELens layout.", show_default=False)],
    model: Annotated[str, typer.Option(help="Name or folder of the model it was trained on.", show_default=False)],
    target: Annotated[Path, typer.Option("--out", "-o", help="h5ad to write.", show_default=False)],
    layer: Annotated[int | None, typer.Option(help="Layer; read from the SAE when left out.")] = None,
    counts: Annotated[str, typer.Option(help="Where counts are: auto, X, raw, layers/<name>.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    seed: Annotated[int, typer.Option(help="For models whose encoding samples genes.")] = 0,
) -> None:
    """Features of your own cells: the mean activation of each latent in each cell, in `obsm['X_sae']`.

    The output is a copy of the input with that matrix (sparse) and its provenance in `uns['biosae']`.
    """
    import numpy as np

    from biosae_utils.cells.data import open_cells
    from biosae_utils.cells.write import add_to_h5ad
    from biosae_utils.models.registry import load_model, pick_device
    from biosae_utils.sae.apply import layer_of, mean_codes
    from biosae_utils.sae.extract import weights_hash
    from biosae_utils.sae.formats import load_sae

    if not target.suffix == ".h5ad":
        raise BiosaeError("The output is an h5ad", where=str(target), do="give a name that ends in .h5ad")
    encoder = load_sae(sae, device=pick_device(device))
    layer = layer_of(encoder, sae) if layer is None else layer
    source = open_cells(cells, counts)
    for message in source.messages:
        err.print(message, markup=False)
    network = load_model(model, device=device, seed=seed)
    trained_on = str(encoder.metadata.get("model_name", ""))
    if trained_on and trained_on not in (network.info.name, network.info.slug):
        err.print(f"The SAE says that it was trained on {trained_on}, not {network.info.name}", markup=False)
    codes = mean_codes(network, encoder, layer, source, np.arange(source.n_cells), seed=seed)
    silent = int((np.diff(codes.indptr) == 0).sum())
    facts = {
        "statistic": "mean activation of each latent over the gene tokens of a cell",
        "model": network.info.name,
        "model_source": network.info.source,
        "model_sha256": network.info.sha256,
        "layer": layer,
        "sae": str(sae),
        "sae_sha256": weights_hash(encoder),
        "cells_sha256": source.sha256,
        "counts": f"{source.location}, {source.encoding}",
        "seed": seed,
        "version": __version__,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    add_to_h5ad(cells, target, obsm={"X_sae": codes}, uns={"biosae": facts})
    out.print(f"{target}: obsm['X_sae'] has {codes.shape[0]:,} cells x {codes.shape[1]:,} latents", markup=False)
    if silent:
        out.print(f"{silent:,} cells have no gene that the model knows: their rows are zero")


@app.command(
    "import",
    epilog="""**Examples**

`biosae import sae_final.pt -o my_sae`

`biosae import sparsify_folder -o my_sae`

`biosae import --published data/fetched/atlas-geneformer -o my_atlas`""",
)
def import_(
    source: Annotated[
        Path, typer.Argument(help="Published checkpoint (.pt), sparsify folder or feature atlas.", show_default=False)
    ],
    target: Folder,
    mean: Annotated[Path | None, typer.Option(help="activation_mean.npy of a published checkpoint.")] = None,
    published: Annotated[bool, typer.Option("--published", help="The folder is a published feature atlas.")] = False,
) -> None:
    """Convert somebody else's SAE to SAELens layout, which every command here reads; or a feature atlas to tables."""
    from biosae_utils.sae.formats import import_published, import_sparsify, save_sae

    if published:
        from biosae_utils.analysis.published import import_atlas

        atlas = import_atlas(source, target)
        for problem in atlas.problems.itertuples():
            err.print(f"{problem.file}: {problem.what}", markup=False)
        n_alive = int((~atlas.features["dead"]).sum())
        out.print(
            f"{target}: {n_alive:,} alive features of {len(atlas.layers)} of {atlas.n_layers} layers", markup=False
        )
        return
    if source.is_dir() and (source / "sae.safetensors").is_file():
        sae = import_sparsify(source)
    elif source.is_file():
        sae = import_published(source, mean)
    else:
        do = "give a published sae_final.pt, or a folder with cfg.json and sae.safetensors"
        raise BiosaeError("This is no SAE of a known format", where=str(source), do=do)
    save_sae(target, sae, {"imported_from": source.name})
    out.print(f"{target}: {sae.d_sae:,} latents on width {sae.d_in}, k = {sae.k}", markup=False)


@app.command(
    epilog="""**Examples**

`biosae export mini-geneformer -o saes`

`biosae export mini-geneformer --hub my-name/mini-geneformer-saes`"""
)
def export(
    model: Annotated[str, typer.Argument(help="Slug of a model in the config.", show_default=False)],
    target: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write.", show_default=False)] = None,
    hub: Annotated[str | None, typer.Option(help="owner/name on the Hugging Face hub.", show_default=False)] = None,
    config: Config = DEMO,
    public: Annotated[bool, typer.Option("--public", help="Make a new hub repository public.")] = False,
) -> None:
    """Hand the SAEs of a run to others, as `layer_03/{cfg.json,sae_weights.safetensors}` (SAELens layout)."""
    from biosae_utils.phases.manifest import require
    from biosae_utils.phases.places import phase_dir
    from biosae_utils.runconfig import RunConfig
    from biosae_utils.sae.formats import load_sae, save_sae, upload_saes

    if (target is None) == (hub is None):
        raise BiosaeError("Say where to: a folder or the hub", do="add either -o FOLDER or --hub owner/name")
    settings = RunConfig.load(config)
    settings.page("02_sae", model)  # an unknown model is refused with the names there are
    base = phase_dir(settings.results, settings.run, "02_sae", model)
    require(base, "02_sae")
    folders = {path.parent.name: path for path in sorted(base.glob("layer_*/sae"))}
    if not folders:
        raise BiosaeError("This run left no SAE", where=str(base), do=f"biosae run 02_sae --model {model}")
    if hub:
        out.print(upload_saes(hub, folders, private=not public), markup=False)
        return
    for name, folder in folders.items():
        sae = load_sae(folder)
        save_sae(target / name, sae, {k: v for k, v in sae.metadata.items() if k != "biosae"})
    out.print(f"{target}: SAEs of {', '.join(folders)}", markup=False)
