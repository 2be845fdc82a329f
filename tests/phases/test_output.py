"""A phase leaves the same bytes for the same parameters, and nothing that is half of something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosae_utils.errors import BiosaeError
from biosae_utils.intervals import Interval
from biosae_utils.phases.output import Output, plain
from biosae_utils.phases.registry import find
from biosae_utils.runconfig import RunConfig
from biosae_utils.store import read_json

CLAIM = {
    "id": "c",
    "title": "Something is larger",
    "control_kind": "nothing",
    "rule": "larger than nothing",
    "minimum": 0.0,
}


@pytest.fixture
def out(project) -> Output:
    return Output(
        find("71_two_words"), RunConfig.load("config/tiny.yaml").phase_params("71_two_words", "m", 2), "biosae"
    )


def test_a_closed_folder_lists_every_file_with_its_hash(out):
    out.table(pd.DataFrame({"a": [1]}), "shown")
    out.table(pd.DataFrame({"a": [1]}), "hidden", download=False)
    out.array(np.arange(3), "numbers")
    with out.step("think"):
        pass
    about = read_json(out.close())
    assert set(about["outputs"]) == {"shown.parquet", "hidden.parquet", "numbers.npy", "claims.json"}
    assert about["tables"] == ["shown.parquet"] and list(about["steps"]) == ["think"]
    assert about["layer"] == 2 and all(len(file["sha256"]) == 64 for file in about["outputs"].values())


def test_the_same_work_leaves_the_same_content_however_long_it_took(out, monkeypatch):
    contents = []
    for _ in range(2):
        again = Output(out._phase, out._params, "biosae")
        again.table(pd.DataFrame({"a": [1.5]}), "shown")
        again.facts(n=1)
        contents.append(read_json(again.close())["content"])
        monkeypatch.setattr("biosae_utils.phases.output.time.time", lambda: 5e9)
    assert contents[0] == contents[1]


def test_claims_take_intervals_and_say_what_was_resampled(out):
    value, control = Interval(np.float32(3), 2, 4, "cells"), Interval(1, 0, 2, "draws")
    claim = out.claim(**CLAIM, value=value, control=control, verdict="supported")
    assert (claim.interval, claim.interval_over, claim.control, claim.control_interval) == ((2, 4), "cells", 1, (0, 2))
    assert (claim.model, claim.layer, claim.variant, claim.command) == ("m", 2, "trained", "biosae")


@pytest.mark.parametrize(
    ("value", "verdict", "becomes"),
    [(4.0, "supported", "supported"), (1.5, "supported", "trivial"), (-1.5, "supported", "trivial"),
     (1.5, "not_supported", "not_supported"), (4.0, "not_supported", "not_supported")],
)  # fmt: skip
def test_a_difference_too_small_to_matter_is_trivial(out, value, verdict, becomes):
    claim = out.claim(**CLAIM | {"minimum": 2.0}, value=value, control=0.0, verdict=verdict)
    assert (claim.verdict, claim.minimum) == (becomes, 2.0)


def test_claims_of_one_id_differ_in_layer_or_group(out):
    for extra in ({}, {"layer": 3}, {"group": "B cells"}):
        out.claim(**CLAIM, **extra, value=1.0, control=0.0, verdict="supported")
    with pytest.raises(BiosaeError, match="Two claims are called 'c'"):
        out.claim(**CLAIM, value=2.0, control=0.0, verdict="supported")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"verdict": "not_tested"}, "says why"),
        ({"value": 1.0, "verdict": "supported"}, "needs value, control"),
        ({"value": 1.0, "control": 0.0, "minimum": None, "verdict": "supported"}, "smallest difference that counts"),
        ({"value": 1.0, "control": 0.0, "interval": (0, 2), "verdict": "supported"}, "what was resampled"),
        ({"value": 1.0, "control": 0.0, "verdict": "proven"}, "verdict = 'proven'"),
        ({"verdict": "not_tested", "reason": "no data", "vaule": 1}, "did you mean value"),
    ],
)
def test_a_claim_that_is_none_is_refused(out, change, says):
    with pytest.raises(BiosaeError, match=says):
        out.claim(**CLAIM | change)


def test_what_a_killed_writer_left_is_swept(out):
    left = out.dir / ".shown.parquet.abc.partial.parquet"
    left.write_bytes(b"half")
    (out.dir / "part.npy").write_bytes(b"whole, to be continued")
    Output(out._phase, out._params, "biosae")
    assert not left.exists() and (out.dir / "part.npy").exists()


def test_plain_values():
    assert plain({"a": np.float64("nan"), 1: (np.int64(2), [np.array([1.5])])}) == {"a": None, "1": [2, [[1.5]]]}


def test_a_folder_is_incomplete_while_it_is_computed(out):
    out.close()
    assert (out.dir / "manifest.json").is_file()
    Output(out._phase, out._params, "biosae")
    assert not (out.dir / "manifest.json").exists() and Path(out.dir / ".state.json").is_file()
