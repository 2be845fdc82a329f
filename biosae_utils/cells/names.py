"""Which gene is each column: ids found in `var`, completed from a table of human symbols, mouse refused."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.cells.genes import Genes
from biosae_utils.errors import BiosaeError

ENSEMBL_COLUMNS = ("ensembl_id", "gene_ids", "gene_id", "ensembl", "ensembl_gene_id", "feature_id")
SYMBOL_COLUMNS = ("symbol", "feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_names", "gene_short_name")
HUMAN_ID = r"^(ENSG\d{11})"  # what follows is a version or a pseudo-autosomal mark
OTHER_ID = r"^(ENS(?!G\d)[A-Z]{3,4}G)\d{11}"
MIN_KNOWN = 0.1  # share of columns that must be known human genes


@cache
def human_genes() -> tuple[dict[str, str], dict[str, str]]:
    """Symbol, present or retired, to Ensembl id; and Ensembl id to present symbol. Source: data/demo/PROVENANCE.md."""
    table = pd.read_parquet(Path(__file__).with_name("human_genes.parquet"))
    ids = [f"ENSG{number:011d}" for number in table["ensembl"]]
    id_of = dict(zip(table["name"], ids, strict=True))
    symbol_of = {i: n for n, i, current in zip(table["name"], ids, table["current"], strict=True) if current}
    return id_of, symbol_of


def find_genes(var: pd.DataFrame, *, where: str = "") -> tuple[Genes, list[str]]:
    """Ensembl ids and symbols of the columns of a count matrix.

    Parameters
    ----------
    var : DataFrame, shape (n_genes, ...)
        Gene table of an h5ad, gene names in the index.
    where : str
        File name for error messages.

    Returns
    -------
    genes : Genes
    messages : list of str
        What was found where, and what was filled in.

    Raises
    ------
    BiosaeError
        If the genes are not human or cannot be recognised.
    """
    texts = {str(c): var[c].astype(str) for c in var.columns}
    index = pd.Series(var.index.astype(str), index=var.index)
    by_column = {**{c: texts[c] for c in (*ENSEMBL_COLUMNS, *SYMBOL_COLUMNS) if c in texts}, "index": index}
    _refuse_other_species(by_column, where)

    ensembl, ensembl_from = pd.Series("", index=var.index), ""
    for column in (*(c for c in ENSEMBL_COLUMNS if c in texts), "index"):
        found = by_column[column].str.extract(HUMAN_ID, expand=False).fillna("")
        if (found != "").mean() > max(0.5, (ensembl != "").mean()):
            ensembl, ensembl_from = found, column
            break
    symbol, symbol_from = pd.Series("", index=var.index), ""
    for column in (*(c for c in SYMBOL_COLUMNS if c in texts), "index"):
        found = by_column[column].where(~by_column[column].str.match(HUMAN_ID), "").replace({"nan": "", "None": ""})
        if (found != "").mean() > 0.5:
            symbol, symbol_from = found, column
            break
    genes = Genes(ensembl.to_numpy(str), symbol.to_numpy(str))
    return _completed(genes, ensembl_from, symbol_from, where)


def _completed(genes: Genes, ensembl_from: str, symbol_from: str, where: str) -> tuple[Genes, list[str]]:
    """Fill the missing half of the names from the table of human genes; refuse what it does not know at all."""
    id_of, symbol_of = human_genes()
    known = np.array([s in id_of or bool(e) for e, s in zip(genes.ensembl, genes.symbol, strict=True)], bool)
    if known.mean() < MIN_KNOWN:
        examples = ", ".join(repr(str(s or e)) for e, s in zip(genes.ensembl[:3], genes.symbol[:3], strict=True))
        raise BiosaeError(
            f"Only {known.sum()} of {len(known)} genes are known human Ensembl ids or symbols (first: {examples})",
            where=where,
            do="put Ensembl ids into var['ensembl_id'], or symbols into var['symbol'] or the index",
        )
    ensembl = _with_ids(genes, id_of, symbol_of)
    symbol = np.array([s or symbol_of.get(e, "") for e, s in zip(ensembl, genes.symbol, strict=True)], str)
    place = {"index": "the index of var", "": "nowhere"}
    messages = [
        f"{len(genes):,} genes: Ensembl ids from {place.get(ensembl_from, f'var[{ensembl_from!r}]')}, "
        f"symbols from {place.get(symbol_from, f'var[{symbol_from!r}]')}."
    ]
    for kind, before, after in (("Ensembl ids", genes.ensembl, ensembl), ("symbols", genes.symbol, symbol)):
        filled, left = int((after != "").sum() - (before != "").sum()), int((after == "").sum())
        if filled:
            messages.append(f"{filled:,} missing {kind} were filled in from the table of human genes.")
        if left:
            messages.append(f"{left:,} {kind} are unknown.")
    return Genes(ensembl, symbol), messages


def _with_ids(genes: Genes, id_of: dict[str, str], symbol_of: dict[str, str]) -> np.ndarray:
    """Ensembl ids, looked up by symbol where missing.

    A retired name whose gene already has a column was a gene of its own in the file's reference, and gets no id.
    """
    ensembl = genes.ensembl.astype(object)
    retired: list[int] = []
    for i in np.flatnonzero(genes.ensembl == ""):
        name = str(genes.symbol[i])
        found = id_of.get(name, "")
        if symbol_of.get(found) == name:
            ensembl[i] = found
        elif found:
            retired.append(i)
    taken = set(ensembl)
    for i in retired:
        found = id_of[str(genes.symbol[i])]
        if found not in taken:
            ensembl[i] = found
            taken.add(found)
    return ensembl.astype(str)


def _refuse_other_species(columns: dict[str, pd.Series], where: str) -> None:
    for name, column in columns.items():
        other = column.str.extract(OTHER_ID, expand=False).dropna()
        if len(other) > 0.1 * len(column):
            prefix = other.mode()[0]
            animal = "mouse" if prefix == "ENSMUSG" else "another species"
            raise BiosaeError(
                f"The genes are of {animal} ({prefix}...), the models know human genes only",
                where=f"{where}: {name} of var",
                do="map the genes to their human orthologues first",
            )
    names = next(columns[c] for c in (*SYMBOL_COLUMNS, "index") if c in columns)
    words = names[names.str.match(r"^[A-Za-z]{2,}[A-Za-z0-9]*$")]
    title = words[words.str.match(r"^[A-Z][a-z]+[a-z0-9]*$")]
    known = sum(t.upper() in human_genes()[0] for t in title)
    if len(words) > 20 and len(title) > 0.5 * len(words) and known > 0.3 * len(title):
        raise BiosaeError(
            f"The symbols are written as mouse genes ({', '.join(title[:3])}), the models know human genes only",
            where=where,
            do="map the genes to their human orthologues first (human genes are written in upper case)",
        )


def merge_duplicates(genes: Genes) -> tuple[Genes, sp.csr_matrix | None, list[str]]:
    """One column per gene: columns of the same Ensembl id (or, without one, the same symbol) are to be summed.

    Returns
    -------
    genes : Genes
        Unique genes in order of first appearance.
    merge : csr_matrix of float32, shape (n_columns, n_genes), or None
        Right factor that sums duplicate columns; None when there are none.
    messages : list of str
    """
    keys = pd.Series(np.where(genes.ensembl != "", genes.ensembl, genes.symbol))
    nameless = keys == ""
    keys[nameless] = [f"#{i}" for i in np.flatnonzero(nameless)]
    codes, unique = pd.factorize(keys)
    if len(unique) == len(genes):
        return genes, None, []
    first = np.unique(codes, return_index=True)[1]
    merge = sp.csr_matrix(
        (np.ones(len(codes), np.float32), (np.arange(len(codes)), codes)), shape=(len(codes), len(unique))
    )
    sizes = np.bincount(codes)
    names = ", ".join(str(genes.symbol[i] or genes.ensembl[i]) for i in first[sizes > 1][:5])
    extra, more = len(genes) - len(unique), ", ..." if (sizes > 1).sum() > 5 else ""
    message = f"{extra:,} duplicate columns were summed into their genes ({names}{more})."
    return Genes(genes.ensembl[first], genes.symbol[first]), merge, [message]
