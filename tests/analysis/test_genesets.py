"""Gene sets and networks from every format, and what is said when a file is not what it should be."""

import json
from pathlib import Path

import pytest
from geneset_files import LONG, content

from biosae_utils.analysis import genesets
from biosae_utils.errors import BiosaeError

ROOT = Path(__file__).parents[2]


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
