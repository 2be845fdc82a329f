"""Latents followed over layers: pairs of dictionaries under two similarities and two matchings, and how long one lives.

A pair of layers is compared in the same way as the same layer with another seed and as its floor (directions or
positions that mean nothing), so that only their differences speak. All three ask about the same latents, those of the
earlier layer, so their differences are taken latent by latent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis import matching
from biosae_utils.analysis.geometry import principal_axes
from biosae_utils.analysis.matching import Match
from biosae_utils.analysis.nulls import permute_within, shaped_directions
from biosae_utils.analysis.paired import Paired
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
class Trained:
    """Autoencoders of a model on the same held-out positions.

    Attributes
    ----------
    layers : list of int
    seeds : int
        Trainings per layer that are compared: 2, or 1 where the run has one.
    of : dict of (layer, seed) -> Dictionary
    vectors : dict of int -> ndarray, shape (n, d)
    token, block : ndarray of int, shape (n,)
        Gene and block of cells of each position.
    first : int
        Seed that stands for the first layer.
    """

    layers: list[int]
    seeds: int
    of: dict[tuple[int, int], Dictionary]
    vectors: dict[int, np.ndarray]
    token: np.ndarray
    block: np.ndarray
    first: int = 0

    @property
    def adjacent(self) -> list[tuple[int, int]]:
        """Neighbouring layers."""
        return list(pairwise(self.layers))

    def turn(self, layer: int) -> int:
        """Seed that stands for a layer: they take turns, so that neighbours do not share a start."""
        return (self.first + self.layers.index(layer)) % self.seeds

    def own(self, layer: int) -> Dictionary:
        """The training that stands for a layer."""
        return self.of[layer, self.turn(layer)]

    def other(self, layer: int, than: int) -> Dictionary:
        """A training of `layer` with another seed than the one that stands for layer `than`."""
        return self.of[layer, (self.turn(than) + 1) % self.seeds]


@dataclass(frozen=True)
class Comparisons:
    """Pairs of dictionaries, matched by decoder and by activation, one-sided and one-to-one.

    Attributes
    ----------
    limit : mapping of str -> float
        Similarity from which two latents are the same, for "decoder" and for "activation".
    min_count : int
        Firings below which an activation cannot be compared.
    block : ndarray of int, shape (n,), or None
        Block of cells of each position. With it, latents can be matched again without each block.
    found : dict of (kind, by, way, layer, layer) -> Match
        In the order in which they were added.
    without : dict of (kind, layer, layer) -> ndarray of bool, shape (n_blocks, n_latents)
        Whether a latent has a one-to-one counterpart by activation without each block, where that was asked for.
    """

    limit: Mapping[str, float]
    min_count: int
    block: np.ndarray | None = None
    found: dict[tuple[str, str, str, int, int], Match] = field(default_factory=dict)
    without: dict[tuple[str, int, int], np.ndarray] = field(default_factory=dict)

    def add(self, kind: str, a: Dictionary, b: Dictionary, *, by_block: bool = False) -> None:
        """Compare two dictionaries by decoder and by activation; `kind` says what the pair stands for.

        With `by_block`, also without each block of cells: as many assignments as there are blocks.
        """
        alive = a.fires, b.fires
        self._match(kind, "decoder", a, b, matching.decoder_similarity(a.rows, b.rows), alive)
        self._match_codes(kind, a, b, b.codes, by_block=by_block)

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
        self._match_codes("floor", a, b, b.codes[permute_within(groups, rng)], by_block=self.block is not None)

    def _match_codes(self, kind: str, a: Dictionary, b: Dictionary, codes: sp.csr_matrix, *, by_block: bool) -> None:
        """By activation, with `codes` in the place of those of `b`; a block goes with the positions of `a` in it."""
        alive = a.fires, b.fires
        similarity = matching.activation_similarity(a.codes, codes, min_count=self.min_count)
        self._match(kind, "activation", a, b, similarity, alive)
        if not by_block or self.block is None:
            return
        without = []
        for block in np.unique(self.block):
            rest = np.flatnonzero(self.block != block)
            similarity = matching.activation_similarity(a.codes[rest], codes[rest], min_count=self.min_count)
            match = matching.match_one_to_one(similarity, *alive)
            without.append(match.marked(match.score >= self.limit["activation"]))
        self.without[kind, a.layer, b.layer] = np.array(without)

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
        """For each latent of the first dictionary of each pair of layers, in order, whether it has a counterpart."""
        found = [self.found[kind, by, way, a, b] for a, b in pairs]
        return np.concatenate([match.marked(match.score >= self.limit[by]) for match in found])

    def paired(self, control: str, by: str, way: str, adjacent: Sequence[tuple[int, int]]) -> Paired:
        """The next layer beside a control, over the same latents: those of the earlier layer of each pair.

        Parameters
        ----------
        control : str
            "floor", or "seed": another training of the earlier layer. A layer without a next one takes no part.
        by, way : str
        adjacent : sequence of (int, int)

        Raises
        ------
        BiosaeError
            The two were asked about different latents.
        """
        beside = [(a, a) for a, _ in adjacent] if control == "seed" else list(adjacent)
        for here, there in zip(adjacent, beside, strict=True):
            ours, theirs = self.found["layers", by, way, *here].of, self.found[control, by, way, *there].of
            if not np.array_equal(ours, theirs):
                raise BiosaeError(
                    f"{len(ours)} latents of layer {here[0]} meet the next layer and {len(theirs)} meet {control!r}",
                    do="compare the same latents, or nothing can be paired",
                )
        without = None
        if (by, way) == ("activation", "one-to-one") and ("layers", *adjacent[0]) in self.without:
            ours = np.concatenate([self.without["layers", *here] for here in adjacent], axis=1)
            theirs = np.concatenate([self.without[control, *there] for there in beside], axis=1)
            without = ours.mean(axis=1) - theirs.mean(axis=1)
        return Paired(
            self.has_counterpart("layers", by, way, adjacent), self.has_counterpart(control, by, way, beside), without
        )


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
