"""Train one SAE by one method and print what came of it; a process of its own, in the environment of that method.

``python -m benchmarks.sae_parts.worker METHOD LR SEED STEPS``. Data, batches, number of latents and k are the same for
all methods. A method returns the step to time, and afterwards a function from vectors to (reconstruction, code) and the
directions. CPU time is that of the steps alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.sae_parts.data import D, batches, draw

N, N_TEST, BATCH, K, F = 60_000, 10_000, 2_048, 32, 4 * D
Step = Callable[[Tensor], object]
Finish = Callable[[], tuple[Callable[[Tensor], tuple[Tensor, Tensor]], Tensor]]


def ours(x: Tensor, lr: float, seed: int, steps: int) -> tuple[Step, Finish]:
    from biosae_utils.sae.training.run import SAETrainer, TrainConfig

    trainer = SAETrainer.from_sample(
        x, TrainConfig(expansion=4, k=K, steps=steps, batch_size=BATCH, lr=lr, seed=seed, dead_after=100_000)
    )

    def finish():
        sae = trainer.result().sae
        return lambda v: (sae(v), sae.encode_dense(v)), sae.W_dec

    return trainer.step, finish


def naive(x: Tensor, lr: float, seed: int, steps: int) -> tuple[Step, Finish]:
    from benchmarks.sae_parts.naive import NaiveTrainer

    trainer = NaiveTrainer(D, F, K, lr=lr, device=torch.device("cpu"), seed=seed)
    mean = x.mean(0)
    data = (x - mean).numpy()

    def forward(v: Tensor) -> tuple[Tensor, Tensor]:
        y, code = trainer.sae(v - mean)
        return y + mean, code

    return lambda rows: trainer.step(data, rows.numpy()), lambda: (forward, trainer.sae.W_dec.weight.T)


def sparsify(x: Tensor, lr: float, seed: int, steps: int) -> tuple[Step, Finish]:
    """EleutherAI's sparsify as its trainer drives it by default: Signum with schedule-free averaging, no schedule."""
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from schedulefree import ScheduleFreeWrapper
    from sparsify import SparseCoder, SparseCoderConfig
    from sparsify.sign_sgd import SignSGD

    torch.manual_seed(seed)
    sae = SparseCoder(D, SparseCoderConfig(num_latents=F, k=K))
    sae.b_dec.data.copy_(x.mean(0))
    optimizer = ScheduleFreeWrapper(SignSGD(sae.parameters(), lr=lr), momentum=0.95)
    optimizer.train()
    silent = torch.zeros(F, dtype=torch.long)

    def step(v: Tensor) -> None:
        sae.set_decoder_norm_to_unit_norm()
        out = sae(v, dead_mask=silent > 10_000_000)
        (out.fvu + out.auxk_loss / 32).backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        silent.add_(len(v))
        silent[out.latent_indices.flatten()] = 0

    def finish():
        optimizer.eval()
        sae.set_decoder_norm_to_unit_norm()

        def forward(v: Tensor) -> tuple[Tensor, Tensor]:
            out = sae(v)
            code = torch.zeros(len(v), F).scatter(1, out.latent_indices, out.latent_acts.relu())
            return out.sae_out, code

        return forward, sae.W_dec

    return step, finish


def dictionary_learning(x: Tensor, lr: float, seed: int, steps: int) -> tuple[Step, Finish]:
    """dictionary_learning: its TopKTrainer, warm-up cut from 1,000 steps, decay over the last fifth."""
    import types

    for name in ("nnsight", "wandb", "circuitsvis", "umap"):  # imported at the top of the package, not used here
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["nnsight"].LanguageModel = object
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps,
        D,
        F,
        K,
        layer=0,
        lm_name="none",
        lr=lr,
        warmup_steps=steps // 20,
        decay_start=int(0.8 * steps),
        seed=seed,
        device="cpu",
    )
    number = iter(range(steps))

    def finish():
        def forward(v: Tensor) -> tuple[Tensor, Tensor]:
            return trainer.ae(v, output_features=True)

        return forward, trainer.ae.decoder.weight.T

    return lambda v: trainer.update(next(number), v), finish


def sae_lens(x: Tensor, lr: float, seed: int, steps: int) -> tuple[Step, Finish]:
    """SAELens: its TopKTrainingSAE and SAETrainer.step, with a dead window short enough to trigger."""
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(seed)
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=D, d_sae=F, k=K))
    sae.b_dec.data.copy_(x.mean(0))
    config = SAETrainerConfig(
        total_training_samples=steps * BATCH,
        train_batch_size_samples=BATCH,
        lr=lr,
        lr_end=0.0,
        lr_warm_up_steps=steps // 20,
        lr_decay_steps=steps // 5,
        dead_feature_window=100_000 // BATCH,
    )
    trainer = SAETrainer(config, sae, iter([]))

    def finish():
        def forward(v: Tensor) -> tuple[Tensor, Tensor]:
            code = sae.encode(v)
            return sae.decode(code), code

        return forward, sae.W_dec

    return trainer.step, finish


METHODS = {
    "ours": ours,
    "naive": naive,
    "sparsify": sparsify,
    "dictionary-learning": dictionary_learning,
    "sae-lens": sae_lens,
}


def main(method: str, lr: float, seed: int, steps: int) -> dict[str, float]:
    torch.set_num_threads(1)  # CPU time of several threads that wait for one another says little
    x, test, atoms = draw(N, N_TEST)
    step, finish = METHODS[method](x, lr, seed, steps)
    rows = batches(x, BATCH, steps, seed=1_000 + seed)
    cpu, wall = time.process_time(), time.perf_counter()
    for r in rows:
        step(r if method == "naive" else x[r])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    forward, directions = finish()
    with torch.no_grad():
        pieces = [forward(v) for v in test.split(2_048)]
        y, fired = torch.cat([p[0] for p in pieces]), sum((p[1] > 0).sum(0) for p in pieces)
        directions = torch.nn.functional.normalize(directions.float(), dim=1)
        return {
            "cpu_seconds": cpu,
            "wall_seconds": wall,
            "vectors_per_cpu_second": steps * BATCH / cpu,
            "fvu": float(((test - y) ** 2).sum() / ((test - test.mean(0)) ** 2).sum()),
            "dead": float((fired == 0).float().mean()),
            "l0": float(fired.sum() / len(test)),
            "recovery": float((atoms @ directions.T).amax(1).mean()),
            "threads": float(torch.get_num_threads()),
        }


if __name__ == "__main__":
    np.random.seed(0)  # noqa: NPY002  (a peer may draw from the global state)
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
