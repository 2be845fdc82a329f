"""Triton kernels of the stacked trainer: what PyTorch has no fast product for.

Everything is stacked over S autoencoders; a "row" is one vector of one of them, a "latent" one latent of one of them.
Weights lie as (S, F, d), so that one latent's weights are contiguous. The plain PyTorch versions of the same functions,
against which these are tested, are in `biosae_utils.sae.training.ops`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from biosae_utils.sae.training.select_kernel import LAUNCH, select

__all__ = ["LAUNCH", "adam", "centre", "decode", "gradients", "norms", "select"]


@triton.jit
def _centre(data, rows, scale, b_dec, out, B, d, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    s = row // B
    column = tl.arange(0, BLOCK)
    ok = column < d
    x = tl.load(data + tl.load(rows + row) * d + column, ok, 0.0).to(tl.float32)
    bias = tl.load(b_dec + s * d + column, ok, 0.0)
    tl.store(out + row * d + column, (x * tl.load(scale + s) - bias).to(tl.bfloat16), ok)


@triton.jit
def _decode(
    xc, table, values, indices, error, to_values, squares, B, F, d, k, factor, K: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    slot = tl.arange(0, K)
    real = slot < k
    value = tl.load(values + row * k + slot, real, 0.0)
    latent = (row // B) * F + tl.load(indices + row * k + slot, real, 0).to(tl.int64)
    dots = tl.zeros([K], tl.float32)
    square = tl.zeros([BLOCK], tl.float32)
    for start in range(0, d, BLOCK):
        column = start + tl.arange(0, BLOCK)
        ok = column < d
        w = tl.load(table + latent[:, None] * d + column[None, :], real[:, None] & ok[None, :], 0.0).to(tl.float32)
        x = tl.load(xc + row * d + column, ok, 0.0).to(tl.float32)
        e = tl.sum(w * value[:, None], 0) - x
        tl.store(error + row * d + column, e.to(tl.bfloat16), ok)
        dots += tl.sum(w * e[None, :], 1)
        square += e * e
    tl.store(to_values + row * k + slot, tl.where(value != 0, dots * factor, 0.0), real)
    tl.store(squares + row, tl.sum(square, 0))


@triton.jit
def _gradients(
    order,
    offsets,
    values,
    to_values,
    error,
    xc,
    to_dec,
    to_enc,
    to_bias,
    d,
    k,
    factor,
    E: tl.constexpr,
    BLOCK: tl.constexpr,
):
    latent = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    ok = column < d
    begin, end = tl.load(offsets + latent), tl.load(offsets + latent + 1)
    dec = tl.zeros([BLOCK], tl.float32)
    enc = tl.zeros([BLOCK], tl.float32)
    bias = tl.zeros([E], tl.float32)
    for start in range(begin, end, E):
        entry = start + tl.arange(0, E)
        real = entry < end
        place = tl.load(order + entry, real, 0)
        row = (place // k).to(tl.int64)
        v = tl.load(values + place, real, 0.0)
        g = tl.load(to_values + place, real, 0.0)
        inside = real[:, None] & ok[None, :]
        e = tl.load(error + row[:, None] * d + column[None, :], inside, 0.0).to(tl.float32)
        x = tl.load(xc + row[:, None] * d + column[None, :], inside, 0.0).to(tl.float32)
        dec += tl.sum(v[:, None] * e, 0)
        enc += tl.sum(g[:, None] * x, 0)
        bias += g
    tl.store(to_dec + latent * d + column, (dec * factor).to(to_dec.dtype.element_ty), ok)
    tl.store(to_enc + latent * d + column, enc.to(to_enc.dtype.element_ty), ok)
    if tl.program_id(1) == 0:
        tl.store(to_bias + latent, tl.sum(bias, 0))


@triton.jit
def _norms(W_dec, to_dec, to_enc, out, d, BLOCK: tl.constexpr):
    latent = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    ok = column < d
    w = tl.load(W_dec + latent * d + column, ok, 0.0).to(tl.float32)
    dec = tl.load(to_dec + latent * d + column, ok, 0.0).to(tl.float32)
    enc = tl.load(to_enc + latent * d + column, ok, 0.0).to(tl.float32)
    along = tl.sum(dec * w, 0)
    tl.store(out + latent * 2, along)
    tl.store(out + latent * 2 + 1, tl.sum(enc * enc, 0) + tl.sum(dec * dec, 0) - along * along)


@triton.jit
def _adam(
    p, low, m, v, gradient, along, clip, F, d, lr, fix1, fix2, UNIT: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    latent = tl.program_id(0).to(tl.int64)
    at = latent * d + tl.arange(0, BLOCK)
    ok = tl.arange(0, BLOCK) < d
    w = tl.load(p + at, ok, 0.0)
    g = tl.load(gradient + at, ok, 0.0).to(tl.float32)
    if UNIT:
        g -= tl.load(along + latent * 2) * w
    g *= tl.load(clip + latent // F)
    first = 0.9 * tl.load(m + at, ok, 0.0) + 0.1 * g
    second = 0.999 * tl.load(v + at, ok, 0.0) + 0.001 * g * g
    w -= lr * (first * fix1) / (tl.sqrt(second * fix2) + 1e-8)
    if UNIT:
        w *= 1.0 / tl.maximum(tl.sqrt(tl.sum(tl.where(ok, w * w, 0.0), 0)), 1e-12)
    tl.store(m + at, first, ok)
    tl.store(v + at, second, ok)
    tl.store(p + at, w, ok)
    tl.store(low + at, w.to(tl.bfloat16), ok)


# ---- what `stacked` calls ----------------------------------------------------------------------------------------


def centre(data: Tensor, rows: Tensor, scale: Tensor, b_dec: Tensor, out: Tensor) -> None:
    """``out[s, i] = data[rows[s, i]] * scale[s] - b_dec[s]`` in bf16, from rows of a float16, bf16 or float32 table."""
    S, B, d = out.shape
    _centre[(S * B,)](data, rows, scale, b_dec, out, B, d, BLOCK=triton.next_power_of_2(d))


def decode(
    xc: Tensor,
    table: Tensor,
    values: Tensor,
    indices: Tensor,
    error: Tensor,
    to_values: Tensor,
    squares: Tensor,
    factor: float,
) -> None:
    """Reconstruction error (bf16), its square per row, and the gradient of the values; reads each row of W_dec once."""
    S, B, d = xc.shape
    k = values.shape[2]
    _decode[(S * B,)](
        xc,
        table,
        values,
        indices,
        error,
        to_values,
        squares,
        B,
        table.shape[1],
        d,
        k,
        factor,
        K=triton.next_power_of_2(max(k, 2)),
        **LAUNCH["decode"],
    )


def gradients(
    values: Tensor,
    indices: Tensor,
    to_values: Tensor,
    error: Tensor,
    xc: Tensor,
    to_dec: Tensor,
    to_enc: Tensor,
    to_bias: Tensor,
    factor: float,
) -> None:
    """Gradients of both matrices and of b_enc, latent by latent over the rows on which each was chosen."""
    S, F, d = to_dec.shape
    k = values.shape[2]
    latent = (indices + torch.arange(S, device=indices.device, dtype=torch.int32).view(S, 1, 1) * F).view(-1)
    latent, order = latent.sort(stable=True)  # stable: sums run in the same order in every run
    offsets = torch.searchsorted(
        latent, torch.arange(S * F + 1, device=latent.device, dtype=torch.int32), out_int32=True
    )
    launch = LAUNCH["gradients"]
    _gradients[(S * F, triton.cdiv(d, launch["BLOCK"]))](
        order, offsets, values, to_values, error, xc, to_dec, to_enc, to_bias, d, k, factor, **launch
    )


def norms(W_dec: Tensor, to_dec: Tensor, to_enc: Tensor) -> Tensor:
    """Per latent: the gradient's component along the decoder row, and the squared norm of all the rest, (S, F, 2)."""
    S, F, d = W_dec.shape
    out = torch.empty(S, F, 2, device=W_dec.device)
    _norms[(S * F,)](W_dec, to_dec, to_enc, out, d, BLOCK=triton.next_power_of_2(d), **LAUNCH["rows"])
    return out


def adam(
    p: Tensor,
    low: Tensor,
    m: Tensor,
    v: Tensor,
    gradient: Tensor,
    along: Tensor,
    clip: Tensor,
    lr: float,
    step: int,
    *,
    unit: bool,
) -> None:
    """One Adam step of a (S, F, d) matrix and its bf16 copy; `unit` removes the parallel part and renormalises rows."""
    S, F, d = p.shape
    _adam[(S * F,)](
        p,
        low,
        m,
        v,
        gradient,
        along,
        clip,
        F,
        d,
        lr,
        1 / (1 - 0.9**step),
        1 / (1 - 0.999**step),
        UNIT=unit,
        BLOCK=triton.next_power_of_2(d),
        **LAUNCH["rows"],
    )
