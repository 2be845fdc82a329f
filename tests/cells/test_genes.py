"""Columns of one gene become one column."""

from __future__ import annotations

import numpy as np

from biosae_utils.cells.genes import Genes, merge_columns


def test_columns_of_one_gene_are_summed():
    ids = np.array(["ENSG1", "", "ENSG1", "", ""])
    symbols = np.array(["A", "B", "A2", "B", ""])
    genes, merge, messages = merge_columns(Genes(ids, symbols))
    assert genes.symbol.tolist() == ["A", "B", ""] and genes.label.tolist() == ["A", "B", ""]
    np.testing.assert_array_equal(np.array([[1, 2, 4, 8, 16]]) @ merge.toarray(), [[5, 10, 16]])
    assert messages == ["2 duplicate columns were summed into their genes (A, B)."]


def test_genes_without_any_name_stay_apart():
    genes, merge, messages = merge_columns(Genes(np.array(["", ""]), np.array(["", ""])))
    assert len(genes) == 2 and merge is None and messages == []
