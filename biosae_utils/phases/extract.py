"""01_extract: cells become tokens, the model is checked, and one pass keeps a uniform sample of states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from biosae_utils import intervals
from biosae_utils.claims import verdict
from biosae_utils.params import OPTIONS, Device, Dtype, Filled, InputFile, ModelPage
from biosae_utils.phases import readers
from biosae_utils.phases.base import Phase, Resources
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output

if TYPE_CHECKING:
    from biosae_utils.models.base import FoundationModel, Tokens
    from biosae_utils.sae.positions import Positions

N_CHECKED = 5
"""Cells of the batch on which cutting the forward pass is checked, from the shortest to the longest."""
N_ASKED = 60
"""Held-out cells in which hidden genes are predicted."""
EDIT = 0.01
"""Noise of the control of the zero edit, as a share of each position's norm."""
LEAST_GAIN = 0.01
"""Share of the control's loss by which the model must be better: a hundredth."""
CONTROLS = {
    "random_twin": "same architecture, random weights",
    "shuffled_cells": "same model, genes shuffled within cells",
}
"""Controls that go through a model; ``baseline`` is the best of those that need none, named on the page."""


class Params(ModelPage):
    """One pass over all cells that keeps a uniform sample of training positions of every layer."""

    data: Annotated[InputFile, Filled()] = Field(
        "data/demo/pbmc_ifnb.h5ad", description="h5ad with counts; the cohort of 00_data says which cells"
    )
    options: Annotated[dict[str, str], Filled()] = Field({}, description=OPTIONS)
    n_positions: int = Field(150_000, ge=1_000, description="training positions kept per layer")
    n_positions_heldout: int = Field(20_000, ge=500, description="held-out positions kept per layer")
    layers: Annotated[list[int] | None, Filled()] = Field(
        None, description="blocks whose output is kept; null for all; the model's in a config"
    )
    max_tokens: int | None = Field(None, ge=64, description="padded tokens a batch; null finds it from free memory")
    device: Device = "auto"
    dtype: Dtype = "auto"


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Encode, check that looking changes nothing, ask what the model has learnt, and sample."""
    from biosae_utils.models.registry import load_model
    from biosae_utils.sae.positions import Positions

    cohort = readers.cohort(read)
    heldout = cohort["heldout"].to_numpy(bool)
    with out.step("load the model"):
        net = load_model(p.source, name=p.model.removesuffix(f".{p.variant}"), variant=p.variant, **_loading(p))
    with out.step("encode cells"):
        tokens = encode(p, net, cohort, out)
    positions = Positions.of(tokens, net.info)
    positions.save(out.dir / "positions")
    about_model = describe(p, net, out)
    about_cells = count(net, tokens, positions, cohort, out)
    with out.step("cut and resume"):
        cut_and_resume(p, net, tokens, out)
    with out.step("predict hidden genes"):
        about_losses = hidden_genes(p, net, tokens, heldout, out)
    with out.step("sample states"):
        about_sample = sample(p, net, tokens, positions, heldout, out)
    out.facts(**about_model, **about_cells, **about_losses, **about_sample)


def _loading(p: Params) -> dict[str, Any]:
    return {"device": p.device, "dtype": p.dtype, "seed": p.seed, **p.options}


def encode(p: Params, net: FoundationModel, cohort: pd.DataFrame, out: Output) -> Tokens:
    """Tokens of the cohort as the model's authors make them; later phases read them here."""
    from biosae_utils.cells.data import open_cells
    from biosae_utils.sae.positions import tokenise

    tokens = tokenise(open_cells(p.data), cohort["row"].to_numpy(), net, seed=p.seed)
    tokens.save(out.dir / "tokens")
    return tokens


def describe(p: Params, net: FoundationModel, out: Output) -> dict[str, Any]:
    """Where the model comes from, and its vocabulary."""
    from biosae_utils.models.registry import pick_device
    from biosae_utils.sae.batching import device_report

    info = net.info
    special = np.isin(np.arange(len(info.vocab)), info.special_ids)
    vocabulary = {"token": np.arange(len(info.vocab)), "symbol": info.vocab, "key": info.vocab_ids, "special": special}
    out.table(pd.DataFrame(vocabulary), "vocab")
    facts = {
        "name": info.name,
        "family": info.family,
        "variant": info.variant,
        "source": info.source,
        "SHA-256 of the weights": info.sha256 or "none: weights were drawn from the seed",
        "blocks": f"{info.n_layers}",
        "width of the residual stream": f"{info.d_model:,}",
        "longest input": f"{info.max_len:,} tokens",
        "vocabulary": f"{len(info.vocab):,} tokens, {len(info.special_ids)} of them special",
        "computed on": device_report(pick_device(p.device)),
    }
    out.table(pd.DataFrame({"fact": facts.keys(), "value": facts.values()}), "model", download=False)
    return {"family": info.family, "n_layers": info.n_layers, "d_model": info.d_model, "max_len": info.max_len}


def count(
    net: FoundationModel, tokens: Tokens, positions: Positions, cohort: pd.DataFrame, out: Output
) -> dict[str, Any]:
    """How many genes of each cell became tokens."""
    n_tokens = np.bincount(positions.cell, minlength=tokens.n_cells)
    full = tokens.lengths >= net.info.max_len
    coverage = n_tokens / np.maximum(cohort["n_genes"].to_numpy(), 1)
    kept = cohort[["barcode", "cell_type", "condition", "heldout"]]
    out.table(kept.assign(n_tokens=n_tokens, full=full, coverage=coverage), "cells")
    return {
        "n_cells": tokens.n_cells, "n_positions": len(positions), "median_tokens": np.median(n_tokens),
        "median_coverage": np.median(coverage), "n_full": int(full.sum()), "share_full": full.mean(),
    }  # fmt: skip


def cut_and_resume(p: Params, net: FoundationModel, tokens: Tokens, out: Output) -> None:
    """Whether cutting the forward pass after a block and letting the rest run changes any prediction."""
    from biosae_utils.sae.extraction_checks import layer_checks

    order = np.argsort(tokens.lengths, kind="stable")
    probe = order[np.linspace(0, len(order) - 1, N_CHECKED).astype(int)]
    checks = layer_checks(net, tokens, probe, edit=EDIT, seed=p.seed)
    out.table(checks, "checks")
    out.claim(
        id="zero-edit",
        title="Cutting the forward pass at any layer and resuming it unedited leaves every prediction as it was",
        value=checks["resumed"].max(),
        unit="largest change of a prediction",
        control=checks["edited"].min(),
        control_kind="smallest over layers of the change after noise of 1 % of the norm",
        rule="the largest change over all layers is exactly 0, and the edited control is above 0 in every layer",
        verdict=verdict(checks["resumed"].max() == 0 and checks["edited"].min() > 0),
        check=True,
    )


def hidden_genes(p: Params, net: FoundationModel, tokens: Tokens, heldout: np.ndarray, out: Output) -> dict[str, Any]:
    """The model's own exercise on held-out cells, beside simple baselines, random weights and shuffled cells."""
    from biosae_utils.models.registry import load_model
    from biosae_utils.models.variants import shuffle_genes
    from biosae_utils.sae.extraction_checks import masked_loss
    from biosae_utils.sae.task_baselines import Hidden, baseline_losses

    rng = np.random.default_rng(p.seed)
    asked = np.sort(rng.choice(np.flatnonzero(heldout), min(N_ASKED, heldout.sum()), replace=False))
    twin = load_model(p.source, variant="random-weights", **_loading(p) | {"seed": p.seed + 1})
    shuffled = shuffle_genes(tokens, net.info.special_ids, p.seed)
    hidden = Hidden.of(net, tokens, asked, seed=p.seed)
    simple = baseline_losses(net, tokens, np.flatnonzero(~heldout), hidden).reindex(asked)
    known = str(simple.mean().idxmin())
    losses = pd.DataFrame(
        {
            "cell": asked,
            "model": masked_loss(net, tokens, asked, seed=p.seed),
            "random_twin": masked_loss(twin, tokens, asked, seed=p.seed),
            "shuffled_cells": masked_loss(net, shuffled, asked, seed=p.seed),
            "baseline": simple[known].to_numpy(),
        }
    ).dropna()
    out.table(losses, "masked_loss")
    out.table(losses.melt("cell", var_name="which", value_name="loss"), "masked_loss_long", download=False)
    controls = CONTROLS | {"baseline": f"{known}, fitted on training cells"}
    ours, means = losses["model"].to_numpy(), losses[list(controls)].mean()
    others = means[list(CONTROLS)].rename(CONTROLS)
    rows = pd.concat([pd.Series({"this model": ours.mean()}), others, simple.loc[losses["cell"]].mean()])
    out.table(rows.rename_axis("what").rename("loss").reset_index().sort_values("loss"), "baselines")
    best = str(means.idxmin())
    draws = rng.integers(0, len(losses), (2000, len(losses)))
    gain = intervals.quantiles((losses[best].to_numpy() - ours)[draws].mean(1), over="cells")
    loss = intervals.from_draws(ours.mean(), ours[draws].mean(1), over="cells")
    out.claim(
        id="masked-loss",
        title="The model predicts hidden genes of held-out cells better than baselines that need no model, than with "
        "random weights and than in shuffled cells",
        value=loss,
        unit="loss (the model's own), mean over cells",
        control=means[best],
        control_kind=controls[best],
        minimum=LEAST_GAIN * means[best],
        rule="supported if the 95 % interval of the paired difference from the best of all controls, cells resampled, "
        f"lies above 0; trivial if the difference is below {LEAST_GAIN:.0%} of the control's loss",
        verdict=verdict(gain.low > 0),
    )
    return {"n_asked": len(losses), "loss": loss.value, "loss_low": loss.low, "loss_high": loss.high,
            "loss_random_twin": means["random_twin"], "loss_shuffled_cells": means["shuffled_cells"],
            "baseline": known, "loss_baseline": means["baseline"], "best_control": controls[best],
            "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}  # fmt: skip


def sample(
    p: Params, net: FoundationModel, tokens: Tokens, positions: Positions, heldout: np.ndarray, out: Output
) -> dict[str, Any]:
    """Two uniform samples of positions, of training cells and of held-out cells, with their states in every layer."""
    from biosae_utils.sae.extract import sample_activations
    from biosae_utils.sae.positions import sample_rows

    layers = list(range(net.info.n_layers)) if p.layers is None else p.layers
    rows = sample_rows(positions, heldout, p.n_positions, p.n_positions_heldout, seed=p.seed)
    samples = {}
    for name, chosen in zip(("sample", "sample_heldout"), rows, strict=True):
        folder = out.dir / name
        samples[name] = sample_activations(net, tokens, chosen, layers, folder=folder, max_tokens=p.max_tokens)
        with out.file(f"{name}/rows.npy") as tmp:
            np.save(tmp, chosen)
    if np.intersect1d(*(positions.cell[chosen] for chosen in rows)).size:
        raise AssertionError("a cell is on both sides")
    out.table(lengths_of_states(samples), "norms")
    kept = sum(array.nbytes for group in samples.values() for array in group.values())
    dense = len(positions) * net.info.d_model * len(layers) * 4
    one_slot = len(positions) * len(layers) * 4  # an index and a value of 2 bytes each
    sizes = [
        ("every state of these layers in float32, as published", dense / 1e6, "not stored"),
        (f"the sample: {len(rows[0]):,} + {len(rows[1]):,} positions, float16", kept / 1e6, "this page"),
        ("codes of all positions at k = 16", one_slot * 16 / 1e6, "next page"),
        ("codes of all positions at k = 32", one_slot * 32 / 1e6, "next page, if so configured"),
    ]
    out.table(pd.DataFrame(sizes, columns=["what", "megabytes", "where"]), "sizes", download=False)
    return {
        "n_sampled": len(rows[0]), "n_sampled_heldout": len(rows[1]), "n_sampled_layers": len(layers),
        "megabytes_kept": kept / 1e6, "megabytes_dense": dense / 1e6,
    }  # fmt: skip


def lengths_of_states(samples: dict[str, dict[int, np.ndarray]]) -> pd.DataFrame:
    """Quartiles of the length of the state vector, and how much of it is the mean vector, by sample and layer."""
    rows = []
    for name, group in samples.items():
        for layer, array in group.items():
            x = np.asarray(array[:: max(1, len(array) // 5_000)], np.float32)
            low, mid, high = np.percentile(np.linalg.norm(x, axis=1), [25, 50, 75])
            share = float((x.mean(0) ** 2).sum() / (x**2).sum(1).mean())
            rows.append((name, layer, low, mid, high, share))
    return pd.DataFrame(rows, columns=["sample", "layer", "q25", "median", "q75", "share_of_mean"])


PHASE = Phase(
    "01_extract", Params, compute, title="Extraction", part="model", reads=("00_data",),
    resources=Resources(threads=0, mem_mb=4_000, runtime=240, gpu=1),
)  # fmt: skip
