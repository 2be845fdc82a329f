"""Folders as earlier phases leave them, with signals that were put there, for tests of what phases compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from biosae_utils.analysis.group_scores import rivals
from biosae_utils.phases import readers
from biosae_utils.phases.output import Output
from biosae_utils.phases.registry import find
from biosae_utils.sae.codes import CodeStore
from biosae_utils.sae.formats import save_sae
from biosae_utils.sae.positions import Positions
from biosae_utils.sae.topk import TopKSAE

RUN = {"run": "planted", "seed": 0}
LAYER, MODEL, UNTRAINED = 0, "mini-geneformer", "mini-geneformer.random-weights"
N_CELLS, PER_CELL, N_GENES, D_SAE, K, WIDTH = 120, 60, 240, 40, 3, 12
N_PROGRAMMES, IN_PROGRAMME = 8, 15
STATE, DEAD = N_PROGRAMMES, D_SAE - 1
"""Latents: one a programme fires on its genes, one on any gene of stimulated cells, the last never, others anywhere."""


@contextmanager
def left_by(phase: str, **params: Any) -> Iterator[Output]:
    """The folder of an earlier page, complete with its manifest at the end."""
    declared = find(phase)
    out = Output(declared, declared.params(**RUN, **params), f"biosae run {phase}")
    yield out
    out.close()


def programme(gene: np.ndarray) -> np.ndarray:
    """Programme of each gene; -1 for genes of none."""
    return np.where(gene < N_PROGRAMMES * IN_PROGRAMME, gene // IN_PROGRAMME, -1)


def symbol(gene: int) -> str:
    return f"GENE{gene}"


@dataclass(frozen=True)
class Planted:
    """Where the project of planted signals lies, and what was planted."""

    root: Path
    cohort: pd.DataFrame
    gene: np.ndarray
    cell: np.ndarray


def codes(gene: np.ndarray, stimulated: np.ndarray | bool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Values and latents of each position: slot 0 reads the programme of the gene, slot 1 the state of the cell."""
    n, own = len(gene), programme(gene)
    values = rng.gamma(4, 0.5, (n, K)).astype(np.float16)
    indices = np.sort(rng.integers(STATE + 1, DEAD - K, (n, K)), axis=1) + np.arange(K)
    indices[:, 0] = np.where(own >= 0, own, indices[:, 0])
    indices[:, 1] = np.where(stimulated, STATE, indices[:, 1])
    values[:, 1] = np.where(rng.random(n) < 0.8, values[:, 1], 0)
    return values, indices.astype(np.uint16)


def reading_programmes(seed: int) -> TopKSAE:
    """An autoencoder whose first latents read one programme each; the others read anything."""
    sae = TopKSAE(WIDTH, D_SAE, K, seed=seed).eval()
    with torch.no_grad():
        sae.W_dec[:N_PROGRAMMES] = torch.eye(WIDTH)[:N_PROGRAMMES]
        sae.W_enc.copy_(sae.W_dec.t())
    return sae


def leave_rivals(cohort: pd.DataFrame, out: Output, strength: float = 1.5) -> None:
    """What 00_data leaves of single genes and depth: GENE0 knows the condition, as well as `strength` says."""
    rng, labels = np.random.default_rng(1), cohort[["condition", "cell_type"]]
    expression = rng.gamma(2, 1, (len(cohort), 5))
    expression[:, 0] += strength * (cohort["condition"] == "stimulated")
    depth = pd.DataFrame({"molecules": rng.gamma(9, 100, len(cohort)), "genes detected": rng.gamma(9, 50, len(cohort))})
    names, heldout = np.array([symbol(g) for g in range(5)]), cohort["heldout"].to_numpy()
    found = rivals(sp.csr_matrix(expression), names, depth, labels, heldout)
    out.table(found.best, "rivals")
    values = found.values
    out.table(pd.DataFrame(values, columns=[str(i) for i in range(values.shape[1])]), "rival_values")


def leave_model(model: str, variant: str, cell, gene, rank, coded, rng: np.random.Generator) -> None:
    """What 01_extract and 02_sae leave of one layer; states say which programme a gene is of, with much noise."""
    about = {"model": model, "variant": variant, "source": "nowhere"}
    with left_by("01_extract", **about) as out:
        Positions(cell, gene.astype(np.int32) + 2, rank).save(out.dir / "positions")
        table = {"token": np.arange(N_GENES) + 2, "symbol": [symbol(g) for g in range(N_GENES)], "special": False}
        out.table(pd.DataFrame(table), "vocab")
        out.facts(family="geneformer")
        rows = np.sort(rng.choice(len(gene), 5000, replace=False))
        states = rng.normal(size=(len(rows), WIDTH)) + 2 * np.eye(WIDTH)[programme(gene[rows])]
        out.array(rows, "sample/rows")
        out.array(states.astype(np.float16), f"sample/layer_{LAYER:02d}")
    with left_by("02_sae", **about) as out:
        folder = out.dir / f"layer_{LAYER:02d}" / "codes"
        store = CodeStore.create(folder, n=len(gene), k=K, d_sae=D_SAE, identity={"test": model})
        store.write(slice(0, len(gene)), *coded)
        store.commit(0, len(gene))
        store.finish()
        for seed in range(2):
            save_sae(out.dir / readers.Saes.place(LAYER, seed), reading_programmes(seed))
