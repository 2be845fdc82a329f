"""Gene sets and networks from every format, and what is said when a file is not what it should be."""

import gzip
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosae_utils.analysis import annotation_sources, edges, genesets
from biosae_utils.errors import BiosaeError

ROOT = Path(__file__).parents[2]
LONG = pd.DataFrame(
    [
        ("GO", "GO:1", "one", "abc1"), ("GO", "GO:1", "one", "ABC1 "), ("GO", "GO:1", "one", "DEF"),
        ("GO", "GO:1", "one", "GHI"), ("GO", "GO:2", "two", "GHI"), ("GO", "GO:2", "two", "JKL"),
        ("Other", "GO:1", "same id", "DEF"), ("Other", "x", "x", "C1orf1"),
    ],
    columns=["collection", "term_id", "name", "gene"],
)  # fmt: skip


def content(sets):
    return {
        (c, t): set(sets.members(i))
        for i, (c, t) in enumerate(zip(sets.terms.collection, sets.terms.term_id, strict=True))
    }


def test_a_long_table_becomes_terms_by_genes():
    sets = genesets.from_table(LONG)
    assert content(sets) == {
        ("GO", "GO:1"): {"ABC1", "DEF", "GHI"}, ("GO", "GO:2"): {"GHI", "JKL"},
        ("Other", "GO:1"): {"DEF"}, ("Other", "x"): {"C1ORF1"},
    }  # fmt: skip
    assert sets.terms["size"].tolist() == [3, 2, 1, 1] and set(sets.membership.data) == {1}
    as_lists = (
        LONG.groupby(["collection", "term_id", "name"], sort=False)["gene"].agg(list).rename("genes").reset_index()
    )
    assert content(genesets.from_table(as_lists)) == content(sets)
    with pytest.raises(BiosaeError, match="lacks the columns gene, name"):
        genesets.from_table(LONG[["collection", "term_id"]])


def test_cut_comes_before_the_size_filter():
    sets = genesets.from_table(LONG)
    cut = sets.restrict(["ghi", "DEF", "nothing", "C1ORF1"], min_size=2, max_size=10)
    assert content(cut) == {("GO", "GO:1"): {"DEF", "GHI"}}
    assert cut.terms["size"].tolist() == [2] and cut.terms["size_source"].tolist() == [3]
    assert cut.genes.tolist() == ["GHI", "DEF", "NOTHING", "C1ORF1"]
    uncut = sets.on_genes(["DEF"])
    assert uncut.terms["size"].tolist() == [1, 0, 1, 0] and len(uncut) == 4
    twice = sets.on_genes(["DEF", "def"])
    assert twice.membership.toarray()[:, 1].sum() == 0  # of repeated symbols the first column counts


def test_formats_agree(tmp_path):
    sets = genesets.from_table(LONG[LONG.collection == "GO"])
    by_term = {t: sets.members(i).tolist() for i, t in enumerate(sets.terms.term_id)}
    LONG.to_parquet(tmp_path / "all.parquet")
    (tmp_path / "GO.json").write_text(json.dumps(by_term))
    (tmp_path / "GO.gmt").write_text(
        "".join(f"{t}\tdescription\t" + "\t".join(g) + "\t\n" for t, g in by_term.items()) + "\n"
    )
    loaded = [genesets.load_genesets(tmp_path / "all.parquet", ["GO"])]
    loaded += [genesets.load_genesets(tmp_path / name) for name in ("GO.json", "GO.gmt")]
    assert all(content(s) == content(sets) for s in loaded)
    assert loaded[0].as_dict() == by_term
    order = genesets.load_genesets(tmp_path / "all.parquet", ["Other", "GO"])
    assert order.terms.collection.tolist() == ["Other", "Other", "GO", "GO"]
    joined = genesets.concat([sets, genesets.from_table(LONG[LONG.collection == "Other"])])
    assert content(joined) == content(genesets.from_table(LONG))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "{", "damaged"), ("a.json", "[1]", "must be {name"), ("a.gmt", "one\ttwo\n", "line 1"),
        ("a.gmt", "", "holds no term"), ("a.xlsx", "", "cannot be read"), ("a.parquet", "nonsense", "cannot be read"),
    ],
)  # fmt: skip
def test_bad_files_are_told(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(BiosaeError, match=says):
        genesets.load_genesets(tmp_path / name)


def test_missing_files_and_collections_are_told(tmp_path):
    with pytest.raises(BiosaeError, match="no such file"):
        genesets.load_genesets(tmp_path / "none.parquet")
    LONG.to_parquet(tmp_path / "all.parquet")
    with pytest.raises(BiosaeError, match=r"no collection KEGG.*choose from GO, Other"):
        genesets.load_genesets(tmp_path / "all.parquet", ["GO", "KEGG"])


def test_shipped_gene_sets_hold_what_is_known_of_them():
    sets = genesets.load_genesets(ROOT / "data/demo/genesets.parquet")
    terms = sets.terms
    assert set(terms.collection) == {"GO_BP", "Reactome", "Hallmark"} and (terms.collection == "Hallmark").sum() == 50
    interferon = terms.index[terms.name.str.contains("INTERFERON ALPHA")][0]
    assert {"ISG15", "IFIT3", "MX1"} <= set(sets.members(interferon))
    assert terms["size"].between(5, 500).all() and not terms.term_id.str.contains(r"^hsa\d|KEGG", case=False).any()


# ---- networks ----------------------------------------------------------------------------------------------------

LINKS = """protein1 protein2 combined_score
9606.P1 9606.P2 950
9606.P2 9606.P1 950
9606.P1 9606.P3 699
9606.P3 9606.P9 990
"""
INFO = "#string_protein_id\tpreferred_name\tprotein_size\tannotation\n" + "".join(
    f'9606.P{i}\tgene{i}\t100\tan "unclosed quote\n' for i in (1, 2, 3)
)


def test_string_is_cut_and_named(tmp_path):
    with gzip.open(tmp_path / "links.txt.gz", "wt") as f:
        f.write(LINKS)
    with gzip.open(tmp_path / "info.txt.gz", "wt") as f:
        f.write(INFO)
    table = edges.read_string(tmp_path / "links.txt.gz", tmp_path / "info.txt.gz")
    assert table.values.tolist() == [["GENE1", "GENE2", 950], ["GENE2", "GENE1", 950]]
    low = edges.read_string(tmp_path / "links.txt.gz", tmp_path / "info.txt.gz", cut=600)
    assert len(low) == 3
    with pytest.raises(BiosaeError, match="biosae fetch string-v12"):
        edges.read_string(tmp_path / "none", tmp_path / "info.txt.gz")


def test_trrust_gives_targets_per_factor(tmp_path):
    path = tmp_path / "trrust.tsv"
    path.write_text("TF1\tA\tActivation\t1;2\nTF1\tA\tRepression\t3\nTF1\tNA\tUnknown\t4\ntf2\tB\tUnknown\t5\n")
    table = edges.read_trrust(path)
    assert content(edges.trrust_sets(table)) == {("TRRUST", "TF1"): {"A", "NA"}, ("TRRUST", "TF2"): {"B"}}
    path.write_text("TF1\tA\n")
    with pytest.raises(BiosaeError, match="four columns"):
        edges.read_trrust(path)
    network = edges.adjacency(table["tf"], table["target"], np.array(["B", "TF2", "TF1", "A"]))
    assert network.toarray().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]


def put(root, source, files):
    """A fetched source as `biosae fetch` leaves it: files and their lock."""
    folder = root / source
    folder.mkdir(parents=True)
    lock = {}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        lock[name] = {"size": len(data), "sha256": sha256(data).hexdigest()}
    (folder / "lock.json").write_text(json.dumps({"files": lock}))


def test_what_is_not_fetched_is_named_with_its_command(tmp_path):
    LONG.to_parquet(tmp_path / "all.parquet")
    here = annotation_sources.load(tmp_path / "all.parquet", ["GO", "KEGG"], root=tmp_path / "fetched")
    assert here.absent == ("KEGG", "STRING", "TRRUST")
    assert here.string is None and here.network(np.array(["A"])) is None and set(here.sets.terms.collection) == {"GO"}
    states = here.table.set_index("source")["state"]
    assert states["GO"] == "used" and states["KEGG"] == "not fetched: biosae fetch kegg"
    assert states["STRING"] == "not fetched: biosae fetch string-v12"
    with pytest.raises(BiosaeError, match="biosae fetch kegg"):
        annotation_sources.load(tmp_path / "all.parquet", ["KEGG"], root=tmp_path / "fetched")


def test_what_is_fetched_is_used(tmp_path):
    LONG.to_parquet(tmp_path / "all.parquet")
    root = tmp_path / "fetched"
    put(root, "kegg", {"KEGG.json": json.dumps({"Pathway": ["DEF", "JKL"]}).encode()})
    put(
        root,
        "string-v12",
        {edges.STRING_LINKS: gzip.compress(LINKS.encode()), edges.STRING_INFO: gzip.compress(INFO.encode())},
    )
    here = annotation_sources.load(tmp_path / "all.parquet", ["GO", "KEGG"], root=root)
    assert here.absent == ("TRRUST",)
    assert content(here.sets)["KEGG", "Pathway"] == {"DEF", "JKL"} and len(here.sets) == 3
    assert here.string_network(np.array(["GENE2", "GENE1"])).toarray().tolist() == [[0, 1], [1, 0]]
    unused = annotation_sources.load(tmp_path / "all.parquet", ["GO"], root=root).table.set_index("source")["state"]
    assert unused["KEGG"] == "fetched, not used: add KEGG to `collections`"
