"""The tiny run, as a build leaves it before the book is rendered."""

from __future__ import annotations

import json

import pytest

from biosae_utils.book.page_state import record
from biosae_utils.book.paths import page_path
from biosae_utils.phases.registry import find
from biosae_utils.phases.run import compute
from biosae_utils.runconfig import RunConfig


@pytest.fixture
def computed(project) -> RunConfig:
    """Every page computed, with an executed page that a job would leave, but made by no kernel."""
    config = RunConfig.load("config/tiny.yaml")
    for node, params in config.all_params().items():
        compute(find(node[0]), params)
        out = page_path(config.run, *node)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"cells": [], "of": node}))
        record(find(node[0]), params, out)
    return config
