"""One place says what an option of an SAE means: pages, trainer and sweep follow it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

import pytest
from pydantic import ValidationError

from biosae_utils.cli.sweep import SAME
from biosae_utils.params import Strict
from biosae_utils.phases.sae import Params as SaeParams
from biosae_utils.sae.training.trainer import TrainConfig
from biosae_utils.sae_options import Option, SaeOptions

NAMES = [f.name for f in fields(SaeOptions)]


def test_pages_and_trainer_have_the_same_options_with_the_same_defaults():
    page, config = SaeParams(), TrainConfig()
    assert {n: getattr(page, n) for n in NAMES} == {n: getattr(config, n) for n in NAMES}
    assert {*SAME, "lr", "steps"} == {*NAMES, "seed"}


def test_a_config_takes_over_every_option_of_a_page():
    changed = {"expansion": 2, "k": 3, "kind": "batchtopk", "steps": 11, "batch_size": 33, "lr": 0.5}
    assert set(changed) == set(NAMES)
    config = TrainConfig.of(SaeParams(seed=7, **changed), seed=4, clip=2.0)
    assert config == TrainConfig(**changed, seed=4, clip=2.0)


def test_a_page_says_meaning_and_range_of_an_option_that_it_inherits():
    @dataclass(frozen=True)
    class Options:
        size: Annotated[float, Option("how large", gt=1, le=3)] = 2.0

    class Page(Strict, Options):
        other: int = 0

    assert Page.model_fields["size"].description == "how large"
    assert Page().size == 2.0 and Page(size=3.0).size == 3.0
    for value in (1.0, 3.5, "2"):
        with pytest.raises(ValidationError):
            Page(size=value)
