"""All layers and seeds of a model as one stacked autoencoder on a GPU, with a hand-written backward pass.

One SAE of this size keeps a large GPU busy for a fraction of its time; eighteen of them in the same launches do not.
The dense code (rows x d_sae) exists only as pre-activations; gradients are formed latent by latent over the rows on
which it was chosen. There is no wait for the device within a step: losses stay there until they are looked at every
few steps.

The arithmetic is that of `trainer.SAETrainer` for ``kind="topk"``, with products in bf16 and weights, moments and
sums in float32. On a device without Triton the same steps run as plain PyTorch, slower; tests compare all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.ops import Ops, adam_, best_ops
from biosae_utils.sae.topk import TopKSAE
from biosae_utils.sae.trainer import DIVERGED, TrainConfig, TrainResult, diverged

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
        rows = torch.stack([TopKSAE(d_in, F, config.k, seed=seed).W_dec.detach() for seed in seeds]).to(self.device)
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
        self._auxk(xc, error, buffers["to_bias"])
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

    def _auxk(self, xc: Tensor, error: Tensor, to_bias: Tensor) -> None:
        """Add the gradient of the dead latents' own reconstruction of what is left over (see `SAETrainer`)."""
        if self.dead is None:
            return
        index, real, weight = self.dead  # (S, m) dead latents of each SAE, padded; which are real; (S,)
        owner = torch.arange(self.S, device=self.device)[:, None]
        with torch.enable_grad():
            encoder, decoder, bias = (
                self.weights[name][owner, index].to(dtype).requires_grad_()
                for name, dtype in (("W_enc", self.low), ("W_dec", self.low), ("b_enc", torch.float32))
            )
            pre = torch.bmm(xc, encoder.transpose(1, 2)) + bias.to(self.low).unsqueeze(1)
            pre = pre.masked_fill(~real.unsqueeze(1), -torch.inf)
            top = pre.topk(min(self.k, pre.shape[2]), dim=2, sorted=False)
            kept = top.values.masked_fill(top.values == -torch.inf, 0.0)
            code = torch.zeros_like(pre).scatter(2, top.indices, kept)
            left = torch.bmm(code, decoder).float() + error.float()  # error: reconstruction - input
            share = left.pow(2).sum((1, 2)) / error.float().pow(2).sum((1, 2)).clamp_min(1e-12)
            found = torch.autograd.grad((weight * share).sum(), (encoder, decoder, bias))
        for gradient, extra in zip((self.gradient["W_enc"], self.gradient["W_dec"], to_bias), found, strict=True):
            extra = extra * (real if extra.dim() == 2 else real.unsqueeze(2))
            gradient.index_put_((owner.expand_as(index), index), extra.to(gradient.dtype), accumulate=True)

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
        """Dead latents that take part in AuxK until the next look: at most d_in / 2 of each SAE, in turns."""
        dead = self.silent >= self.config.dead_after
        count, most = dead.sum(1), max(1, self.d // 2)
        turn = (dead.cumsum(1) - 1 - self.step_no * most) % count.clamp(min=1)[:, None]
        chosen = dead & (turn < most)
        width = int(chosen.sum(1).max())
        if width == 0:
            return None
        order = chosen.to(torch.int8).topk(width, dim=1)
        return order.indices, order.values.bool(), self.config.auxk_alpha * (count / most).clamp(max=1.0)

    def results(self, seeds: Sequence[int], seconds: float) -> list[TrainResult]:
        """One SAE of raw vectors for each of the stack."""
        out = []
        for s in range(self.S):
            sae = TopKSAE(self.d, self.F, self.k)
            for name, value in self.weights.items():
                own = value[s].detach().to("cpu")
                getattr(sae, name).data.copy_(own.t() if name == "W_enc" else own)
            sae.fold_scale(self.scale[s].item()).eval().requires_grad_(False)
            own_config = replace(self.config, seed=seeds[s])
            out.append(TrainResult(sae.to(self.device), self.history[s], own_config, seconds))
        return out
