"""Each gene finds its own name, whatever column it stands in and whatever it is called."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from biosae_utils.cells.genes import Genes
from biosae_utils.cells.human import human_genes
from biosae_utils.cells.names import LOST, find_genes, mangled, unknown_molecules
from biosae_utils.errors import BiosaeError

SYMBOLS = "ISG15 CD3D CD3E MS4A1 LYZ NKG7 GNLY CD8A B2M ACTB GAPDH MALAT1 RPL3 RPS6 CD14 MT-ND1".split()
IDS = [human_genes().find(s) for s in SYMBOLS]


def found(var: pd.DataFrame) -> tuple[list[str], list[str]]:
    genes, _ = find_genes(var)
    return genes.ensembl.tolist(), genes.symbol.tolist()


def test_an_index_of_symbols_and_ids_loses_nothing():
    mixed = [s if i % 3 else e for i, (s, e) in enumerate(zip(SYMBOLS, IDS, strict=True))]
    assert found(pd.DataFrame(index=mixed)) == (IDS, SYMBOLS)


@pytest.mark.parametrize("missing", ["NA", "-", "unknown", "<NA>", "nan", "None", "", "n/a", " NA ", None, np.nan])
def test_missing_names_are_no_names(missing):
    names = [*SYMBOLS[:14], missing, missing]
    ids = [*IDS[:14], IDS[14], ""]
    genes, messages = find_genes(pd.DataFrame({"symbol": names, "gene_ids": ids}, index=[str(i) for i in range(16)]))
    assert genes.symbol.tolist() == [*SYMBOLS[:15], ""] and genes.ensembl.tolist() == ids
    assert "1 missing symbols were filled in from the table of human genes." in messages
    assert "1 Ensembl ids are unknown." in messages


ID_NAMES = [
    "gene_ids",
    "gene_id",
    "ensembl_id",
    "ENSEMBL",
    "ID",
    "accession",
    "feature_id",
    "Ensembl.Gene.ID",
    "GeneID",
]
SYMBOL_NAMES = ["gene_symbols", "gene_name", "hgnc_symbol", "Symbol", "features", "feature_name", "real_gene_name"]


@pytest.mark.parametrize("column", ID_NAMES)
def test_ids_are_found_under_every_name_that_tools_give(column):
    assert found(pd.DataFrame({column: IDS}, index=[str(i) for i in range(len(IDS))])) == (IDS, SYMBOLS)
    assert found(pd.DataFrame({column: IDS}, index=SYMBOLS)) == (IDS, SYMBOLS)


@pytest.mark.parametrize("column", [*SYMBOL_NAMES, "gene_short_name", "GeneName", "HUGO", "name"])
def test_symbols_are_found_under_every_name_that_tools_give(column):
    assert found(pd.DataFrame({column: SYMBOLS}, index=np.arange(len(SYMBOLS)).astype(str))) == (IDS, SYMBOLS)
    assert found(pd.DataFrame({column: SYMBOLS}, index=IDS)) == (IDS, SYMBOLS)


def test_ids_in_a_column_that_no_one_would_call_so():
    assert found(pd.DataFrame({"x": IDS, "y": range(16)}, index=[f"g{i}" for i in range(16)]))[0] == IDS


@pytest.mark.parametrize(
    "write",
    [
        lambda s, e: f"{e}.12",
        lambda s, e: e.lower(),
        lambda s, e: f"{e}.3_PAR_Y",
        lambda s, e: f"GRCh38_{s}",
        lambda s, e: f"hg19_{e}",
        lambda s, e: f"{s}_{e}",
        lambda s, e: f"{e}|{s}",
        lambda s, e: f"{s}|1234",
        lambda s, e: f"{s}__chr1",
        lambda s, e: f" {s} ",
    ],
    ids=["version", "small", "y", "genome", "genome-id", "both", "bar", "entrez", "cel-seq", "spaces"],
)
def test_ways_of_writing_a_gene(write):
    index = [write(s, e) for s, e in zip(SYMBOLS, IDS, strict=True)]
    assert found(pd.DataFrame(index=index)) == (IDS, SYMBOLS)


def test_every_gene_takes_the_first_column_that_names_it():
    symbol = ["", "CD3D", "not a gene", *SYMBOLS[3:]]
    var = pd.DataFrame({"symbol": symbol, "gene_name": SYMBOLS}, index=[*IDS[:2], "x", *SYMBOLS[3:]])
    ensembl, names = found(var)
    assert (ensembl, names) == (IDS, SYMBOLS)
    _, messages = find_genes(var)
    assert "symbols from var['symbol'] (14), var['gene_name'] (2)." in messages[0]


def test_a_name_that_the_file_gives_is_kept():
    genes, _ = find_genes(pd.DataFrame({"ensembl_id": IDS}, index=["G1P2", *SYMBOLS[1:]]))
    assert genes.symbol[0] == "G1P2"  # an earlier name of ISG15


def test_an_earlier_name_beside_the_present_one_is_a_gene_of_its_own():
    genes, _ = find_genes(pd.DataFrame(index=["RACK1", "GNB2L1", *SYMBOLS]))
    assert genes.ensembl[0] == "ENSG00000204628" and genes.ensembl[1] == ""
    genes, _ = find_genes(pd.DataFrame(index=["GNB2L1", *SYMBOLS]))
    assert genes.ensembl[0] == "ENSG00000204628"


def test_many_unknown_molecules_are_a_warning_that_names_the_largest():
    genes = Genes(np.array([*IDS[:3], "", "", ""]), np.array([*SYMBOLS[:3], "EGFP", "mystery", ""]))
    (said,) = unknown_molecules(genes, np.array([40, 30, 10, 15.0, 0, 5]))
    assert said.startswith("WARNING: 20.0% of the molecules are of 2 genes")
    assert "EGFP (15.0%), column 5 without a name (5.0%)" in said and "mystery" not in said
    assert unknown_molecules(genes, np.array([1000, 1000, 1000, 3000 * LOST * 0.9, 0, 0])) == []


def test_names_that_r_or_excel_changed_get_a_hint():
    human = human_genes()
    by_r, by_excel = mangled(np.array(["HLA.A", "MT.ND1", "X7SK", "mystery", "2-Sep", "2021-03-01", "2.31E+13"]), human)
    assert ("2 unknown" in by_r and "HLA.A for HLA-A" in by_r) or "3 unknown" in by_r
    assert "3 unknown" in by_excel and "2-Sep" in by_excel
    assert mangled(np.array(["mystery", "AC012.1", "GENE.X"]), human) == []


def test_names_that_are_numbers_alone_are_refused_with_the_index_in_the_message():
    with pytest.raises(BiosaeError, match=r"0 of 16 genes.*'100', '101'"):
        find_genes(pd.DataFrame(index=[str(100 + i) for i in range(16)]))
