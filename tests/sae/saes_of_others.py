"""Files of other programs, as they write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


def write_published(folder: Path, d_in: int, d_sae: int, k: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """``sae_final.pt`` and ``activation_mean.npy`` of the published analysis; returns the weights."""
    g = torch.Generator().manual_seed(seed)
    state = {
        "W_enc.weight": torch.randn(d_sae, d_in, generator=g),
        "W_enc.bias": torch.randn(d_sae, generator=g),
        "W_dec.weight": torch.randn(d_in, d_sae, generator=g),
        "W_dec.bias": torch.randn(d_in, generator=g),
    }
    torch.save({"model_state_dict": state, "d_model": d_in, "n_features": d_sae, "k": k}, folder / "sae_final.pt")
    np.save(folder / "activation_mean.npy", np.arange(d_in, dtype=np.float32))
    return state


def dictionary(kind: str, d_in: int, d_sae: int, k: int) -> dict[str, torch.Tensor]:
    """State of a class of dictionary_learning, with its names, shapes and types."""
    g = torch.Generator().manual_seed(7)
    encoder, decoder = (torch.randn(d_sae, d_in, generator=g) for _ in range(2))
    b_enc, b_dec = torch.randn(d_sae, generator=g) / 3, torch.randn(d_in, generator=g)
    linear = {"encoder.weight": encoder, "encoder.bias": b_enc, "decoder.weight": decoder.T.contiguous()}
    plain = {"W_enc": encoder.T.contiguous(), "b_enc": b_enc, "W_dec": decoder, "b_dec": b_dec}
    several = {"k": torch.tensor(k, dtype=torch.int), "threshold": torch.tensor(0.4)}
    return {
        "AutoEncoderTopK": {**linear, "b_dec": b_dec, **several},
        "BatchTopKSAE": {**linear, "b_dec": b_dec, **several},
        "MatryoshkaBatchTopKSAE": {**plain, **several, "group_sizes": torch.tensor([d_sae // 2, d_sae - d_sae // 2])},
        "JumpReluAutoEncoder": {**plain, "threshold": torch.linspace(-0.2, 1, d_sae)},
        "AutoEncoder": {**linear, "bias": b_dec},
        "AutoEncoderNew": {**linear, "decoder.bias": b_dec},
    }[kind]
