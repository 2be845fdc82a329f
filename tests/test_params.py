"""What parameters are made of: scope by base, marks of fields, and refusals that name what is right."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from biosae_utils.errors import BiosaeError
from biosae_utils.params import (
    Controlled,
    Device,
    Filled,
    InputFile,
    LayerPage,
    ModelPage,
    PageParams,
    Tracked,
    checked,
    marked,
    scope_of,
)
from biosae_utils.phases.sae import Params as SaeParams
from biosae_utils.sae_options import SaeOptions


class Params(LayerPage, Controlled):
    network: InputFile | None = None
    sources: dict[str, InputFile] = Field({}, description="several")
    n_top: int = Field(20, ge=1)
    device: Device = "auto"


def test_the_base_says_the_scope():
    assert [scope_of(cls) for cls in (PageParams, ModelPage, LayerPage, Params)] == ["run", "model", "layer", "layer"]


def test_a_mark_is_found_in_an_option_and_in_a_mapping():
    assert marked(Params, Tracked) == ["source", "network", "sources"]
    assert set(marked(Params, Filled)) == {"run", "results", "model", "source", "variant", "layer", "control"}


def test_nothing_is_converted_or_changed_afterwards():
    with pytest.raises(ValidationError):
        Params(n_top="20")
    with pytest.raises(ValidationError):
        Params().n_top = 3


@pytest.mark.parametrize("name", ["auto", "cpu", "mps", "cuda", "cuda:3"])
def test_devices(name):
    assert Params(device=name).device == name


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"n_topp": 3}, "unknown name n_topp (did you mean n_top?); the names are control, run, seed"),
        ({"zzz": 3}, "unknown name zzz; the names are"),
        ({"n_top": 0}, "n_top = 0: input should be greater than or equal to 1"),
        ({"layer": 1.5}, "layer = 1.5"),
        ({"device": "tpu"}, "device = 'tpu'"),
        ({"run": "my run"}, "run = 'my run'"),
        ({"n_top": 0, "seed": -1}, "seed = -1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_what_is_right(values, says):
    with pytest.raises(BiosaeError) as e:
        checked(Params, values, where="a test")
    assert says in str(e.value) and "\n" not in str(e.value) and "Where: a test" in str(e.value)
    assert all(name in str(e.value) for name in values)


def test_options_of_a_plain_dataclass_bring_their_description_and_bounds():
    field = SaeParams.model_fields["expansion"]
    assert field.description == "d_sae / d_in" and SaeParams().expansion == SaeOptions().expansion
    with pytest.raises(BiosaeError, match="expansion = 65"):
        checked(SaeParams, {"expansion": 65}, where="a test")
