"""What can be fetched, what is here already, and bringing the rest: models, gene sets, networks, atlases, cells.

`sources.yaml` names every file with what is known of it (revision, size, checksum). Each source gets a folder of its
own and in it a ``lock.json`` with size and SHA-256 of every file that came; a file that comes again must be the same.
Models come through `huggingface_hub`; everything else through `download`, because pooch cannot resume.
"""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from biosae_utils.cells.download import Missing, Patience, download, file_digests, require_space
from biosae_utils.cells.sources import Source, SourceFile, find, shipped_sources
from biosae_utils.errors import BiosaeError
from biosae_utils.store import read_json, write_json

ROOT = Path("data/fetched")
Advance = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Row:
    """One line of `listing`."""

    name: str
    kind: str
    title: str
    licence: str
    size: int
    exact: bool
    state: Literal["present", "partial", "absent"]


def listing(root: Path = ROOT, sources: dict[str, Source] | None = None) -> list[Row]:
    """Every source with its size, licence and whether it is here."""
    rows = []
    for name, source in (shipped_sources() if sources is None else sources).items():
        missing = len(missing_files(source, root / name))
        some = any((root / name / source.local(f)).exists() for f in source.all_files())
        state = "present" if not missing else "partial" if some else "absent"
        rows.append(Row(name, source.kind, source.title, source.licence, *source.size(), state))
    return rows


def folder_of(name: str, root: Path = ROOT, sources: dict[str, Source] | None = None) -> Path:
    """Folder of something fetched earlier; when it is not whole, the error names the command that fetches it."""
    if missing_files(find(name, sources), root / name):
        raise BiosaeError(f"{name} is not fetched", where=str(root / name), do=f"biosae fetch {name}")
    return root / name


def missing_files(source: Source, folder: Path) -> list[SourceFile]:
    """Files that have to come yet. An optional file that the server lacked at the last fetch is not asked for again."""
    lock = read_lock(folder)
    return [f for f in source.all_files() if not _is_here(source, f, folder, lock)]


def fetch(
    name: str,
    root: Path = ROOT,
    *,
    sources: dict[str, Source] | None = None,
    patience: Patience | None = None,
    hub_endpoint: str | None = None,
    advance: Advance = lambda path, done, total: None,
) -> list[str]:
    """Bring whatever of a source is not here yet.

    Parameters
    ----------
    name : str
        Name in sources.yaml.
    root : Path
        Folder that holds one folder per source.
    sources : dict, optional
        Another table of sources.
    patience : Patience, optional
        Retries and stall time-out.
    hub_endpoint : str, optional
        Address of a mirror of the Hugging Face hub.
    advance : callable
        Called with (file, bytes so far, bytes in all or None).

    Returns
    -------
    list of str
        What the user should know, one sentence each; empty when all was here.
    """
    source, folder = find(name, sources), root / name
    wanted = missing_files(source, folder)
    if not wanted:
        return []
    require_space(folder, sum(f.size or f.about or 0 for f in wanted) - _bytes_waiting(source, folder, wanted))
    if source.hub:
        _from_hub(source, folder, wanted, hub_endpoint)
    messages = []
    for file in wanted:
        try:
            if source.hub:
                digest = _on_disk(source, file, folder)
            else:
                digest = _from_url(source, file, folder, patience, advance)
            _remember(source, folder, file, digest)
        except Missing:
            if not file.optional:
                raise
            _remember(source, folder, file, None)
            messages.append(f"{file.path} is not in this release of {name}; it is optional and was left out")
    return [f"{len(wanted)} files of {name} are in {folder} ({source.licence})", *messages]


def verify(name: str, root: Path = ROOT, *, sources: dict[str, Source] | None = None) -> int:
    """Read every file of a fetched source again and compare its SHA-256 with the lock; returns how many agree."""
    folder = folder_of(name, root, sources)
    entries = {path: entry for path, entry in read_lock(folder).items() if entry}
    for path, entry in entries.items():
        if file_digests(folder / path, {"sha256"})["sha256"] != entry["sha256"]:
            where = str(folder / path)
            raise BiosaeError("A fetched file has changed on disk", where=where, do="delete it and fetch again")
    return len(entries)


def read_lock(folder: Path) -> dict[str, Any]:
    """``{local path: {size, sha256}}`` of what came; None for optional files that the server lacked."""
    path = folder / "lock.json"
    return read_json(path)["files"] if path.exists() else {}


def _remember(source: Source, folder: Path, file: SourceFile, digest: str | None) -> None:
    """Write one file into the lock (None: the server lacks it); refuse one that is not what it was the first time."""
    files, path = read_lock(folder), source.local(file)
    before = files.get(path)
    if digest and before and before["sha256"] != digest:
        (folder / path).unlink()
        do = f"if the change is wanted, delete {folder / 'lock.json'} and fetch again"
        raise BiosaeError("The source now offers another file than at the first download", where=file.path, do=do)
    entry = {"size": (folder / path).stat().st_size, "sha256": digest} if digest else None
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    head = {"title": source.title, "licence": source.licence, "revision": source.revision, "fetched": stamp}
    write_json(folder / "lock.json", {**head, "files": {**files, path: entry}})


def _is_here(source: Source, file: SourceFile, folder: Path, lock: dict[str, Any]) -> bool:
    path = source.local(file)
    if file.optional and path in lock and lock[path] is None:
        return True
    on_disk = folder / path
    return bool(lock.get(path)) and on_disk.is_file() and on_disk.stat().st_size == lock[path]["size"]


def _bytes_waiting(source: Source, folder: Path, files: list[SourceFile]) -> int:
    """Bytes of broken-off downloads that will be continued."""
    parts = [(folder / source.local(f)).with_name(Path(f.path).name + ".part") for f in files]
    return sum(part.stat().st_size for part in parts if part.exists())


def _from_url(source: Source, file: SourceFile, folder: Path, patience: Patience | None, advance: Advance) -> str:
    """Bring one file over plain HTTP; returns its SHA-256."""
    target = folder / source.local(file)
    raw = target.with_suffix(".gmt") if source.library else target
    digest = download(
        source.address(file),
        raw,
        size=file.size,
        check=file.check,
        patience=patience,
        advance=lambda done, total: advance(file.path, done, total),
    )
    try:
        if source.library:
            _library_to_json(raw, target)
            return file_digests(target, {"sha256"})["sha256"]
        _must_open(target)
    except BiosaeError:
        raw.unlink(missing_ok=True)
        raise
    return digest


def _library_to_json(gmt: Path, target: Path) -> None:
    """Turn an Enrichr library into ``{term: [symbols]}`` with gseapy, whose own download has no time-out."""
    import gseapy

    try:
        sets = gseapy.get_library(str(gmt), min_size=1, max_size=1_000_000)
    except Exception as e:  # gseapy raises bare exceptions on files that are no gene sets
        raise BiosaeError(f"What came is no library of gene sets ({e})", where=str(gmt), do="run it again") from e
    if not sets:
        raise BiosaeError("The library of gene sets is empty", where=str(gmt), do="run the command again")
    write_json(target, {term: sorted(set(genes)) for term, genes in sets.items()})
    gmt.unlink()


def _must_open(path: Path) -> None:
    """Open what came without a published checksum once: damaged archives and cut-off JSON are found here, not later."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as f:
                while f.read(1 << 20):
                    pass
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".h5ad" and path.open("rb").read(8) != b"\x89HDF\r\n\x1a\n":
            raise ValueError("no HDF5 file")
    except (OSError, EOFError, ValueError, zlib.error) as e:
        raise BiosaeError(f"What came cannot be opened ({e})", where=str(path), do="run the same command again") from e


def _from_hub(source: Source, folder: Path, files: list[SourceFile], endpoint: str | None) -> None:
    """Bring files of a model through huggingface_hub, which resumes and retries by itself."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    where = f"{source.hub} at {source.revision or 'main'}"
    try:
        snapshot_download(
            source.hub,
            revision=source.revision or None,
            allow_patterns=[f.path for f in files],
            local_dir=folder,
            endpoint=endpoint,
        )
    except (RepositoryNotFoundError, RevisionNotFoundError) as e:
        raise Missing("The hub has no such repository or revision", where=where, do="see whether it has moved") from e
    except (HfHubHTTPError, OSError) as e:
        reason = str(e).splitlines()[0]
        do = "run the same command again later: it goes on where it stopped"
        raise BiosaeError(f"The download from the hub broke off ({reason})", where=where, do=do) from e


def _on_disk(source: Source, file: SourceFile, folder: Path) -> str:
    """Check a file that the hub brought against what is known of it; returns its SHA-256."""
    path = folder / source.local(file)
    if not path.is_file():
        raise Missing("The hub has no such file", where=f"{source.hub}: {file.path}", do="see whether it has moved")
    size, digest = path.stat().st_size, file_digests(path, {"sha256"})["sha256"]
    expected = file.check.removeprefix("sha256:")
    if size == 0 or (file.size is not None and size != file.size) or not digest.startswith(expected):
        path.unlink()
        known = f"{file.size or 'some'} bytes" + (f", sha256 {expected}..." if expected else "")
        raise BiosaeError(
            f"The file that came ({size:,} bytes, sha256 {digest[:12]}...) is not the expected one ({known})",
            where=f"{source.hub}: {file.path}",
            do="run the command again; if it happens twice, the source has changed and must not be used unchecked",
        )
    return digest
