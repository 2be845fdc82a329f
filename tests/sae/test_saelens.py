"""cfg.json of SAELens: what decides the output is applied or refused by name."""

from __future__ import annotations

import json

import pytest

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.saelens import read_config

GOOD = {"architecture": "topk", "d_in": 4, "d_sae": 8, "k": 2, "metadata": {"model_name": "m"}}


def config(tmp_path, **change):
    path = tmp_path / "cfg.json"
    path.write_text(json.dumps(GOOD | change))
    return read_config(path)


def test_a_topk_config_is_read(tmp_path):
    found = config(tmp_path)
    assert (found.d_in, found.d_sae, found.k, found.metadata["model_name"]) == (4, 8, 2, "m")
    assert config(tmp_path, k=None, activation_fn_kwargs={"k": 3}, activation_fn="topk").k == 3


def test_a_jumprelu_has_no_cap(tmp_path):
    assert config(tmp_path, architecture="jumprelu", k=None).k is None
    assert config(tmp_path, architecture="jumprelu", k=64).k is None, "k says how it was trained"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architecture": "gated"}, "gated"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations"),
        ({"k": 0}, "k is 0"),
        ({"d_in": "4"}, "d_in is '4'"),
        ({"activation_fn": "tanh-relu"}, "tanh-relu"),
        ({"activation_fn": "topk", "activation_fn_kwargs": {"k": 5}}, "differ"),
        ({"a_new_switch": True}, "a_new_switch = True"),
        ({"metadata": {"hook_name_out": "blocks.3"}}, "transcoder"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_by_name(tmp_path, change, says):
    with pytest.raises(BiosaeError, match=says):
        config(tmp_path, **change)
