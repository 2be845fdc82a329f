"""Choosing a learning rate and a length: what to try, the trainings, and what their outcome says.

One rule, fixed before anything is trained: two held-out FVUs less than 2 % apart are the same (`NOISE`). Of the rows
that are the same as the best, the default learning rate is taken before others, then the shorter training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.training.run import Job, Sample, side_by_side, train_one
from biosae_utils.sae.training.trainer import Diverged, TrainConfig, TrainResult, default_lr

if TYPE_CHECKING:
    import pandas as pd

NOISE = 0.02
"""Relative difference of held-out FVU below which two trainings count as equally good.

Three seeds of one training differ by 0.9 % (demo, mini-geneformer, layer 2: 0.0664, 0.0665 and 0.0670).
"""
SHORTEST = 10
"""Fewest steps that a config may ask for."""


def read_samples(folder: Path | str, layer: int, *, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out sample of one layer, as 01_extract left them.

    Parameters
    ----------
    folder : path
        Folder of 01_extract.
    layer : int
    remedy : str
        The command that makes the samples, for the error message.

    Returns
    -------
    tuple of ndarray
        Memory maps (n, d_in) of vectors of training cells and (m, d_in) of held-out cells.

    Raises
    ------
    BiosaeError
        If a sample is absent or damaged, or the two differ in width.
    """
    found = []
    for part in ("sample", "sample_heldout"):
        path = Path(folder) / part / f"layer_{layer:02d}.npy"
        try:
            found.append(np.load(path, mmap_mode="r"))
        except FileNotFoundError as e:
            raise BiosaeError("01_extract kept no sample of this layer", where=str(path), do=remedy) from e
        except (ValueError, OSError, EOFError) as e:
            raise BiosaeError("A sample of 01_extract is damaged", where=str(path), do=remedy) from e
    if any(x.ndim != 2 or x.dtype.kind != "f" for x in found) or found[0].shape[1] != found[1].shape[1]:
        raise BiosaeError("The samples of 01_extract are no vectors of one width", where=str(folder), do=remedy)
    return found[0], found[1]


# ---- what to try ---------------------------------------------------------------------------------------------------


def rates_around(rate: float) -> list[float]:
    """A ninth, a third, the whole and three times a learning rate."""
    return [rate / 9, rate / 3, rate, rate * 3]


def grid(config: TrainConfig, d_in: int, rates: Sequence[float] = (), steps: Sequence[int] = ()) -> list[TrainConfig]:
    """Every learning rate with every length, lowest first, each once.

    Parameters
    ----------
    config : TrainConfig
        Everything but rate and length.
    d_in : int
        Width of the vectors; without `rates`, those around its default rate are tried.
    rates : sequence of float
        Peak learning rates.
    steps : sequence of int
        Lengths; that of `config` if empty.
    """
    return [
        replace(config, lr=rate, steps=length)
        for length in sorted(set(steps or [config.steps]))
        for rate in sorted(set(rates or rates_around(default_lr(d_in))))
    ]


# ---- trying it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes
    ----------
    config : TrainConfig
    lr : float
        Its peak learning rate.
    fvu, dead : float
        On held-out vectors, and share of latents that never fire on them; NaN if the training diverged.
    seconds : float
        Wall time of the training; NaN if it diverged.
    """

    config: TrainConfig
    lr: float
    fvu: float = math.nan
    dead: float = math.nan
    seconds: float = math.nan


def trials(
    sample: Sample,
    heldout: Sample,
    configs: Sequence[TrainConfig],
    *,
    device: torch.device | str = "cpu",
    folder: Path | str | None = None,
) -> list[Trial]:
    """Train once with each config and judge by held-out FVU: the evidence behind a learning rate or a length.

    Parameters
    ----------
    sample, heldout : array (n, d_in)
        Of different cells.
    configs : sequence of TrainConfig
    folder : path, optional
        Where trainings are kept, see `train_one`.

    Returns
    -------
    list of Trial
        The best first, those that diverged last.
    """
    from biosae_utils.sae.metrics import evaluate

    found = []
    jobs = [Job(sample, config, f"lr {config.peak_lr(sample.shape[1]):g}, {config.steps} steps") for config in configs]
    results = side_by_side(partial(_if_it_converges, folder=folder), jobs, device)
    for config, result in zip(configs, results, strict=True):
        trial = Trial(config, config.peak_lr(sample.shape[1]))
        if result is not None:
            quality = evaluate(result.sae, heldout)
            trial = replace(trial, fvu=quality.fvu, dead=quality.dead, seconds=result.seconds)
        found.append(trial)
    return sorted(found, key=lambda trial: (math.isnan(trial.fvu), trial.fvu))


def as_table(found: Sequence[Trial]) -> pd.DataFrame:
    """One row for each trial: lr, steps, batch_size, k, expansion, fvu, dead; the same on every machine."""
    import pandas as pd

    own = ("steps", "batch_size", "k", "expansion")
    rows = [
        {"lr": t.lr, **{name: getattr(t.config, name) for name in own}, "fvu": t.fvu, "dead": t.dead} for t in found
    ]
    return pd.DataFrame(rows)


def _if_it_converges(*args: Any, **kwargs: Any) -> TrainResult | None:
    """`train_one`, or None: a rate that is too high is a finding of a sweep, not its end."""
    try:
        return train_one(*args, **kwargs)
    except Diverged:
        return None


# ---- what it says --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edge:
    """The best row lies at an end of the grid, so a better one may lie beyond.

    Attributes
    ----------
    name : str
        ``lr`` or ``steps``.
    end : str
        ``highest`` or ``lowest``.
    following : float
        The next value in the progression of the grid.
    """

    name: str
    end: str
    following: float


@dataclass(frozen=True)
class Choice:
    """What a sweep says.

    Attributes
    ----------
    lr, steps, fvu
        The row to use: the best, or one within `NOISE` of it that is the default or shorter.
    best_fvu : float
        Lowest held-out FVU of the sweep.
    is_default : bool
        Whether `lr` is the default rate for this width.
    default_fvu : float or None
        Held-out FVU of the default rate at the same length; NaN if it diverged, None if it was not tried.
    edges : tuple of Edge
    """

    lr: float
    steps: int
    fvu: float
    best_fvu: float
    is_default: bool
    default_fvu: float | None
    edges: tuple[Edge, ...]

    @property
    def excess(self) -> float:
        """By how much the row is worse than the best, relative to the best."""
        return excess(self.fvu, self.best_fvu)


def excess(fvu: float, best: float) -> float:
    """By how much an FVU is above the best one, relative to that."""
    return (fvu - best) / max(best, 1e-12)


def is_default(lr: float, d_in: int) -> bool:
    """Whether a learning rate is the default of this width, give or take the digits that people type."""
    return math.isclose(lr, default_lr(d_in), rel_tol=0.01)


def choose(table: pd.DataFrame, d_in: int) -> Choice:
    """The rate and the length to use, by the rule of this module.

    Parameters
    ----------
    table : DataFrame
        Columns lr, steps, fvu as from `as_table`; NaN where training diverged.
    d_in : int
        Width of the vectors.

    Raises
    ------
    BiosaeError
        If every training diverged.
    """
    done = table[table["fvu"].notna()]
    if done.empty:
        lowest = table["lr"].min()
        raise BiosaeError(
            "Every training of the sweep diverged", do=f"try lower rates, for instance --lr {lowest / 9:.2g}"
        )
    best = done.loc[done["fvu"].idxmin()]
    same = [row for row in done.itertuples() if excess(row.fvu, best.fvu) < NOISE]
    taken = min(same, key=lambda row: (not is_default(row.lr, d_in), row.steps, row.fvu))
    default = [r.fvu for r in table.itertuples() if r.steps == taken.steps and is_default(r.lr, d_in)]
    edges = (edge("lr", table["lr"], best.lr), edge("steps", table["steps"], best.steps))
    return Choice(
        float(taken.lr),
        int(taken.steps),
        float(taken.fvu),
        float(best.fvu),
        is_default(taken.lr, d_in),
        float(default[0]) if default else None,
        tuple(e for e in edges if e is not None),
    )


def edge(name: str, tried: Sequence[float], best: float) -> Edge | None:
    """Where the grid should go on, if the best value is the lowest or highest that was tried.

    Values that diverged count as tried: beyond them there is nothing to look for. One value alone has no ends, and
    no training is shorter than `SHORTEST`.
    """
    values = sorted({float(v) for v in tried})
    if len(values) < 2 or best not in (values[0], values[-1]):
        return None
    end, neighbour = ("lowest", values[1]) if best == values[0] else ("highest", values[-2])
    following = best * min(max(best / neighbour, 0.1), 10)  # the grid's own ratio, but no leap into nowhere
    following = max(SHORTEST, round(following)) if name == "steps" else float(f"{following:.3g}")
    return Edge(name, end, following) if following != best else None


def remarks(table: pd.DataFrame, d_in: int) -> list[str]:
    """What is to be said of each row: best, within noise of it, diverged, the default rate; "" for the others."""
    best, said = table["fvu"].min(), []
    for row in table.itertuples():
        words = []
        if math.isnan(row.fvu):
            words.append("diverged")
        elif row.fvu == best:
            words.append("best")
        elif excess(row.fvu, best) < NOISE:
            words.append("within noise")
        said.append(", ".join([*words, *["default rate"] * is_default(row.lr, d_in)]))
    return said
