"""Which cells a run uses: balanced draws, and splits that keep cells and donors apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from biosae_utils.cells.columns import COLUMN_NAMES, flags, labels
from biosae_utils.errors import BiosaeError

if TYPE_CHECKING:
    from biosae_utils.cells.data import CellFile


def quotas(sizes: np.ndarray, n: int) -> np.ndarray:
    """Share out `n` draws over groups as evenly as the groups' sizes allow.

    Small groups are taken whole; what they leave is shared over the others.

    Parameters
    ----------
    sizes : ndarray of int, shape (n_groups,)
    n : int
        Draws in all; everything is taken when `n` exceeds the sum of `sizes`.

    Returns
    -------
    ndarray of int64, shape (n_groups,)
        At most `sizes`, summing to ``min(n, sizes.sum())``.
    """
    sizes = np.asarray(sizes, np.int64)
    take = np.zeros_like(sizes)
    left = min(int(n), int(sizes.sum()))
    while left:
        open_groups = np.flatnonzero(take < sizes)
        share = max(left // len(open_groups), 1)
        # fewer draws than groups are left: the first groups get one each, so that the result is deterministic
        for group in open_groups[:left] if share == 1 and left < len(open_groups) else open_groups:
            step = min(share, int(sizes[group] - take[group]))
            take[group] += step
            left -= step
    return take


def balanced_draw(groups: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `n` items drawn without replacement, balanced over `groups`, in ascending order.

    Parameters
    ----------
    groups : ndarray, shape (n_items,)
        Group label of each item.
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64, shape (min(n, n_items),)
    """
    labels, codes = np.unique(np.asarray(groups), return_inverse=True)
    take = quotas(np.bincount(codes, minlength=len(labels)), n)
    drawn = [rng.choice(np.flatnonzero(codes == g), size=t, replace=False) for g, t in enumerate(take)]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)


UNSEEN = "pretrain_heldout"  # obs column by convention: cells that the model under study was not trained on
MIN_CELLS = 20


# ---- the cohort --------------------------------------------------------------------------------------------------


class CohortParams(Protocol):
    """Parameters that decide a cohort, as 00_data has them."""

    @property
    def cell_type(self) -> str | None: ...
    @property
    def condition(self) -> str | None: ...
    @property
    def donor(self) -> str | None: ...
    @property
    def n_cells(self) -> int | None: ...
    @property
    def holdout(self) -> float: ...
    @property
    def seed(self) -> int: ...


def make_cohort(cells: CellFile, params: CohortParams) -> pd.DataFrame:
    """Draw the cells of a run, balanced over cell type x condition, and split off the held-out ones.

    Held-out cells are whole donors where a donor column is named, and every condition has donors on both sides, if it
    has two. Otherwise they are a share of each group; if `obs`
    has a boolean column ``pretrain_heldout``, cells that it marks come first, so that models are evaluated on cells
    which they have not seen. What was done is added to ``cells.messages``.

    Parameters
    ----------
    cells : CellFile
    params : CohortParams
        Reads cell_type, condition, donor, n_cells, holdout, seed.

    Returns
    -------
    DataFrame
        One row a cell in file order: row (in the file), barcode, cell_type, condition, donor (None where there is no
        such column, and where a cell has no condition), heldout, n_counts, n_genes, and pretrain_heldout where the
        file has it.

    Raises
    ------
    BiosaeError
        If a named column is missing, or too few cells are left for a split.
    """
    label = {role: labels(cells.obs, role, getattr(params, role)) for role in COLUMN_NAMES}
    rows = np.flatnonzero(cells.stored > 0)
    _enough(len(rows), cells)
    rng = np.random.default_rng(params.seed)
    group = _joined([label["cell_type"], label["condition"]], cells.n_cells)[rows]
    unseen = np.zeros(len(rows), bool)
    if UNSEEN in cells.obs:
        unseen = flags(cells.obs[UNSEEN], where=f"{cells.path}: obs[{UNSEEN!r}]")[rows]
    n = len(rows) if params.n_cells is None else params.n_cells
    if label["donor"] is None:
        picked, heldout = _draw_and_split(group, unseen, n, params.holdout, rng)
    else:
        picked = balanced_draw(group, n, rng)
        chosen, condition = rows[picked], label["condition"]
        heldout = _split_donors(
            label["donor"][chosen],
            None if condition is None else condition[chosen],
            params.holdout,
            rng,
            where=f"obs[{params.donor!r}]",
        )
    rows = rows[picked]
    table = pd.DataFrame({"row": rows, "barcode": cells.obs.index[rows].astype(str)})
    for role, values in label.items():
        table[role] = None if values is None else values[rows]
    table["heldout"] = heldout
    if UNSEEN in cells.obs:
        table[UNSEEN] = unseen[picked]
    return _measured(table, cells)


def _enough(n: int, cells: CellFile) -> None:
    if n < MIN_CELLS:
        raise BiosaeError(f"Only {n} cells have counts; {MIN_CELLS} are the least", where=str(cells.path))


def _joined(parts: list[np.ndarray | None], n: int) -> np.ndarray:
    """One label per cell out of several columns."""
    given = [p for p in parts if p is not None]
    return (
        np.array(["|".join(map(str, t)) for t in zip(*given, strict=True)], object)
        if given
        else np.full(n, "all", object)
    )


def _draw_and_split(
    group: np.ndarray, unseen: np.ndarray, n: int, holdout: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Balanced draw whose held-out share is the same in each group, unseen cells first.

    Returns
    -------
    picked : ndarray of int64
        Ascending indices into `group`.
    heldout : ndarray of bool
        For each of `picked`.
    """
    labels, codes = np.unique(group, return_inverse=True)
    take = quotas(np.bincount(codes, minlength=len(labels)), n)
    edges = np.rint(np.concatenate([[0], np.cumsum(take)]) * holdout).astype(int)
    picked, heldout = [], []
    for g, (total, held) in enumerate(zip(take, np.diff(edges), strict=True)):
        members = rng.permutation(np.flatnonzero(codes == g))
        members = members[np.argsort(~unseen[members], kind="stable")]
        rest = rng.permutation(members[held:])[: total - held]
        picked += [members[:held], rest]
        heldout += [np.ones(held, bool), np.zeros(len(rest), bool)]
    picked, heldout = np.concatenate(picked), np.concatenate(heldout)
    order = np.argsort(picked)
    return picked[order], heldout[order]


def _split_donors(
    donor: np.ndarray, condition: np.ndarray | None, holdout: float, rng: np.random.Generator, *, where: str
) -> np.ndarray:
    """Hold out whole donors, in random order, as many as come closest to the share wanted.

    Donors that leave a condition without training cells stay; a condition with two donors or more gets one on each
    side first, so that what is found in one can be tested in the other.
    """
    names, codes = np.unique(donor, return_inverse=True)
    if len(names) < 2:
        raise BiosaeError(
            f"All cells are of one donor ({names[0]}), so none can be held out",
            where=where,
            do="set donor=null to hold out cells instead",
        )
    cells_of = np.bincount(codes)
    has = _presence(codes, condition, len(names))
    order = rng.permutation(len(names)).tolist()
    held: list[int] = []

    def can_go(d: int) -> bool:
        stays = np.setdiff1d(np.arange(len(names)), [*held, d])
        return bool(has[stays].any(0)[has[d]].all()) and len(stays) > 0

    for d in order:
        covered = has[held].any(0)
        if d not in held and (has[d] & ~covered).any() and can_go(d):
            held.append(d)
    share = cells_of[held].sum() / len(donor)
    for d in (d for d in order if d not in held):
        wider = share + cells_of[d] / len(donor)
        if held and abs(wider - holdout) >= abs(share - holdout):
            break
        if can_go(d):
            held.append(d)
            share = wider
    if not held:
        raise BiosaeError(
            "Every condition has cells of one donor only, so no donor can be held out from each of them",
            where=where,
            do="set donor=null to hold out cells instead; the conditions then differ by donor too",
        )
    return np.isin(codes, held)


def _presence(codes: np.ndarray, condition: np.ndarray | None, n_donors: int) -> np.ndarray:
    """Whether a donor has cells of a condition, bool (n_donors, n_conditions); cells without one count for all."""
    known = np.zeros(0, bool) if condition is None else np.array([c is not None for c in condition])
    if not known.any():
        return np.ones((n_donors, 1), bool)
    levels, level = np.unique(condition[known].astype(str), return_inverse=True)
    has = np.zeros((n_donors, len(levels)), bool)
    has[codes[known], level] = True
    return has


def _measured(table: pd.DataFrame, cells: CellFile) -> pd.DataFrame:
    """Read every drawn cell once: each value is checked to be a count, and cells without any are dropped."""
    n_counts, n_genes = np.zeros(len(table)), np.zeros(len(table), np.int64)
    for start, x in cells.chunks(table["row"].to_numpy()):
        stop = start + x.shape[0]
        n_counts[start:stop] = np.asarray(x.sum(1, dtype=np.float64)).ravel()
        n_genes[start:stop] = np.diff(x.indptr)
    table = table.assign(n_counts=n_counts.astype(np.int64), n_genes=n_genes)
    if empty := int((n_counts == 0).sum()):
        cells.messages.append(f"{empty:,} drawn cells hold no count of a gene and were dropped.")
        table = table[n_counts > 0].reset_index(drop=True)
        _enough(len(table), cells)
    held = table["heldout"]
    if not held.any() or held.all():
        raise BiosaeError(
            f"{len(table)} cells cannot be split: one side is empty", where="parameter holdout of 00_data"
        )
    said = f"Cohort: {len(table):,} of {cells.n_cells:,} cells, {held.sum():,} held out"
    if table["donor"].notna().any():
        said += f" ({table.loc[held, 'donor'].nunique()} of {table['donor'].nunique()} donors, no donor on both sides)"
    elif UNSEEN in table:
        said += f" ({int((held & table[UNSEEN]).sum()):,} of them marked {UNSEEN} in the file)"
    cells.messages.append(said + ".")
    return table
