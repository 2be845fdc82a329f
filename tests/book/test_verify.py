"""`verify` reads everything again, goes on after a problem, and names each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from biosae_utils import store
from biosae_utils.book import site
from biosae_utils.book.paths import page_path
from biosae_utils.book.verify import verify
from biosae_utils.errors import BiosaeError
from biosae_utils.runconfig import RunConfig

FOLDER = Path("results/tiny/70_draws")


@pytest.fixture
def config(computed) -> RunConfig:
    """The tiny run as a build leaves it."""
    site.collect_claims(computed)
    html = site.html_dir("tiny")
    html.mkdir(parents=True)
    (html / "index.html").write_text("<p>the book</p>")
    store.write_json(html.parent / f"html{site.STATE}", {"files": {"index.html": store.hash_of(html / "index.html")}})
    return computed


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_all_agree(config):
    found = verify(config)
    assert (found.n_pages, found.n_claims, found.problems) == (3, 1, []) and found.n_files == 7


def test_every_problem_is_named_and_none_ends_it(config):
    flip(FOLDER / "values.parquet")
    Path("cells.h5ad").write_bytes(b"others")
    page_path("tiny", "71_two_words", "m", 0).write_text("{}")
    (site.html_dir("tiny") / "index.html").write_text("<p>edited</p>")
    Path("results/tiny/m/layer_02/71_two_words/manifest.json").write_text("[{")
    Path("results/tiny/claims.json").write_text("{")
    problems = "\n".join(verify(config).problems)
    for says in (
        "values.parquet holds something else",
        "cells.h5ad, from which 70_draws was computed, was changed",
        "71_two_words.ipynb was changed after it was executed",
        "index.html was changed after it was rendered",
        "71_two_words of m, layer 2 cannot be read",
        "claims.json",
    ):
        assert says in problems, says


def test_a_file_is_read_again_even_if_size_and_time_are_the_same(config):
    path = FOLDER / "values.parquet"
    before = path.stat()
    flip(path)
    import os

    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert any("values.parquet" in problem for problem in verify(config).problems)


def test_collected_claims_are_those_of_the_pages(config):
    path = Path("results/tiny/claims.json")
    claims = json.loads(path.read_text())
    for wrong, says in (
        ([claims[0] | {"value": 99.0}], "70_draws/mean: value is 99.0 in"),
        ([], "70_draws/mean is not in"),
        ([*claims, claims[0] | {"id": "invented"}], "70_draws/invented in results/tiny/claims.json is of no page"),
    ):
        path.write_text(json.dumps(wrong))
        assert any(says in problem for problem in verify(config).problems), says


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"control": None}, "needs value, control"),
        ({"phase": "71_two_words"}, "of another page"),
        ({"rule": ""}, "rule = ''"),
    ],
)
def test_malformed_claims_are_refused(config, change, says):
    path = FOLDER / "claims.json"
    path.write_text(json.dumps([json.loads(path.read_text())[0] | change]))
    assert any(says in problem for problem in verify(config).problems)


def test_a_claim_that_is_there_twice(config):
    path = FOLDER / "claims.json"
    path.write_text(json.dumps(json.loads(path.read_text()) * 2))
    assert any("claim 70_draws/mean is there 2 times" in problem for problem in verify(config).problems)


def test_nothing_to_verify(project):
    with pytest.raises(BiosaeError, match="run `biosae book` first"):
        verify(RunConfig.load("config/tiny.yaml"))
