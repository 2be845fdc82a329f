"""The six products of a stacked training step in plain PyTorch: reference of the Triton kernels and their stand-in.

Shapes: S autoencoders, B vectors each, d = d_in, F = d_sae, k active latents. Weights lie as (S, F, d).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Ops(Protocol):
    """The six products of a step; see `kernels` for what each computes."""

    @property
    def centre(self) -> Callable[..., None]: ...

    @property
    def select(self) -> Callable[..., None]: ...

    @property
    def decode(self) -> Callable[..., None]: ...

    @property
    def gradients(self) -> Callable[..., None]: ...

    @property
    def norms(self) -> Callable[..., Tensor]: ...

    @property
    def adam(self) -> Callable[..., None]: ...


class TorchOps:
    """The products of `kernels` in plain PyTorch, for devices without Triton and as the reference of its tests."""

    @staticmethod
    def centre(data: Tensor, rows: Tensor, scale: Tensor, b_dec: Tensor, out: Tensor) -> None:
        S, B, d = out.shape
        x = data.index_select(0, rows.view(-1)).view(S, B, d).float()
        out.copy_(x * scale.view(S, 1, 1) - b_dec.unsqueeze(1))

    @staticmethod
    def select(pre: Tensor, bias: Tensor, values: Tensor, indices: Tensor, bits: int = 32) -> None:
        top = (pre.float() + bias.unsqueeze(1)).topk(values.shape[2], dim=2, sorted=False)
        values.copy_(top.values.relu())
        indices.copy_(top.indices)

    @staticmethod
    def decode(xc, table, values, indices, error, to_values, squares, factor) -> None:
        dense = torch.zeros(*xc.shape[:2], table.shape[1], dtype=table.dtype, device=xc.device)
        dense.scatter_(2, indices.long(), values.to(table.dtype))
        e = torch.bmm(dense, table).float() - xc.float()
        error.copy_(e)
        dots = torch.bmm(e.to(table.dtype), table.transpose(1, 2)).gather(2, indices.long())
        to_values.copy_(torch.where(values != 0, dots.float() * factor, 0.0))
        squares.copy_(e.pow(2).sum(2))

    @staticmethod
    def gradients(values, indices, to_values, error, xc, to_dec, to_enc, to_bias, factor) -> None:
        S, F, _ = to_dec.shape
        for weights, rows, out, by in ((values, error, to_dec, factor), (to_values, xc, to_enc, 1.0)):
            dense = torch.zeros(*values.shape[:2], F, dtype=rows.dtype, device=rows.device)
            dense.scatter_(2, indices.long(), weights.to(rows.dtype))
            out.copy_(torch.bmm(dense.transpose(1, 2), rows) * by)
        to_bias.zero_().scatter_add_(1, indices.long().view(S, -1), to_values.view(S, -1))

    @staticmethod
    def norms(W_dec: Tensor, to_dec: Tensor, to_enc: Tensor) -> Tensor:
        along = (W_dec * to_dec).sum(2)
        rest = to_enc.float().pow(2).sum(2) + to_dec.float().pow(2).sum(2) - along.pow(2)
        return torch.stack([along, rest], 2)

    @staticmethod
    def adam(p, low, m, v, gradient, along, clip, lr, step, *, unit) -> None:
        g = gradient.float()
        if unit:
            g = g - along[..., :1] * p
        adam_(p, m, v, g * clip.view(-1, 1, 1), lr, step)
        if unit:
            p /= p.norm(dim=2, keepdim=True).clamp_min(1e-12)
        low.copy_(p)


def adam_(p: Tensor, m: Tensor, v: Tensor, g: Tensor, lr: float, step: int) -> None:
    """One step of Adam (betas 0.9 and 0.999), in place; `step` counts from 1."""
    m.lerp_(g, 0.1)
    v.mul_(0.999).addcmul_(g, g, value=0.001)
    p.sub_(lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8))


def best_ops(device: torch.device) -> Ops:
    """Triton kernels where they run, plain PyTorch elsewhere."""
    if device.type == "cuda":
        try:
            from biosae_utils.sae.training import kernels

            return kernels
        except ImportError:
            pass
    return TorchOps()
