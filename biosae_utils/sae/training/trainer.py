"""Training one autoencoder, step by step or from an iterator of batches.

The loss is the share of variance left unexplained in the batch (FVU), because inputs are scaled once so that their mean
squared distance from the mean is d_in. That makes learning rates and the clipping threshold mean the same at every
layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.sparse_ops import SquaredError
from biosae_utils.sae.topk import TopKSAE
from biosae_utils.sae_options import SaeOptions

if TYPE_CHECKING:
    import pandas as pd

DIVERGED = 100.0  # predicting the mean has loss 1


@dataclass(frozen=True)
class TrainConfig(SaeOptions):
    """How one SAE is trained: what `SaeOptions` lets one choose, and what stays as it was measured to be best.

    Half the default batch and a third more steps than 600 of 2,048 reach the same held-out FVU with two thirds of the
    work (0.061 at 900 steps, 0.065 at 600, against 0.062; d_in = 192).

    Attributes
    ----------
    groups : tuple of int, optional
        See `TopKSAE`.
    warmup, decay : float
        Shares of the steps over which Adam's learning rate rises linearly to its peak, `lr` or else `default_lr`, and
        falls from it to nothing.
    auxk_alpha : float
        Weight of AuxK: latents that are dead explain what the live ones leave over. 0 switches it off.
    dead_after : int
        A latent is dead when it was silent for this many vectors.
    clip : float
        Largest norm of the gradient of one SAE.
    freeze_decoder : bool
        Control: decoder rows stay the random directions that they start as.
    seed : int
        Of the initial weights and of the order of batches.
    """

    groups: tuple[int, ...] | None = None
    warmup: float = 0.05
    decay: float = 0.2
    auxk_alpha: float = 1 / 32
    dead_after: int = 200_000
    clip: float = 1.0
    freeze_decoder: bool = False
    seed: int = 0

    def peak_lr(self, d_in: int) -> float:
        """Learning rate at its peak for vectors of this width."""
        return default_lr(d_in) if self.lr is None else self.lr

    def lr_factor(self, step: int) -> float:
        """Share of the peak learning rate at `step`, counted from 0."""
        rise = (step + 1) / max(1.0, self.warmup * self.steps)
        fall = (self.steps - step) / max(1.0, self.decay * self.steps)
        return min(rise, 1.0, fall)


def default_lr(d_in: int) -> float:
    """Peak learning rate for a few hundred to a few thousand steps: 0.083 / sqrt(d_in).

    Measured by ``python -m benchmarks.rates`` at d_in = 192 (states of the demo's models), 512, 768 and 1,152 (planted
    directions), 300 to 4,000 steps, 4x and 8x: held-out FVU within 8 % of the best of six rates in all 16 cases, where
    3e-4 is up to three times worse at 500 steps. `biosae sweep` repeats the search on other data.
    """
    return 0.083 / math.sqrt(d_in)


class Diverged(BiosaeError):
    """A loss is not finite, or far above that of predicting the mean."""


def diverged(loss: float, step: int, lr: float, name: str) -> Diverged:
    """What to say of such a loss."""
    return Diverged(
        f"SAE training diverged: loss {loss:.3g} at step {step} with learning rate {lr:g}",
        where=name,
        do=f"train with a lower rate, for instance lr={lr / 3:.1g}; look for outliers in the activations",
    )


@dataclass
class TrainResult:
    """A trained SAE that takes raw vectors, and its history.

    Attributes
    ----------
    sae : TopKSAE
        In evaluation mode; mean and scale of the input are folded in, decoder rows have norm 1.
    history : list of dict
        Columns step, n_vectors, loss, fvu, l0, dead (share of latents silent for `dead_after` vectors), lr.
    config : TrainConfig
    seconds : float
        Wall time of the training loop.
    """

    sae: TopKSAE
    history: list[dict[str, float]]
    config: TrainConfig
    seconds: float = 0.0

    def history_table(self, **columns: Any) -> pd.DataFrame:
        """History as a table, with constant columns such as layer and seed in front."""
        import pandas as pd

        return pd.DataFrame([{**columns, **row} for row in self.history])


def input_moments(x: Tensor) -> tuple[Tensor, float]:
    """Mean (d_in,) of a sample and the scale that makes the mean squared distance from it equal d_in.

    Raises
    ------
    BiosaeError
        If the sample is not finite or does not vary.
    """
    x = x[:: max(1, len(x) // 100_000)].float()
    mean = x.mean(0)
    spread = (x - mean).pow(2).sum(1).mean().item()
    if not math.isfinite(spread):
        raise BiosaeError("Activations hold NaN or infinite values", do="check the model's weights and precision")
    if spread == 0:
        raise BiosaeError("All activations are the same vector; there is nothing to learn", do="check the extraction")
    return mean, math.sqrt(x.shape[1] / spread)


class SAETrainer:
    """Trains one SAE step by step.

    Parameters
    ----------
    sae : TopKSAE
        Freshly built; moved to `device`.
    config : TrainConfig
    mean : Tensor (d_in,)
    scale : float
        From `input_moments`: the decoder bias starts at the mean, inputs are multiplied by the scale.
    name : str
        Said in errors, for instance ``"layer 3, seed 0"``.
    """

    def __init__(
        self,
        sae: TopKSAE,
        config: TrainConfig,
        mean: Tensor,
        scale: float,
        *,
        device: torch.device | str = "cpu",
        name: str = "",
    ) -> None:
        self.sae, self.config, self.name = sae.to(device).train(), config, name
        self.mean, self.scale = mean, float(scale)
        with torch.no_grad():
            sae.b_dec.copy_(mean * self.scale)
        sae.W_dec.requires_grad_(not config.freeze_decoder)
        self.lr = config.peak_lr(sae.d_in)
        self.params = [p for p in sae.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.params, lr=self.lr, fused=sae.b_dec.device.type in ("cpu", "cuda"))
        self.silent = torch.zeros(sae.d_sae, dtype=torch.long, device=sae.b_dec.device)
        self.step_no = 0
        self.history: list[dict[str, float]] = []

    @classmethod
    def from_sample(cls, sample: Tensor, config: TrainConfig, **kwargs: Any) -> SAETrainer:
        """Build SAE and trainer for vectors like those of `sample`, shape (n, d_in)."""
        d_in = sample.shape[1]
        sae = TopKSAE(d_in, config.expansion * d_in, config.k, kind=config.kind, groups=config.groups, seed=config.seed)
        return cls(sae, config, *input_moments(sample), **kwargs)

    # ---- one step --------------------------------------------------------------------------------------------------

    def step(self, x: Tensor) -> float:
        """One update from a batch of raw vectors (n, d_in); returns the loss (FVU up to the noise of the batch)."""
        sae, config = self.sae, self.config
        factor = config.lr_factor(self.step_no)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor
        x = x.to(sae.b_dec.device).float() * self.scale
        values, indices = sae.encode(x)
        reconstructions = sae.decode_prefixes(values, indices) if sae.groups else [sae.decode(values, indices)]
        squares, errors = zip(*(SquaredError.apply(y, x) for y in reconstructions), strict=True)
        loss = sum(squares) / (x.numel() * len(squares))
        total = loss + self._auxk(x, errors[-1])
        total.backward()
        value = loss.item()
        if not (math.isfinite(value) and value < DIVERGED):
            raise diverged(value, self.step_no, self.lr, self.name)
        self._update()
        with torch.no_grad():
            active = values > 0
            hit = torch.zeros(sae.d_sae + 1, dtype=torch.long, device=indices.device)
            hit.scatter_(0, torch.where(active, indices, sae.d_sae).view(-1), 1)
            self.silent.add_(len(x)).mul_(1 - hit[:-1])
            if sae.kind == "batchtopk" and active.any():
                floor = values[active].min()
                sae.threshold.copy_(floor if self.step_no == 0 else torch.lerp(sae.threshold, floor, 0.1))
        self.step_no += 1
        if self.step_no % max(1, config.steps // 60) == 0 or self.step_no in (1, config.steps):
            self._log(x, errors[-1], value, active, factor)
        return value

    def _auxk(self, x: Tensor, error: Tensor) -> Tensor | float:
        """Loss of the dead latents' own reconstruction of what is left over, ``-error``; 0 when none is dead.

        At most d_in / 2 of them take part, in turns; each vector uses the k of them that suit it best, not cut at zero,
        so that a latent far below zero is pulled back as well (measured on planted ones at -5: 4 of 5 came back,
        against 1 of 12 with a ReLU and half with d_in / 2 a vector).
        """
        sae, alpha = self.sae, self.config.auxk_alpha
        dead = (self.silent >= self.config.dead_after).nonzero().squeeze(1) if alpha else self.silent[:0]
        if len(dead) == 0:
            return 0.0
        most = max(1, sae.d_in // 2)
        weight = alpha * min(1.0, len(dead) / most)
        if len(dead) > most:
            dead = dead.roll(-(self.step_no * most) % len(dead))[:most]
        pre = (x - sae.b_dec.detach()) @ sae.W_enc.t()[dead].t() + sae.b_enc[dead]
        top = pre.topk(min(sae.k, len(dead)), dim=1, sorted=False)
        code = torch.zeros_like(pre).scatter(1, top.indices, top.values)
        left = (error + code @ sae.W_dec[dead]).pow(2).sum()
        return weight * left / error.pow(2).sum().clamp_min(1e-12)

    @torch.no_grad()
    def _update(self) -> None:
        W_dec = self.sae.W_dec
        if W_dec.grad is not None:  # a change along a row would be undone by the normalisation
            W_dec.grad.addcmul_(torch.linalg.vecdot(W_dec.grad, W_dec)[:, None], W_dec, value=-1)
        nn.utils.clip_grad_norm_(self.params, self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if W_dec.requires_grad:
            W_dec.div_(W_dec.norm(dim=1, keepdim=True).clamp_min(1e-12))

    def _log(self, x: Tensor, error: Tensor, loss: float, active: Tensor, factor: float) -> None:
        fvu = error.detach().pow(2).sum() / (x - x.mean(0)).pow(2).sum().clamp_min(1e-12)
        self.history.append(
            {
                "step": self.step_no,
                "n_vectors": self.step_no * len(x),
                "loss": loss,
                "fvu": fvu.item(),
                "l0": active.sum(1).float().mean().item(),
                "dead": (self.silent >= self.config.dead_after).float().mean().item(),
                "lr": self.lr * factor,
            }
        )

    # ---- many steps ------------------------------------------------------------------------------------------------

    def fit(self, batches: Iterable[Tensor]) -> SAETrainer:
        """Train until `config.steps` steps are done or the batches end."""
        for x in batches:
            if self.step_no >= self.config.steps:
                break
            self.step(x)
        return self

    def result(self, seconds: float = 0.0) -> TrainResult:
        """The trained SAE with input mean and scale folded in; ends the training."""
        sae = self.sae.fold_scale(self.scale).eval().requires_grad_(False)
        return TrainResult(sae, self.history, self.config, seconds)

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs (see `checkpoints`)."""
        return {
            "sae": self.sae.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "silent": self.silent,
            "step_no": self.step_no,
            "history": self.history,
        }

    def load_state(self, state: dict[str, Any]) -> SAETrainer:
        """Go on from a state of the same config and sample; later steps equal an uninterrupted run's bit for bit."""
        self.sae.load_state_dict(state["sae"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.silent.copy_(state["silent"])
        self.step_no, self.history = state["step_no"], state["history"]
        return self
