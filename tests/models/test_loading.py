"""Checkpoints that somebody else wrote: devices, files, and weights that must fit."""

from __future__ import annotations

import json

import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.models.loading import (
    check_weights,
    freeze,
    pick_device,
    pick_dtype,
    read_settings,
    seeded_init,
    some,
)

SHAPES = {"a.weight": torch.Size([2, 3]), "a.bias": torch.Size([2])}


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick_device("auto").type == best
    with pytest.raises(BiosaeError, match="not available"):
        pick_device("cuda:99")
    assert pick_dtype("auto", torch.device("cuda")) == torch.bfloat16
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32


def test_what_is_no_device_or_type_is_refused():
    for name in ("tpu", "cuda:", "CPU", ""):
        with pytest.raises(BiosaeError, match="Unknown device"):
            pick_device(name)
    with pytest.raises(BiosaeError, match="Unknown dtype 'float64'"):
        pick_dtype("float64", torch.device("cpu"))


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "is missing"), ("{", "not JSON"), ("[1]", "JSON object was expected"), ('{"a": 1}', "b")],
)
def test_settings_are_an_object_with_what_is_needed(tmp_path, text, says):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BiosaeError, match=says) as e:
        read_settings(path, ("a", "b"))
    assert e.value.where == str(path)
    path.write_text(json.dumps({"a": 1, "b": 2, "c": 3}))
    assert read_settings(path, ("a", "b")) == {"a": 1, "b": 2, "c": 3}


def weights() -> dict[str, torch.Tensor]:
    return {name: torch.ones(shape) for name, shape in SHAPES.items()}


def test_weights_that_fit_are_accepted_with_what_is_not_needed(tmp_path):
    check_weights(weights() | {"head.weight": torch.ones(9)}, SHAPES, ("head.",), tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("a.bias"), "lack a.bias"),
        (lambda w: w.update({"b.weight": torch.ones(1)}), "unexpected b.weight"),
        (lambda w: w.update({"a.bias": torch.ones(3)}), r"a.bias has shape \(3,\), but .* ask for \(2,\)"),
        (lambda w: w.update({"a.bias": torch.tensor([1.0, torch.nan])}), "a.bias holds NaN"),
    ],
)
def test_weights_that_do_not_fit_say_which(tmp_path, change, says):
    state = weights()
    change(state)
    with pytest.raises(BiosaeError, match=says):
        check_weights(state, SHAPES, (), tmp_path)


def test_long_lists_of_names_are_cut():
    assert some(["a", "b"]) == "a, b" and some(list("abcdef")) == "a, b, c, d and 2 more"


def test_a_seeded_start_leaves_the_callers_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with seeded_init(1):
        first = torch.rand(3)
    with seeded_init(1):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.rand(2), expected)


def test_a_frozen_network_is_in_evaluation_mode_without_gradients():
    net = freeze(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)), torch.device("cpu"), torch.bfloat16)
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    assert net[0].weight.dtype == torch.bfloat16
