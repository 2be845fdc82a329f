"""Names of human genes: every coding gene, both ways; earlier names; aliases that never beat a name in use."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from biosae_utils.cells.human import FIRST, OWN, TABLE, human_genes
from biosae_utils.cells.names import MISSING
from biosae_utils.store import read_table

NAMES = pd.read_csv(Path(__file__).with_name("gene_names.tsv"), sep="\t", keep_default_na=False)
CODING = pd.read_csv(  # every named protein-coding gene of GENCODE 48: the number in ENSG..., the name
    Path(__file__).with_name("coding_genes.tsv.gz"), sep="\t", names=["number", "name"], keep_default_na=False
).assign(ensembl=lambda t: [f"ENSG{n:011d}" for n in t["number"]])
ROOT = Path(__file__).resolve().parents[2]
# symbols of our gene sets without an Ensembl id of their own in NCBI Gene: transfer RNAs, retroviruses, haplotypes
NO_ID = re.compile(
    r"^(TR[A-Z]-[ACGT]{3}\d-\d|ERVK-\d+|IG[HL]V\S+|LOC\d+|TAS2R3[36]|GSC-DT|MUC3B|PRSS3P2|RNA45S5|SEPTIN14P20"
    r"|MMP24-AS1-EDEM2|TBC1D7-LOC100130357|ZNF664-RFLNA)$"
)


def test_random_names_of_gencode_resolve_both_ways():
    human, today = human_genes(), NAMES[NAMES["release"] == 48]
    drawn = today[~today["name"].str.startswith("MT-")]
    assert len(drawn) == 200
    assert [human.find(n) for n in drawn["name"]] == drawn["ensembl"].tolist()
    assert [human.symbol_of[i] for i in drawn["ensembl"]] == drawn["name"].tolist()


def test_all_mitochondrial_genes_resolve_both_ways():
    human, mt = human_genes(), NAMES[NAMES["name"].str.startswith("MT-")]
    assert len(mt) == 37
    assert [human.find(n) for n in mt["name"]] == mt["ensembl"].tolist()
    assert [human.symbol_of[i] for i in mt["ensembl"]] == mt["name"].tolist()


@pytest.mark.parametrize("release", [44, 38, 2013])
def test_names_of_older_releases_stand_for_the_same_gene(release):
    human, old = human_genes(), NAMES[NAMES["release"] == release]
    assert len(old) == 60
    assert [human.find(n) for n in old["name"]] == old["ensembl"].tolist()
    assert not any(human.is_own(n) for n in old["name"])


@pytest.mark.parametrize(
    ("name", "ensembl", "today"),
    [
        ("RUNX1", "ENSG00000159216", "RUNX1"),
        ("MCL1", "ENSG00000143384", "MCL1"),
        ("U2AF1", "ENSG00000160201", "U2AF1"),
        ("MT-CO2", "ENSG00000198712", "MT-CO2"),
        ("COX1", "ENSG00000198804", "MT-CO1"),  # what NCBI calls it; also an alias of PTGS1
        ("ND1", "ENSG00000198888", "MT-ND1"),
        ("GNB2L1", "ENSG00000204628", "RACK1"),
        ("H3F3B", "ENSG00000132475", "H3-3B"),
        ("IL8", "ENSG00000169429", "CXCL8"),
        ("SEPT2", "ENSG00000168385", "SEPTIN2"),
        ("MARCH1", "ENSG00000145416", "MARCHF1"),
        ("KIAA0391", "ENSG00000100890", "PRORP"),
        ("HER2", "ENSG00000141736", "ERBB2"),
        ("CAST", "ENSG00000153113", "CAST"),  # two ids bear the name today, this one has had it for longest
        ("CD99", "ENSG00000002586", "CD99"),  # of X, not of Y
        ("C9ORF72", "ENSG00000147894", "C9orf72"),
    ],
)
def test_known_names(name, ensembl, today):
    human = human_genes()
    assert human.find(name) == ensembl and human.symbol_of[ensembl] == today


def test_placeholders_never_name_a_gene_that_has_a_name():
    human = human_genes()
    assert human.find("LOC100506403") == "" and human.symbol_of["ENSG00000159216"] == "RUNX1"
    placeholders = {n: i for n, i in human.id_of.items() if re.fullmatch(r"LOC\d+", n)}
    assert len(placeholders) > 1000 and not set(placeholders.values()) & set(CODING["ensembl"])


def test_the_table_is_two_functions_that_agree():
    table, human = pd.read_parquet(TABLE), human_genes()
    first, own = (table[table["role"] & r > 0] for r in (FIRST, OWN))
    assert not first["name"].duplicated().any() and not own["ensembl"].duplicated().any()
    assert table["role"].between(1, FIRST | OWN).all()
    for name, ensembl in zip(own["name"], own["ensembl"], strict=True):
        found = human.find(name)
        assert found, name
        # of two ids with one name, the name stands for one, which bears it too unless it has been renamed since
        assert found == f"ENSG{ensembl:011d}" or found in human.symbol_of
    assert len(own) > 60_000


def test_nothing_that_means_missing_is_a_name():
    human = human_genes()
    assert not [n for n in human.id_of if n.lower() in MISSING or not n.strip()]


def test_symbols_of_the_gene_sets_are_known():
    human = human_genes()
    symbols = set(read_table(ROOT / "data" / "demo" / "genesets.parquet")["gene"])
    unknown = {s for s in symbols if not human.find(s)}
    assert len(symbols) == 16805 and len(unknown) == 57
    assert not [s for s in unknown if not NO_ID.match(s)]


def test_every_protein_coding_gene_of_gencode_resolves_both_ways():
    human = human_genes()
    assert len(CODING) == 19477
    assert [human.symbol_of[i] for i in CODING["ensembl"]] == CODING["name"].tolist()
    other = CODING[[human.find(n) != i for i, n in zip(CODING["ensembl"], CODING["name"], strict=True)]]
    assert len(other) == 32  # two ids of one name: the one on Y, or the newer half of a split locus
    assert all(human.symbol_of[human.find(n)] == n for n in other["name"])
