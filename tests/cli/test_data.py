"""`biosae fetch`: what there is, what would be downloaded, what is here and still what it was."""

from __future__ import annotations

import yaml
from commands import biosae
from webserver import WebServer


def test_fetch_list_shows_size_licence_and_state(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    text = biosae("fetch", "--list", "--to", tmp_path)
    row = next(line for line in text.splitlines() if line.startswith("geneformer-v2-316m"))
    assert "1.27 GB" in row and "Apache-2.0" in row and "absent" in row


def test_fetch_dry_run_downloads_nothing(tmp_path):
    text = biosae("fetch", "kegg", "geneformer-v1-10m", "--dry-run", "--to", tmp_path)
    assert "never passed on" in text and "would download ctheodoris/Geneformer: Geneformer-V1-10M/config.json" in text
    assert list(tmp_path.iterdir()) == []


def test_fetch_checks_all_names_first(tmp_path):
    text = biosae("fetch", "trrust-v2", "keg", "--to", tmp_path, code=2)
    assert "nothing called 'keg'" in text and "did you mean kegg?" in text and list(tmp_path.iterdir()) == []


def test_fetch_and_verify(tmp_path, monkeypatch):
    from biosae_utils.cells import sources

    with WebServer() as web:
        web.files["/net.tsv"] = b"TF\tgene\n"
        entry = {
            "kind": "network",
            "title": "A net",
            "licence": "CC0",
            "url": web.url + "/",
            "files": [{"path": "net.tsv"}],
        }
        (tmp_path / "sources.yaml").write_text(yaml.safe_dump({"net": entry}))
        table = sources.read_sources(tmp_path / "sources.yaml")
        monkeypatch.setattr(sources, "shipped_sources", lambda: table)
        first = biosae("fetch", "net", "--to", tmp_path / "to")
        assert "Licence: CC0" in first and (tmp_path / "to" / "net" / "net.tsv").read_bytes() == b"TF\tgene\n"
        assert "is here already" in biosae("fetch", "net", "--to", tmp_path / "to")
        assert "1 files of net are what they were" in biosae("fetch", "net", "--verify", "--to", tmp_path / "to")
        (tmp_path / "to" / "net" / "net.tsv").write_bytes(b"TF\tGene\n")
        assert "has changed on disk" in biosae("fetch", "net", "--verify", "--to", tmp_path / "to", code=2)
