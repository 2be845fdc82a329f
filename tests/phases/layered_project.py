"""A model of three layers with two seeds each, whose latents live as long as was planted."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biosae_utils.phases.readers import Saes
from biosae_utils.sae.formats import save_sae
from biosae_utils.sae.positions import Positions
from phases.planted_project import MODEL, left_by

LAYERS = [0, 1, 2]
WIDTH, K, N = 64, 4, 3000
SHARED, OWN, FILLER = 12, 16, 12
"""Latents of every layer, in this order: their atoms are in all layers; in this layer alone; in no state, and the
same in all layers of one seed, like a start that training did not leave."""
F = SHARED + OWN + FILLER
ABOUT = {"model": MODEL, "source": "nowhere"}


def atoms(layer: int) -> np.ndarray:
    """Orthonormal directions that the states of a layer are made of, shape (SHARED + OWN, WIDTH)."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(WIDTH, WIDTH)))[0].T
    own = SHARED + OWN * layer
    return np.concatenate([basis[:SHARED], basis[own : own + OWN]])


def decoder(layer: int, seed: int, agree: bool = True) -> np.ndarray:
    """Decoder rows of a training, shape (F, WIDTH); without `agree`, seeds share only what layers share."""
    filler = np.random.default_rng([1, seed]).normal(size=(FILLER, WIDTH))
    usual = np.array([atoms(0)[:SHARED].sum(0), *(atoms(layer)[SHARED:].sum(0) for layer in LAYERS)])
    filler -= filler @ usual.T @ np.linalg.inv(usual @ usual.T) @ usual  # so that each wins a place somewhere
    rows = np.concatenate([atoms(layer), filler / np.linalg.norm(filler, axis=1, keepdims=True)])
    if not agree:  # a basis of the same subspace, turned anew for each training
        turn = np.linalg.qr(np.random.default_rng([5, layer, seed]).normal(size=(OWN, OWN)))[0]
        rows[SHARED : SHARED + OWN] = turn @ rows[SHARED : SHARED + OWN]
    return rows


def states(layer: int, sample: int) -> np.ndarray:
    """Two shared atoms, the same at all layers, and one of the layer's own at every position, shape (N, WIDTH)."""
    every, own = np.random.default_rng([2, sample]), np.random.default_rng([3, sample, layer])
    weight, at = np.zeros((N, SHARED + OWN)), np.arange(N)[:, None]
    loud = 1 + np.arange(SHARED) / 4
    chosen = every.permuted(np.tile(np.arange(SHARED), (N, 1)), axis=1)[:, :2]
    weight[at, chosen] = every.uniform(3, 5, (N, 2)) * loud[chosen]
    weight[at, SHARED + own.integers(0, OWN, (N, 1))] = own.uniform(3, 5, (N, 1))
    return weight @ atoms(layer) + 0.05 * own.normal(size=(N, WIDTH))


def leave_states(family: str = "geneformer") -> None:
    """01_extract: genes fall on positions whatever their states are."""
    rng = np.random.default_rng(4)
    with left_by("01_extract", **ABOUT) as out:
        cell, token = np.repeat(np.arange(2 * N // 40, dtype=np.int32), 40), rng.integers(2, 32, 2 * N, np.int32)
        Positions(cell, token, np.zeros(2 * N, np.uint16)).save(out.dir / "positions")
        for number, name in enumerate(("sample", "sample_heldout")):
            out.array(np.arange(number * N, (number + 1) * N), f"{name}/rows")
            for layer in LAYERS:
                out.array(states(layer, number).astype(np.float16), f"{name}/layer_{layer:02d}")
        out.facts(family=family)


def leave_saes(
    layers: Sequence[int] = LAYERS, seeds: int = 2, agree: Sequence[int] = LAYERS, model: str = MODEL
) -> None:
    """02_sae: autoencoders that need no training, in the place of any that were left before.

    Seeds find the same latents of their own in the layers `agree`.
    """
    import torch

    from biosae_utils.sae.topk import TopKSAE

    shutil.rmtree(Path(f"results/planted/{model}/02_sae"), ignore_errors=True)
    with left_by("02_sae", **ABOUT | {"model": model}) as out:
        for layer in layers:
            for seed in range(seeds):
                sae, rows = TopKSAE(WIDTH, F, K), torch.from_numpy(decoder(layer, seed, layer in agree)).float()
                with torch.no_grad():
                    sae.W_dec.copy_(rows)
                    sae.W_enc.copy_(rows.T)
                save_sae(out.dir / Saes.place(layer, seed), sae)


def params(**more: Any) -> dict[str, Any]:
    """Parameters of a page of this model."""
    return {"run": "planted", "seed": 0, **ABOUT, **more}
