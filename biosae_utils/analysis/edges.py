"""Networks between genes: STRING and TRRUST as edges, and a test of edges among listed genes against a matched null."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.fdr import bh_adjust
from biosae_utils.analysis.genesets import GeneSets, from_table, upper
from biosae_utils.analysis.nulls import matched_networks
from biosae_utils.errors import BiosaeError

STRING_LINKS, STRING_INFO = "9606.protein.links.v12.0.txt.gz", "9606.protein.info.v12.0.txt.gz"
TRRUST_FILE = "trrust_rawdata.human.tsv"


def read_string(links: Path | str, info: Path | str, cut: int = 700) -> pd.DataFrame:
    """STRING links between gene symbols with a combined score of at least `cut` (700: high confidence, 900: highest).

    Parameters
    ----------
    links : path
        ``protein.links`` (``protein1 protein2 combined_score``, separated by blanks), gzipped or not.
    info : path
        ``protein.info`` (tab-separated; the first two columns are the protein id and its symbol).

    Returns
    -------
    DataFrame
        a, b (symbols, upper case), score; each pair in both directions, as in the file.
    """
    from pyarrow import ArrowInvalid, compute, csv

    try:
        names = csv.read_csv(info, parse_options=csv.ParseOptions(delimiter="\t", quote_char=False))
        reader = csv.open_csv(links, parse_options=csv.ParseOptions(delimiter=" "))
        kept = [b.filter(compute.greater_equal(b["combined_score"], cut)).to_pandas() for b in reader]
    except (OSError, ArrowInvalid, KeyError) as e:
        raise BiosaeError(f"STRING cannot be read ({e})", where=f"{links}, {info}", do="biosae fetch string-v12") from e
    symbol = dict(zip(names.column(0).to_pylist(), upper(names.column(1).to_pylist()), strict=True))
    table = pd.concat(kept, ignore_index=True)
    a, b = table["protein1"].map(symbol), table["protein2"].map(symbol)
    return pd.DataFrame({"a": a, "b": b, "score": table["combined_score"]}).dropna(ignore_index=True)


def read_trrust(path: Path | str) -> pd.DataFrame:
    """TRRUST v2: tf, target, mode (Activation, Repression, Unknown) and pmids; the file has no header."""
    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as e:
        raise BiosaeError(f"TRRUST cannot be read ({e})", where=str(path), do="biosae fetch trrust-v2") from e
    if table.shape[1] != 4:
        raise BiosaeError(
            f"TRRUST has four columns, this file {table.shape[1]}", where=str(path), do="biosae fetch trrust-v2"
        )
    table.columns = ["tf", "target", "mode", "pmids"]
    return table.assign(tf=upper(table["tf"]), target=upper(table["target"]))


def trrust_sets(trrust: pd.DataFrame) -> GeneSets:
    """The targets of each transcription factor as one term of the collection TRRUST."""
    pairs = trrust[["tf", "target"]].drop_duplicates()
    name = pairs["tf"] + " targets"
    return from_table(
        pd.DataFrame({"collection": "TRRUST", "term_id": pairs["tf"], "name": name, "gene": pairs["target"]})
    )


def adjacency(a: np.ndarray, b: np.ndarray, genes: np.ndarray) -> sp.csr_matrix:
    """Undirected edges as a symmetric binary matrix over `genes`, shape (n_genes, n_genes), without self-loops."""
    column = {g: i for i, g in reversed(list(enumerate(upper(genes))))}
    i = np.array([column.get(x, -1) for x in a], dtype=np.int64)
    j = np.array([column.get(x, -1) for x in b], dtype=np.int64)
    keep = (i >= 0) & (j >= 0) & (i != j)
    i, j = np.r_[i[keep], j[keep]], np.r_[j[keep], i[keep]]
    matrix = sp.csr_matrix((np.ones(len(i), np.int32), (i, j)), shape=(len(genes), len(genes)))
    matrix.data = np.ones(matrix.nnz, np.int32)
    return matrix


def edges_within(lists: sp.csr_matrix, network: sp.csr_matrix) -> np.ndarray:
    """Edges between two genes of the same list, shape (n_features,)."""
    lists = lists.astype(np.int32)
    return np.asarray((lists @ network).multiply(lists).sum(axis=1)).ravel() // 2


def edge_test(lists: sp.csr_matrix, network: sp.csr_matrix, *, n: int = 199, seed: int = 0) -> pd.DataFrame:
    """Edges among listed genes against lists of the same degrees and popularity.

    In each of `n` null draws genes swap names within strata of equal network degree and equal frequency in lists
    (`nulls.edge_strata`), so hubs are replaced by hubs and popular genes by popular genes.

    Returns
    -------
    DataFrame, one row a list
        edges, expected (null mean), p = (1 + draws with as many edges) / (1 + n), q (BH over all lists).
    """
    draw = matched_networks(lists, network, seed)
    observed = edges_within(lists, network)
    as_many, total = np.zeros(len(observed), np.int64), np.zeros(len(observed))
    for i in range(n):
        drawn = edges_within(lists, draw(i))
        as_many += drawn >= observed
        total += drawn
    p = (1 + as_many) / (1 + n)
    return pd.DataFrame({"edges": observed, "expected": total / n, "p": p, "q": bh_adjust(p, len(p))})
