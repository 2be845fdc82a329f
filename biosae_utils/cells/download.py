"""One file over HTTP: resumed where it broke off, checked, and given its name only when it is whole."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import requests

from biosae_utils.errors import BiosaeError

CHUNK = 1 << 14  # bytes written at a time; what is left of a piece is lost when the connection breaks
Advance = Callable[[int, int | None], None]
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that go away by themselves
LONGEST_WAIT = 60.0


class Interrupted(Exception):
    """A failure that another try may mend."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Missing(BiosaeError):
    """The server says that there is no such file."""


@dataclass(frozen=True)
class Patience:
    """How long to insist.

    Attributes
    ----------
    tries : int
        Attempts in a row that bring nothing before giving up; an attempt that brought data starts the count again.
    stall : float
        Seconds without a byte after which an attempt counts as dead.
    wait : float
        Seconds before the second attempt; doubled each time, at most a minute.
    """

    tries: int = 5
    stall: float = 60.0
    wait: float = 1.0


def download(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    check: str = "",
    patience: Patience | None = None,
    advance: Advance = lambda done, total: None,
) -> str:
    """Download `url` to `target`; the bytes gather in ``<target>.part``, which a later call continues.

    Parameters
    ----------
    url : str
        http(s) address; redirects are followed.
    target : Path
        Final name. It appears only after every check has passed.
    size : int, optional
        Exact size in bytes, where it is known beforehand.
    check : str
        ``sha256:<hex>`` or ``md5:<hex>``; a prefix is enough. Empty when no checksum is known.
    patience : Patience, optional
    advance : callable
        Called with (bytes so far, bytes in all or None).

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    BiosaeError
        The file is not there, is not the expected one, is a web page or empty, the disk is full, or every try failed.
        The part that was received stays for the next call, unless it was wrong.
    """
    patience = patience or Patience()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    failures = 0
    while True:
        before = _have(part)
        try:
            _receive(url, part, size, bool(size or check), patience.stall, advance)
            digest = _verify(part, url, check)
            part.replace(target)
            _validator_file(part).unlink(missing_ok=True)
            return digest
        except (Interrupted, requests.RequestException) as e:
            failures = 1 if _have(part) > before else failures + 1
            if failures >= patience.tries:
                kept = f"; {_have(part):,} bytes are kept" if part.exists() else ""
                raise BiosaeError(
                    f"The download broke off {failures} times in a row ({_plain(e)}){kept}",
                    where=url,
                    do="run the same command again later: it goes on where it stopped",
                ) from e
            hint = e.wait if isinstance(e, Interrupted) else 0.0
            time.sleep(min(max(hint, patience.wait * 2 ** (failures - 1)), LONGEST_WAIT))


def _receive(url: str, part: Path, size: int | None, pinned: bool, stall: float, advance: Advance) -> None:
    """One attempt: bring `part` to its full length, or raise `Interrupted`."""
    have, validator = _have(part), _validator_file(part)
    tag = validator.read_text() if validator.exists() else ""
    if have and not (pinned or tag):  # nothing proves that the rest would belong to the same file
        have = 0
    if size is not None and have > size:
        have = 0
    if have == size:
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": "biosae"}
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": tag} if tag else {})
    with requests.get(url, headers=headers, stream=True, timeout=stall) as answer:
        start, total = _understand(answer, url, have, size, part)
        tag = answer.headers.get("ETag", "")
        validator.write_text("" if tag.startswith("W/") else tag)
        _room(part, (total or 0) - start)
        _write(answer, part, start, total, url, advance)


def _understand(answer: requests.Response, url: str, have: int, size: int | None, part: Path) -> tuple[int, int | None]:
    """Where the body starts and how long the whole file is, both in bytes; refuse whatever is not the file."""
    status = answer.status_code
    if status == 416:  # the part is longer than the file: it belongs to something else
        part.unlink(missing_ok=True)
        raise Interrupted("the server no longer has the rest of this file")
    if status in RETRIED:
        seconds = answer.headers.get("Retry-After", "")
        raise Interrupted(f"the server answered {status}", float(seconds) if seconds.isdecimal() else 0.0)
    if status in (404, 410):
        raise Missing("There is no such file on the server", where=url, do="see whether the source has moved")
    if status not in (200, 206):
        do = "open the address in a browser; some sites ask for a login or answer 202 while they prepare the file"
        raise BiosaeError(f"The server answered {status} {answer.reason} instead of the file", where=url, do=do)
    if _is_page(answer.headers.get("Content-Type", "")):
        raise BiosaeError(
            "The server sent a web page instead of the file", where=url, do="open the address in a browser"
        )

    length = answer.headers.get("Content-Length", "")
    start, total = 0, int(length) if length.isdecimal() else None
    if status == 206:
        start, total = _content_range(answer.headers.get("Content-Range", ""))
        if start != have:
            part.unlink(missing_ok=True)
            raise Interrupted("the server sent another piece than the one asked for")
    if total == 0:
        raise BiosaeError("The server sent an empty file", where=url, do="see whether the source has moved")
    if size is not None and total not in (None, size):
        do = "the source has changed since its size was recorded in cells/sources.yaml: check it before use"
        raise BiosaeError(f"The server offers {total:,} bytes where {size:,} are expected", where=url, do=do)
    return start, size if total is None else total


def _write(
    answer: requests.Response,
    part: Path,
    start: int,
    total: int | None,
    url: str,
    advance: Advance,
) -> None:
    """Append the body to the first `start` bytes of `part`."""
    done = start
    with open(part, "r+b" if start else "wb") as f:
        f.seek(start)
        f.truncate()
        for block in answer.iter_content(CHUNK):
            if done == 0 and block[:64].lstrip()[:9].lower() in (b"<!doctype", b"<html>"):
                f.truncate(0)
                raise _web_page(url)
            f.write(block)
            done += len(block)
            advance(done, total)
    if done == 0:
        raise BiosaeError("The server sent an empty file", where=url, do="see whether the source has moved")
    if total is not None and done < total:
        raise Interrupted(f"{done:,} of {total:,} bytes came")
    if total is not None and done > total:
        part.unlink(missing_ok=True)
        raise Interrupted("more bytes came than were announced")


def _verify(part: Path, url: str, check: str) -> str:
    """SHA-256 of the part; a wrong checksum removes it, so that the next call starts afresh."""
    kind, _, expected = check.partition(":")
    digests = file_digests(part, {"sha256", kind or "sha256"})
    if expected and not digests[kind].startswith(expected.lower()):
        part.unlink()
        raise BiosaeError(
            f"The file that came has another {kind} than expected ({digests[kind]}, not {expected})",
            where=url,
            do="run the command again; if it happens twice, the source has changed and must not be used unchecked",
        )
    return digests["sha256"]


def file_digests(path: Path, kinds: set[str]) -> dict[str, str]:
    """Hex digests of a file, all in one reading.

    Parameters
    ----------
    path : Path
    kinds : set of str
        Names that hashlib knows, for instance ``{"sha256", "md5"}``.
    """
    digests = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            for digest in digests.values():
                digest.update(block)
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def require_space(folder: Path, n_bytes: int) -> None:
    """Refuse to start what cannot fit on the disk that holds `folder`."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        do = "free some space, or choose another folder with --to"
        raise BiosaeError(f"The disk has {free:,} bytes free and {n_bytes:,} are needed", where=str(folder), do=do)


def _room(part: Path, n_bytes: int) -> None:
    require_space(part.parent, n_bytes)


def _have(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _validator_file(part: Path) -> Path:
    """Where the server's tag of the file waits, so that the rest of a changed file is never glued to an old part."""
    return part.with_name(part.name + ".etag")


def _web_page(url: str) -> BiosaeError:
    return BiosaeError("The server sent a web page instead of the file", where=url, do="open the address in a browser")


def _is_page(content_type: str) -> bool:
    message = Message()
    message["Content-Type"] = content_type
    return bool(content_type) and message.get_content_type() in ("text/html", "application/xhtml+xml")


def _content_range(value: str) -> tuple[int, int | None]:
    """Start and total of ``bytes 100-199/200``."""
    try:
        span, _, total = value.removeprefix("bytes ").partition("/")
        return int(span.partition("-")[0]), None if total == "*" else int(total)
    except ValueError:
        raise Interrupted(f"the server sent a range that cannot be read ({value!r})") from None


def _plain(error: Exception) -> str:
    """An error of the network in a few words."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection closed early"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)
