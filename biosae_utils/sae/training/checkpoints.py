"""Trainings that survive being killed: one file each, a checkpoint while it runs and the SAE when it is done.

The files only save time. One that is absent, damaged, or of another config or sample is no error: that training
starts anew and writes over it.
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biosae_utils.sae.topk import TopKSAE
from biosae_utils.sae.training.trainer import SAETrainer, TrainConfig, TrainResult
from biosae_utils.store import atomic_path, fingerprint

EVERY = 60.0  # seconds between two checkpoints of one training


class Checkpoint:
    """The file of one training, in a folder that many may share.

    Parameters
    ----------
    folder : path
    name : str
        Of the training; with `config` it makes the name of the file, ``layer_3_seed_0.1f3a9c0b.pt`` for instance.
    config : TrainConfig
    n, mean, scale : int, Tensor (d_in,), float
        Length and moments of the sample (see `input_moments`): a file is only read by a training of the same ones.
    """

    def __init__(self, folder: Path | str, name: str, config: TrainConfig, n: int, mean: Tensor, scale: float) -> None:
        stem = re.sub(r"[^a-z0-9]+", "_", name.lower())
        self.path = Path(folder) / f"{stem}.{fingerprint(asdict(config))[:8]}.pt"
        self.config, self.n, self.mean, self.scale = config, n, mean.cpu(), float(scale)
        self.begin, self.saved, self.before = time.perf_counter(), time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Spent on this training so far, in earlier runs as well."""
        return self.before + time.perf_counter() - self.begin

    def read(self) -> dict[str, Any]:
        """What was kept; empty when there is nothing to go on from."""
        try:
            kept = torch.load(self.path, weights_only=True, map_location="cpu")
            same = (kept["config"], kept["n"], kept["scale"]) == (asdict(self.config), self.n, self.scale)
            return kept if same and torch.equal(kept["mean"], self.mean) else {}
        except Exception:  # the unpickler meets arbitrary bytes and fails in arbitrary ways
            return {}

    def write(self, **state: Any) -> None:
        """Keep a state, whole or not at all."""
        own = {"config": asdict(self.config), "n": self.n, "mean": self.mean, "scale": self.scale}
        with atomic_path(self.path) as tmp:
            torch.save(own | state, tmp)
        self.saved = time.perf_counter()

    def resume(self, trainer: SAETrainer) -> None:
        """Bring a new trainer to where the last checkpoint was written."""
        if "trainer" in (kept := self.read()):
            trainer.load_state(kept["trainer"])
            self.before = kept["seconds"]

    def keep(self, trainer: SAETrainer) -> None:
        """Write a checkpoint, if the last one is old enough."""
        if time.perf_counter() - self.saved >= EVERY:
            self.write(trainer=trainer.state(), seconds=self.seconds)

    def finished(self, device: torch.device | str) -> TrainResult | None:
        """The trained SAE, if the training got to its end."""
        if "result" not in (kept := self.read()):
            return None
        d, config = len(self.mean), self.config
        sae = TopKSAE(d, config.expansion * d, config.k, kind=config.kind, groups=config.groups)
        sae.load_state_dict(kept["result"])
        sae.to(device).eval().requires_grad_(False)
        return TrainResult(sae, kept["history"], config, kept["seconds"])

    def finish(self, result: TrainResult) -> None:
        """Keep a trained SAE in place of the checkpoint."""
        self.write(result=result.sae.state_dict(), history=result.history, seconds=result.seconds)
