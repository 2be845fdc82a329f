"""Pickled dictionaries are read, and nothing in them is run."""

import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosae_utils.errors import BiosaeError
from biosae_utils.models import dictionaries
from biosae_utils.models.dictionaries import cache_folder, read_dictionary


class Malice:
    """Runs a command when unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_numbers_survive_every_protocol(tmp_path, protocol):
    values = {"a": np.float64(1.25), "b": np.float32(2.5), "c": 3.0, "d": np.int64(4), "e": 5}
    path = tmp_path / "medians.pkl"
    path.write_bytes(pickle.dumps(values, protocol))
    read = read_dictionary(path, float)
    assert read == {"a": 1.25, "b": 2.5, "c": 3.0, "d": 4.0, "e": 5.0}
    assert all(type(v) is float for v in read.values())


def test_big_endian_scalars(tmp_path):
    path = tmp_path / "medians.pkl"
    path.write_bytes(pickle.dumps({"a": np.array([1.5], ">f8")[0], "b": np.array([7], ">i4")[0]}))
    assert read_dictionary(path, float) == {"a": 1.5, "b": 7.0}


def test_a_malicious_pickle_is_named_and_not_run(tmp_path):
    path, target = tmp_path / "token_dictionary_gc104M.pkl", tmp_path / "owned"
    path.write_bytes(pickle.dumps({"ENSG1": Malice(target)}))
    with pytest.raises(BiosaeError, match="system") as error:
        read_dictionary(path, int)
    assert path.name in str(error.value)
    assert not target.exists()


def eval_object():
    return type("E", (), {"__reduce__": lambda self: (eval, ("1",))})()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": eval_object()}, "builtins.eval"),
        ({"a": np.zeros(3)}, "_reconstruct|_frombuffer"),
        ({"a": np.str_("x")}, "numpy type"),
        ({"a": np.datetime64("2020")}, "numpy type"),
        ({"a": [1]}, "str to list"),
        ({1: 1}, "int to int"),
        ({"a": "1"}, "str to str, not str to int"),
        ({"a": True}, "str to bool"),
        ({}, "filled dictionary"),
        ([1, 2], "filled dictionary"),
    ],
)
def test_anything_else_is_refused(tmp_path, value, says):
    path = tmp_path / "d.pkl"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(BiosaeError, match=says):
        read_dictionary(path, int)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(BiosaeError, match="missing"):
        read_dictionary(tmp_path / "none.pkl", int)


WHOLE = pickle.dumps({f"ENSG{i}": np.float64(i + 0.5) for i in range(20)})


@given(cut=st.integers(0, len(WHOLE) - 1), place=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_damage_is_an_error_or_a_dictionary(tmp_path_factory, cut, place, byte):
    path = tmp_path_factory.mktemp("fuzz") / "d.pkl"
    path.write_bytes(WHOLE[:cut])
    with pytest.raises(BiosaeError):
        read_dictionary(path, float)
    damaged = bytearray(WHOLE)
    damaged[place] = byte
    path.write_bytes(bytes(damaged))
    try:
        assert all(type(k) is str and type(v) is float for k, v in read_dictionary(path, float).items())
    except BiosaeError:
        pass


def test_a_dictionary_is_unpickled_once_and_then_read_from_parquet(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "medians.pkl"
    path.write_bytes(pickle.dumps({"ENSG2": np.float64(0.1), "ENSG1": np.float32(2.5)}))
    first = read_dictionary(path, float)
    (kept,) = cache_folder().iterdir()

    def refuse(*_):
        raise AssertionError("unpickled again")

    with monkeypatch.context() as patch:
        patch.setattr(dictionaries, "_unpickle", refuse)
        again = read_dictionary(path, float)
    assert again == first and list(again) == ["ENSG2", "ENSG1"] and type(again["ENSG1"]) is float
    # another file of the same name, and another type asked of the same file, are other dictionaries
    path.write_bytes(pickle.dumps({"ENSG1": 7}))
    assert read_dictionary(path, int) == {"ENSG1": 7} and type(read_dictionary(path, float)["ENSG1"]) is float
    # a damaged cache is no cache
    path.write_bytes(pickle.dumps({"ENSG2": np.float64(0.1), "ENSG1": np.float32(2.5)}))
    kept.write_bytes(kept.read_bytes()[:40])
    assert read_dictionary(path, float) == first


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = tmp_path / "names.pkl"
    path.write_bytes(pickle.dumps({"CD3E": "ENSG00000198851"}))
    assert read_dictionary(path, str) == {"CD3E": "ENSG00000198851"}


@pytest.mark.parametrize("key", ["", "  "])
def test_empty_text_is_no_key(tmp_path, key):
    path = tmp_path / "names.pkl"
    path.write_bytes(pickle.dumps({"CD3E": "ENSG00000198851", key: "ENSG00000262621"}))
    for _ in range(2):  # from the pickle, and from what the first time kept
        with pytest.raises(BiosaeError, match="1 entries of the dictionary have an empty key"):
            read_dictionary(path, str)
    assert read_dictionary(path, str, nameless="skip") == {"CD3E": "ENSG00000198851"}
    path.write_bytes(pickle.dumps({"": 3, "ENSG00000198851": 4}))
    with pytest.raises(BiosaeError, match="empty key"):
        read_dictionary(path, int)
