"""Sources by name: what is asked for, what is kept, what is refused. The only network is a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import json
import re

import pytest
import yaml
from webserver import WebServer

from biosae_utils.cells.download import Patience
from biosae_utils.cells.fetch import ROOT, fetch, folder_of, listing, missing_files, read_lock, verify
from biosae_utils.cells.sources import Source, find, read_sources, shipped_sources
from biosae_utils.errors import BiosaeError

QUICK = Patience(tries=2, stall=0.3, wait=0.01)


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


@pytest.fixture
def table(web, tmp_path):
    """Write a table of sources whose url is the local server, and read it back."""

    def build(**entry) -> dict[str, Source]:
        values = {"kind": "network", "title": "A test", "licence": "CC0"} | entry
        if "hub" not in values:
            values["url"] = web.url + values.get("url", "/")
        path = tmp_path / "sources.yaml"
        path.write_text(yaml.safe_dump({"thing": values}))
        return read_sources(path)

    return build


@pytest.fixture
def bring(tmp_path):
    return lambda sources, **options: fetch("thing", tmp_path / "fetched", sources=sources, patience=QUICK, **options)


def state(sources, root) -> str:
    return listing(root / "fetched", sources)[0].state


def test_shipped_table_is_complete():
    sources = shipped_sources()
    assert {s.kind for s in sources.values()} == {"model", "genesets", "network", "atlas", "cells"}
    for name, source in sources.items():
        files = source.all_files()
        assert re.fullmatch(r"[a-z0-9-]+", name) and source.licence and files
        assert len({source.local(f) for f in files}) == len(files), "two files would share a name"
        assert source.hub or all(source.address(f).startswith("https://") for f in files)
        assert not any("{" in (source.hub or source.address(f)) for f in files)
        pinned = re.fullmatch("[0-9a-f]{40}", source.revision) or any(f.size or f.check for f in files)
        assert pinned or source.kind in ("genesets", "network", "cells"), f"{name} is not pinned by anything"
    assert find("geneformer-v2-316m").size() == (1_265_455_076 + 7_556_785, False)  # config.json is known by revision
    assert len(find("atlas-geneformer").all_files()) == 8 + 4 * 18 + 2


def test_every_registered_model_can_be_fetched_into_the_folder_where_it_is_looked_for():
    from biosae_utils.models.registry import FETCHED, MODELS

    assert FETCHED == ROOT
    assert set(MODELS) == {name for name, source in shipped_sources().items() if source.kind == "model"}
    for name, folder in MODELS.items():
        assert any(f.path.startswith(f"{folder}/" if folder else "args.json") for f in find(name).files)


def test_an_unknown_name_lists_the_right_ones():
    with pytest.raises(BiosaeError, match=r"'geneformer' to fetch.*geneformer-v2-316m.*trrust-v2"):
        find("geneformer")


def test_fetching_keeps_a_lock_and_does_nothing_twice(web, table, bring, tmp_path):
    web.files = {"/a.tsv": b"TF\tgene\n", "/sub/b.tsv": b"x\n"}
    sources = table(files=[{"path": "a.tsv", "size": 8}, {"path": "sub/b.tsv"}])
    assert state(sources, tmp_path) == "absent"
    seen = []
    messages = bring(sources, advance=lambda path, done, total: seen.append((path, done, total)))
    assert messages == [f"2 files of thing are in {tmp_path / 'fetched' / 'thing'} (CC0)"]
    assert seen == [("a.tsv", 8, 8), ("sub/b.tsv", 2, 2)]
    folder = folder_of("thing", tmp_path / "fetched", sources)
    assert {p.name for p in folder.iterdir()} == {"a.tsv", "b.tsv", "lock.json"}
    assert read_lock(folder)["a.tsv"] == {"size": 8, "sha256": hashlib.sha256(b"TF\tgene\n").hexdigest()}
    assert json.loads((folder / "lock.json").read_text())["licence"] == "CC0"
    web.ranges.clear()
    assert bring(sources) == [] and web.ranges == [] and state(sources, tmp_path) == "present"


def test_what_came_is_kept_when_the_rest_fails(web, table, bring, tmp_path):
    web.files = {"/a": b"first", "/b": b"second"}
    web.faults = {"/b": ["503", "503"]}
    sources = table(files=[{"path": "a"}, {"path": "b"}])
    with pytest.raises(BiosaeError, match="broke off 2 times"):
        bring(sources)
    assert state(sources, tmp_path) == "partial"
    with pytest.raises(BiosaeError, match="biosae fetch thing"):
        folder_of("thing", tmp_path / "fetched", sources)
    web.ranges.clear()
    bring(sources)
    assert [path for path, _ in web.ranges] == ["/b"] and state(sources, tmp_path) == "present"


def test_optional_files_may_be_missing_and_others_may_not(web, table, bring, tmp_path):
    web.files = {"/layer_00.json": b"[]"}
    layers = {"path": "layer_{layer}.json", "layers": 2}
    with pytest.raises(BiosaeError, match=r"no such file on the server.*layer_01\.json"):
        bring(table(files=[layers]))
    sources = table(files=[layers | {"optional": True}])
    assert "layer_01.json is not in this release" in bring(sources)[1]
    web.ranges.clear()
    assert bring(sources) == [] and web.ranges == [] and state(sources, tmp_path) == "present"


def test_a_file_that_comes_again_must_be_the_same(web, table, bring, tmp_path):
    web.files = {"/a": b"what everybody used"}
    sources = table(files=[{"path": "a"}])
    bring(sources)
    path = tmp_path / "fetched" / "thing" / "a"
    path.unlink()
    web.files["/a"] = b"what nobody has seen"
    with pytest.raises(BiosaeError, match="another file than at the first download"):
        bring(sources)
    assert not path.exists()
    web.files["/a"] = b"what everybody used"
    bring(sources)
    assert path.read_bytes() == b"what everybody used"


def test_verify_reads_every_byte_again(web, table, bring, tmp_path):
    web.files = {"/a": b"abc", "/b": b"def"}
    sources = table(files=[{"path": "a"}, {"path": "b"}])
    bring(sources)
    assert verify("thing", tmp_path / "fetched", sources=sources) == 2
    (tmp_path / "fetched" / "thing" / "b").write_bytes(b"deF")
    with pytest.raises(BiosaeError, match=r"changed on disk.*b\. "):
        verify("thing", tmp_path / "fetched", sources=sources)


@pytest.mark.parametrize(
    ("name", "body"),
    [("a.json", b'{"cut": '), ("a.gz", gzip.compress(b"x" * 1000)[:-9]), ("a.gz", b"plain"), ("a.h5ad", b"no hdf5")],
)
def test_damaged_files_without_a_checksum_are_found_on_arrival(web, table, bring, tmp_path, name, body):
    web.files = {f"/{name}": body}
    with pytest.raises(BiosaeError, match="cannot be opened"):
        bring(table(files=[{"path": name}]))
    assert list((tmp_path / "fetched" / "thing").iterdir()) == []


def test_gene_sets_become_json_that_the_analysis_reads(web, table, bring, tmp_path):
    from biosae_utils.analysis.genesets import load_genesets

    web.files = {"/lib?name=KEGG_2021_Human": b"Cell cycle\t\tCDK1\tCCNB1\tCDK1\nApoptosis\t\tCASP3\tBAX\n"}
    sources = table(
        kind="genesets", url="/lib?name={library}", library="KEGG_2021_Human", files=[{"path": "KEGG.json"}]
    )
    bring(sources)
    folder = folder_of("thing", tmp_path / "fetched", sources)
    assert {p.name for p in folder.iterdir()} == {"KEGG.json", "lock.json"}
    assert json.loads((folder / "KEGG.json").read_text()) == {
        "Cell cycle": ["CCNB1", "CDK1"],
        "Apoptosis": ["BAX", "CASP3"],
    }
    sets = load_genesets(folder / "KEGG.json")
    assert list(sets.terms["collection"].unique()) == ["KEGG"] and len(sets) == 2


def test_something_else_than_gene_sets_is_refused(web, table, bring, tmp_path):
    web.files = {"/lib": b"\n\n"}
    sources = table(kind="genesets", url="/lib", library="X", files=[{"path": "X.json"}])
    with pytest.raises(BiosaeError, match="gene sets"):
        bring(sources)
    assert list((tmp_path / "fetched" / "thing").iterdir()) == []


def test_a_source_says_where_it_comes_from():
    with pytest.raises(ValueError, match="either from a hub or from a url"):
        Source(kind="model", title="t", licence="MIT", files=[{"path": "a"}])


class TestHub:
    """A model comes through huggingface_hub, here from a server that knows enough of the hub's language."""

    REVISION = "a" * 40
    WEIGHTS = b"weights" * 3000

    @pytest.fixture
    def model(self, web, table):
        def build(*, lacks: str = "", **weights) -> dict[str, Source]:
            files = {"sub/config.json": b"{}", "sub/model.safetensors": self.WEIGHTS, "unasked.bin": b"no"}
            files.pop(lacks, None)
            tree = [{"type": "file", "path": name, "size": len(b), "oid": "0" * 40} for name, b in files.items()]
            siblings = [{"rfilename": name} for name in files]
            info = {"_id": "1", "id": "own/er", "sha": self.REVISION, "siblings": siblings}
            web.files = {f"/own/er/resolve/{self.REVISION}/{name}": body for name, body in files.items()}
            web.files[f"/api/models/own/er/revision/{self.REVISION}"] = json.dumps(info).encode()
            web.files[f"/api/models/own/er/tree/{self.REVISION}"] = json.dumps(tree).encode()
            spec = [{"path": "sub/config.json"}, {"path": "sub/model.safetensors", **weights}]
            return table(kind="model", hub="own/er", revision=self.REVISION, files=spec)

        return build

    @pytest.fixture(autouse=True)
    def hub(self, web, bring, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        self.run = lambda sources: bring(sources, hub_endpoint=web.url)

    def test_only_the_named_files_come_in_the_layout_of_the_hub(self, model, tmp_path):
        digest = hashlib.sha256(self.WEIGHTS).hexdigest()
        sources = model(size=len(self.WEIGHTS), check=f"sha256:{digest[:8]}")
        self.run(sources)
        folder = folder_of("thing", tmp_path / "fetched", sources)
        assert (folder / "sub" / "model.safetensors").read_bytes() == self.WEIGHTS
        assert not (folder / "unasked.bin").exists()
        assert read_lock(folder)["sub/model.safetensors"]["sha256"] == digest
        assert self.run(sources) == []

    @pytest.mark.parametrize("weights", [{"size": 5}, {"check": "sha256:00000000"}], ids=str)
    def test_other_weights_than_expected_are_refused_and_removed(self, model, tmp_path, weights):
        sources = model(**weights)
        with pytest.raises(BiosaeError, match="is not the expected one"):
            self.run(sources)
        assert not (tmp_path / "fetched" / "thing" / "sub" / "model.safetensors").exists()
        assert missing_files(sources["thing"], tmp_path / "fetched" / "thing")

    def test_a_file_that_the_hub_lacks(self, model):
        with pytest.raises(BiosaeError, match=r"no such file.*own/er: sub/model\.safetensors"):
            self.run(model(lacks="sub/model.safetensors"))

    def test_a_broken_connection_is_survived(self, web, model, tmp_path):
        sources = model(size=len(self.WEIGHTS))
        path = f"/own/er/resolve/{self.REVISION}/sub/model.safetensors"
        web.faults[path] = ["truncate"]
        self.run(sources)
        assert len([p for p, _ in web.ranges if p == path]) == 2
        assert (tmp_path / "fetched" / "thing" / "sub" / "model.safetensors").read_bytes() == self.WEIGHTS

    def test_no_such_repository(self, web, model):
        sources = model()
        web.files.clear()
        with pytest.raises(BiosaeError, match="own/er at aaaa"):
            self.run(sources)
