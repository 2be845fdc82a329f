"""Where a page's files lie, and how a page is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from biosae_utils.phases.places import default_command, log_path, node_of, phase_dir, place, scope_of_node, title
from biosae_utils.phases.registry import find

RUN, MODEL, LAYER = ("00_data", None, None), ("02_sae", "m", None), ("04_annotate", "m", 3)


@pytest.mark.parametrize(
    ("node", "scope", "folder", "words", "command"),
    [
        (RUN, "run", "00_data", "00_data", "biosae run 00_data"),
        (MODEL, "model", "m/02_sae", "02_sae of m", "biosae run 02_sae --model m"),
        (
            LAYER, "layer", "m/layer_03/04_annotate", "04_annotate of m, layer 3",
            "biosae run 04_annotate --model m --layer 3",
        ),
    ],
)  # fmt: skip
def test_a_page_is_found_by_what_it_is_about(node, scope, folder, words, command):
    phase, model, layer = node
    assert scope_of_node(node) == scope and title(*node) == words and default_command(*node) == command
    assert phase_dir("out", "r", phase, model, layer) == Path("out/r") / folder
    assert log_path("r", phase, model, layer) == Path("logs/r") / folder


def test_layer_0_is_a_layer():
    assert scope_of_node(("04_annotate", "m", 0)) == "layer" and place("layer", "m", 0) == Path("m/layer_00")
    assert title("04_annotate", "m", 0).endswith("layer 0") and default_command("x", "m", 0).endswith("--layer 0")


def test_parameters_say_which_page_they_are_of():
    for node, more in ((RUN, {}), (MODEL, {"model": "m"}), (LAYER, {"model": "m", "layer": 3})):
        assert node_of(node[0], find(node[0]).params(**more)) == node


def test_a_page_without_what_it_is_about_is_a_bug():
    with pytest.raises(ValueError, match="a page per layer is of a model and a layer"):
        place("layer", "m", None)
    with pytest.raises(ValueError, match="a page per model is of a model"):
        place("model", None, None)
