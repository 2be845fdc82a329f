"""02_sae: a TopK SAE for every layer, its held-out quality, and the sparse codes of all positions."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from biosae_utils import intervals
from biosae_utils.claims import verdict
from biosae_utils.params import OPTIONS, Controlled, Device, Dtype, Filled, ModelPage
from biosae_utils.phases import readers
from biosae_utils.phases.base import Phase, Resources
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output
from biosae_utils.phases.sae_seeds import agree
from biosae_utils.sae_options import SaeOptions

if TYPE_CHECKING:
    from biosae_utils.models.base import FoundationModel
    from biosae_utils.sae.metrics import Quality
    from biosae_utils.sae.topk import TopKSAE
    from biosae_utils.sae.training.run import TrainConfig, TrainResult

N_SPLICED = 24
"""Held-out cells in which a layer is replaced by its reconstruction."""
SHORTEST = 30
"""Tokens that such a cell must have."""
LEAST_VARIANCE, LEAST_RECOVERED = 0.01, 0.05
"""Differences from the control that count: a point of variance; a twentieth of the loss that a layer carries."""
RIVALS = {
    "pca_equal_k": "PCA, the k largest coefficients of each vector",
    "pca_rank_k": "PCA, the first k axes",
    "frozen_decoder": "SAE with a frozen random decoder",
}


class Params(Controlled, ModelPage, SaeOptions):
    """A TopK SAE for every layer, its held-out quality, and the sparse codes of all positions."""

    options: Annotated[dict[str, str], Filled()] = Field({}, description=OPTIONS)
    n_seeds: int = Field(
        3, ge=1, le=10, description="SAEs trained per layer with different seeds; codes come from the first"
    )
    layers: Annotated[list[int] | None, Filled()] = Field(
        None, description="blocks that get an SAE; null for all; the model's in a config"
    )
    device: Device = "auto"
    dtype: Dtype = "auto"


@dataclass(frozen=True)
class Trained:
    """SAEs of all layers: those of the book (a list of seeds each), and one whose directions stayed random."""

    saes: dict[int, list[TrainResult]]
    frozen: dict[int, TopKSAE]
    config: TrainConfig


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Train, judge on cells that no training saw, and encode every position."""
    from biosae_utils.models.registry import load_model

    loading: dict[str, Any] = {"device": p.device, "dtype": p.dtype, "seed": p.seed, **p.options}
    net = load_model(p.source, name=p.model, variant=p.variant, **loading)
    layers = list(range(net.info.n_layers)) if p.layers is None else p.layers
    samples, heldout = (readers.Sample.read(read, layers, heldout=flag) for flag in (False, True))
    with out.step("train"):
        trained = train(p, samples, heldout, net.info.d_model, out)
    with out.step("quality on held-out cells"):
        quality, about_quality = judge(p, trained, samples, heldout, net.info.family, out)
    with out.step("splice into the model"):
        about_fidelity = splice(p, net, trained, read, out)
    with out.step("agreement of seeds"):
        decoders = {i: [r.sae.W_dec.cpu().numpy() for r in results] for i, results in trained.saes.items()}
        about_seeds = agree(decoders, p.control, read, out, seed=p.seed)
    with out.step("encode all positions"):
        keep(p, net, trained, quality, read, out)
    out.facts(
        layers=layers,
        middle=layers[len(layers) // 2],
        d_sae=p.expansion * net.info.d_model,
        d_model=net.info.d_model,
        lr=trained.config.peak_lr(net.info.d_model),
        short_steps=_short(p),
        **about_quality,
        **about_fidelity,
        **about_seeds,
    )


def _short(p: Params) -> int:
    """Steps of the trainings that show the choice of the learning rate."""
    return max(10, p.steps // 3)


def train(p: Params, samples: readers.Sample, heldout: readers.Sample, d_model: int, out: Output) -> Trained:
    """All trainings of the page; one that was killed goes on where it was.

    Beside the SAEs of the book: the same with directions that stay random, the control of every quality; and short
    trainings of one layer at other learning rates, which show the choice.
    """
    from biosae_utils.models.loading import pick_device
    from biosae_utils.sae.training.run import TrainConfig, train_layers
    from biosae_utils.sae.training.sweep import as_table, rates_around, trials

    config, on, kept = TrainConfig.of(p, seed=p.seed), pick_device(p.device), out.dir / "training"
    saes = train_layers(samples.vectors, config, n_seeds=p.n_seeds, device=on, folder=kept)
    frozen = train_layers(samples.vectors, replace(config, freeze_decoder=True), device=on, folder=kept)
    layers = list(samples.vectors)
    middle = layers[len(layers) // 2]
    rates = [replace(config, lr=rate, steps=_short(p)) for rate in rates_around(config.peak_lr(d_model))]
    tried = as_table(trials(samples.vectors[middle], heldout.vectors[middle], rates, device=on, folder=kept))
    out.table(tried.sort_values("lr"), "learning_rates")
    history = [r.history_table(layer=layer, seed=r.config.seed) for layer, results in saes.items() for r in results]
    out.table(pd.concat(history, ignore_index=True), "history")
    return Trained(saes, {layer: results[0].sae for layer, results in frozen.items()}, config)


def judge(
    p: Params, trained: Trained, samples: readers.Sample, heldout: readers.Sample, family: str, out: Output
) -> tuple[dict[int, list[Quality]], dict[str, Any]]:
    """Variance explained on held-out cells beside PCA and random directions, and how often latents fire."""
    from biosae_utils.analysis import sae_report
    from biosae_utils.analysis.published_figures import published

    tables, quality = [], {}
    for layer, results in trained.saes.items():
        vectors = samples.vectors[layer], heldout.vectors[layer]
        table, draws, quality[layer] = sae_report.layer_quality(
            results, trained.frozen[layer], *vectors, heldout.cell, seed=p.seed
        )
        tables.append(table.assign(layer=layer))
        first = table.iloc[0]
        rival = max(RIVALS, key=first.get)
        gain = intervals.quantiles(draws["sae"] - draws[rival], over="cells")
        out.claim(
            id="variance",
            layer=layer,
            title="On cells it has not seen, the SAE explains more variance than principal components or random "
            "directions with as many coefficients",
            value=intervals.Interval(first["explained"], first["low"], first["high"], "cells"),
            unit="share of variance",
            control=first[rival],
            control_kind=f"{RIVALS[rival]}: the highest of three",
            rule="supported if the 95 % interval over cells of the paired difference lies above 0; trivial if the "
            f"difference is below {LEAST_VARIANCE}",
            minimum=LEAST_VARIANCE,
            verdict=verdict(gain.low > 0),
            published=published("variance", family, p.variant),
        )
    table = pd.concat(tables, ignore_index=True)
    table = table[["layer", *table.columns.drop("layer")]]
    out.table(table, "metrics")
    out.table(explained(table, p.seed), "explained", download=False)
    fires = [sae_report.densities(q[0]).assign(layer=layer) for layer, q in quality.items()]
    out.table(pd.concat(fires, ignore_index=True), "densities", download=False)
    first = table[table["seed"] == p.seed]
    return quality, {
        "explained_min": first["explained"].min(),
        "explained_max": first["explained"].max(),
        "pca_min": first["pca_equal_k"].min(),
        "pca_max": first["pca_equal_k"].max(),
        "memorised_max": (first["explained_training"] - first["explained"]).max(),
        "dead_max": first["dead"].max(),
        "n_heldout": int(first["n_heldout"].iloc[0]),
    }


def explained(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The first seed's quality as one row a bar: layer, which, explained, low, high."""
    first = table[table["seed"] == seed].rename(columns={"explained": "sae"})
    ways = ["sae", "pca_equal_k", "pca_rank_k", "frozen_decoder"]
    long = first.melt(["layer", "low", "high"], ways, var_name="which", value_name="explained")
    long.loc[long["which"] != "sae", ["low", "high"]] = np.nan
    return long


def splice(p: Params, net: FoundationModel, trained: Trained, read: Inputs, out: Output) -> dict[str, Any]:
    """Whether the model still predicts hidden genes when a layer is replaced by its reconstruction."""
    from biosae_utils.analysis import sae_report
    from biosae_utils.models.base import batches
    from biosae_utils.sae import metrics

    rng = np.random.default_rng(p.seed)
    heldout = np.flatnonzero(readers.cohort(read)["heldout"].to_numpy())
    chosen = np.sort(rng.choice(heldout, min(N_SPLICED, len(heldout)), replace=False))
    tokens = readers.tokens(read).take(chosen)
    rows = np.flatnonzero(tokens.lengths >= SHORTEST)
    named = {i: {"sae": r[0].sae, "frozen": trained.frozen[i]} for i, r in trained.saes.items()}
    losses = metrics.fidelity(net, named, batches(net, tokens, 8192, rows=rows), seed=p.seed)
    table = sae_report.fidelity_table(losses, seed=p.seed)
    table["edit"] = [f"layer {i}, {where} genes" for i, where in zip(table["layer"], table["where"], strict=True)]
    out.table(table, "fidelity")
    n_ahead = 0
    for layer, part in table.groupby("layer"):
        ours, control = (part.set_index("sae").loc[name] for name in ("sae", "frozen"))
        about = {
            "id": "fidelity",
            "layer": int(layer),
            "title": f"Hidden genes are still predicted when the states of {ours['where']} genes are replaced by their "
            "reconstruction",
            "rule": "supported if at least half of the loss is recovered and the 95 % interval over cells of the "
            f"paired difference from the control lies above 0; trivial if the difference is below {LEAST_RECOVERED}",
        }
        if not np.isfinite(ours["recovered"]):
            reason = "a mean vector in place of the states does not raise this model's loss"
            out.claim(**about, verdict="not_tested", reason=reason)
            continue
        here = losses[(losses["layer"] == layer) & (losses["where"] == ours["where"])]
        gain = sae_report.recovery_gain(here, seed=p.seed)
        n_ahead += gain.low > 0
        out.claim(
            **about,
            value=intervals.Interval(ours["recovered"], ours["low"], ours["high"], "cells"),
            unit="share of loss recovered",
            control=control["recovered"],
            control_kind="SAE with a frozen random decoder",
            minimum=LEAST_RECOVERED,
            verdict=verdict(bool(ours["recovered"] >= 0.5 and gain.low > 0)),
        )
    ends = table.groupby("sae")["recovered"].agg(["min", "max"])
    fine = bool(np.isfinite(table["recovered"]).all())
    names = {"recovered": "sae", "recovered_frozen": "frozen"}
    return {"n_ahead_of_frozen": n_ahead} | {
        f"{name}_{end}": ends.at[sae, end] if fine else None for name, sae in names.items() for end in ("min", "max")
    }


def keep(
    p: Params, net: FoundationModel, trained: Trained, quality: dict[int, list[Quality]], read: Inputs, out: Output
) -> None:
    """Write the SAEs in SAELens layout, and the codes of every position from the first seed's."""
    from biosae_utils.sae.extract import stream_codes
    from biosae_utils.sae.formats import save_sae

    for layer, results in trained.saes.items():
        for repeat, result in enumerate(results):
            facts = {
                "model_name": p.model,
                "model_sha256": net.info.sha256,
                "hook_name": f"block {layer} output",
                "dataset": readers.data_name(read),
                "seed": result.config.seed,
                "steps": result.config.steps,
                "batch_size": result.config.batch_size,
                "lr": trained.config.peak_lr(net.info.d_model),
                "heldout_fvu": quality[layer][repeat].fvu,
            }
            save_sae(out.dir / readers.Saes.place(layer, repeat), result.sae, facts)
    stores = stream_codes(
        net,
        {layer: results[0].sae for layer, results in trained.saes.items()},
        readers.tokens(read),
        {layer: out.dir / readers.layer_folder(layer) / "codes" for layer in trained.saes},
    )
    sizes = [(i, s.n, s.k, s.d_sae, (s.values.nbytes + s.indices.nbytes) / 1e6) for i, s in stores.items()]
    out.table(pd.DataFrame(sizes, columns=["layer", "positions", "slots", "latents", "MB"]), "codes", download=False)
    shutil.rmtree(out.dir / "training")


PHASE = Phase(
    "02_sae", Params, compute, title="Sparse autoencoders", part="model", reads=("00_data", "01_extract"),
    control="02_sae", resources=Resources(threads=0, mem_mb=4_000, runtime=240, gpu=1),
)  # fmt: skip
