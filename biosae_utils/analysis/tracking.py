"""Latents followed over layers: pairs of dictionaries under two similarities and two matchings, and how long one lives.

A pair of layers is compared in the same way as its ceiling (the same layer, another seed) and its floor (directions or
positions that mean nothing), so that only their differences speak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis import matching
from biosae_utils.analysis.geometry import principal_axes
from biosae_utils.analysis.matching import Match
from biosae_utils.analysis.nulls import permute_within, shaped_directions
from biosae_utils.errors import BiosaeError

WAYS = ("one-sided", "one-to-one")
"""Matchings: the published one, and one in which a latent has at most one counterpart."""


@dataclass(frozen=True)
class Dictionary:
    """One SAE, and its codes of positions that all dictionaries share.

    Attributes
    ----------
    layer : int
    rows : ndarray, shape (F, d)
        Decoder directions.
    codes : csr_matrix, shape (n, F)
    fires : ndarray of bool, shape (F,)
        Latents that fire often enough to be followed.
    """

    layer: int
    rows: np.ndarray
    codes: sp.csr_matrix
    fires: np.ndarray


@dataclass(frozen=True)
class Comparisons:
    """Pairs of dictionaries, matched by decoder and by activation, one-sided and one-to-one.

    Attributes
    ----------
    limit : mapping of str -> float
        Similarity from which two latents are the same, for "decoder" and for "activation".
    min_count : int
        Firings below which an activation cannot be compared.
    found : dict of (kind, by, way, layer, layer) -> Match
        In the order in which they were added.
    """

    limit: Mapping[str, float]
    min_count: int
    found: dict[tuple[str, str, str, int, int], Match] = field(default_factory=dict)

    def add(self, kind: str, a: Dictionary, b: Dictionary) -> None:
        """Compare two dictionaries by decoder and by activation; `kind` says what the pair stands for."""
        alive = a.fires, b.fires
        self._match(kind, "decoder", a, b, matching.decoder_similarity(a.rows, b.rows), alive)
        similarity = matching.activation_similarity(a.codes, b.codes, min_count=self.min_count)
        self._match(kind, "activation", a, b, similarity, alive)

    def add_floor(
        self, a: Dictionary, b: Dictionary, vectors: np.ndarray, groups: np.ndarray, rng: np.random.Generator
    ) -> None:
        """The same, kind "floor", with what means nothing in the place of `b`.

        Parameters
        ----------
        a, b : Dictionary
        vectors : ndarray, shape (m, d)
            States of the layer of `b`: by decoder, `a` meets random directions with their covariance.
        groups : ndarray of int, shape (n,)
            Gene of each position: by activation, `a` meets the codes of `b` with positions exchanged within genes.
        rng : Generator
        """
        random = shaped_directions(len(b.rows), principal_axes(vectors), rng)
        everywhere = np.ones(len(random), bool)
        self._match("floor", "decoder", a, b, matching.decoder_similarity(a.rows, random), (a.fires, everywhere))
        moved = b.codes[permute_within(groups, rng)]
        similarity = matching.activation_similarity(a.codes, moved, min_count=self.min_count)
        self._match("floor", "activation", a, b, similarity, (a.fires, b.fires))

    def _match(
        self, kind: str, by: str, a: Dictionary, b: Dictionary, similarity: np.ndarray, alive: tuple[np.ndarray, ...]
    ) -> None:
        for way, match in zip(WAYS, (matching.match_one_sided, matching.match_one_to_one), strict=True):
            self.found[kind, by, way, a.layer, b.layer] = match(similarity, *alive)

    def table(self, adjacent: Sequence[tuple[int, int]]) -> pd.DataFrame:
        """One row a matching.

        Parameters
        ----------
        adjacent : sequence of (int, int)
            Neighbouring layers.

        Returns
        -------
        DataFrame
            kind, by, matching, layer_a, layer_b, n_latents (of the first that could be matched), adjacent (neighbours,
            or the same layer), share (of them with a counterpart), mean_similarity (unmatched ones count as 0).
        """
        rows = [
            {
                "kind": kind, "by": by, "matching": way, "layer_a": a, "layer_b": b, "n_latents": match.n_a,
                "adjacent": a == b or (a, b) in adjacent, "share": match.share(self.limit[by]),
                "mean_similarity": match.score.sum() / max(match.n_a, 1),
            }
            for (kind, by, way, a, b), match in self.found.items()
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def has_counterpart(self, kind: str, by: str, way: str, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
        """For each latent of the first dictionary of each pair of layers, 1 if it has a counterpart and 0 if not."""
        found = [self.found[kind, by, way, a, b] for a, b in pairs]
        counts = [(len(match.kept(self.limit[by]).a), match.n_a) for match in found]
        return np.concatenate([np.r_[np.ones(n), np.zeros(of - n)] for n, of in counts])


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
