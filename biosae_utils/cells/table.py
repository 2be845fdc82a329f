"""`obs` and `var` of a file, one column at a time: a file may hold hundreds, a run needs three."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from biosae_utils.cells.container import Group, opened
from biosae_utils.errors import BiosaeError


@dataclass
class StoredTable:
    """A table of the file; columns are read when asked for, and only these.

    Attributes
    ----------
    path : Path
    key : str
        ``obs``, ``var`` or ``raw/var``.
    index : Index of str
        Barcodes or gene names.
    columns : list of str
    """

    path: Path
    key: str
    index: pd.Index
    columns: list[str]

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __getitem__(self, column: str) -> pd.Series:
        """One column, with the table's index.

        Raises
        ------
        KeyError
            There is no such column.
        BiosaeError
            It cannot be read.
        """
        from anndata.io import read_elem

        if column not in self.columns:
            raise KeyError(column)
        try:
            with opened(self.path) as f:
                return pd.Series(read_elem(f[self.key][column]), index=self.index, name=column)
        except BiosaeError as e:
            raise BiosaeError(
                f"Column {column!r} of {self.key} cannot be read. {e.what}", where=e.where, do=e.do
            ) from e


def read_table(f: Group, path: Path, key: str) -> StoredTable | pd.DataFrame:
    """A table of an open file; formats from before anndata 0.8 are read whole, by anndata."""
    from anndata.io import read_elem

    node = f[key]
    attrs = dict(node.attrs)
    if str(attrs.get("encoding-type")) == "dataframe" and str(attrs.get("encoding-version")) == "0.2.0":
        index = pd.Index(pd.Series(read_elem(node[attrs["_index"]])).astype(str).to_numpy(object))
        return StoredTable(path, key, index, [str(c) for c in attrs["column-order"]])
    table = read_elem(node)
    if not isinstance(table, pd.DataFrame):
        raise BiosaeError(
            f"The table {key} has an unknown form", where=str(path), do="read the file with anndata and save it again"
        )
    return named(table)


def named(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose index is text."""
    return table.set_axis(table.index.astype(str), axis=0)


def whole(table: StoredTable | pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """All columns that can be read, and the names of those that cannot."""
    if isinstance(table, pd.DataFrame):
        return table, []
    columns, failed = {}, []
    for column in table.columns:
        try:
            columns[column] = table[column]
        except BiosaeError:
            failed.append(column)
    return pd.DataFrame(columns, index=table.index), failed
