"""What a page says about the SAEs of a model: quality beside its baselines, densities, fidelity, agreement of seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from biosae_utils import intervals
from biosae_utils.analysis import geometry, matching, nulls
from biosae_utils.intervals import Interval
from biosae_utils.sae import metrics
from biosae_utils.sae.topk import TopKSAE
from biosae_utils.sae.training.trainer import TrainResult

WAYS = ("sae", "pca_equal_k", "pca_rank_k", "frozen_decoder")
"""Reconstructions that describe a vector with k numbers each."""
SAME = 0.7
"""|cosine| from which two latents count as the same: the published bar."""


def layer_quality(
    trained: Sequence[TrainResult],
    frozen: TopKSAE,
    sample: np.ndarray,
    heldout: np.ndarray,
    cells: np.ndarray,
    *,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[str, np.ndarray], list[metrics.Quality]]:
    """Held-out quality of every SAE of a layer, and of what must be beaten with as many numbers a vector.

    Parameters
    ----------
    trained : sequence of TrainResult
        One per seed, the book's own first.
    frozen : TopKSAE
        Trained in the same way with random directions that stay.
    sample, heldout : ndarray, shape (n, d)
        Vectors of training and of held-out cells.
    cells : ndarray of int, shape (n_heldout,)
        Cell of each held-out vector.

    Returns
    -------
    table : DataFrame
        One row a seed: seed, explained, low, high (over cells, first seed only), explained_training, pca_equal_k,
        pca_rank_k, frozen_decoder, l0, dead, dense, n_heldout.
    draws : dict of str -> ndarray, shape (n_boot,)
        Bootstrap draws of the explained variance of each of `WAYS`, all from the same cells.
    quality : list of Quality
        One per seed.
    """
    x = np.asarray(heldout, np.float32)
    axes, k = geometry.principal_axes(np.asarray(sample, np.float32)), min(trained[0].sae.k, x.shape[1])
    quality = [metrics.evaluate(result.sae, x) for result in trained]
    residuals = {
        "sae": quality[0].residual,
        "pca_equal_k": geometry.pca_residuals(axes, x, [k], sparse=True)[:, 0],
        "pca_rank_k": geometry.pca_residuals(axes, x, [k])[:, 0],
        "frozen_decoder": metrics.evaluate(frozen, x).residual,
    }
    ways = geometry.explained_by_cell(x, residuals, cells, n_boot=1000, seed=seed).set_index("name")
    seen = np.asarray(sample[:: max(1, len(sample) // len(x))], np.float32)
    rows = []
    for repeat, (result, held) in enumerate(zip(trained, quality, strict=True)):
        ends = {"low": ways.low["sae"], "high": ways.high["sae"]} if repeat == 0 else {"low": np.nan, "high": np.nan}
        rows.append(
            {
                "seed": result.config.seed,
                "explained": held.explained,
                **ends,
                "explained_training": metrics.evaluate(result.sae, seen).explained,
                **{name: ways.explained[name] for name in WAYS[1:]},
                "l0": held.l0,
                "dead": held.dead,
                "dense": float((held.density > 0.1).mean()),
                "n_heldout": held.n,
            }
        )
    return pd.DataFrame(rows), dict(ways.draws), quality


def densities(quality: metrics.Quality) -> pd.DataFrame:
    """How many latents fire how often: frequency (middle of a bin, on a logarithmic scale), latents."""
    counts, edges = metrics.density_histogram(quality)
    return pd.DataFrame({"frequency": 10 ** ((edges[1:] + edges[:-1]) / 2), "latents": counts})


def fidelity_table(losses: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Share of the masked-gene loss recovered, per layer, SAE and kind of edit, with its interval over cells."""
    rows = []
    for key, part in losses.groupby(["layer", "sae", "where"]):
        share = metrics.recovered(part, seed=seed)
        means = {column: part[column].mean() for column in ("clean", "spliced", "ablated")}
        about = dict(zip(("layer", "sae", "where"), key, strict=True)) | {"n_cells": len(part)}
        rows.append(about | {"recovered": share.value, "low": share.low, "high": share.high} | means)
    return pd.DataFrame(rows)


def recovery_gain(losses: pd.DataFrame, *, seed: int = 0) -> Interval:
    """Share of the loss that the SAE recovers less that of the frozen one, on the same masked cells, resampling cells.

    Parameters
    ----------
    losses : DataFrame
        Rows of `metrics.fidelity` for one layer and one ``where``, of the SAEs called "sae" and "frozen".
    """
    ours, frozen = (losses[losses["sae"] == name].set_index("cell") for name in ("sae", "frozen"))
    frozen = frozen.reindex(ours.index)
    room = (ours["ablated"] - ours["clean"]).to_numpy()
    return intervals.bootstrap_ratio((frozen["spliced"] - ours["spliced"]).to_numpy(), room, seed=seed, over="cells")


def seed_agreement(
    decoders: Mapping[int, Sequence[np.ndarray]],
    untrained: Mapping[int, Sequence[np.ndarray]] | None = None,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Latents of every two seeds of a layer paired one to one, beside what must be beaten.

    Parameters
    ----------
    decoders : mapping of layer -> sequence of ndarray, shape (F, d)
        Decoder rows of each seed.
    untrained : mapping, optional
        The same of SAEs of the same network with random weights, for the layers that it has.

    Returns
    -------
    DataFrame
        layer, kind ("seeds", "untrained", or "random": directions with the covariance of the decoder rows), first,
        second, latent, cosine (missing for a latent that found no partner).
    """
    return pd.concat(_paired(decoders, untrained or {}, seed), ignore_index=True)


def agreement(pairs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Share of latents with a partner of at least `SAME`: one row a layer and kind, with its interval over latents.

    Returns
    -------
    DataFrame
        layer, kind, share, low, high, cosine (mean). A latent is drawn with all its pairs.
    """
    rows = []
    for (layer, kind), part in pairs.groupby(["layer", "kind"]):
        found, latent = (part["cosine"] >= SAME).to_numpy(float), part["latent"] + part["first"] * len(part)
        share = intervals.bootstrap_mean(found, latent.to_numpy(), seed=seed, over="latents")
        rows.append((layer, kind, share.value, share.low, share.high, part["cosine"].mean()))
    return pd.DataFrame(rows, columns=["layer", "kind", "share", "low", "high", "cosine"])


def _paired(
    decoders: Mapping[int, Sequence[np.ndarray]], untrained: Mapping[int, Sequence[np.ndarray]], seed: int
) -> Iterator[pd.DataFrame]:
    for layer, learned in decoders.items():
        spread = geometry.principal_axes(np.concatenate(learned))
        random = [
            nulls.shaped_directions(len(learned[0]), spread, np.random.default_rng(seed + i))
            for i in range(max(2, len(learned)))
        ]
        for kind, directions in (("seeds", learned), ("untrained", untrained.get(layer, ())), ("random", random)):
            for a, b in combinations(range(len(directions)), 2):
                match = matching.match_one_to_one(matching.decoder_similarity(directions[a], directions[b]))
                cosine = np.full(match.n_a, np.nan)  # a latent without a partner counts as one
                cosine[match.a] = match.score
                about = {"layer": layer, "kind": kind, "first": a, "second": b}
                yield pd.DataFrame({**about, "latent": np.arange(match.n_a), "cosine": cosine})
