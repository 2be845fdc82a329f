"""Latents followed over layers: how long each one lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from biosae_utils.analysis.matching import Match
from biosae_utils.errors import BiosaeError


def lifetimes(
    matches: Sequence[Match], layers: Sequence[int], alive: Sequence[np.ndarray], threshold: float
) -> pd.DataFrame:
    """Chains of one-to-one matches over adjacent layers.

    Parameters
    ----------
    matches : sequence of Match
        ``matches[i]`` pairs ``layers[i]`` with ``layers[i + 1]``.
    layers : sequence of int
    alive : sequence of ndarray of bool, shape (F,)
        Latents that exist at each layer.
    threshold : float
        A link weaker than this ends the chain.

    Returns
    -------
    DataFrame
        One row a chain: chain, layer (of birth), latent (there), length (layers it lives through, 1 = seen once),
        weakest (smallest link, NaN for length 1), path (its latents, one per layer, joined by spaces). Every alive
        latent belongs to exactly one chain.
    """
    if len(matches) != len(layers) - 1 or len(alive) != len(layers):
        raise BiosaeError(
            "Chains need one matching per adjacent pair of layers and one alive mask per layer",
            where=f"{len(layers)} layers, {len(matches)} matchings",
        )
    rows: list[dict[str, Any]] = []
    running: dict[int, dict[str, Any]] = {}
    for step, layer in enumerate(layers):
        current: dict[int, dict[str, Any]] = {}
        if step:
            kept = matches[step - 1].kept(threshold)
            for a, b, score in zip(kept.a.tolist(), kept.b.tolist(), kept.score.tolist(), strict=True):
                chain = running.get(a)
                if chain is None or b in current:  # a dead start, or a matching that is not one-to-one
                    raise BiosaeError(
                        f"Latent {a} of layer {layers[step - 1]} cannot hand over to {b}",
                        do="pass one-to-one matchings of alive latents",
                    )
                chain["path"].append(b)
                chain["weakest"] = min(chain["weakest"], score)
                current[b] = chain
        for latent in np.flatnonzero(alive[step]).tolist():
            if latent not in current:
                current[latent] = {
                    "chain": len(rows),
                    "layer": int(layer),
                    "latent": latent,
                    "path": [latent],
                    "weakest": np.inf,
                }
                rows.append(current[latent])
        running = current
    table = pd.DataFrame(rows, columns=["chain", "layer", "latent", "weakest", "path"])
    table["length"] = table["path"].map(len).astype(int)
    table["weakest"] = table["weakest"].astype(float).replace(np.inf, np.nan)
    table["path"] = table["path"].map(lambda p: " ".join(map(str, p)))
    return table[["chain", "layer", "latent", "length", "weakest", "path"]]
