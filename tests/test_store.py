from __future__ import annotations

import pandas as pd
import pytest

from biosae_utils.errors import BiosaeError
from biosae_utils.store import atomic_path, fingerprint, read_json, read_table, sha256, write_json, write_table


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "deep" / "a.json"
    write_json(target, {"a": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as tmp:
        tmp.write_text("half")
        raise RuntimeError
    assert read_json(target) == {"a": 1}
    assert [p.name for p in target.parent.iterdir()] == ["a.json"]


def test_nan_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_tables_come_back_and_damage_is_told(tmp_path):
    table = pd.DataFrame({"gene": ["ISG15", "CD3E"], "mean": [0.5, 2.0]})
    write_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), table)
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BiosaeError, match=r"truncated.*t\.parquet"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(BiosaeError, match="missing"):
        read_table(tmp_path / "absent.parquet")


def test_damaged_json_is_told(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(BiosaeError, match="damaged"):
        read_json(tmp_path / "a.json")


def test_hashes_are_known_values(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})
