"""The YAML of a run: which pages there are, which parameters each gets, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from biosae_utils import store
from biosae_utils.book.config_readme import SHIPPED
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.base import Resources
from biosae_utils.phases.registry import find
from biosae_utils.runconfig import RunConfig

ROOT = Path(__file__).resolve().parents[1]
MINIMAL = """\
run: mine
phases: [00_data, 04_annotate]
models:
  m: {source: some/dir, layers: [0, 2]}
data: {path: cells.h5ad}
"""
TWIN = """\
run: mine
seed: 4
phases: [02_sae, 03_catalogue, 04_annotate]
models:
  m: {source: some/dir, layers: [0, 2]}
  m.random-weights: {source: some/dir, variant: random-weights, layers: [2], phases: [02_sae, 03_catalogue]}
  other: {source: another/dir, layers: [1]}
"""


@pytest.fixture
def load(tmp_path):
    """A config of that text."""

    def read(text: str) -> RunConfig:
        (tmp_path / "c.yaml").write_text(text)
        return RunConfig.load(tmp_path / "c.yaml")

    return read


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_is_valid(name):
    assert RunConfig.load(ROOT / "config" / name).pages()


def test_pages_come_in_the_order_of_phases_then_models_then_layers(load):
    assert load(MINIMAL).pages() == [("00_data", None, None), ("04_annotate", "m", 0), ("04_annotate", "m", 2)]
    assert load(TWIN).pages() == [
        ("02_sae", "m", None), ("02_sae", "m.random-weights", None), ("02_sae", "other", None),
        ("03_catalogue", "m", 0), ("03_catalogue", "m", 2), ("03_catalogue", "m.random-weights", 2),
        ("03_catalogue", "other", 1),
        ("04_annotate", "m", 0), ("04_annotate", "m", 2), ("04_annotate", "other", 1),
    ]  # fmt: skip


def test_page_parameters_take_the_block_of_their_phase(load):
    config = load(MINIMAL + "annotate: {fdr: 0.01}\n")
    assert config.phase_params("04_annotate", "m", 2).fdr == 0.01
    assert config.phase_params("04_annotate", "m", 2, fdr=0.2).fdr == 0.2
    assert config.phase_params("00_data").path == "cells.h5ad"


def test_what_the_run_knows_is_filled_in_and_cannot_be_set(load):
    config = load(TWIN)
    params = config.phase_params("04_annotate", "m", 2)
    assert (params.run, params.seed, params.source, params.variant, params.layer) == (
        "mine", 4, "some/dir", "trained", 2,
    )  # fmt: skip
    assert load(TWIN + "annotate: {seed: 9}\n").phase_params("04_annotate", "m", 2).seed == 9
    assert config.phase_params("02_sae", "m").layers == [0, 2]
    with pytest.raises(BiosaeError, match="layer is filled in from the run"):
        load(TWIN + "annotate: {layer: 2}\n")


def test_the_twin_with_random_weights_is_found_where_it_has_that_layer_and_phase(load):
    config = load(TWIN)
    assert config.phase_params("04_annotate", "m", 2).control == "m.random-weights"
    assert config.phase_params("04_annotate", "m", 0).control is None, "the twin has no layer 0"
    assert config.phase_params("04_annotate", "other", 1).control is None, "another source"
    assert config.twin("m.random-weights", 2, "03_catalogue") is None, "a control has none"
    assert config.twin("m", 2, "04_annotate") is None, "the twin does not run it"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINIMAL + "annotate: {fdrr: 0.01}\n", "did you mean fdr?"),
        (MINIMAL + "annotate: {fdr: many}\n", "fdr = 'many'"),
        (MINIMAL + "annotate: {fdr: 7}\n", "less than 1"),
        (MINIMAL + "anotate: {fdr: 0.1}\n", "unknown name anotate"),
        (MINIMAL.replace("00_data", "99_dreams"), "no phase called '99_dreams'"),
        (MINIMAL.replace("  m:", "  m/x:"), "'m/x' cannot be a folder's name"),
        (MINIMAL.replace("run: mine", "run: 'my run'"), "run = 'my run'"),
        (MINIMAL + "resources: {annotation: {threads: 1}}\n", "no phase called 'annotation'"),
        (MINIMAL + "resources: {annotate: {mem_mb: 3}}\n", "mem_mb = 3"),
        ("", "empty or not a mapping"),
        ("run: [", "not YAML"),
    ],
)
def test_bad_configs_are_refused_in_one_message(load, text, says):
    with pytest.raises(BiosaeError) as e:
        load(text)
    assert (says in str(e.value) and "c.yaml" in str(e.value)) or "parameters of" in str(e.value)
    assert "\n" not in str(e.value) or says == "not YAML"


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(BiosaeError, match="no such config"):
        RunConfig.load(tmp_path / "absent.yaml")


def test_one_layer_cannot_be_tracked(load):
    one = MINIMAL.replace("04_annotate", "06_tracking").replace("[0, 2]", "[0]")
    with pytest.raises(BiosaeError, match=r"06_tracking needs 2 layers.*models\.m\.layers"):
        load(one)
    assert ("06_tracking", "m", None) in load(one.replace("layers: [0]", "layers: [0, 2]")).pages()


def test_a_page_is_found_by_name_or_the_right_names_are_listed(load):
    config = load(TWIN)
    assert config.page("03_catalogue", "m", 2) == ("03_catalogue", "m", 2)
    assert config.page("02_sae", "other") == ("02_sae", "other", None)
    for asked, says in (
        (("00_data",), "no phase '00_data'"),
        (("03_catalogue",), "which model"),
        (("03_catalogue", "x", 0), "no model 'x'"),
        (("04_annotate", "m.random-weights", 2), "is not run for m.random-weights"),
        (("03_catalogue", "m"), "which layer"),
        (("03_catalogue", "m", 1), "no layer 1 of m"),
        (("02_sae", "m", 1), "leave --layer out"),
    ):
        with pytest.raises(BiosaeError, match=says):
            config.page(*asked)


def test_resources_of_the_config_replace_the_phase_s_own(load):
    own = load(TWIN).takes("04_annotate", "m")
    given = load(TWIN + "resources: {annotate: {mem_mb: 9000}}\n").takes("04_annotate", "m")
    assert isinstance(own, Resources) and own.mem_mb != 9000
    assert given == Resources(own.threads, 9000, own.runtime, own.gpu)


def test_the_hash_of_the_rules_is_that_of_every_threshold_of_the_run(load):
    base = load(TWIN).rules_hash()
    assert load(TWIN).rules_hash() == base
    assert load(TWIN + "results: elsewhere\n").rules_hash() == base, "where a run lies is no threshold"
    assert load(TWIN + "annotate: {fdr: 0.01}\n").rules_hash() != base
    assert find("15_scorecard").reads == ("*",)
    assert load(TWIN.replace("04_annotate]", "04_annotate, 15_scorecard]")).rules_hash() == base


def test_results_belong_to_one_config(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(MINIMAL)
    config.claim_results("c.yaml")
    note = Path("results/mine/pages.json")
    assert store.read_json(note)["pages"] == [["00_data", None, None], ["04_annotate", "m", 0], ["04_annotate", "m", 2]]
    before = note.stat().st_mtime_ns
    config.claim_results("c.yaml")
    assert note.stat().st_mtime_ns == before
    (tmp_path / "d.yaml").write_text(MINIMAL)
    with pytest.raises(BiosaeError, match="belongs to another config"):
        config.claim_results("d.yaml")
    (tmp_path / "c.yaml").unlink()
    config.claim_results("d.yaml")
    assert store.read_json(note)["config"] == "d.yaml", "a config that was renamed takes its results along"
