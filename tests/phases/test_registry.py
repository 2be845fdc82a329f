"""The phases there are follow from the modules there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_project import enter, leave, write_project

from biosae_utils.errors import BiosaeError
from biosae_utils.phases.registry import find, phases, reads


@pytest.fixture
def edited(tmp_path):
    """The tiny project's phases, one of them with its text replaced."""
    write_project(tmp_path)
    with pytest.MonkeyPatch.context() as patch:

        def edit(old: str, new: str) -> None:
            path = Path(tmp_path, "phases", "two_words.py")
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new))
            enter(tmp_path, patch)

        yield edit
    leave()


def test_phases_come_in_reading_order_and_are_called_like_their_module():
    names = list(phases())
    assert names == sorted(names) and {"00_data", "02_sae", "15_scorecard"} <= set(names)
    assert all(phase.compute.__module__ == f"biosae_utils.phases.{phase.short}" for phase in phases().values())


def test_a_name_with_two_underscores_is_a_name(project):
    assert find("71_two_words").short == "two_words"


def test_an_unknown_phase_is_refused_with_the_names_there_are():
    with pytest.raises(BiosaeError, match=r"No phase is called '02_sea'.*02_sae"):
        find("02_sea")


def test_what_a_phase_reads(project):
    assert reads(find("71_two_words")) == ("70_draws",)
    assert set(reads(find("15_scorecard"))) == set(phases()) - {"15_scorecard"}


def test_a_phase_that_reads_nothing_there_is(edited):
    edited('reads=("70_draws",)', 'reads=("70_draw",)')
    with pytest.raises(ValueError, match="71_two_words reads 70_draw, which is no phase"):
        phases()


def test_a_phase_in_the_wrong_file(edited):
    edited('Phase("71_two_words"', 'Phase("71_three_words"')
    with pytest.raises(ValueError, match=r"71_three_words is declared in phases/two_words\.py"):
        phases()
