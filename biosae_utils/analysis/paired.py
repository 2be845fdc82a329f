"""Outcomes of the same latents under two conditions: the difference is taken latent by latent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from biosae_utils import intervals


@dataclass(frozen=True)
class Paired:
    """Which latents have a counterpart in the next layer, and which of the same latents have one under a control.

    Attributes
    ----------
    following, control : ndarray of bool, shape (n,)
    without : ndarray, shape (n_blocks,), or None
        Share with a counterpart in the next layer minus that under the control, without each block of cells.
    """

    following: np.ndarray
    control: np.ndarray
    without: np.ndarray | None

    def over_latents(self, n_boot: int, seed: int) -> intervals.Interval:
        """Share in the next layer minus that under the control, both outcomes of a latent drawn together."""
        over = "latents, paired"
        return intervals.bootstrap_difference(self.following, self.control, n_boot=n_boot, seed=seed, over=over)

    def over_cells(self) -> intervals.Interval | None:
        """The same with each block of cells left out in turn; None where cells do not enter into it."""
        whole = self.following.mean() - self.control.mean()
        return None if self.without is None else intervals.jackknife(self.without, whole)

    def summary(self, n_boot: int, seed: int) -> dict[str, Any]:
        """The comparison as one row of a table.

        Returns
        -------
        dict
            n_latents; next, control (shares in %); only_next, only_control (latents with a counterpart in one of the
            two); difference (next minus control, in points) with low and high over latents, cells_low and cells_high
            over blocks of cells (NaN without); sign (1 or -1 where every interval lies on that side of 0, else 0).
        """
        latents, cells = self.over_latents(n_boot, seed).scaled(100), self.over_cells()
        cells = cells.scaled(100) if cells else None
        ends = [latents, cells] if cells else [latents]
        return {
            "n_latents": len(self.control),
            "next": 100 * self.following.mean(),
            "control": 100 * self.control.mean(),
            "only_next": int((self.following & ~self.control).sum()),
            "only_control": int((self.control & ~self.following).sum()),
            "difference": latents.value,
            "low": latents.low,
            "high": latents.high,
            "cells_low": cells.low if cells else np.nan,
            "cells_high": cells.high if cells else np.nan,
            "sign": int(all(e.low > 0 for e in ends)) - int(all(e.high < 0 for e in ends)),
        }
