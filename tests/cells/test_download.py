"""Downloads against a server that truncates, corrupts, stalls, redirects and lies."""

from __future__ import annotations

import hashlib
import shutil
from collections import namedtuple

import pytest
from webserver import WebServer

from biosae_utils.cells import download as module
from biosae_utils.cells.download import Patience, download
from biosae_utils.errors import BiosaeError

BODY = bytes(range(256)) * 1280
SHA = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(tries=3, stall=0.3, wait=0.01)
FILE = "/some/data.bin"


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


@pytest.fixture
def get(web, tmp_path):
    web.files[FILE] = BODY
    target = tmp_path / "folder" / "data.bin"

    def run(*faults: str, **options) -> bytes:
        web.faults[FILE] = list(faults)
        options = {"patience": QUICK} | options
        assert download(web.url + FILE, target, **options) == hashlib.sha256(target.read_bytes()).hexdigest()
        assert [p.name for p in target.parent.iterdir()] == ["data.bin"], "nothing is left beside the file"
        return target.read_bytes()

    run.target, run.part = target, target.with_name("data.bin.part")
    return run


@pytest.mark.parametrize("check", ["", f"sha256:{SHA}", f"sha256:{SHA[:8]}", f"md5:{hashlib.md5(BODY).hexdigest()}"])
def test_plain_download(get, check):
    assert get(size=len(BODY), check=check) == BODY


@pytest.mark.parametrize(
    "faults",
    [
        ["redirect"],
        ["503"],
        ["429", "500"],
        ["truncate"],
        ["stall"],
        ["truncate", "stall", "truncate", "503", "truncate"],
    ],
    ids=" ".join,
)
def test_what_passes_by_itself_is_survived(get, faults):
    assert get(*faults) == BODY


def test_a_broken_download_is_continued_where_it_stopped(get, web):
    assert get("truncate") == BODY
    assert [r for _, r in web.ranges] == ["", f"bytes={len(BODY) // 2}-"]


def test_a_later_call_continues_an_earlier_one(get, web):
    with pytest.raises(BiosaeError, match="bytes are kept"):
        get("truncate", "503", "503", "503", "503")
    assert get.part.stat().st_size == len(BODY) // 2 and not get.target.exists()
    web.ranges.clear()
    assert get() == BODY
    assert web.ranges == [(FILE, f"bytes={len(BODY) // 2}-")]


def test_a_server_without_ranges_starts_again_from_zero(get):
    assert get("truncate", "no range") == BODY


def test_an_old_part_of_a_changed_file_is_not_glued_to_the_new_one(get, web):
    with pytest.raises(BiosaeError):
        get("truncate", "503", "503", "503", "503")
    web.files[FILE], web.etag = BODY[::-1], '"v2"'
    assert get() == BODY[::-1]


def test_a_part_of_unknown_origin_is_not_trusted(get, web):
    get.part.parent.mkdir()
    get.part.write_bytes(b"x" * 100)
    assert get() == BODY
    assert web.ranges == [(FILE, "")]


def test_a_part_that_is_too_long_is_dropped(get):
    get.part.parent.mkdir()
    get.part.write_bytes(b"x" * (len(BODY) + 5))
    assert get(size=len(BODY), check=f"sha256:{SHA}") == BODY


def test_a_complete_part_is_checked_and_not_fetched_again(get, web):
    get.part.parent.mkdir()
    get.part.write_bytes(BODY)
    assert get(size=len(BODY), check=f"sha256:{SHA}") == BODY
    assert web.ranges == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("202", "answered 202"),
        ("404", "no such file"),
        ("403", "answered 403"),
        ("empty", "empty file"),
        ("page", "web page"),
        ("disguised page", "web page"),
    ],
)
def test_what_is_not_the_file_is_refused_at_once(get, web, fault, says):
    with pytest.raises(BiosaeError, match=says):
        get(fault)
    assert len(web.ranges) == 1 and not get.target.exists()
    assert not get.part.exists() or get.part.stat().st_size == 0
    assert get() == BODY, "the next call is not spoilt by it"


def test_a_corrupted_file_is_refused_and_not_kept(get):
    with pytest.raises(BiosaeError, match="another sha256 than expected") as e:
        get("corrupt", check=f"sha256:{SHA}")
    assert get.target.name in str(e.value) and not get.target.exists() and not get.part.exists()
    assert get(check=f"sha256:{SHA}") == BODY


def test_another_size_than_recorded_is_refused_before_the_body(get):
    with pytest.raises(BiosaeError, match=r"offers 327,680 bytes where 99 are expected"):
        get(size=99)
    assert not get.part.exists()


@pytest.mark.parametrize("fault", ["503", "stall"])
def test_patience_ends(get, web, fault):
    web.files[FILE] = BODY[:1]  # half of one byte is nothing: a stall brings no progress
    with pytest.raises(BiosaeError, match="broke off 3 times in a row"):
        get(*[fault] * 9)
    assert len(web.ranges) == 3


def test_no_server_is_one_sentence(tmp_path):
    with pytest.raises(BiosaeError, match="no connection") as e:
        download("http://127.0.0.1:9/file", tmp_path / "file", patience=QUICK)
    assert "\n" not in str(e.value) and list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_before_anything_is_written(get, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 100, 100))
    with pytest.raises(BiosaeError, match=r"100 bytes free and 327,680 are needed"):
        get()
    assert not get.part.exists()


def test_progress_is_reported_in_bytes(get):
    seen = []
    get("truncate", advance=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(BODY), len(BODY)) and seen == sorted(seen)


def test_waits_grow_and_follow_the_server(monkeypatch, tmp_path):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    answers = iter(
        [
            module.Interrupted("busy"),
            module.Interrupted("busy", 7.0),
            module.Interrupted("busy", 900.0),
            module.Interrupted("busy"),
        ]
    )

    def refuse(*_args: object) -> None:
        raise next(answers)

    monkeypatch.setattr(module, "_receive", refuse)
    with pytest.raises(BiosaeError, match="4 times"):
        download("http://127.0.0.1/x", tmp_path / "x", patience=Patience(tries=4, wait=2.0))
    assert waits == [2.0, 7.0, module.LONGEST_WAIT]
