"""A true foundation model in miniature: BERT with random weights behind the same protocol as the real ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from transformers import BertConfig, BertForMaskedLM

from biosae_utils.cells.genes import Genes
from biosae_utils.models.base import ModelInfo, Tokens
from biosae_utils.models.blocks import BlockModel
from biosae_utils.sae.topk import TopKSAE

N_GENES, D, LAYERS = 60, 16, 3


class TinyBert(BlockModel):
    """Tokens are gene columns shifted by four special ids, ordered by count; ``<cls>`` before, ``<eos>`` after."""

    def __init__(self) -> None:
        config = BertConfig(
            vocab_size=N_GENES + 4,
            hidden_size=D,
            num_hidden_layers=LAYERS,
            num_attention_heads=2,
            intermediate_size=2 * D,
            max_position_embeddings=N_GENES + 2,
        )
        torch.manual_seed(0)
        net = BertForMaskedLM(config).eval().requires_grad_(False)
        vocab = np.array(["<pad>", "<mask>", "<cls>", "<eos>", *(f"G{i}" for i in range(N_GENES))])
        info = ModelInfo("tiny-bert", "tiny", "trained", LAYERS, D, N_GENES + 2, vocab, vocab, (0, 1, 2, 3), sha256="0")
        super().__init__(net, info, pad_id=0)

    def encode(self, counts: sp.csr_matrix, genes: Genes, *, seed: int = 0) -> Tokens:
        cells = []
        for row in counts.toarray():
            order = np.argsort(-row, kind="stable")
            cells.append(np.concatenate([[2], order[row[order] > 0] + 4, [3]]).astype(np.int32))
        offsets = np.concatenate([[0], np.cumsum([len(c) for c in cells])]).astype(np.int64)
        return Tokens(np.concatenate(cells), None, offsets)

    def embed(self, batch):
        return self.net.bert.embeddings(batch.ids)

    def block(self, layer, state, attend):
        out = self.net.bert.encoder.layer[layer](state, attention_mask=attend)
        return out[0] if isinstance(out, tuple) else out

    def hide(self, batch, chosen):
        return batch.ids.masked_fill(chosen, 1), None

    def predict(self, final, positions):
        return self.net.cls(final[positions[:, 0], positions[:, 1]])

    def loss(self, final, batch, positions):
        wanted = batch.targets["ids"][positions[:, 0], positions[:, 1]]
        return torch.nn.functional.cross_entropy(self.predict(final, positions), wanted, reduction="none")


class ArrayCells:
    """Counts in memory, read like a file; remembers how many cells each read asked for."""

    def __init__(self, counts: sp.csr_matrix) -> None:
        names = np.array([f"G{i}" for i in range(counts.shape[1])])
        self.counts, self.genes, self.asked = counts, Genes(names, names), []

    def read(self, rows: np.ndarray) -> sp.csr_matrix:
        self.asked.append(len(rows))
        return self.counts[rows]


@pytest.fixture(scope="session")
def tiny_model() -> TinyBert:
    return TinyBert()


@pytest.fixture(scope="session")
def tiny_cells() -> ArrayCells:
    """40 cells of very different sizes; cell 7 is empty."""
    rng = np.random.default_rng(1)
    rate = rng.uniform(0.1, 1.5, (40, 1)) * rng.uniform(0.2, 1.0, N_GENES)
    counts = rng.poisson(rate)
    counts[7] = 0
    return ArrayCells(sp.csr_matrix(counts.astype(np.float32)))


@pytest.fixture(scope="session")
def tiny_tokens(tiny_model, tiny_cells) -> Tokens:
    return tiny_model.encode(tiny_cells.counts, tiny_cells.genes)


@pytest.fixture(scope="session")
def tiny_saes() -> dict[int, TopKSAE]:
    return {layer: TopKSAE(D, 4 * D, 4, seed=layer).requires_grad_(False) for layer in range(LAYERS)}


@pytest.fixture(scope="session")
def dense(tiny_model, tiny_tokens) -> dict[int, np.ndarray]:
    """All hidden states by the obvious loop: one cell at a time, special tokens cut off by hand."""
    out: dict[int, list[np.ndarray]] = {layer: [] for layer in range(tiny_model.info.n_layers)}
    with torch.inference_mode():
        for cell in range(tiny_tokens.n_cells):
            states = tiny_model.hidden(tiny_model.collate(tiny_tokens, [cell]))
            for layer, state in states.items():
                out[layer].append(state[0, 1 : int(tiny_tokens.lengths[cell]) - 1].numpy())
    return {layer: np.concatenate(states) for layer, states in out.items()}
