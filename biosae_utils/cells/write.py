"""Results into an h5ad beside what is in it already, without reading its matrix."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biosae_utils.cells.container import is_zarr, readable
from biosae_utils.errors import BiosaeError
from biosae_utils.store import atomic_path


def add_to_h5ad(source: Path, target: Path, *, obsm: Mapping[str, Any], uns: Mapping[str, Any]) -> None:
    """Copy an h5ad and add to the copy; the copy appears only when it is whole.

    Parameters
    ----------
    source, target : Path
        May be the same file, which is then replaced.
    obsm : mapping of str to array or sparse matrix, shape (n_cells, n)
        Entries of the same name are replaced.
    uns : mapping
        Plain values, arrays and nested mappings.

    Raises
    ------
    BiosaeError
        A matrix does not have one row per cell.
    """
    import anndata as ad
    import h5py

    if is_zarr(Path(source)):
        raise BiosaeError(
            "Results cannot be added to a zarr folder", where=str(source), do="save the cells as h5ad first"
        )
    with readable(Path(source)), atomic_path(target) as tmp:
        shutil.copyfile(source, tmp)
        with h5py.File(tmp, "r+") as f:
            if "obs" not in f or "_index" not in f["obs"].attrs:
                raise BiosaeError(
                    "Results can be added to an h5ad of anndata 0.7 or later only",
                    where=str(source),
                    do="read the cells with anndata and save them with write_h5ad",
                )
            index = f["obs"].attrs["_index"]
            n_cells = len(f["obs"][index])
            for name, matrix in obsm.items():
                if matrix.shape[0] != n_cells:
                    raise BiosaeError(f"{name} has {matrix.shape[0]:,} rows for {n_cells:,} cells", where=str(source))
            for group, entries in (("obsm", obsm), ("uns", uns)):
                if group not in f:
                    ad.io.write_elem(f, group, {})
                for name, value in entries.items():
                    ad.io.write_elem(f[group], name, value)
