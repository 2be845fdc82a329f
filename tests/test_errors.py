"""An error says what is wrong, where, and what to do, in whole sentences."""

from __future__ import annotations

import pickle

import pytest

from biosae_utils.errors import BiosaeError


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (BiosaeError("There is no such file"), "There is no such file."),
        (BiosaeError("Ends with a stop.", where="a.yaml"), "Ends with a stop. Where: a.yaml."),
        (BiosaeError("Which model?", do="add --model."), "Which model? What to do: add --model."),
        (BiosaeError("Wrong", where="line 3", do="mend it"), "Wrong. Where: line 3. What to do: mend it."),
    ],
)
def test_a_message_has_one_stop_a_sentence(error, says):
    assert str(error) == says


def test_its_parts_can_be_read_apart():
    error = BiosaeError("Wrong", where="line 3", do="mend it")
    assert (error.what, error.where, error.do) == ("Wrong", "line 3", "mend it")
    assert isinstance(error, ValueError)


def test_it_crosses_processes():
    with pytest.raises(BiosaeError, match="Wrong"):
        raise pickle.loads(pickle.dumps(BiosaeError("Wrong")))
