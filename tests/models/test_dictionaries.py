"""Pickled dictionaries are read, and nothing in them is run."""

import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosae_utils.errors import BiosaeError
from biosae_utils.models.dictionaries import read_dictionary


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
