"""Up to date is a statement about content: whatever is wrong is seen, and time alone is nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tiny_project import leave

from biosae_utils.phases import sources, state
from biosae_utils.phases.registry import find
from biosae_utils.phases.run import compute
from biosae_utils.runconfig import RunConfig

DRAWS, ROWS = ("70_draws", None, None), ("71_two_words", "m", 0)
FOLDER = Path("results/tiny/70_draws")


@pytest.fixture
def config(project) -> RunConfig:
    """The tiny run, computed."""
    config = RunConfig.load("config/tiny.yaml")
    config.claim_results("config/tiny.yaml")
    compute_all(config)
    return config


def compute_all(config: RunConfig) -> None:
    for node, params in config.all_params().items():
        compute(find(node[0]), params)


def judged(config: RunConfig) -> dict[tuple, str]:
    return {node: f"{what}: {why}" for node, (what, why) in state.judge_all(config.all_params()).items()}


def test_what_was_just_computed_is_done_and_computing_it_again_writes_nothing(config):
    assert set(judged(config).values()) == {"done: "}
    stamp = (FOLDER / "manifest.json").stat().st_mtime_ns
    compute_all(config)
    assert (FOLDER / "manifest.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda: (FOLDER / "manifest.json").unlink(), "not_run: "),
        (lambda: (FOLDER / "values.parquet").unlink(), "missing: values.parquet is gone"),
        (lambda: (FOLDER / "claims.json").write_text("[]\n"), "missing: claims.json has 3 bytes"),
        (lambda: flip(FOLDER / "values.parquet"), "missing: values.parquet holds something else"),
        (lambda: shutil.rmtree(FOLDER), "not_run: "),
        (lambda: (FOLDER / "manifest.json").write_text("[1]"), "missing: This is no manifest"),
        (lambda: replaced_with_an_older_file(Path("cells.h5ad")), "stale: the file cells.h5ad changed"),
        (lambda: Path("cells.h5ad").unlink(), "stale: the file cells.h5ad was lost"),
    ],
)
def test_whatever_was_touched_is_seen_and_so_is_what_follows(config, break_it, says):
    break_it()
    found = judged(config)
    assert found[DRAWS].startswith(says)
    assert found[ROWS].startswith("stale: its input (70_draws) is")
    if Path("cells.h5ad").is_file():
        compute_all(config)
        assert set(judged(config).values()) == {"done: "}


def flip(path: Path) -> None:
    """Change a byte and nothing else, as a damaged disk would; size and name stay."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def replaced_with_an_older_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, (1, 1))


def test_time_stamps_alone_make_nothing_stale(config):
    for path in [*Path("results").rglob("*"), Path("cells.h5ad"), *Path("phases").glob("*.py")]:
        os.utime(path, (1_000_000_000, 1_000_000_000) if path.suffix == ".json" else None)
    assert set(judged(config).values()) == {"done: "}


def test_a_copied_project_is_up_to_date(config, tmp_path, monkeypatch):
    shutil.copytree(tmp_path, tmp_path / "copy", copy_function=shutil.copy)  # new time stamps
    monkeypatch.chdir(tmp_path / "copy")
    assert set(judged(RunConfig.load("config/tiny.yaml")).values()) == {"done: "}


def test_a_changed_parameter_says_which(config):
    changed = config.model_copy(update={"blocks": {"two_words": {"n_top": 7}, "draws": {"n": 30}}})
    assert judged(changed)[DRAWS] == "done: "
    assert judged(changed)[ROWS] == "stale: the config differs: n_top 20 -> 7"


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))
    leave()  # imported anew, as a new process would
    sources._meaning.cache_clear()
    sources._imports.cache_clear()


def test_code_counts_and_what_only_explains_does_not(config):
    edit("phases/draws.py", "numbers drawn with a seed.", "numbers, drawn with some seed.")
    edit("phases/draws.py", 'description="how many"', 'description="how many numbers"')
    edit("phases/draws.py", "    with out.step", "    # drawn here\n    with out.step")
    assert set(judged(config).values()) == {"done: "}
    edit("phases/draws.py", "out.facts(mean", "out.facts(largest=values.max(), mean")
    assert judged(config)[DRAWS] == "stale: the code of draws, or of what it imports, was changed"


def test_an_input_that_comes_out_the_same_makes_nothing_else_run(config):
    rows = Path("results/tiny/m/layer_00/71_two_words/manifest.json")
    stamp = rows.stat().st_mtime_ns
    edit("phases/draws.py", "values.mean(), interval", "float(values.mean()), interval")
    assert judged(config)[ROWS].startswith("stale")
    compute_all(config)
    assert rows.stat().st_mtime_ns == stamp and set(judged(config).values()) == {"done: "}
    edit("phases/draws.py", "normal(size=p.n)", "normal(size=p.n) + 1")
    compute_all(config)
    assert rows.stat().st_mtime_ns > stamp


def test_results_made_by_other_code_are_not_resumed(config):
    (FOLDER / "half.npy").write_bytes(b"of a longer computation")
    compute_all(config.model_copy(update={"blocks": {"draws": {"n": 31}}}))
    assert not (FOLDER / "half.npy").exists()


def test_what_a_fetch_brought_later_makes_stale(config, monkeypatch):
    phase = find("70_draws")
    monkeypatch.setattr(state, "find", find)
    object.__setattr__(phase, "fetched", ("kegg",))
    assert judged(config)[DRAWS] == "done: "
    lock = Path("data/fetched/kegg/lock.json")
    lock.parent.mkdir(parents=True)
    lock.write_text("{}")
    assert judged(config)[DRAWS] == "stale: the file data/fetched/kegg/lock.json is new"


def test_layers_left_over_from_another_config_are_no_input(config):
    params = config.phase_params(*ROWS)
    assert state.pages_of(params) == config.pages()
    fewer = config.model_copy(update={"phases": ["70_draws"]})
    fewer.claim_results("config/tiny.yaml")
    assert state.pages_of(params) == [DRAWS]
    Path("results/tiny/pages.json").unlink()
    assert set(state.pages_of(params)) == set(config.pages()), "without a config, what is complete counts"
