"""All layers and seeds of a model as one stacked autoencoder on a GPU, with a hand-written backward pass.

One SAE of this size keeps a large GPU busy for a fraction of its time; eighteen of them in the same launches do not.
The dense code (rows x d_sae) exists only as pre-activations; gradients are formed latent by latent over the rows on
which it was chosen. There is no wait for the device within a step: losses stay there until they are looked at every
few steps.

The arithmetic is that of `trainer.SAETrainer` for ``kind="topk"``, with products in bf16 and weights, moments and
sums in float32. On a device without Triton the same steps run as plain PyTorch, slower; tests compare all three.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.topk import TopKSAE
from biosae_utils.sae.training.ops import Ops, adam_, best_ops
from biosae_utils.sae.training.trainer import DIVERGED, TrainConfig, TrainResult, diverged

LOOK = 16  # steps between two looks at the losses and the dead latents: the only waits for the device


class StackedTrainer:
    """Trains S SAEs of one shape at once.

    Parameters
    ----------
    d_in : int
    config : TrainConfig
        ``kind="topk"``; its seed is not used.
    seeds : sequence of int, length S
        Initial weights of each SAE.
    means : Tensor (S, d_in)
    scales : Tensor (S,)
        From `input_moments`.
    names : sequence of str, length S
        Said in errors.
    ops : Ops, optional
    """

    def __init__(
        self,
        d_in: int,
        config: TrainConfig,
        seeds: Sequence[int],
        means: Tensor,
        scales: Tensor,
        names: Sequence[str],
        *,
        device: torch.device | str = "cuda",
        ops: Ops | None = None,
    ) -> None:
        if config.kind != "topk":
            raise BiosaeError("Only TopK SAEs train stacked", where=f"kind={config.kind}", do="use train_many")
        self.config, self.names, self.device = config, list(names), torch.device(device)
        self.ops = ops or best_ops(self.device)
        self.low = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        S, F = len(seeds), config.expansion * d_in
        self.S, self.F, self.d, self.k = S, F, d_in, config.k
        self.lr = config.peak_lr(d_in)
        initial = {seed: TopKSAE(d_in, F, config.k, seed=seed).W_dec.detach().to(self.device) for seed in set(seeds)}
        rows = torch.stack([initial[seed] for seed in seeds])
        self.scale = scales.to(self.device, torch.float32)
        self.weights = {
            "W_enc": rows.clone(),  # (S, F, d): one latent a row, as in TopKSAE's memory
            "W_dec": rows,
            "b_enc": torch.zeros(S, F, device=self.device),
            "b_dec": means.to(self.device, torch.float32) * self.scale[:, None],
        }
        self.moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in self.weights.items()}
        self.copies = {name: self.weights[name].to(self.low) for name in ("W_enc", "W_dec")}
        self.gradient = {name: torch.empty_like(copy) for name, copy in self.copies.items()}
        self.silent = torch.zeros(S, F, dtype=torch.int32, device=self.device)
        self.dead: tuple[Tensor, Tensor, Tensor] | None = None
        self.step_no = 0
        self.history: list[list[dict[str, float]]] = [[] for _ in range(S)]
        self._waiting: list[tuple[int, int, Tensor]] = []
        self._buffers: dict[str, Tensor] = {}

    # ---- one step --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, data: Tensor, rows: Tensor, mark: Any = None) -> None:
        """One update of every SAE.

        Parameters
        ----------
        data : Tensor (N, d_in)
            Raw vectors of all samples, one after another, on the device.
        rows : Tensor of int64 (S, B)
            Rows of `data` that each SAE sees.
        mark : callable, optional
            Called with the name of each part when it has been launched (for timing).
        """
        mark, rows = mark or (lambda name: None), rows.contiguous()
        w, ops, B = self.weights, self.ops, rows.shape[1]
        buffers = self._room(B)
        xc, values, indices = buffers["xc"], buffers["values"], buffers["indices"]
        error, to_values, squares = buffers["error"], buffers["to_values"], buffers["squares"]
        factor = 2.0 / (B * self.d)
        rate = self.lr * self.config.lr_factor(self.step_no)
        self.step_no += 1

        mark("start")
        ops.centre(data, rows, self.scale, w["b_dec"], xc)
        mark("batch")
        torch.bmm(xc, self.copies["W_enc"].transpose(1, 2), out=buffers["pre"])
        mark("encode")
        ops.select(buffers["pre"], w["b_enc"], values, indices)
        mark("top-k")
        ops.decode(xc, self.copies["W_dec"], values, indices, error, to_values, squares, factor)
        mark("decode")
        ops.gradients(
            values,
            indices,
            to_values,
            error,
            xc,
            self.gradient["W_dec"],
            self.gradient["W_enc"],
            buffers["to_bias"],
            factor,
        )
        to_b_dec = error.sum(1, dtype=torch.float32) * factor
        to_b_dec -= torch.bmm(buffers["to_bias"].to(self.low).unsqueeze(1), self.copies["W_enc"]).squeeze(1).float()
        mark("gradients")
        self._auxk(xc, error, squares, buffers["to_bias"])
        if self.config.freeze_decoder:
            self.gradient["W_dec"].zero_()
        mark("AuxK")
        parts = ops.norms(w["W_dec"], self.gradient["W_dec"], self.gradient["W_enc"])
        size = (parts[..., 1].sum(1) + buffers["to_bias"].pow(2).sum(1) + to_b_dec.pow(2).sum(1)).sqrt()
        clip = (self.config.clip / (size + 1e-6)).clamp(max=1.0)
        mark("norms")
        for name in ("W_enc",) if self.config.freeze_decoder else ("W_enc", "W_dec"):
            ops.adam(
                w[name],
                self.copies[name],
                *self.moments[name],
                self.gradient[name],
                parts,
                clip,
                rate,
                self.step_no,
                unit=name == "W_dec",
            )
        for name, g in (("b_enc", buffers["to_bias"]), ("b_dec", to_b_dec)):
            adam_(w[name], *self.moments[name], g * clip[:, None], rate, self.step_no)
        mark("adam")
        self._count(values, indices, B)
        self._remember(xc, squares, values, B)
        mark("upkeep")

    def _room(self, B: int) -> dict[str, Tensor]:
        """Work space of a step with B rows an SAE; allocated once."""
        if self._buffers.get("xc", torch.empty(0, 0)).shape[1] != B:
            S, F, d, k, on = self.S, self.F, self.d, self.k, self.device
            self._buffers = {
                "xc": torch.empty(S, B, d, dtype=self.low, device=on),
                "pre": torch.empty(S, B, F, dtype=self.low, device=on),
                "values": torch.empty(S, B, k, device=on),
                "indices": torch.empty(S, B, k, dtype=torch.int32, device=on),
                "error": torch.empty(S, B, d, dtype=self.low, device=on),
                "to_values": torch.empty(S, B, k, device=on),
                "squares": torch.empty(S, B, device=on),
                "to_bias": torch.empty(S, F, device=on),
                "base": torch.arange(S, device=on).view(S, 1, 1) * F,
                "hit": torch.empty(S * F + 1, dtype=torch.int32, device=on),
            }
        return self._buffers

    def _count(self, values: Tensor, indices: Tensor, B: int) -> None:
        """Vectors since each latent was last active."""
        flat = torch.where(values > 0, indices + self._buffers["base"], self.S * self.F)
        hit = self._buffers["hit"].zero_()
        hit.scatter_(0, flat.view(-1), 1)
        self.silent.add_(B).mul_(1 - hit[:-1].view(self.S, self.F))

    def _auxk(self, xc: Tensor, error: Tensor, squares: Tensor, to_bias: Tensor) -> None:
        """Add the gradient of the dead latents' own reconstruction of what is left over (see `SAETrainer`).

        The same four products as for the live ones, over a table of the dead. Latents far below zero take part, and
        `select` only knows positive numbers: all are raised above zero for it.
        """
        if self.dead is None:
            return
        index, real, weight = self.dead  # (S, m) dead latents of each SAE, padded; which are real; (S,)
        (S, B, d), m = xc.shape, index.shape[1]
        flat = (index + self._buffers["base"].view(S, 1)).view(-1)
        encoder, decoder = (self.copies[n].view(-1, d).index_select(0, flat).view(S, m, d) for n in ("W_enc", "W_dec"))
        bias = self.weights["b_enc"].view(-1).index_select(0, flat).view(S, m)
        pre = torch.bmm(xc, encoder.transpose(1, 2))
        rise = 1.0 - pre.amin((1, 2)).float() - bias.amin(1)
        values = torch.empty(S, B, min(self.k, m), device=self.device)
        indices = torch.empty_like(values, dtype=torch.int32)
        self.ops.select(pre, (bias + rise[:, None]).masked_fill(~real, -torch.inf), values, indices, bits=24)
        values = torch.where(values > 0, values - rise.view(S, 1, 1), 0.0)

        left, to_values, unused = torch.empty_like(error), torch.empty_like(values), torch.empty_like(squares)
        self.ops.decode(-error, decoder, values, indices, left, to_values, unused, 1.0)
        share = 2 * weight / squares.sum(1).clamp_min(1e-12)  # of the loss left² / error²
        to_values *= share.view(S, 1, 1)
        to_dec, to_enc, extra = torch.empty_like(decoder), torch.empty_like(encoder), torch.empty_like(bias)
        self.ops.gradients(values, indices, to_values, left, xc, to_dec, to_enc, extra, 1.0)
        for gradient, found in (("W_dec", to_dec * share.view(S, 1, 1)), ("W_enc", to_enc)):
            self.gradient[gradient].view(-1, d).index_add_(0, flat, found.view(-1, d).to(self.low))
        to_bias.view(-1).index_add_(0, flat, extra.view(-1))

    # ---- looks -----------------------------------------------------------------------------------------------------

    def _remember(self, xc: Tensor, squares: Tensor, values: Tensor, B: int) -> None:
        last = self.step_no == self.config.steps
        if last or self.step_no == 1 or self.step_no % max(1, self.config.steps // 60) == 0:
            centred = xc.float()
            spread = centred.pow(2).sum((1, 2)) - centred.sum(1).pow(2).sum(1) / B
            loss = squares.sum(1)
            active = (values > 0).sum((1, 2)) / B
            dead = (self.silent >= self.config.dead_after).float().mean(1)
            row = torch.stack([loss / (B * self.d), loss / spread, active, dead])
            self._waiting.append((self.step_no, B, row))
        if last or self.step_no % LOOK == 0:
            self.look(squares, B)

    def look(self, squares: Tensor, B: int) -> None:
        """Wait for the device: check the losses, note the history, list the dead latents.

        Raises
        ------
        BiosaeError
            If a loss is not finite or far above that of predicting the mean.
        """
        loss = (squares.sum(1) / (B * self.d)).cpu()
        for s in (~((loss < DIVERGED) & loss.isfinite())).nonzero().flatten().tolist():
            raise diverged(loss[s].item(), self.step_no - 1, self.lr, self.names[s])
        for step, size, row in self._waiting:
            for s, (value, fvu, l0, dead) in enumerate(row.t().tolist()):
                rate = self.lr * self.config.lr_factor(step - 1)
                line = {"loss": value, "fvu": fvu, "l0": l0, "dead": dead, "lr": rate}
                self.history[s].append({"step": step, "n_vectors": step * size, **line})
        self._waiting.clear()
        if self.config.auxk_alpha:
            self.dead = self._find_dead()

    def _find_dead(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Dead latents that take part in AuxK until the next look: at most d_in / 2 of each SAE, in turns.

        Always d_in / 2 places, however few are dead: kernels are compiled for one width.
        """
        dead = self.silent >= self.config.dead_after
        count, most = dead.sum(1), max(1, self.d // 2)
        turn = (dead.cumsum(1) - 1 - self.step_no * most) % count.clamp(min=1)[:, None]
        chosen = dead & (turn < most)
        if not chosen.any():
            return None
        order = chosen.to(torch.int8).topk(min(most, self.F), dim=1)
        return order.indices, order.values.bool(), self.config.auxk_alpha * (count / most).clamp(max=1.0)

    def results(self, seeds: Sequence[int], seconds: float) -> list[TrainResult]:
        """One SAE of raw vectors for each of the stack."""
        out, blank = [], TopKSAE(self.d, self.F, self.k)
        for s in range(self.S):
            sae = copy.deepcopy(blank)
            for name, value in self.weights.items():
                own = value[s].detach().to("cpu")
                getattr(sae, name).data.copy_(own.t() if name == "W_enc" else own)
            sae.fold_scale(self.scale[s].item()).eval().requires_grad_(False)
            own_config = replace(self.config, seed=seeds[s])
            out.append(TrainResult(sae.to(self.device), self.history[s], own_config, seconds))
        return out
