"""Gene sets of any origin through one interface: read, align to the genes of the data, cut to a size.

Symbols are compared in upper case. A `GeneSets` is sparse, terms by genes; everything that tests enrichment takes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.geneset_formats import read_sets
from biosae_utils.errors import BiosaeError


@dataclass(frozen=True)
class GeneSets:
    """Terms by genes.

    Attributes
    ----------
    membership : csr_matrix of uint8, shape (n_terms, n_genes)
        1 where the gene belongs to the term.
    genes : ndarray of str, shape (n_genes,)
        Upper-case symbols of the columns, unique.
    terms : DataFrame, n_terms rows
        collection, term_id, name, size (members among `genes`), size_source (members in the source, before any cut).
    notes : tuple of str
        What had to be guessed or left out when a file was read.
    """

    membership: sp.csr_matrix
    genes: np.ndarray
    terms: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.terms)

    def on_genes(self, genes: Sequence[str] | np.ndarray) -> GeneSets:
        """The same terms with their columns replaced by `genes`: members outside are dropped, no term is.

        Parameters
        ----------
        genes : sequence of str, shape (n,)
            Symbols in the order of the wanted columns. Of repeated symbols the first column holds the members.
        """
        genes = upper(genes)
        column = {g: i for i, g in reversed(list(enumerate(genes)))}
        old = np.array([column.get(g, -1) for g in self.genes], dtype=np.int64)
        have = np.flatnonzero(old >= 0)
        move = sp.csr_matrix((np.ones(len(have), np.uint8), (have, old[have])), shape=(len(self.genes), len(genes)))
        membership = (self.membership @ move).tocsr()
        membership.sort_indices()
        return replace(
            self, membership=membership, genes=genes, terms=self.terms.assign(size=np.diff(membership.indptr))
        )

    def restrict(self, genes: Sequence[str] | np.ndarray, min_size: int = 5, max_size: int = 500) -> GeneSets:
        """Cut the terms to a background, then keep those with `min_size` to `max_size` members left."""
        cut = self.on_genes(genes)
        return cut.select(cut.terms["size"].between(min_size, max_size).to_numpy())

    def select(self, which: np.ndarray) -> GeneSets:
        """A subset of the terms, by mask or index."""
        which = np.flatnonzero(which) if np.asarray(which).dtype == bool else np.asarray(which)
        return replace(self, membership=self.membership[which], terms=self.terms.iloc[which].reset_index(drop=True))

    def collection(self, name: str) -> GeneSets:
        """The terms of one collection."""
        return self.select((self.terms["collection"] == name).to_numpy())

    def members(self, term: int) -> np.ndarray:
        """Symbols of one term."""
        return self.genes[self.membership.indices[self.membership.indptr[term] : self.membership.indptr[term + 1]]]

    def as_dict(self) -> dict[str, list[str]]:
        """``{term_id: [symbols]}``, the form that gseapy takes."""
        return {t: self.members(i).tolist() for i, t in enumerate(self.terms["term_id"])}


def upper(symbols: Iterable[str]) -> np.ndarray:
    """Upper-case symbols without surrounding blanks."""
    return np.array([str(s).strip().upper() for s in symbols], dtype=object)


def from_table(table: pd.DataFrame) -> GeneSets:
    """Gene sets from a long table with columns collection, term_id, name and gene (or a list column genes)."""
    if "genes" in table.columns and "gene" not in table.columns:
        table = table.explode("genes").rename(columns={"genes": "gene"})
    missing = {"collection", "term_id", "name", "gene"} - set(table.columns)
    if missing:
        raise BiosaeError(
            f"A table of gene sets lacks the columns {', '.join(sorted(missing))}",
            do="give one row per (term, gene) with collection, term_id, name and gene",
        )
    table = table.dropna(subset=["gene"])
    # Symbols and terms repeat a million times: work on codes, not on strings.
    gene_code, gene_values = pd.factorize(table["gene"])
    symbols = upper(gene_values)
    merged, genes = pd.factorize(symbols)
    keys = table[["collection", "term_id"]]
    term_code = keys.groupby(["collection", "term_id"], sort=False, observed=True).ngroup().to_numpy()
    terms = table.loc[~keys.duplicated().to_numpy(), ["collection", "term_id", "name"]].reset_index(drop=True)
    column = merged[gene_code]
    keep = symbols[gene_code] != ""
    membership = sp.csr_matrix(
        (np.ones(int(keep.sum()), np.int32), (term_code[keep], column[keep])), shape=(len(terms), len(genes))
    )
    membership.data = np.ones(len(membership.data), np.uint8)  # a gene named twice in a term counts once
    membership.sort_indices()
    size = np.diff(membership.indptr)
    terms = terms.astype({"collection": str, "term_id": str, "name": str}).assign(size=size, size_source=size)
    return GeneSets(membership, np.asarray(genes, dtype=object), terms)


def from_dict(sets: Mapping[str, Iterable[str]], collection: str) -> GeneSets:
    """Gene sets from ``{name: symbols}``; the name is the term id too."""
    rows = [(collection, name, name, gene) for name, genes in sets.items() for gene in genes]
    return from_table(pd.DataFrame(rows, columns=["collection", "term_id", "name", "gene"]))


def concat(parts: Sequence[GeneSets]) -> GeneSets:
    """Several collections as one."""
    if not parts:
        raise BiosaeError("There are no gene sets to join")
    genes = np.array(list(dict.fromkeys(g for part in parts for g in part.genes)), dtype=object)
    membership = sp.vstack([part.on_genes(genes).membership for part in parts], format="csr")
    terms = pd.concat([part.terms for part in parts], ignore_index=True)
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return GeneSets(membership, genes, terms.assign(size=np.diff(membership.indptr)), notes)


def load_genesets(path: Path | str, collections: Sequence[str] | None = None) -> GeneSets:
    """Read gene sets from Parquet (all collections in one table), GMT, Enrichr text or JSON (one collection a file).

    Parameters
    ----------
    path : path
        See `geneset_formats.read_sets`. The collection of a file that names none is its stem.
    collections : sequence of str, optional
        Collections to keep, in this order; all when None.

    Raises
    ------
    BiosaeError
        The file is missing, damaged or holds no symbols of genes (the message names the line), or a collection is not
        in it (the message lists those that are).
    """
    path = Path(path)
    read = read_sets(path)
    sets = replace(from_table(read.table), notes=tuple(read.notes))
    if collections is None:
        return sets
    there = list(dict.fromkeys(sets.terms["collection"]))
    unknown = [c for c in collections if c not in there]
    if unknown:
        raise BiosaeError(
            f"There is no collection {', '.join(unknown)}", where=str(path), do=f"choose from {', '.join(there)}"
        )
    order = np.concatenate([np.flatnonzero((sets.terms["collection"] == c).to_numpy()) for c in collections])
    return sets.select(order)
