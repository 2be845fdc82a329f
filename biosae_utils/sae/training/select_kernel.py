"""The Triton kernel that finds the k largest pre-activations of each row, and its launcher."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LAUNCH = {
    "select": {"num_warps": 2},
    "decode": {"BLOCK": 128, "num_warps": 2},
    "gradients": {"E": 4, "BLOCK": 128, "num_warps": 1},
    "rows": {"num_warps": 4},
}
"""Block sizes and warps from ``python -m benchmarks.sae --device cuda --tune``; fixed, so sums keep their order."""

PIECE = 5_000  # columns that one program of `select` holds in registers without spilling
BITS = 16  # of a float32 that decide a top-k: sign, exponent and 7 of the mantissa, which is all that bf16 has


@triton.jit
def _keys(pre, bias, row, base, column, ok, BIASED: tl.constexpr):
    """Pre-activations as integers in the same order; whatever is not positive becomes 0."""
    value = tl.load(pre + row + column, ok, 0.0).to(tl.float32)
    if BIASED:
        value += tl.load(bias + base + column, ok, 0.0)
    return tl.where(ok, tl.maximum(value.to(tl.int32, bitcast=True), 0), -1)


@triton.jit
def _emit(keys, column, floor, step, before_above, before_tied, n_above, values, indices, k):
    """Write the entries above the floor, then tied ones until there are k."""
    above = keys >= floor + step
    tied = (keys >= floor) & (keys < floor + step)
    counts = tl.cumsum(above.to(tl.int32) + (tied.to(tl.int32) << 16), 0)
    slot_above = before_above + (counts & 0xFFFF) - 1
    slot_tied = n_above + before_tied + (counts >> 16) - 1
    slot = tl.where(above, slot_above, slot_tied)
    keep = above | (tied & (slot_tied < k))
    tl.store(values + slot, keys.to(tl.float32, bitcast=True), keep)
    tl.store(indices + slot, column, keep)


@triton.jit
def _select(
    pre,
    bias,
    values,
    indices,
    B,
    F,
    width,
    pieces,
    k,
    MAIN: tl.constexpr,
    REST: tl.constexpr,
    BITS: tl.constexpr,
    BIASED: tl.constexpr,
):
    """One program takes one piece (width columns) of one row: the k largest of it."""
    program = tl.program_id(0).to(tl.int64)
    first = (program % pieces).to(tl.int32) * width  # column at which the piece starts
    row, base = program * width, program // pieces // B * F + first
    column = tl.arange(0, MAIN)
    tail_column = MAIN + tl.arange(0, REST)
    keys = _keys(pre, bias, row, base, column, column < width, BIASED)
    tail = _keys(pre, bias, row, base, tail_column, tail_column < width, BIASED)
    floor = 0
    for i in tl.static_range(BITS - 1):  # the sign bit is known
        trial = floor | (1 << (30 - i))
        count = tl.sum((keys >= trial).to(tl.int32), 0) + tl.sum((tail >= trial).to(tl.int32), 0)
        floor = tl.where(count >= k, trial, floor)
    step = 1 << (32 - BITS)
    above_main = tl.sum((keys >= floor + step).to(tl.int32), 0)
    tied_main = tl.sum(((keys >= floor) & (keys < floor + step)).to(tl.int32), 0)
    above = above_main + tl.sum((tail >= floor + step).to(tl.int32), 0)
    values += program * k
    indices += program * k
    _emit(keys, first + column, floor, step, 0, 0, above, values, indices, k)
    _emit(tail, first + tail_column, floor, step, above_main, tied_main, above, values, indices, k)


def select(pre: Tensor, bias: Tensor, values: Tensor, indices: Tensor, bits: int = BITS) -> None:
    """The k largest of ``pre + bias`` in each row, cut at zero; ties within `bits` go to the lower index.

    Rows of more than `PIECE` columns are cut: the k largest of every piece, then the k largest of those.
    """
    S, B, F = pre.shape
    k = values.shape[2]
    pieces = next(c for c in range(-(-F // PIECE), F + 1) if F % c == 0)
    if pieces == 1 or F // pieces < 2 * k:
        _launch_select(pre, bias, values, indices, F, 1, bits)
        return
    some = torch.empty(S, B, pieces * k, device=pre.device)
    where = torch.empty(S, B, pieces * k, dtype=torch.int32, device=pre.device)
    _launch_select(pre, bias, some, where, F, pieces, bits)
    _launch_select(some, None, values, indices, pieces * k, 1, bits)
    indices.copy_(where.gather(2, indices.long()))


def _launch_select(
    pre: Tensor, bias: Tensor | None, values: Tensor, indices: Tensor, F: int, pieces: int, bits: int
) -> None:
    S, B, _ = pre.shape
    width = F // pieces
    main = 1 << (width.bit_length() - 1)
    rest = triton.next_power_of_2(max(width - main, 16))
    launch = LAUNCH["select"] if main <= 4096 else {"num_warps": 8 if main <= 8192 else 16}
    _select[(S * B * pieces,)](
        pre,
        pre if bias is None else bias,
        values,
        indices,
        B,
        F,
        width,
        pieces,
        values.shape[2] // pieces,
        MAIN=main,
        REST=rest,
        BITS=bits,
        BIASED=bias is not None,
        **launch,
    )
