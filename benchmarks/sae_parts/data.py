"""Vectors with known directions: heavy-tailed odds, exponential sizes, a dense low-rank part, an offset, noise."""

from __future__ import annotations

import torch
from torch import Tensor

D, ATOMS, RANK, ACTIVE = 256, 512, 8, 20


def draw(n: int, n_test: int, seed: int = 987_654_321) -> tuple[Tensor, Tensor, Tensor]:
    """Training vectors (n, D), test vectors (n_test, D) and the planted directions (ATOMS, D)."""
    g = torch.Generator().manual_seed(seed)
    atoms = torch.nn.functional.normalize(torch.randn(ATOMS, D, generator=g), dim=1)
    dense = torch.linalg.qr(torch.randn(D, RANK, generator=g))[0].T
    odds = 1 / torch.arange(10, 10 + ATOMS)
    odds = (odds / odds.sum() * ACTIVE).clamp(max=0.5)
    offset = torch.randn(D, generator=g)
    offset = 5 * offset / offset.norm()

    def some(m: int) -> Tensor:
        on = (torch.rand(m, ATOMS, generator=g) < odds).float()
        size = 0.5 + torch.empty(m, ATOMS).exponential_(2.0, generator=g)
        noise = 0.05 * torch.randn(m, D, generator=g)
        return (on * size) @ atoms + torch.randn(m, RANK, generator=g) @ dense + offset + noise

    return some(n), some(n_test), atoms


def batches(x: Tensor, size: int, steps: int, seed: int) -> list[Tensor]:
    """Rows of each batch, the same for every method: shuffled epochs, the short rest dropped."""
    g = torch.Generator().manual_seed(seed)
    rows: list[Tensor] = []
    while len(rows) < steps:
        order = torch.randperm(len(x), generator=g)
        rows += order[: len(x) // size * size].split(size)
    return rows[:steps]
