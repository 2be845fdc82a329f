"""Training SAEs: ours against the published loop and the peers, in one run, on the same data, batches and steps.

``python -m benchmarks.sae`` runs on the CPU: speed as vectors per CPU-second, held-out FVU, dead share, and recovery of
planted directions, each method with its best learning rate of the same grid, median of three seeds. Peers take part
when there is an environment with them: the one that ``make interop`` makes, or ``--peers PYTHON``.

``python -m benchmarks.sae --device cuda`` trains 18 layers of 1,152 -> 4,608 at once against the published loop and
times the parts of a step beside their bounds; ``--tune`` first times launch configurations of the kernels.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.common import print_rows, write_results

PEERS = ".venv-peers/bin/python"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tune", action="store_true", help="GPU: time launch configurations first")
    parser.add_argument("--rows", type=int, default=200_000, help="GPU: vectors a layer")
    parser.add_argument("--peers", default=PEERS, help=f"CPU: Python of an environment with the peers ({PEERS})")
    parser.add_argument("--steps", type=int, default=300, help="CPU: steps of every training")
    parser.add_argument("--seeds", type=int, default=3, help="CPU")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda":
        from benchmarks.sae_parts import gpu

        rows = gpu.main(device, tuned=args.tune, n=args.rows)
    else:
        from benchmarks.sae_parts import cpu

        rows = cpu.main(args.peers, steps=args.steps, n_seeds=args.seeds)
    print_rows(device, rows)
    write_results("sae", device, rows)


if __name__ == "__main__":
    main()
