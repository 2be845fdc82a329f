"""Planted lifetimes are recovered; what is no chain is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from biosae_utils.analysis import matching, tracking
from biosae_utils.errors import BiosaeError


def decoder(f: int, d: int, seed: int) -> np.ndarray:
    w = np.random.default_rng(seed).standard_normal((f, d))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


def test_lifetimes_recover_planted_persistence() -> None:
    """Ten latents live through all of five layers, ten through the middle three, the rest are new in each layer."""
    d, f, layers = 128, 40, [0, 3, 6, 9, 12]
    kept, middle = decoder(10, d, 1), decoder(10, d, 2)
    rng = np.random.default_rng(3)
    decoders = []
    for step in range(5):
        w = decoder(f, d, 100 + step)
        w[:10] = kept
        if 1 <= step <= 3:
            w[10:20] = middle
        decoders.append(w[rng.permutation(f)])
    matches = [matching.match_one_to_one(matching.decoder_similarity(a, b)) for a, b in itertools.pairwise(decoders)]
    table = tracking.lifetimes(matches, layers, [np.ones(f, bool)] * 5, threshold=0.7)
    assert table["length"].sum() == 5 * f  # every latent of every layer is in one chain
    assert (table["length"] == 5).sum() == 10 and (table["length"] == 3).sum() == 10
    assert set(table.loc[table["length"] == 3, "layer"]) == {3}
    assert (table["length"] == 1).sum() == len(table) - 20
    first = table[table["length"] == 5].iloc[0]
    path = [int(p) for p in first["path"].split()]
    for step, latent in enumerate(path):
        np.testing.assert_allclose(decoders[step][latent], decoders[0][path[0]])
    assert first["weakest"] == pytest.approx(1, abs=1e-5) and table.loc[table["length"] == 1, "weakest"].isna().all()


def test_lifetimes_refuse_what_is_not_a_chain() -> None:
    w = decoder(5, 8, 0)
    match = matching.match_one_to_one(matching.decoder_similarity(w, w))
    with pytest.raises(BiosaeError, match="adjacent pair"):
        tracking.lifetimes([match], [0], [np.ones(5, bool)], 0.7)
    with pytest.raises(BiosaeError, match="hand over"):
        tracking.lifetimes([match], [0, 1], [np.zeros(5, bool), np.ones(5, bool)], 0.7)
