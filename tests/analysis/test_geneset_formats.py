"""Files of gene sets as people have them: read, with a note of what was guessed, or refused with the line named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from geneset_files import content, put

from biosae_utils.analysis import annotation_sources
from biosae_utils.analysis.genesets import load_genesets
from biosae_utils.errors import BiosaeError

ROOT = Path(__file__).parents[2]
RIGHT = {("sets", "ONE"): {"TP53", "MDM2", "CDKN1A"}, ("sets", "TWO"): {"ISG15", "MX1"}}
PLAIN = "ONE\tfirst\tTP53\tMDM2\tCDKN1A\nTWO\tsecond\tISG15\tMX1\n"
TABLE = pd.DataFrame(
    [("sets", t, t.lower(), g) for (_, t), genes in RIGHT.items() for g in sorted(genes)],
    columns=["collection", "term_id", "name", "gene"],
)


def msigdb(sets: dict[str, list[str]]) -> str:
    """As MSigDB offers it."""
    about = {
        "systematicName": "M1",
        "pmid": "1",
        "collection": "H",
        "msigdbURL": "http://x",
        "filteredBySimilarity": [],
    }
    return json.dumps({name: {**about, "geneSymbols": genes} for name, genes in sets.items()})


SETS = {t: sorted(genes) for (_, t), genes in RIGHT.items()}
ENSEMBL = "ONE\tna\tENSG00000141510.18\tENSG00000135679\tensg00000124762\nTWO\tna\tENSG00000187608\tENSG00000157601\n"


@pytest.mark.parametrize(
    ("name", "data", "note"),
    [
        ("sets.gmt", PLAIN, ""),
        ("sets.GMT", PLAIN, ""),
        ("sets.gmt.gz", gzip.compress(PLAIN.encode()), ""),
        ("sets.GMT.GZ", gzip.compress(PLAIN.encode()), ""),
        ("sets.gmt", gzip.compress(PLAIN.encode()), ""),  # packed without saying so
        ("sets.txt", PLAIN.replace("first", "").replace("second", ""), ""),  # Enrichr
        ("sets.txt", "ONE\t\tTP53,1.0\tMDM2,1.0\tCDKN1A,1\t\nTWO\t\tISG15,1.0\tMX1,1.0\t\n", ""),
        ("sets.gmt", "ONE\tna\tTP53,0.5\tMDM2,2e-1\tCDKN1A\nTWO\tna\tISG15\tMX1\n", "weights of genes are not used"),
        ("sets.gmt", "\ufeff" + PLAIN, ""),
        ("sets.gmt", PLAIN.encode("utf-16"), ""),
        ("sets.gmt", PLAIN.replace("\n", "\r\n"), ""),
        ("sets.gmt", PLAIN.replace("\n", "\r"), ""),
        ("sets.gmt", PLAIN.replace("second", "Sj\xf6gren\x85").encode("latin-1"), "line 2 is not UTF-8"),
        ("sets.gmt", "\n".join("\t".join(f'"{f}"' for f in line.split("\t")) for line in PLAIN.splitlines()), ""),
        ("sets.gmt", "ONE\tTP53\tMDM2\tCDKN1A\nTWO\tISG15\tMX1\n", "no description column"),
        ("sets.gmt", "ONE\tTP53,1.0\tMDM2\tCDKN1A\nTWO\tISG15\tMX1\n", "no description column"),
        ("sets.gmt", "ONE\tONE\tTP53\tMDM2\tCDKN1A\nTWO\tTWO\tISG15\tMX1\n", ""),
        ("sets.gmt", "\n" + PLAIN + "\n\t\t\n", ""),
        ("sets.gmt", PLAIN + PLAIN.splitlines()[0].lower().replace("one", "ONE"), "1 term stood twice"),
        ("sets.gmt", PLAIN + "EMPTY\tnothing\n", "1 term without genes left out (first: EMPTY, line 3)"),
        ("sets.gmt", PLAIN + "EMPTY\tnothing\t\t\nNONE\t\t\n", "2 terms without genes left out (first: EMPTY, line 3)"),
        ("sets.gmt", ENSEMBL, "5 Ensembl ids were named by their symbols, 0 of them are unknown"),
        ("sets.json", json.dumps(SETS), ""),
        ("sets.JSON", "\ufeff" + json.dumps(SETS), ""),
        ("sets.json.gz", gzip.compress(json.dumps(SETS).encode()), ""),
        ("sets.json", msigdb(SETS), ""),
        ("sets.json", json.dumps({t: dict.fromkeys(g, 1) for t, g in SETS.items()}), ""),
        ("sets.json", json.dumps({t: dict.fromkeys(g, 0.3) for t, g in SETS.items()}), "weights of genes are not used"),
        ("sets.json", json.dumps({**SETS, "EMPTY": []}), "(first: EMPTY, term 'EMPTY')"),
        ("sets.json", msigdb({**SETS, "EMPTY": []}), "(first: EMPTY, term 'EMPTY')"),
    ],
)
def test_what_people_have_is_read(tmp_path, name, data, note):
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    sets = load_genesets(tmp_path / name)
    assert content(sets) == RIGHT
    assert (note in " ".join(sets.notes)) if note else sets.notes == ()
    assert sets.terms["size"].tolist() == sets.terms["size_source"].tolist() == [3, 2]


def test_descriptions_name_terms_where_they_say_something(tmp_path):
    lines = "A\tnatural killer cells\tTP53\nB\tna\tTP53\nC\thttp://x\tTP53\nD\t\tTP53\nE\tSj\xf6gren\tTP53\n"
    (tmp_path / "a.gmt").write_text(lines, encoding="utf-8")
    assert load_genesets(tmp_path / "a.gmt").terms["name"].tolist() == [
        "natural killer cells",
        "B",
        "C",
        "D",
        "Sj\xf6gren",
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.gmt", PLAIN + "ONE\tagain\tMYC\n", r"Two terms are called 'ONE', with different genes.*line 1 and line 3"),
        ("a.gmt", "ONE TP53 MDM2\n", "has no tab.*line 1"),
        ("a.gmt", PLAIN + "ONE,TP53,MDM2\n", "has no tab.*line 3"),
        ("a.gmt", PLAIN + "\tno name\tMYC\n", "has no name.*line 3"),
        ("a.gmt", "ONE\tna\t7157\t4193\n", r"numbers, not symbols \(Entrez.*'7157'.*line 1"),
        ("a.gmt", PLAIN + "X\tna\t7157\n", r"1 of 6 members.*Entrez.*line 3"),
        ("a.gmt", "ONE\t7157\t4193\t1026\n", "Entrez.*'7157'.*line 1"),
        ("a.gmt", "ONE\tna\tENSMUSG00000059552\n", "another species.*line 1"),
        ("a.gmt", "ONE\tna\tENST00000269305.9\n", "ids of transcripts.*line 1"),
        ("a.gmt", PLAIN + "X\tna\tMYC MAX MXD1\n", "several genes in one field.*'MYC MAX MXD1'.*line 3"),
        ("a.gmt", PLAIN + "X\tna\tMYC;MAX\n", "several genes in one field.*line 3"),
        ("a.gmt", PLAIN + 'X\tna\t"MYC\n', "quotation mark.*line 3"),
        ("a.gmt", "X\tna\t1-Mar\t2-Sep\n", "a spreadsheet made of gene names.*'1-Mar'.*line 1"),
        ("a.gmt", "ONE\tp53 targets\tMDM2\nTWO\tISG15\tMX1\n", "second fields of 1 of 2 lines are genes.*line 2"),
        ("a.gmt", "ONE\tfirst\nTWO\tsecond\t\n", "No term of this file has a gene.*line 1"),
        ("a.gmt", "\n\n", "holds no term"),
        ("a.txt.gz", "\x1f\x8bnot gzip", "damaged"),
        ("a.gmt", "PK\x03\x04\x00\x00", "is not text"),
        ("a.json", '{"A": ["TP53"], "A": ["MYC"]}', "Two terms are called 'A'"),
        ("a.json", '{"A": "TP53"}', "must be .*term 'A'"),
        ("a.json", '{"A": {"genes": ["TP53"]}}', "must be .*term 'A'"),
        ("a.json", '{"A": [["TP53"]]}', "must be .*term 'A'"),
        ("a.json", '{"A": [7157]}', "Entrez.*term 'A'"),
        ("a.json", '{" ": ["TP53"]}', "no name.*term ' '"),
        ("a.json", '{"A": []}', "No term of this file has a gene"),
        ("a.json", "{}", "holds no term"),
        ("a.json", "[" * 100_000, "damaged"),
        ("a.csv", PLAIN, "cannot be read from .csv.*use .gmt"),
        ("a.parquet.gz", PLAIN, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_by_line(tmp_path, name, text, says):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(BiosaeError, match=says) as e:
        load_genesets(tmp_path / name)
    assert str(tmp_path / name) in e.value.where


def test_a_few_that_match_nothing_are_told_and_the_rest_is_read(tmp_path):
    genes = [f"ZNF{i}" for i in range(60)]
    (tmp_path / "a.gmt").write_text("A\tna\t" + "\t".join(genes) + "\nB\tna\tMYC\t1-Mar\tMAX\n")
    sets = load_genesets(tmp_path / "a.gmt")
    assert len(sets) == 2 and len(sets.notes) == 1
    assert "1 members are dates" in sets.notes[0] and "(first: 1-Mar, line 2)" in sets.notes[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gene": [7157, 4193, 1026, 9636, 4599]}, "Entrez.*'7157'.*row 1"),
        ({"gene": [7157.0, 4193, 1026, 9636, 4599]}, "Entrez.*row 1"),
        ({"name": ["one", "one", "other", "two", "two"]}, "Two terms of sets have the id 'ONE'.*'?other'?.*row 3"),
        ({"collection": ["sets", None, "sets", "sets", "sets"]}, "no collection.*row 2"),
        ({"term_id": ["ONE", "ONE", "ONE", " ", "TWO"]}, "no term_id.*row 4"),
    ],
)
def test_tables_are_held_to_the_same(tmp_path, change, says):
    TABLE.to_parquet(tmp_path / "a.PARQUET")
    assert content(load_genesets(tmp_path / "a.PARQUET")) == RIGHT
    TABLE.assign(**change).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(BiosaeError, match=says):
        load_genesets(tmp_path / "b.parquet")


def test_rows_without_a_gene_are_left_out_of_their_term(tmp_path):
    more = pd.DataFrame([("sets", "ONE", "one", None), ("sets", "E", "e", None)], columns=TABLE.columns)
    pd.concat([TABLE, more]).to_parquet(tmp_path / "a.parquet")
    sets = load_genesets(tmp_path / "a.parquet")
    assert content(sets) == RIGHT and sets.notes == ("1 term without genes left out (first: E, row 7)",)


def test_the_page_shows_how_a_file_was_read(tmp_path):
    (tmp_path / "mine.gmt").write_text("ONE\tTP53\tMDM2\nTWO\tISG15\tMX1\n")
    root = tmp_path / "fetched"
    put(root, "kegg", {"KEGG.json": json.dumps({"Pathway": ["MYC", "MAX"], "Empty": []}).encode()})
    here = annotation_sources.load(tmp_path / "mine.gmt", ["mine", "KEGG"], root=root)
    state = here.table.set_index("source")["state"]
    assert state["mine"] == "used; no description column: the second field of each line is its first gene"
    assert state["KEGG"].startswith("used; 1 term without genes left out")
    assert len(here.sets.notes) == 2 and here.sets.restrict(["MYC"], 1).notes == here.sets.notes


def test_the_shipped_sets_need_no_note(tmp_path):
    sets = load_genesets(ROOT / "data/demo/genesets.parquet")
    assert sets.notes == ()
    some = sets.collection("Hallmark")
    lines = [
        f"{t}\t{n}\t" + "\t".join(some.members(i)) for i, (t, n) in enumerate(some.terms[["term_id", "name"]].values)
    ]
    (tmp_path / "Hallmark.gmt").write_text("\n".join(lines))
    assert content(load_genesets(tmp_path / "Hallmark.gmt")) == content(some)
    bare = [line.split("\t")[0] + "\t" + line.split("\t", 2)[2] for line in lines]
    (tmp_path / "Hallmark.gmt").write_text("\n".join(bare))
    assert content(load_genesets(tmp_path / "Hallmark.gmt")) == content(some)
