"""The control that needs no other weights: any model on cells whose genes are shuffled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from biosae_utils.models.base import FoundationModel, Genes, Tokens
from biosae_utils.models.encoding import cell_rng


def shuffle_genes(tokens: Tokens, special_ids: tuple[int, ...], seed: int) -> Tokens:
    """Permute the gene tokens within each cell; values and special tokens stay where they are.

    What remains is which genes a cell expresses. What goes is their rank (Geneformer) or their value (scGPT).
    """
    ids = tokens.ids.copy()
    gene = ~np.isin(ids, special_ids)
    for start, stop in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True):
        cell = ids[start:stop]
        inside = gene[start:stop]
        cell[inside] = cell_rng(seed, cell).permutation(cell[inside])
    return Tokens(ids, tokens.values, tokens.offsets)


def _of_model(name: str) -> property:
    return property(lambda self: getattr(self.model, name), doc=f"`FoundationModel.{name}` of the model inside.")


class ShuffledGenes:
    """A model that sees each cell's genes in random order.

    Parameters
    ----------
    model : FoundationModel
    seed : int
        The shuffle of a cell depends on this, on `encode`'s seed and on the cell's content, not on where the cell
        stands.
    """

    def __init__(self, model: FoundationModel, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self.info = replace(model.info, variant="shuffled-genes")

    def encode(self, counts: sp.csr_matrix, genes: Genes, *, seed: int = 0) -> Tokens:
        """Official encoding, then the shuffle."""
        return shuffle_genes(self.model.encode(counts, genes, seed=seed), self.info.special_ids, self.seed + seed)

    net, device, dtype = _of_model("net"), _of_model("device"), _of_model("dtype")
    gene_tokens, collate = _of_model("gene_tokens"), _of_model("collate")
    hidden, resume = _of_model("hidden"), _of_model("resume")
    mask, predict, loss = _of_model("mask"), _of_model("predict"), _of_model("loss")
