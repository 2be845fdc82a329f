"""Projects in which phases can be computed, made once for all tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosae_utils.phases.registry import find
from biosae_utils.phases.run import compute
from phases.layered_project import leave_saes, leave_states
from phases.planted_project import (
    IN_PROGRAMME,
    LAYER,
    MODEL,
    N_CELLS,
    N_GENES,
    PER_CELL,
    RUN,
    UNTRAINED,
    Planted,
    codes,
    leave_model,
    leave_rivals,
    left_by,
)


@pytest.fixture(scope="session")
def upstream(tmp_path_factory) -> Planted:
    """00_data, 01_extract and 02_sae of a model and of its random-weights twin, at one layer."""
    root = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    cohort = pd.DataFrame(
        {
            "row": np.arange(N_CELLS),
            "barcode": [f"cell{i}" for i in range(N_CELLS)],
            "condition": np.where(np.arange(N_CELLS) % 2, "stimulated", "control"),
            "cell_type": np.array(["B", "T", "NK"])[rng.integers(0, 3, N_CELLS)],
            "donor": [f"d{i % 4}" for i in range(N_CELLS)],
            "heldout": np.arange(N_CELLS) % 3 == 0,
        }
    )
    cell = np.repeat(np.arange(N_CELLS, dtype=np.int32), PER_CELL)
    gene = np.concatenate([rng.choice(N_GENES, PER_CELL, replace=False) for _ in range(N_CELLS)])
    rank = np.tile(np.arange(PER_CELL, dtype=np.uint16), N_CELLS)
    stimulated = (cohort["condition"] == "stimulated").to_numpy()[cell]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        with left_by("00_data") as out:
            out.table(cohort, "cohort")
            leave_rivals(cohort, out)
        leave_model(MODEL, "trained", cell, gene, rank, codes(gene, stimulated, rng), rng)
        leave_model(UNTRAINED, "random-weights", cell, gene, rank, codes(rng.permutation(gene), False, rng), rng)
    return Planted(root, cohort, gene, cell)


@pytest.fixture(scope="session")
def catalogued(upstream) -> Planted:
    """The same, with 03_catalogue of both models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(upstream.root)
        for model, variant in ((MODEL, "trained"), (UNTRAINED, "random-weights")):
            about = {"model": model, "variant": variant, "source": "nowhere", "layer": LAYER}
            phase = find("03_catalogue")
            compute(phase, phase.params(**RUN, **about, n_top=IN_PROGRAMME, min_count=3))
    return upstream


@pytest.fixture(scope="session")
def layered(tmp_path_factory) -> Path:
    """01_extract and 02_sae of a model of three layers."""
    root = tmp_path_factory.mktemp("layered")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        leave_states()
        leave_saes()
    return root
