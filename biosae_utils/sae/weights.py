"""Weights that somebody else wrote: read without running anything, checked one by one, made into an SAE."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.topk import TopKSAE
from biosae_utils.sae_options import Kind

CONVERT = (
    "load it with the program that wrote it, save W_enc, b_enc, W_dec and b_dec as sae_weights.safetensors beside a "
    "cfg.json in SAELens layout (in SAELens: sae.save_model(folder)), and import that folder"
)
"""What to do about an SAE that is not read here."""


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as e:
        raise BiosaeError("The weights are missing", where=str(path)) from e
    except (SafetensorError, OSError, ValueError, KeyError) as e:
        raise BiosaeError(f"The weights are damaged ({e})", where=str(path), do="fetch or write them again") from e


def read_torch(path: Path) -> Any:
    """Content of a PyTorch file of tensors and plain values; anything else in it is refused, and never run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as e:
        raise BiosaeError("There is no such checkpoint", where=str(path)) from e
    except Exception as e:  # the unpickler meets arbitrary bytes and fails in arbitrary ways
        raise BiosaeError(
            f"The checkpoint is damaged or holds more than tensors ({type(e).__name__})",
            where=str(path),
            do=f"fetch it again; if it holds Python objects, {CONVERT}",
        ) from e


def checked(tensors: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: Path) -> dict[str, Tensor]:
    """The named tensors as float32, after checks of presence, shape and finiteness.

    Raises
    ------
    BiosaeError
        One is missing, has another shape or is not finite; or there is one that `shapes` does not name: it is part of
        the SAE, so without it the outputs would be others.
    """
    out = {}
    for name, shape in shapes.items():
        value = tensors.get(name)
        if not isinstance(value, Tensor):
            raise BiosaeError(f"The tensor {name} is missing", where=str(where), do=f"it must hold {', '.join(shapes)}")
        if tuple(value.shape) != shape:
            raise BiosaeError(f"{name} has shape {tuple(value.shape)}, not {shape}", where=str(where))
        if not value.is_floating_point():
            raise BiosaeError(f"{name} holds {value.dtype}, not floating-point numbers", where=str(where))
        out[name] = value.float()
        if not torch.isfinite(out[name]).all():
            raise BiosaeError(f"{name} holds NaN or infinite values", where=str(where))
    if extra := sorted(map(str, set(tensors) - set(shapes))):
        raise BiosaeError(
            f"The weights hold {', '.join(extra)} too, which an SAE of this kind does not have",
            where=str(where),
            do="import an SAE that is one encoder, one activation and one decoder, without skips, scales or gates",
        )
    return out


def shape_of(tensors: Mapping[str, Any], name: str, where: Path) -> tuple[int, int]:
    """Shape of a matrix from which the sizes of an SAE are read."""
    value = tensors.get(name)
    if not isinstance(value, Tensor) or value.dim() != 2:
        raise BiosaeError(f"The matrix {name} is missing", where=str(where))
    rows, columns = value.shape
    return rows, columns


# ---- other conventions -------------------------------------------------------------------------------------------


def with_unit_rows(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Decoder rows of norm 1, their norms moved into the encoder: same reconstruction, codes times the norms."""
    norm = tensors["W_dec"].norm(dim=1).clamp_min(1e-12)
    unit = {"W_dec": tensors["W_dec"] / norm[:, None], "W_enc": tensors["W_enc"] * norm}
    return tensors | unit | {"b_enc": tensors["b_enc"] * norm}


def with_centring(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same encoder for ``x - b_dec`` that was trained on x itself."""
    return tensors | {"b_enc": tensors["b_enc"] + tensors["b_dec"] @ tensors["W_enc"]}


def strictly_above(threshold: Tensor) -> Tensor:
    """The threshold at which ``pre >= t`` says what ``pre > threshold`` said."""
    return torch.nextafter(threshold, torch.full_like(threshold, torch.inf))


@torch.no_grad()
def build(
    tensors: dict[str, Tensor], k: int | None, *, kind: Kind = "topk", groups: Any = None, metadata: Any = None
) -> TopKSAE:
    """An SAE in evaluation mode, without gradients.

    Parameters
    ----------
    tensors : dict
        W_enc (d_in, d_sae), b_enc, W_dec (d_sae, d_in), b_dec; threshold for ``batchtopk``.
    k : int or None
        None: every latent above its threshold is active, however many there are.
    metadata : dict, optional
        What is known of its origin.
    """
    d_in, d_sae = tensors["W_enc"].shape
    sae = TopKSAE(d_in, d_sae, k or d_sae, kind=kind, groups=groups, capped=k is not None)
    for name, value in tensors.items():
        getattr(sae, name).copy_(value)
    sae.metadata = dict(metadata or {})
    return sae.eval().requires_grad_(False)


def jumprelu(tensors: dict[str, Tensor], threshold: Tensor, metadata: Any = None) -> TopKSAE:
    """An SAE whose latents are active above a threshold each (ReLU: above 0), however many there are."""
    full = strictly_above(threshold.expand(tensors["b_enc"].shape))
    return build(tensors | {"threshold": full}, None, kind="batchtopk", metadata=metadata)
