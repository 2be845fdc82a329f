"""Whether what a run claims is what its pages computed: claims, tables and hashes against each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biosae_utils import store
from biosae_utils.book import manifest
from biosae_utils.book.paths import phase_dir
from biosae_utils.claims import Claim
from biosae_utils.errors import BiosaeError
from biosae_utils.params import checked
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

    Every file of every complete page has the hash in its manifest; every claim is well-formed and used once; the run's
    claims.json, from which book and scorecard quote, holds exactly the claims of the pages.
    """
    base, problems, n_files = Path(config.results) / config.run, [], 0
    pages = [(page, phase_dir(config.results, config.run, *page)) for page in config.pages()]
    complete = [(page, folder) for page, folder in pages if manifest.is_complete(folder)]
    if not complete:
        raise BiosaeError("No page of this run is complete", where=str(base), do="run `biosae book` first")
    claims: list[dict[str, Any]] = []
    for page, folder in complete:
        about = store.read_json(folder / manifest.NAME)
        n_files += len(about["outputs"])
        problems += _changed(folder, about)
        found = store.read_json(folder / "claims.json") if (folder / "claims.json").is_file() else []
        problems += [text for claim in found for text in _malformed(claim, page, folder)]
        claims += found
    collected = store.read_json(base / "claims.json")
    problems += _repeated(claims) + _different(claims, collected, base / "claims.json")
    return Verdict(len(complete), n_files, len(claims), problems)


def _changed(folder: Path, about: dict[str, Any]) -> list[str]:
    """Files that are not what the page wrote."""
    gone = manifest.missing_outputs(folder, about)
    texts = [f"{folder / name} is gone or has another size than when it was computed" for name in gone]
    for name, file in about["outputs"].items():
        if name not in gone and file["sha256"] and store.sha256(folder / name) != file["sha256"]:
            texts.append(f"{folder / name} was changed after it was computed")
    return texts


def _malformed(claim: Any, page: tuple[str, str | None, int | None], folder: Path) -> list[str]:
    """What is wrong with one claim of a page."""
    if not isinstance(claim, dict):
        return [f"{folder / 'claims.json'} holds something that is no claim"]
    try:
        checked(Claim, {**claim, "interval": _pair(claim.get("interval"))}, where=str(folder / "claims.json"))
    except BiosaeError as e:
        return [str(e)]
    phase, model, layer = page
    # a page about a whole model makes claims about each of its layers
    if (claim["phase"], claim["model"]) != (phase, model) or layer not in (None, claim["layer"]):
        return [f"claim {claim['id']} in {folder} says that it is of another page"]
    return []


def _pair(interval: Any) -> Any:
    return tuple(interval) if isinstance(interval, list) else interval


def _key(claim: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(claim.get(name) for name in ("phase", "model", "layer", "id"))


def _repeated(claims: list[dict[str, Any]]) -> list[str]:
    counts = Counter(map(_key, claims))
    return [f"claim {_name(key)} is there {n} times" for key, n in counts.items() if n > 1]


def _different(pages: list[dict[str, Any]], collected: Any, path: Path) -> list[str]:
    """Where the run's claims.json and the pages' own disagree."""
    if not isinstance(collected, list):
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
