"""Do the genes that latents list in some cells come back in other cells?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from biosae_utils.analysis.catalogue import list_overlap
from biosae_utils.analysis.nulls import derange
from biosae_utils.intervals import Interval, jackknife

SAME, ANOTHER = "same latent", "list of another latent"


@dataclass(frozen=True)
class Replication:
    """What `list_replication` finds.

    Attributes
    ----------
    share : Interval
        Mean over latents of the share of listed genes that come back; over blocks of cells.
    control : float
        The same when the other cells' list is that of another latent.
    table : DataFrame
        latent, which (`ANOTHER` or `SAME`), share: one row a latent with a list, twice.
    """

    share: Interval
    control: float
    table: pd.DataFrame


def list_replication(
    top: pd.DataFrame, without: Sequence[pd.DataFrame], again: pd.DataFrame, d_sae: int, *, seed: int = 0
) -> Replication | None:
    """How many genes of each list are in the list of the same latent from other cells, and of another latent.

    Parameters
    ----------
    top, again : DataFrame
        Lists from `catalogue.top_genes`, in training cells and in other cells.
    without : sequence of DataFrame
        Lists like `top` that were made without one block of training cells each.
    d_sae : int
    seed : int
        Of the control: the latents with a list in `again` trade lists, and none keeps its own.

    Returns
    -------
    Replication or None
        None when fewer than two latents have a list in the other cells, so that there is no control.
    """
    listed = np.unique(again["latent"])
    if len(listed) < 2:
        return None
    other = np.arange(d_sae)
    other[listed] = listed[derange(len(listed), np.random.default_rng(seed))]
    same = list_overlap(top, again, d_sae)
    chance = list_overlap(top, again.assign(latent=other[again["latent"]]), d_sae)
    parts = [np.nanmean(list_overlap(part, again, d_sae)) for part in without]
    both = {ANOTHER: chance, SAME: same}
    tables = [pd.DataFrame({"latent": np.arange(d_sae), "which": name, "share": x}) for name, x in both.items()]
    return Replication(
        share=jackknife(parts, np.nanmean(same)),
        control=float(np.nanmean(chance)),
        table=pd.concat(tables).dropna(ignore_index=True),
    )
