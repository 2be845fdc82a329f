"""How big the work on a model is, from the run's numbers and the checkpoint's own configuration; loads no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from biosae_utils.errors import BiosaeError
from biosae_utils.phases.base import Size
from biosae_utils.phases.state import FETCHED
from biosae_utils.store import read_json

KEYS = {
    "config.json": {"d_model": "hidden_size", "max_len": "max_position_embeddings"},
    "args.json": {"d_model": "embsize", "max_len": "max_seq_len"},
}
"""Names of the numbers in the configuration of each family."""


def size_of(source: str, *, cells: int, layers: int, expansion: int, k: int) -> Size:
    """Size of the work on a model; what its checkpoint does not tell, because it is not here, is 0.

    Parameters
    ----------
    source : str
        Directory of the checkpoint, or a registered name.
    cells, layers : int
        Cells of the cohort (0 for all of a file), layers analysed.
    expansion, k : int
        Of the SAEs.
    """
    about = _numbers(source)
    d_model = about.get("d_model", 0)
    return Size(
        cells=cells, positions=cells * about.get("max_len", 0), layers=layers,
        d_model=d_model, d_sae=expansion * d_model, k=k,
    )  # fmt: skip


def _numbers(source: str) -> dict[str, int]:
    for folder in (Path(source), FETCHED / source, *sorted((FETCHED / source).glob("*"))):
        for name, keys in KEYS.items():
            if (folder / name).is_file():
                try:
                    found: Any = read_json(folder / name)
                except BiosaeError:
                    return {}
                return {ours: found[theirs] for ours, theirs in keys.items() if isinstance(found.get(theirs), int)}
    return {}
