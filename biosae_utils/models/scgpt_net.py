"""The network of scGPT in plain PyTorch, its parts under the names of the published checkpoints."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_VALUE = 512
BATCH_NORM_EPS = 6.1e-5  # of checkpoints that normalise the sum of both embeddings (keys bn.*), as in their own code


class Attention(nn.Module):
    """Multi-head self-attention with the parameter names of ``nn.MultiheadAttention``."""

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * d_model, d_model))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * d_model))
        self.out_proj = nn.Linear(d_model, d_model)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, attend: Tensor | None, among: Tensor | None = None) -> Tensor:
        """States (B, R, d_model) that attend to one another, or to those of `among` (B, T, d_model)."""
        if among is None:
            q, k, v = self._project(x, slice(None))
        else:
            d = x.shape[-1]
            (q,), (k, v) = self._project(x, slice(d)), self._project(among, slice(d, None))
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attend, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _project(self, x: Tensor, rows: slice) -> Tensor:
        """Queries, keys and values, or those that some rows of the weights give, each (B, n_heads, T, width)."""
        out = F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        width = self.out_proj.in_features // self.n_heads
        return out.unflatten(-1, (-1, self.n_heads, width)).permute(2, 0, 3, 1, 4)


class Block(nn.Module):
    """A post-norm transformer block with the parameter names of ``nn.TransformerEncoderLayer``."""

    def __init__(self, d_model: int, n_heads: int, d_hid: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(d_model, n_heads, dropout)
        self.linear1, self.linear2 = nn.Linear(d_model, d_hid), nn.Linear(d_hid, d_model)
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, attend: Tensor | None, among: Tensor | None = None) -> Tensor:
        """States of shape (B, R, d_model); with `among` (B, T, d_model), which holds them, of some positions only."""
        x = self.norm1(x + self.dropout(self.self_attn(x, attend, among)))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x))))))


class GeneEncoder(nn.Module):
    """Normalised gene embedding."""

    def __init__(self, n_vocab: int, d_model: int, pad_id: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_vocab, d_model, padding_idx=pad_id)
        self.enc_norm = nn.LayerNorm(d_model)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.enc_norm(self.embedding(ids))


class ValueEncoder(nn.Module):
    """Two-layer embedding of one binned value."""

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(1, d_model), nn.Linear(d_model, d_model)
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        x = values.unsqueeze(-1).clamp(max=MAX_VALUE).to(self.linear1.weight.dtype)
        return self.dropout(self.norm(self.linear2(F.relu(self.linear1(x)))))


class ScGPTNet(nn.Module):
    """The parts of scGPT that a cell passes through, under their official names."""

    def __init__(
        self,
        n_vocab: int,
        d_model: int,
        n_heads: int,
        d_hid: int,
        n_layers: int,
        pad_id: int,
        dropout: float,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = GeneEncoder(n_vocab, d_model, pad_id)
        self.value_encoder = ValueEncoder(d_model, dropout)
        self.bn = nn.BatchNorm1d(d_model, eps=BATCH_NORM_EPS) if batch_norm else None
        self.transformer_encoder = nn.Module()
        self.transformer_encoder.layers = nn.ModuleList(
            [Block(d_model, n_heads, d_hid, dropout) for _ in range(n_layers)]
        )
        self.decoder = nn.Module()
        self.decoder.fc = nn.Sequential(
            nn.Linear(d_model, d_model),
            nn.LeakyReLU(),
            nn.Linear(d_model, d_model),
            nn.LeakyReLU(),
            nn.Linear(d_model, 1),
        )
