"""A declaration that contradicts itself is refused where it stands."""

from __future__ import annotations

import pytest

from biosae_utils.params import Controlled, LayerPage, ModelPage, PageParams
from biosae_utils.phases.base import Phase, Resources, Size

GOOD = {"name": "07_two_words", "params": LayerPage, "compute": print, "title": "T", "part": "layer", "reads": ()}


def test_scope_and_short_name_follow_from_the_declaration():
    phase = Phase(**GOOD)
    assert (phase.short, phase.scope) == ("two_words", "layer")
    assert Phase(**GOOD | {"params": ModelPage, "part": "layers"}).scope == "model"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "modules"}, "a name is two digits"),
        ({"name": "07_Modules"}, "a name is two digits"),
        ({"part": "model"}, "is for a page per model"),
        ({"params": PageParams}, "is for a page per layer"),
        ({"control": "03_catalogue"}, "or neither"),
    ],
)
def test_contradictions_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        Phase(**GOOD | change)


def test_controlled_parameters_and_a_control_go_together():
    class Params(Controlled, LayerPage):
        pass

    assert Phase(**GOOD | {"params": Params, "control": "03_catalogue"}).control == "03_catalogue"
    with pytest.raises(ValueError, match="or neither"):
        Phase(**GOOD | {"params": Params})


def test_resources_may_depend_on_size():
    phase = Phase(**GOOD | {"resources": lambda size: Resources(mem_mb=1000 + size.positions)})
    assert phase.takes(Size(positions=5)).mem_mb == 1005 and Phase(**GOOD).takes(Size()).mem_mb == 2000
