"""What can annotate: used when it is here, named with its command when it is not."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from geneset_files import INFO, LINKS, LONG, content, put

from biosae_utils.analysis import annotation_sources, edges
from biosae_utils.errors import BiosaeError


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
