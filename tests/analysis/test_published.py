"""The reader of published atlases, on small directories of the true layout, whole and damaged."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from atlas_files import GENES, N_FEATURES, N_LAYERS, N_LISTED, feature, write_atlas
from typer.testing import CliRunner

from biosae_utils.analysis import published
from biosae_utils.cli import app
from biosae_utils.errors import BiosaeError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_atlas(tmp_path_factory.mktemp("atlas") / "toy")


def rewrite(folder: Path, name: str, value: object) -> None:
    (folder / f"{name}.gz").write_bytes(gzip.compress(json.dumps(value).encode()))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("layout", ["deps", "edges"])
def test_both_layouts_plain_and_gzipped_read_the_same(tmp_path: Path, layout: str, packed: bool, whole: Path) -> None:
    atlas, reference = (
        published.read_atlas(write_atlas(tmp_path / "a", layout=layout, packed=packed)),
        published.read_atlas(whole),
    )
    pd.testing.assert_frame_equal(atlas.features, reference.features)
    pd.testing.assert_frame_equal(atlas.top_genes, reference.top_genes)
    pd.testing.assert_frame_equal(atlas.highways, reference.highways)
    assert atlas.highways.values.tolist() == [[0, 1, 1, 2, 5.5], [0, 1, 1, 3, 5.5]]
    assert atlas.problems.empty and atlas.layers == [0, 1, 2]
    same = {k: v for k, v in atlas.hashes.items() if k != "cross_layer_graph.json"}
    assert same.items() <= reference.hashes.items()  # hashes are of the content, not of the compression


def test_tables_hold_what_the_files_say(whole: Path) -> None:
    atlas = published.read_atlas(whole)
    assert len(atlas.features) == N_LAYERS * N_FEATURES and atlas.features["dead"].sum() == N_LAYERS
    listed = atlas.features.query("layer == 1 and n_listed > 0")
    assert listed["feature"].tolist() == list(range(N_LISTED)) and (listed["n_listed"] == 20).all()
    rows = atlas.top_genes.query("layer == 1 and feature == 3")
    assert rows["gene"].tolist()[:10] == GENES[30:40] and rows["full"].all() and (rows["count"] == 12).all()
    short = atlas.top_genes.query("layer == 1 and feature == 50")
    assert len(short) == 5 and not short["full"].any() and short["count"].isna().all()
    assert atlas.published["persistence"].tolist()[0] == 0.025 and atlas.published["persistence"].isna().sum() == 2


def test_missing_and_damaged_files_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = write_atlas(tmp_path / "a")
    (folder / "layer_00_annotations.json.gz").unlink()
    (folder / "cross_layer_tracking.json.gz").unlink()
    cut = folder / "layer_01_features.json.gz"
    cut.write_bytes(cut.read_bytes()[:200])
    (folder / "cross_layer_graph.json.gz").write_bytes(b"not gzip at all")
    atlas = published.read_atlas(folder)
    told = dict(zip(atlas.problems["file"], atlas.problems["what"], strict=True))
    assert told["layer_00_annotations.json"] == "missing" and told["cross_layer_tracking.json"] == "missing"
    assert "truncated" in told["layer_01_features.json"] and "truncated or unreadable" in told["cross_layer_graph.json"]
    assert len(told) == 4 and atlas.layers == [0, 2] and atlas.n_layers == 3
    assert atlas.highways.empty and atlas.published["persistence"].isna().all()
    assert not atlas.top_genes.query("layer == 0")["full"].any()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([{"i": 0}], "0.d: field required"),
        ({"i": 0}, "top level: input should be a valid list"),
        ([feature(5, GENES[:5], False)] * 2, "listed twice"),
        ([feature(-1, GENES[:5], False)], "0.i"),
        ([feature(1, ["G" * 100], False)], "0.tg.0.n"),
        ([feature(1, GENES[:5], False) | {"f": 1.5}], "0.f"),
        ([feature(1, GENES[:5], False) | {"tg": [{"n": "G1", "a": "many"}]}], "0.tg.0.a"),
        ([], "at least 1 item"),
    ],
)
def test_another_layout_is_one_clear_problem(tmp_path: Path, value: object, says: str) -> None:
    folder = write_atlas(tmp_path / "a")
    rewrite(folder, "layer_02_features.json", value)
    atlas = published.read_atlas(folder)
    assert atlas.layers == [0, 1]
    (what,) = atlas.problems["what"]
    assert says in what and "\n" not in what


@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_what_is_not_used_may_be_infinite(tmp_path: Path, value: str, whole: Path) -> None:
    """Odds ratios of the second family: Python wrote Infinity, and no gene list may be lost for it."""
    folder = write_atlas(tmp_path / "a")
    for layer in range(N_LAYERS):
        path = folder / f"layer_{layer:02d}_annotations.json.gz"
        text = gzip.decompress(path.read_bytes()).decode()
        assert '"or": 3.0' in text
        path.write_bytes(gzip.compress(text.replace('"or": 3.0', f'"or": {value}', 5).encode()))
    atlas, reference = published.read_atlas(folder), published.read_atlas(whole)
    pd.testing.assert_frame_equal(atlas.top_genes, reference.top_genes)
    assert atlas.problems.empty and atlas.listed_layers == atlas.layers == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "old", "where"),
    [
        ("layer_01_annotations.json", '"a": 9.0', "0.genes.0.a"),
        ("layer_01_features.json", '"a": 9.0', "0.tg.0.a"),
        ("layer_01_features.json", '"f": 0.01', "0.f"),
        ("layer_01_features.json", '"fc": 400', "0.fc"),
        ("cross_layer_graph.json", '"pmi": 5.5', "L00_L01.deps.0.deps.0.pmi"),
    ],
)
@pytest.mark.parametrize("value", ["Infinity", "NaN"])
def test_what_is_used_may_not(tmp_path: Path, name: str, old: str, where: str, value: str) -> None:
    folder = write_atlas(tmp_path / "a")
    path = folder / f"{name}.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, f"{old.split(':')[0]}: {value}", 1).encode()))
    (problem,) = published.read_atlas(folder).problems.itertuples()
    assert problem.file == name and where in problem.what


def test_the_headline_counts_gene_lists_apart_and_every_file_is_told(tmp_path: Path) -> None:
    folder = write_atlas(tmp_path / "a")
    rewrite(folder, "layer_02_annotations.json", {"1": {"genes": [{"n": "G1", "a": float("nan")}]}})
    atlas = published.read_atlas(folder)
    assert atlas.layers == [0, 1, 2] and atlas.listed_layers == [0, 1]
    assert atlas.summary == "177 alive features of 3 of 3 layers, whole gene lists of 2 of 3"
    told = dict(zip(atlas.files["file"], atlas.files["what"], strict=True))
    assert len(told) == 9 and {name for name, what in told.items() if what} == {"layer_02_annotations.json"}
    assert set(told) - {"layer_02_annotations.json"} == set(atlas.hashes)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b"\xff\xfe", b'{"a": NaN}', b"", b"[1" + b"0" * 5000 + b"]"])
def test_hostile_json_is_refused(raw: bytes) -> None:
    with pytest.raises(BiosaeError, match=r"not JSON|another layout"):
        published.parse(raw, published.FEATURES, where="a file")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(b" " * 3_000_000))
    with pytest.raises(BiosaeError, match="more than 1,000,000 bytes"):
        published.read_bytes(path, max_bytes=1_000_000)


def test_a_directory_without_an_atlas_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(BiosaeError, match="no such directory"):
        published.read_atlas(tmp_path / "absent")
    with pytest.raises(BiosaeError, match=r"No layer.*there is no layer_00_features.json") as e:
        published.read_atlas(tmp_path)
    assert "missing" not in e.value.do and "layer_00_features.json" in e.value.do
    (tmp_path / "layer_00_features.json").write_text("[]")
    with pytest.raises(BiosaeError, match=r"No layer.*layer_00_features.json: .*another layout"):
        published.read_atlas(tmp_path)


def test_import_writes_tables_and_a_record(tmp_path: Path, whole: Path) -> None:
    published.import_atlas(whole, tmp_path / "out")
    assert len(pd.read_parquet(tmp_path / "out" / "features.parquet")) == N_LAYERS * N_FEATURES
    record = json.loads((tmp_path / "out" / "import.json").read_text())
    assert (
        record["layers"] == record["listed_layers"] == [0, 1, 2]
        and len(record["sha256"]) == 9
        and record["problems"] == []
    )


def test_the_command_imports_an_atlas_and_says_what_is_missing(tmp_path: Path) -> None:
    folder = write_atlas(tmp_path / "a")
    (folder / "layer_01_annotations.json.gz").unlink()
    done = CliRunner().invoke(app, ["import", "--published", str(folder), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "layer_01_annotations.json: missing" in done.output
    said = " ".join(done.output.split())
    assert "177 alive features of 3 of 3 layers, whole gene lists of 2 of 3" in said
    assert (tmp_path / "out" / "top_genes.parquet").is_file()
