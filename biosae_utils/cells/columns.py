"""Columns of `obs`: which hold cell type, condition and donor, and what their values mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from biosae_utils.errors import BiosaeError

if TYPE_CHECKING:
    from biosae_utils.cells.table import StoredTable

    Table = pd.DataFrame | StoredTable

COLUMN_NAMES = {
    "cell_type": (
        "cell_type",
        "celltype",
        "cell_type_name",
        "cell_types",
        "annotation",
        "seurat_annotations",
        "louvain",
        "leiden",
    ),
    "condition": ("condition", "stim", "perturbation", "treatment", "disease"),
    "donor": ("donor_id", "donor", "patient", "individual", "sample"),
}
MAX_LEVELS = {"cell_type": 200, "condition": 50, "donor": 1000}
NO_VALUE = frozenset({"", "na", "n/a", "nan", "<na>", "null", "-", "?", "unknown", "unassigned", "missing"})
FALSE = frozenset({"false", "f", "no", "n", "0", "0.0", ""}) | NO_VALUE
TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})


def guess_columns(obs: Table) -> dict[str, str | None]:
    """Columns of `obs` that hold cell type, condition and donor, by their usual names.

    A column counts only if it has at least two values and not as many as an identifier would have. A column that
    only renames the condition is no column of donors.

    Returns
    -------
    dict
        Keys ``cell_type``, ``condition``, ``donor``; None where nothing fits.
    """
    lower = {str(c).lower(): str(c) for c in reversed(list(obs.columns))}
    found: dict[str, str | None] = {}
    for role, names in COLUMN_NAMES.items():
        fits = (lower[n] for n in names if n in lower and 2 <= _n_levels(obs, lower[n]) <= MAX_LEVELS[role])
        if role == "donor" and found["condition"]:
            fits = (c for c in fits if not same_groups(obs[c], obs[found["condition"]]))
        found[role] = next(fits, None)
    return found


def _n_levels(obs: Table, column: str) -> int:
    """Values of a column; 0 where it cannot be read."""
    try:
        return int(obs[column].nunique())
    except BiosaeError:
        return 0


def same_groups(a: pd.Series, b: pd.Series) -> bool:
    """Whether two columns divide the cells into the same groups, whatever they call them."""
    pairs = pd.DataFrame({"a": a.astype(str).to_numpy(), "b": b.astype(str).to_numpy()}).drop_duplicates()
    return bool(pairs["a"].is_unique and pairs["b"].is_unique)


def labels(obs: Table, role: str, column: str | None) -> np.ndarray | None:
    """Values of a column as text.

    Missing ones (none, ``""``, ``NA``, ``unknown`` ...) are ``unknown``; a missing condition is None: such cells are
    used, but belong to neither side of a comparison.

    Raises
    ------
    BiosaeError
        If there is no such column.
    """
    if column is None:
        return None
    if column not in obs.columns:
        there = ", ".join(map(str, obs.columns)) or "none"
        guess = guess_columns(obs)[role]
        hint = f"set {role}={guess}" if guess else f"set {role}=null if the cells have none"
        raise BiosaeError(
            f"There is no column {column!r} in obs; there are {there}", where=f"parameter {role} of 00_data", do=hint
        )
    values = obs[column]
    text = values.astype(object).where(values.notna(), "").astype(str)
    missing = text.str.strip().str.lower().isin(NO_VALUE).to_numpy()
    return np.where(missing, None if role == "condition" else "unknown", text.to_numpy(object))


def flags(values: pd.Series, *, where: str) -> np.ndarray:
    """A column of yes and no as bool, also where it was stored as text or numbers; missing is no.

    Raises
    ------
    BiosaeError
        If a value is neither.
    """
    if pd.api.types.is_bool_dtype(values.dtype):
        return values.fillna(False).to_numpy(bool)
    text = values.astype(object).where(values.notna(), "").astype(str).str.strip().str.lower()
    if other := sorted(set(text) - FALSE - TRUE):
        raise BiosaeError(
            f"A column of yes and no holds {other[0]!r}", where=where, do="store it as boolean, or rename the column"
        )
    return text.isin(TRUE).to_numpy()
