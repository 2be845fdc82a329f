"""The table of what can be fetched is well-formed, and wrong entries are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from biosae_utils.cells.sources import Source, SourceFile, find, shipped_sources
from biosae_utils.errors import BiosaeError


def test_shipped_sources_have_licences_and_addresses():
    sources = shipped_sources()
    assert {"geneformer-v2-316m", "scgpt-human", "kegg", "string-v12", "trrust-v2"} <= set(sources)
    for name, source in sources.items():
        assert source.licence and source.title and len(source.all_files()) >= 1, name
        assert source.hub or all(source.address(file).startswith("http") for file in source.all_files()), name


def test_layers_are_spelt_out_and_sizes_add_up():
    files = [SourceFile(path="layer_{layer}.json", layers=3, about=10), SourceFile(path="a/b.txt", size=5)]
    source = Source(kind="atlas", title="t", licence="MIT", url="http://x/", files=files)
    assert [f.path for f in source.all_files()] == ["layer_00.json", "layer_01.json", "layer_02.json", "a/b.txt"]
    assert (
        source.size() == (35, False)
        and source.local(files[1]) == "b.txt"
        and source.address(files[1]) == "http://x/a/b.txt"
    )


def test_a_source_comes_from_one_place():
    for place in ({}, {"hub": "a/b", "url": "http://x/"}):
        with pytest.raises(ValidationError, match="either from a hub or from a url"):
            Source(kind="cells", title="t", licence="MIT", files=[SourceFile(path="x")], **place)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(BiosaeError, match="did you mean scgpt-human"):
        find("scgpt-humans")
