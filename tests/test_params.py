"""The YAML of a run and the parameter cells of the notebooks say the same thing as params.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from biosae_utils.errors import BiosaeError
from biosae_utils.params import scope_of
from biosae_utils.phases.registry import find
from biosae_utils.runconfig import RunConfig

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


MINIMAL = """\
run: mine
phases: [00_data, 04_annotate]
models:
  m: {source: some/dir, layers: [0, 2]}
data: {path: cells.h5ad}
"""


def test_every_shipped_config_is_valid():
    configs = sorted((ROOT / "config").glob("*.yaml"))
    assert configs
    for path in configs:
        assert RunConfig.load(path).pages(), path


def test_pages_follow_scope(tmp_path):
    config = RunConfig.load(write(tmp_path / "c.yaml", MINIMAL))
    assert config.pages() == [("00_data", None, None), ("04_annotate", "m", 0), ("04_annotate", "m", 2)]
    assert [scope_of(find(p).params) for p in ("00_data", "02_sae", "04_annotate")] == ["run", "model", "layer"]


def test_page_parameters_take_the_block_of_their_phase(tmp_path):
    config = RunConfig.load(write(tmp_path / "c.yaml", MINIMAL + "annotate: {fdr: 0.01}\n"))
    assert config.phase_params("04_annotate", "m", 2).fdr == 0.01
    assert config.phase_params("04_annotate", "m", 2, fdr=0.2).fdr == 0.2
    assert config.phase_params("00_data").path == "cells.h5ad"


@pytest.mark.parametrize(
    ("addition", "says"),
    [
        ("annotate: {fdrr: 0.01}\n", "did you mean fdr?"),
        ("annotate: {fdr: many}\n", "fdr = 'many'"),
        ("annotate: {fdr: 7}\n", "less than 1"),
        ("anotate: {fdr: 0.1}\n", "unknown name anotate"),
    ],
)
def test_bad_configs_are_refused_in_one_sentence(tmp_path, addition, says):
    path = write(tmp_path / "c.yaml", MINIMAL + addition)
    with pytest.raises(BiosaeError) as e:
        RunConfig.load(path)
    assert says in str(e.value) and "\n" not in str(e.value)


def test_one_layer_cannot_be_tracked(tmp_path):
    one = MINIMAL.replace("04_annotate", "06_tracking").replace("[0, 2]", "[0]")
    with pytest.raises(BiosaeError, match=r"06_tracking needs 2 layers.*models\.m\.layers"):
        RunConfig.load(write(tmp_path / "c.yaml", one))
    several = one.replace("layers: [0]", "layers: [0, 2]")
    assert ("06_tracking", "m", None) in RunConfig.load(write(tmp_path / "d.yaml", several)).pages()


def test_unknown_phase_and_missing_file(tmp_path):
    with pytest.raises(BiosaeError, match="no phase called '99_dreams'"):
        RunConfig.load(write(tmp_path / "c.yaml", MINIMAL.replace("00_data", "99_dreams")))
    with pytest.raises(BiosaeError, match="no such config"):
        RunConfig.load(tmp_path / "absent.yaml")
