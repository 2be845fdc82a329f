"""First phases of a run on a few real cells and the small model that ships, computed where a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from biosae_utils.phases.registry import find
from biosae_utils.phases.run import compute
from biosae_utils.runconfig import RunConfig

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """run: few
phases: [00_data, 01_extract, 02_sae]
models:
  mini: {source: data/demo/models/mini-geneformer, layers: [0, 2]}
data: {path: data/demo/pbmc_ifnb.h5ad, n_cells: 24, holdout: 0.3}
extract: {n_positions: 1000, n_positions_heldout: 500}
sae: {steps: 12, batch_size: 64, n_seeds: 2, expansion: 1, k: 4}
"""


@contextmanager
def computed(root: Path, phase: str) -> Iterator[Path]:
    """Compute every phase up to `phase` in `root`; yields the folder of the last one, from there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        (root / "data").symlink_to(ROOT / "data")
        (root / "few.yaml").write_text(CONFIG)
        config = RunConfig.load("few.yaml")
        for name in config.phases[: config.phases.index(phase) + 1]:
            node = config.page(name, None if find(name).scope == "run" else "mini")
            left = compute(find(name), config.phase_params(*node))
        yield root / left
