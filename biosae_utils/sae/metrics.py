"""How good an SAE is: variance, sparsity, dead latents, and fidelity to the model's own objective.

Pure functions of weights and held-out vectors. PCA controls and intervals over cells are in `analysis.geometry`,
one-to-one matching of dictionaries is in `analysis.matching`; both take what these functions return.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.intervals import Interval, bootstrap_ratio
from biosae_utils.models.base import Batch, FoundationModel
from biosae_utils.sae.topk import TopKSAE

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 8_192  # vectors encoded at once


@dataclass(frozen=True)
class Quality:
    """What an SAE does to vectors that it was not trained on.

    Attributes
    ----------
    residual : ndarray of float64, shape (n,)
        Squared error of each reconstruction.
    spread : float
        Summed squared distance of the vectors from their mean.
    n_fired : ndarray of int64, shape (d_sae,)
        Vectors on which each latent is active (value above 0).
    n : int
        Vectors seen: the window behind `dead`.
    """

    residual: np.ndarray
    spread: float
    n_fired: np.ndarray
    n: int

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained, about the mean."""
        return float(self.residual.sum() / self.spread)

    @property
    def explained(self) -> float:
        """Explained variance about the mean."""
        return 1 - self.fvu

    @property
    def l0(self) -> float:
        """Mean number of active latents a vector."""
        return float(self.n_fired.sum() / self.n)

    @property
    def dead(self) -> float:
        """Share of latents that never fired on these `n` vectors."""
        return float((self.n_fired == 0).mean())

    @property
    def density(self) -> np.ndarray:
        """Firing frequency of each latent, shape (d_sae,)."""
        return self.n_fired / self.n


@torch.inference_mode()
def evaluate(sae: TopKSAE, x: np.ndarray | Tensor) -> Quality:
    """Reconstruct vectors (n, d_in) and count firings.

    Raises
    ------
    BiosaeError
        If there are fewer than two vectors or they do not vary.
    """
    if len(x) < 2:
        raise BiosaeError("At least two vectors are needed to measure explained variance", where=f"{len(x)} vectors")
    device = sae.b_dec.device
    n_fired = torch.zeros(sae.d_sae, dtype=torch.long, device=device)
    residual, total, squares = [], torch.zeros(sae.d_in, dtype=torch.float64, device=device), 0.0
    for block in _blocks(x, device):
        values, indices = sae.encode(block)
        residual.append((block - sae.decode(values, indices)).pow(2).sum(1).double().cpu().numpy())
        n_fired += torch.bincount(indices[values > 0], minlength=sae.d_sae)
        centred = block - sae.b_dec  # sums about a vector near the mean keep their digits
        total += centred.sum(0, dtype=torch.float64)
        squares += centred.square().sum(dtype=torch.float64).item()
    spread = squares - total.pow(2).sum().item() / len(x)
    if not spread > 0:
        raise BiosaeError("The vectors do not vary, or are not finite", where=f"{len(x)} vectors")
    return Quality(np.concatenate(residual), spread, n_fired.cpu().numpy(), len(x))


def density_histogram(quality: Quality, n_bins: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Histogram of log10 firing frequency of the latents that fired: (counts (n_bins,), edges (n_bins + 1,))."""
    lowest = np.log10(1 / quality.n)
    return np.histogram(np.log10(quality.density[quality.n_fired > 0]), bins=n_bins, range=(lowest, 0.0))


# ---- fidelity ----------------------------------------------------------------------------------------------------


@torch.inference_mode()
def fidelity(
    model: FoundationModel,
    saes: Mapping[int, Mapping[str, TopKSAE]],
    batches: Iterable[Batch],
    *,
    rate: float = 0.15,
    both: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Masked-gene loss of each cell with a layer clean, replaced by its SAE's reconstruction, and replaced by the mean.

    A share of the genes is hidden, the model runs to layer l, the state of gene positions is edited, the remaining
    blocks run, and the model's own loss is read at the hidden genes.

    Parameters
    ----------
    model : FoundationModel
    saes : mapping of layer to mapping of name to TopKSAE
        All SAEs of a layer are spliced into the same masked cells, so that a control differs in the SAE alone. The mean
        that ablation writes is that of the batch's own clean states at the edited positions.
    batches : iterable of Batch
        Of held-out cells.
    rate : float
        Share of gene tokens hidden.
    both : bool
        Replace the states of ``all`` genes as well, hidden ones included; twice the work.
    seed : int

    Returns
    -------
    DataFrame
        One row per (layer, sae, where, cell with a hidden gene): these, n (hidden genes), and the mean losses clean,
        spliced and ablated.
        ``where`` says what is replaced: the states of ``visible`` genes, the kind that an SAE was trained on and that
        later blocks look up; at the last layer, which nothing reads, those of ``all`` genes, hidden ones included.
    """
    import pandas as pd

    rows: list[pd.DataFrame] = []
    last = model.info.n_layers - 1
    for number, batch in enumerate(batches):
        masked, positions = model.mask(batch, rate, seed=seed + number)
        states = model.hidden(masked, sorted({*saes, last}))
        hidden_gene = torch.zeros_like(batch.is_gene)
        hidden_gene[positions[:, 0], positions[:, 1]] = True
        owner = positions[:, 0].cpu().numpy()
        count = np.bincount(owner, minlength=len(batch.cells))

        def mean_loss(final: Tensor, masked=masked, positions=positions, owner=owner, count=count) -> np.ndarray:
            loss = model.loss(final, masked, positions).float().cpu().numpy()
            return np.bincount(owner, loss, minlength=len(count)) / count.clip(1)

        def edited_loss(
            layer: int, where: Tensor, new: Tensor, states=states, masked=masked, positions=positions
        ) -> np.ndarray:
            edit = states[layer].clone()
            edit[where] = new.to(edit.dtype)
            return mean_loss(model.resume(edit, layer, masked, at=positions))

        clean = mean_loss(states[last])
        for layer, named in saes.items():
            for where, edited in (("all", batch.is_gene), ("visible", batch.is_gene & ~hidden_gene)):
                if (where == "visible") == (layer == last) and not (both and where == "all"):
                    continue
                vectors = states[layer][edited].float()
                ablated = edited_loss(layer, edited, vectors.mean(0))
                for name, sae in named.items():
                    columns = {"layer": layer, "sae": name, "where": where, "cell": batch.cells, "n": count}
                    losses = {"clean": clean, "spliced": edited_loss(layer, edited, sae(vectors)), "ablated": ablated}
                    rows.append(pd.DataFrame({**columns, **losses}))
    table = pd.concat(rows, ignore_index=True)
    return table[table.n > 0].reset_index(drop=True)


def recovered(losses: pd.DataFrame, *, n_boot: int = 1000, seed: int = 0) -> Interval:
    """Share of the loss between mean-ablation (0) and clean (1) that the SAE recovers, with a 95 % interval over cells.

    Parameters
    ----------
    losses : DataFrame
        Rows of `fidelity` for one layer and one ``where``; every cell counts once.

    Returns
    -------
    Interval
        Over cells; NaN when ablation does not raise the loss, for then there is nothing to recover.
    """
    gain = (losses["ablated"] - losses["spliced"]).to_numpy(np.float64)
    room = (losses["ablated"] - losses["clean"]).to_numpy(np.float64)
    if room.mean() <= 0:
        return Interval(np.nan, np.nan, np.nan, over="cells")
    return bootstrap_ratio(gain, room, n_boot=n_boot, seed=seed, over="cells")


def _blocks(x: np.ndarray | Tensor, device: torch.device) -> Iterator[Tensor]:
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        block = torch.from_numpy(np.array(block)) if isinstance(block, np.ndarray) else block
        yield block.to(device).float()
