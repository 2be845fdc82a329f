"""The published trainer, written naively from its description: the reference that every speed is a multiple of.

Linear encoder and decoder with Kaiming initialisation, no input bias, top-k then ReLU scattered into a dense code,
plain mean squared error, Adam at one rate. After each step the rows of the (d_in, d_sae) decoder are normalised, which
is the wrong axis. Batches are gathered from a NumPy array and sent to the device one by one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NaiveSAE(nn.Module):
    """Dense in every step; takes centred vectors."""

    def __init__(self, d_in: int, d_sae: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.W_enc, self.W_dec = nn.Linear(d_in, d_sae), nn.Linear(d_sae, d_in)
        nn.init.kaiming_uniform_(self.W_enc.weight, nonlinearity="relu")
        nn.init.kaiming_uniform_(self.W_dec.weight, nonlinearity="linear")
        nn.init.zeros_(self.W_enc.bias)
        nn.init.zeros_(self.W_dec.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pre = self.W_enc(x)
        values, indices = torch.topk(pre, self.k, dim=-1)
        code = torch.zeros_like(pre).scatter_(-1, indices, F.relu(values))
        return self.W_dec(code), code


class NaiveTrainer:
    """One Adam step a call, from a NumPy array of centred vectors."""

    def __init__(self, d_in: int, d_sae: int, k: int, *, lr: float, device: torch.device, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.sae, self.device = NaiveSAE(d_in, d_sae, k).to(device), device
        self.optimizer = torch.optim.Adam(self.sae.parameters(), lr=lr)

    def step(self, data: np.ndarray, rows: np.ndarray) -> None:
        x = torch.tensor(data[rows], dtype=torch.float32).to(self.device)
        y, _ = self.sae(x)
        loss = F.mse_loss(y, x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.sae.W_dec.weight.data = F.normalize(self.sae.W_dec.weight.data, dim=1)
