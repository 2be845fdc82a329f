"""Members of gene sets as somebody wrote them become symbols, or are refused with the place where they stand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from biosae_utils.analysis.geneset_members import WEIGHTS, Read, with_symbols, without_empty
from biosae_utils.errors import BiosaeError

WHERE = Path("mine.gmt")


def read(*genes: str | None, term: str = "T") -> Read:
    rows = [("c", term, term, gene, f"line {i}") for i, gene in enumerate(genes, start=1)]
    return Read(pd.DataFrame(rows, columns=["collection", "term_id", "name", "gene", "place"]))


def test_ensembl_ids_are_named_and_weights_cut_off():
    found = with_symbols(read("ENSG00000187608.10", "CD74,0.5", "GAPDH"), WHERE)
    assert list(found.table["gene"]) == ["ISG15", "CD74", "GAPDH"]
    assert WEIGHTS in found.notes and any("Ensembl" in note for note in found.notes)


@pytest.mark.parametrize("odd", ["7157", "ENSMUSG00000059552", "TP53;MDM2", "1-MAR"])
def test_what_is_no_symbol_is_refused_with_its_line(odd):
    with pytest.raises(BiosaeError, match="line 1"):
        with_symbols(read(odd), WHERE)


def test_terms_without_genes_are_left_out_and_told():
    both = Read(pd.concat([read("CD74").table, read("", term="E").table]))
    found = without_empty(both, WHERE)
    assert list(found.table["term_id"]) == ["T"] and "1 term without genes" in found.notes[0]
    with pytest.raises(BiosaeError, match="No term of this file has a gene"):
        without_empty(read(""), WHERE)
