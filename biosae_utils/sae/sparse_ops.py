"""The three sparse products behind a TopK autoencoder, with sparse backward passes for the CPU.

A code is ``(values, indices)``, both (n, s): row i holds at most s active latents. Nothing of shape (n, d_sae) is
built in forward or backward except the pre-activations, which top-k selection has to see.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_SPARE = 4  # candidates kept beyond k when keys lose low bits, so that near-ties are decided by the true values
_BLOCK = 1 << 21  # pre-activations held at once (measured: smaller blocks starve the product, larger ones the caches)

_ROOMS = threading.local()

with warnings.catch_warnings():  # torch says once that its sparse tensors are in beta; say it here, where nobody hears
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1))


@cache
def cpu_has_bf16() -> bool:
    """Whether bf16 matrix products run in hardware here: in tiles (AMX), or by the AVX-512 instructions for them.

    Measured against fp32: 3 to 4 times faster with AMX, 2.9 times with avx512_bf16. Elsewhere they are far slower.
    """
    probes = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(probe() for probe in probes if probe)


def _room(name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Work space of this thread, with whatever was left in it.

    Pages of a fresh array of megabytes are made one by one as they are first touched, and given back when it goes:
    1 to 2.5 ms of a training step of 25 (AVX2, d_in = 192).
    """
    size = math.prod(shape) * dtype.itemsize
    flat = getattr(_ROOMS, name, None)
    if flat is None or len(flat) < size:
        with torch.inference_mode(False):
            flat = torch.empty(size, dtype=torch.uint8)
        setattr(_ROOMS, name, flat)
    return flat[:size].view(dtype).view(shape)


def top_k(pre: Tensor, k: int) -> Tensor:
    """Indices of the k largest entries of each row, in no order.

    On the CPU the column index is packed into the low bits of the float, and NumPy's vectorised ``partition`` sorts
    plain integers: 3 to 7 times faster than ``torch.topk``. bfloat16 keys have 16 free bits, so nothing is lost;
    float32 keys lose their lowest bits, and a few spare candidates are compared by their full value.

    Parameters
    ----------
    pre : Tensor of shape (n, d_sae)
        Entries that are not positive are never told apart: a code keeps only positive ones.

    Returns
    -------
    Tensor of int64, shape (n, k)
    """
    width = pre.shape[1]
    bits = (width - 1).bit_length()
    packable = pre.dtype in (torch.float32, torch.bfloat16) and bits <= 16 and k + _SPARE < width
    if pre.device.type != "cpu" or not packable:
        return pre.topk(k, dim=-1, sorted=False).indices
    lossless = pre.dtype == torch.bfloat16
    mask = (1 << bits) - 1
    keys = _room("keys", pre.shape, torch.int32)
    if lossless:
        keys.view(torch.float32).copy_(pre)
    else:
        torch.bitwise_and(pre.view(torch.int32), ~mask, out=keys)
    keys |= torch.arange(width, dtype=torch.int32)
    take = k if lossless else k + _SPARE
    packed = keys.numpy()
    packed.partition(width - take, axis=1)
    index = torch.from_numpy((packed[:, width - take :] & mask).astype(np.int64))
    return index if lossless else index.gather(1, pre.gather(1, index).topk(k, dim=-1, sorted=False).indices)


@torch.no_grad()
def choose_latents(x: Tensor, table: Tensor, bias: Tensor, k: int) -> Tensor:
    """`top_k` of ``x @ table.T + bias`` on the CPU, by blocks of rows that stay in its caches.

    The product is in bf16 where the CPU is made for it; it only decides which latents are chosen.

    Parameters
    ----------
    x : Tensor of shape (n, d_in)
    table : Tensor of shape (d_sae, d_in)
    bias : Tensor of shape (d_sae,)
    """
    if cpu_has_bf16() and x.dtype == torch.float32:
        x, table, bias = x.bfloat16(), table.bfloat16(), bias.bfloat16()
    found = []
    for block in x.split(max(64, _BLOCK // len(table))):
        pre = _room("pre", (len(block), len(table)), x.dtype)
        found.append(top_k(torch.addmm(bias, block, table.t(), out=pre), k))
    return torch.cat(found)


def _latent_order(indices: Tensor, d_sae: int) -> tuple[Tensor, Tensor, Tensor]:
    """Entries of a code grouped by latent: (order (n * s,), row of each entry (n * s,), offsets (d_sae + 1,))."""
    flat = indices.reshape(-1).numpy().astype(np.uint16 if d_sae <= 1 << 16 else np.int64)  # 16 bits: radix sort
    order = np.argsort(flat, kind="stable")
    offsets = np.zeros(d_sae + 1, np.int64)
    np.cumsum(np.bincount(flat, minlength=d_sae), out=offsets[1:])
    return torch.from_numpy(order), torch.from_numpy(order // indices.shape[1]), torch.from_numpy(offsets)


class Pattern:
    """Which latents are active in which row; sorts once, serves every backward product.

    Its products are plain numbers to autograd: tensors that ask for a gradient would get a kernel that keeps what a
    backward pass of its own needs, at twice the time.

    Parameters
    ----------
    indices : Tensor of int64, shape (n, s), on the CPU
    d_sae : int
    """

    @classmethod
    def of(cls, indices: Tensor, d_sae: int) -> Pattern:
        """The pattern of a code; encoder and decoder of the same code share it."""
        carrier: Any = indices  # the tensor itself carries its pattern along
        pattern = getattr(carrier, "_pattern", None)
        if pattern is None or pattern.d_sae != d_sae:
            pattern = carrier._pattern = cls(indices, d_sae)
        return pattern

    def __init__(self, indices: Tensor, d_sae: int) -> None:
        self.indices, self.d_sae = indices.detach(), d_sae  # detached: a new object, so that no cycle keeps it alive
        self._order: tuple[Tensor, Tensor, Tensor] | None = None

    def rows_times(self, weights: Tensor, rows: Tensor) -> Tensor:
        """``out[f] = sum over entries (i, j) with indices[i, j] = f of weights[i, j] * rows[i]``, shape (d_sae, d)."""
        if self._order is None:
            self._order = _latent_order(self.indices, self.d_sae)
        order, row, offsets = self._order
        weights = weights.detach().reshape(-1)[order]
        return F.embedding_bag(
            row, rows.detach(), offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        )

    def sums(self, weights: Tensor, table: Tensor) -> Tensor:
        """``out[i] = sum over j of weights[i, j] * table[indices[i, j]]``, shape (n, d)."""
        return F.embedding_bag(self.indices, table.detach(), mode="sum", per_sample_weights=weights.detach())

    def dots(self, x: Tensor, table: Tensor) -> Tensor:
        """``out[i, j] = <x[i], table[indices[i, j]]>``, shape (n, s)."""
        n, s = self.indices.shape
        mask = torch.sparse_csr_tensor(
            torch.arange(0, n * s + 1, s),
            self.indices.reshape(-1),
            x.new_zeros(n * s),
            (n, self.d_sae),
            check_invariants=False,
        )
        return torch.sparse.sampled_addmm(mask, x.contiguous(), table.t(), beta=0.0).values().view(n, s)


class ChosenPreActs(torch.autograd.Function):
    """Differentiable ``<x[i] - b_dec, table[f]> + b_enc[f]`` for the latents f that are chosen in row i, shape (n, s).

    One function of the four, so that the biases' gradients come from the summed gradient of each latent: (d_sae,) and
    one product with `table`, where autograd would go back to every row of `x`. `xc` is ``x - b_dec``, detached.
    """

    @staticmethod
    def forward(ctx, x: Tensor, b_dec: Tensor, table: Tensor, b_enc: Tensor, xc: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(xc, table)
        ctx.pattern = pattern
        return pattern.dots(xc, table).add_(b_enc[pattern.indices])

    @staticmethod
    def backward(ctx, grad: Tensor):
        (xc, table), pattern = ctx.saved_tensors, ctx.pattern
        needs_x, needs_b_dec, needs_table, needs_b_enc, *_ = ctx.needs_input_grad
        grad = grad.contiguous()
        per_latent = grad.new_zeros(pattern.d_sae).index_add_(0, pattern.indices.view(-1), grad.view(-1))
        return (
            pattern.sums(grad, table) if needs_x else None,
            -(per_latent @ table) if needs_b_dec else None,
            pattern.rows_times(grad, xc) if needs_table else None,
            per_latent if needs_b_enc else None,
            None,
            None,
        )


class SparseSums(torch.autograd.Function):
    """Differentiable `Pattern.sums`: the decoder. `table` is (d_sae, d_in)."""

    @staticmethod
    def forward(ctx, values: Tensor, table: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(values, table)
        ctx.pattern = pattern
        return pattern.sums(values, table)

    @staticmethod
    def backward(ctx, grad: Tensor):
        values, table = ctx.saved_tensors
        grad = grad.contiguous()
        to_values = ctx.pattern.dots(grad, table) if ctx.needs_input_grad[0] else None
        to_table = ctx.pattern.rows_times(values, grad) if ctx.needs_input_grad[1] else None
        return to_values, to_table, None


class SquaredError(torch.autograd.Function):
    """Differentiable ``(y - x)² .sum()`` for data `x`, with one pass forward and one backward; also gives ``y - x``."""

    @staticmethod
    def forward(ctx, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        error = y - x
        ctx.save_for_backward(error)
        ctx.mark_non_differentiable(error)
        flat = error.view(-1)
        return flat.dot(flat), error

    @staticmethod
    def backward(ctx, grad: Tensor, _: Tensor):
        (error,) = ctx.saved_tensors
        return error * (2 * grad), None
