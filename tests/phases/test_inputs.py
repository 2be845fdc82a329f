"""What is handed to a phase is what was made: checked, declared, and named when it is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biosae_utils.errors import BiosaeError
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.registry import find
from biosae_utils.phases.run import compute
from biosae_utils.runconfig import RunConfig


@pytest.fixture
def read(project) -> Inputs:
    config = RunConfig.load("config/tiny.yaml")
    compute(find("70_draws"), config.phase_params("70_draws"))
    return Inputs(find("71_two_words"), config.phase_params("71_two_words", "m", 2))


def test_files_of_the_run_are_found_from_a_layer(read):
    assert read.file("70_draws", "values.parquet") == Path("results/tiny/70_draws/values.parquet")
    assert (read.model, read.layer) == ("m", 2)


def test_a_file_that_was_changed_is_refused(read):
    path = Path("results/tiny/70_draws/values.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(bytes(data))
    with pytest.raises(BiosaeError, match=r"values.parquet holds something else.*rerun it with `biosae run 70_draws`"):
        read.file("70_draws", "values.parquet")
    assert read.file("70_draws", "facts.json"), "others are still given"
    with pytest.raises(BiosaeError, match="holds something else"):
        read.file("70_draws")


def test_only_what_is_declared_is_read(read):
    with pytest.raises(BiosaeError, match="reads 71_two_words and does not declare it"):
        read.file("71_two_words", "rows.parquet", layer=0)


def test_what_is_not_there_is_named(read):
    with pytest.raises(BiosaeError, match=r"left no cells\.parquet"):
        read.file("70_draws", "cells.parquet")
    Path("results/tiny/70_draws/manifest.json").unlink()
    with pytest.raises(BiosaeError, match=r"70_draws has not finished.*biosae run 70_draws"):
        read.file("70_draws", "values.parquet")


def test_layers_and_models_are_those_of_the_run(read):
    RunConfig.load("config/tiny.yaml").claim_results("config/tiny.yaml")
    assert read.layers("71_two_words") == [0, 2] and read.models("71_two_words") == ["m"]
    assert read.layers("71_two_words", model="other") == [] and np.size(read.models("70_draws")) == 0
