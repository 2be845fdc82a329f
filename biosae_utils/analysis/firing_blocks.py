"""Firing of latents on genes in blocks of cells: what lists, shares of variance and their jackknife come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from biosae_utils.analysis.catalogue import (
    N_BLOCKS,
    GeneFiring,
    explained_share,
    firing_by_block,
    squares_by_block,
    total,
)
from biosae_utils.sae.codes import CodeStore


@dataclass(frozen=True)
class FiringBlocks:
    """Where latents fire, gene by gene, in each block of cells.

    Attributes
    ----------
    parts : list of GeneFiring
        One a block: `n_training` blocks of training cells, then the held-out cells where there are some.
    squares : ndarray, shape (n_blocks, d_sae)
        Sum of squared activations.
    n_training : int
    """

    parts: list[GeneFiring]
    squares: np.ndarray
    n_training: int = N_BLOCKS

    @classmethod
    def of(cls, store: CodeStore, gene: np.ndarray, block: np.ndarray, n_genes: int) -> FiringBlocks:
        """Of codes, from gene and block (`catalogue.deal_cells`) of each position, both (N,)."""
        return cls(firing_by_block(store, gene, block, n_genes), squares_by_block(store, block))

    @cached_property
    def training(self) -> GeneFiring:
        """Firing in training cells."""
        return total(self.parts[: self.n_training])

    @property
    def heldout(self) -> GeneFiring | None:
        """Firing in held-out cells, where there are some."""
        return self.parts[self.n_training] if len(self.parts) > self.n_training else None

    @cached_property
    def everywhere(self) -> GeneFiring:
        """Firing in all cells."""
        return self.training if self.heldout is None else self.training + self.heldout

    def training_without_each(self) -> list[GeneFiring]:
        """Firing in training cells without one block of them, for each block."""
        return [self.training.minus(part) for part in self.parts[: self.n_training]]

    def gene_share(self) -> np.ndarray:
        """Share of the variance of each latent that gene identity explains in all cells, shape (d_sae,)."""
        return explained_share(self.everywhere.sums, self.everywhere.positions, self.squares.sum(axis=0))

    def gene_share_without_each(self) -> np.ndarray:
        """The same without one block of training cells, for each block, shape (n_training, d_sae)."""
        squares, out = self.squares.sum(axis=0), []
        for part, own in zip(self.parts[: self.n_training], self.squares, strict=False):
            rest = self.everywhere.minus(part)
            out.append(explained_share(rest.sums, rest.positions, squares - own))
        return np.array(out)
