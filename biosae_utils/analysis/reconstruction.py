"""Several reconstructions of the same vectors at several layers, compared on the same resampled cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from biosae_utils.analysis.geometry import share_by_cell
from biosae_utils.intervals import Interval, from_draws


@dataclass(frozen=True)
class Contest:
    """One reconstruction against its strongest rival.

    Attributes
    ----------
    ours, rival, gain : Interval
        Shares averaged over layers, and their difference, which is paired by resampled cell.
    names : Series of str
        The strongest rival of each layer.
    """

    ours: Interval
    rival: Interval
    gain: Interval
    names: pd.Series


@dataclass(frozen=True)
class Shares:
    """What reconstructions explain, by layer.

    Attributes
    ----------
    table : DataFrame
        layer, name, explained, low, high.
    draws : dict of int -> Series
        Layer -> name -> bootstrap draws, shape (n_boot,); the same cells for all names and layers.
    """

    table: pd.DataFrame
    draws: dict[int, pd.Series]

    @classmethod
    def of(
        cls,
        spread: Mapping[int, np.ndarray],
        residuals: Mapping[int, Mapping[str, np.ndarray]],
        cells: np.ndarray,
        *,
        n_boot: int,
        seed: int,
    ) -> Shares:
        """Shares of `spread` that reconstructions explain.

        Parameters
        ----------
        spread : dict of int -> ndarray, shape (n,)
            Layer -> what there is to explain of each vector: its squared distance from the mean of all, or what
            another reconstruction leaves of it.
        residuals : dict of int -> dict of str -> ndarray, shape (n,)
            Layer -> name -> squared error of each vector.
        cells : ndarray of int, shape (n,)
            Cell of each vector.
        """
        tables = {
            layer: share_by_cell(spread[layer], dict(named), cells, n_boot=n_boot, seed=seed)
            for layer, named in residuals.items()
        }
        draws = {layer: table.set_index("name")["draws"] for layer, table in tables.items()}
        rows = [table.drop(columns="draws").assign(layer=layer) for layer, table in tables.items()]
        return cls(pd.concat(rows, ignore_index=True), draws)

    @property
    def wide(self) -> pd.DataFrame:
        """One row a layer, one column a reconstruction."""
        return self.table.pivot(index="layer", columns="name", values="explained")

    def best(self, names: Sequence[str]) -> pd.Series:
        """Name of the one that explains most at each layer."""
        return self.wide[list(names)].idxmax(axis=1)

    def strongest(self, names: Sequence[str]) -> pd.Series:
        """What the best of these explains at each layer."""
        return self.wide[list(names)].max(axis=1)

    def shown(self, names: Sequence[str], which: str) -> pd.DataFrame:
        """Rows of the table of the best of these at each layer, under one name in `which`."""
        best = self.best(names).rename("name").reset_index()
        return self.table.merge(best, on=["layer", "name"]).assign(which=which)

    def contest(self, ours: str, rivals: Sequence[str]) -> Contest:
        """One reconstruction against the strongest of its rivals at each layer, all averaged over layers.

        The rival is chosen on the cells that it is judged on, which is to its advantage.
        """
        wide, names = self.wide, self.best(rivals)
        mine = np.mean([self.draws[i][ours] for i in names.index], axis=0)
        theirs = np.mean([self.draws[i][name] for i, name in names.items()], axis=0)
        value = wide[ours].mean()
        other = float(np.mean([wide.loc[i, name] for i, name in names.items()]))
        return Contest(
            from_draws(value, mine, over="cells"),
            from_draws(other, theirs, over="cells"),
            from_draws(value - other, mine - theirs, over="cells"),
            names,
        )
