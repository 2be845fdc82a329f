"""The members of gene sets that somebody else wrote, as symbols of human genes."""

from __future__ import annotations

import re
from collections.abc import Sized
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from biosae_utils.cells.names import human_genes
from biosae_utils.errors import BiosaeError

COLUMNS = ["collection", "term_id", "name", "gene"]
WEIGHTS = "weights of genes are not used: every member counts the same"
ODD_SHARE = 0.05
"""Members of a file that may be no symbols (of a spreadsheet's making, mostly) before the file is refused."""


@dataclass
class Read:
    """A file of gene sets as a long table: collection, term_id, name, gene, place; and what is to be told of it."""

    table: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def count(things: Sized, noun: str) -> str:
    """``1 term``, ``2 terms``."""
    return f"{len(things):,} {noun}{'s' if len(things) != 1 else ''}"


def blank(column: pd.Series) -> np.ndarray:
    """Where a column is missing or holds only spaces, bool; each different value is looked at once."""
    code, values = pd.factorize(column)
    return np.array([*(not str(v).strip() for v in values), True])[code]


def called(place: str | int) -> str:
    """A place in a file as its format calls it, or the row of a table."""
    return place if isinstance(place, str) else f"row {place}"


def without_empty(read: Read, path: Path) -> Read:
    """Leave out terms without a gene, and say so."""
    table = read.table
    has = pd.Series(~blank(table["gene"]), index=table.index)
    keys = ["collection", "term_id"]
    whole = has.groupby([table[k] for k in keys], sort=False, observed=True).transform("any") if len(table) else has
    if not has.any() and len(table):
        raise BiosaeError("No term of this file has a gene", where=f"{path}, {called(table['place'].iloc[0])}")
    if not has.any():
        raise BiosaeError("A file of gene sets holds no term", where=str(path))
    empty = table[~whole].drop_duplicates(keys)
    if len(empty):
        first = empty.iloc[0]
        read.notes.append(
            f"{count(empty, 'term')} without genes left out (first: {first['term_id']}, {called(first['place'])})"
        )
    return Read(table[has].reset_index(drop=True), read.notes)


def with_symbols(read: Read, path: Path) -> Read:
    """Genes as symbols: weights cut off, Ensembl ids named; numbers, other species and several in one refused."""
    code, values = pd.factorize(read.table["gene"])
    plain, names = [], []
    weighted = False
    for value in (str(v).strip() for v in values):
        if match := re.fullmatch(r"(.+),\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)", value):
            value, weight = match[1].strip(), float(match[2])
            weighted |= weight != 1
        plain.append(value)
    if weighted:
        read.notes.append(WEIGHTS)
    symbol_of = human_genes().symbol_of
    n_ensembl = 0
    for value in plain:
        match = re.fullmatch(r"(ENSG\d{11})(\.\d+)?(_PAR_Y)?", value, re.IGNORECASE)
        n_ensembl += match is not None
        names.append(symbol_of.get(match[1].upper(), value) if match else value)
    if n_ensembl:
        unknown = sum(bool(re.fullmatch(r"ENSG\d{11}.*", name, re.IGNORECASE)) for name in names)
        read.notes.append(f"{n_ensembl:,} Ensembl ids were named by their symbols, {unknown:,} of them are unknown")
    _refuse_odd(read, plain, code, path)
    gene = np.array(names, dtype=object)[code]
    return Read(read.table.assign(gene=gene), read.notes)


MONTH = "(JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEPT?|OCT|NOV|DEC)"
ODD = {
    "numbers, not symbols (Entrez ids?)": r"\d+(\.0)?",
    "ids of transcripts, proteins or another species": r"ENS(?!G\d)[A-Z]*\d{11}(\.\d+)?",
    "several genes in one field, or a quotation mark": r".*[\s;,|\"].*",
    "dates that a spreadsheet made of gene names": rf"\d{{1,2}}-{MONTH}|{MONTH}-\d+",
}


def _refuse_odd(read: Read, values: list[str], code: np.ndarray, path: Path) -> None:
    """Refuse members that cannot be symbols where they are many, or a whole term; few are told in a note."""
    term = read.table.groupby(["collection", "term_id"], sort=False, observed=True).ngroup().to_numpy()
    for what, pattern in ODD.items():
        odd = np.array([bool(re.fullmatch(pattern, v, re.IGNORECASE)) for v in values], bool)[code]
        if not odd.any():
            continue
        whole = np.bincount(term, ~odd) == 0
        first = int(np.flatnonzero(odd & whole[term] if whole.any() else odd)[0])
        example, place = values[code[first]], read.table["place"].iloc[first]
        if whole.any() or odd.mean() > ODD_SHARE:
            raise BiosaeError(
                f"{int(odd.sum()):,} of {len(odd):,} members of gene sets are {what}, such as {example!r}",
                where=f"{path}, {called(place)}",
                do="give symbols of human genes, one a field",
            )
        read.notes.append(
            f"{int(odd.sum()):,} members are {what}, and match no gene (first: {example}, {called(place)})"
        )
