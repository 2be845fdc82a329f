"""Whether what a run shows is what its pages computed: data, tables, claims, pages and HTML against their hashes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biosae_utils import store
from biosae_utils.book.page_state import state_path
from biosae_utils.book.paths import page_path
from biosae_utils.book.site import html_dir, html_problems
from biosae_utils.claims import Claim
from biosae_utils.errors import BiosaeError
from biosae_utils.params import checked
from biosae_utils.phases import manifest
from biosae_utils.phases.places import Node, phase_dir, title
from biosae_utils.runconfig import RunConfig


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    Attributes
    ----------
    n_pages, n_files, n_claims : int
        Complete pages, files read again, claims compared.
    problems : list of str
        One sentence each; empty when everything agrees.
    """

    n_pages: int
    n_files: int
    n_claims: int
    problems: list[str]


def verify(config: RunConfig) -> Verdict:
    """Read a finished run again and compare.

    Every file of data that a page was computed from, every file that it left, every executed page and every file of
    the rendered book has the hash that was noted; every claim is well-formed and used once; the run's claims.json,
    from which the book quotes, holds exactly the claims of the pages. Hashes are computed anew. A problem does not
    end it.
    """
    store.hash_of.forget()
    base, problems, n_files, n_complete = Path(config.results) / config.run, [], 0, 0
    claims: list[dict[str, Any]] = []
    for page in config.pages():
        folder = phase_dir(config.results, config.run, *page)
        if not manifest.is_complete(folder):
            problems.append(f"{title(*page)} was not computed: there is no {folder / manifest.NAME}")
            continue
        try:
            about = manifest.read(folder)
            n_complete += 1
            n_files += len(about["outputs"])
            problems += _changed(config, page, folder, about)
            found = store.read_json(folder / manifest.CLAIMS)
        except (BiosaeError, KeyError, TypeError, OSError) as e:
            problems.append(f"{title(*page)} cannot be read: {e}")
            continue
        if not isinstance(found, list):
            problems.append(f"{folder / manifest.CLAIMS} is no list of claims")
            continue
        problems += [text for claim in found for text in _malformed(claim, page, folder)]
        claims += [claim for claim in found if isinstance(claim, dict)]
    if not n_complete:
        raise BiosaeError("No page of this run is complete", where=str(base), do="run `biosae book` first")
    problems += _repeated(claims) + _collected(claims, base / "claims.json")
    problems += [f"{html_dir(config.run) / name} {what}" for name, what in html_problems(config)]
    return Verdict(n_complete, n_files, len(claims), problems)


def _changed(config: RunConfig, page: Node, folder: Path, about: dict[str, Any]) -> list[str]:
    """Files that are not what they were: the data that went in, what the page left, the executed page."""
    texts = [f"{folder / name} {what}" for name, what in manifest.changed(folder, about)]
    for name, digest in about["key"]["data"].items():
        path = Path(name)
        if not path.is_file() or store.hash_of(path) != digest:
            texts.append(
                f"{name}, from which {title(*page)} was computed, {'was changed' if path.is_file() else 'is gone'}"
            )
    executed = page_path(config.run, *page)
    if not state_path(executed).is_file():
        return [*texts, f"{executed} was not executed to its end"]
    for name, digest in store.read_json(state_path(executed))["files"].items():
        path = executed.with_name(name)
        if not path.is_file() or store.hash_of(path) != digest:
            texts.append(f"{path} {'was changed after it was executed' if path.is_file() else 'is gone'}")
    return texts


def _malformed(claim: Any, page: Node, folder: Path) -> list[str]:
    """What is wrong with one claim of a page."""
    if not isinstance(claim, dict):
        return [f"{folder / 'claims.json'} holds something that is no claim"]
    try:
        checked(Claim, claim, where=str(folder / manifest.CLAIMS))
    except BiosaeError as e:
        return [str(e)]
    phase, model, layer = page
    # a page about a whole model makes claims about each of its layers
    if (claim["phase"], claim["model"]) != (phase, model) or layer not in (None, claim["layer"]):
        return [f"claim {claim['id']} in {folder} says that it is of another page"]
    return []


def _key(claim: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(claim.get(name) for name in ("phase", "model", "layer", "id", "group"))


def _repeated(claims: list[dict[str, Any]]) -> list[str]:
    counts = Counter(map(_key, claims))
    return [f"claim {_name(key)} is there {n} times" for key, n in counts.items() if n > 1]


def _collected(pages: list[dict[str, Any]], path: Path) -> list[str]:
    """Where the run's claims.json and the pages' own disagree."""
    try:
        collected = store.read_json(path)
    except BiosaeError as e:
        return [str(e)]
    if not isinstance(collected, list) or not all(isinstance(claim, dict) for claim in collected):
        return [f"{path} is no list of claims"]
    mine, theirs = ({_key(c): c for c in claims} for claims in (pages, collected))
    texts = [f"claim {_name(key)} is not in {path}: render the book again" for key in mine if key not in theirs]
    texts += [f"claim {_name(key)} in {path} is of no page of this config" for key in theirs if key not in mine]
    for key in mine.keys() & theirs.keys():
        for field in mine[key]:
            if mine[key][field] != theirs[key].get(field):
                texts.append(
                    f"claim {_name(key)}: {field} is {theirs[key].get(field)!r} in {path} and {mine[key][field]!r} "
                    "on its page"
                )
    return texts


def _name(key: tuple[Any, ...]) -> str:
    return "/".join(str(part) for part in key if part is not None)
