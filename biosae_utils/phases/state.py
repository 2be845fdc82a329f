"""Whether a result is what its parameters, code, data and inputs give: a statement about content, not about time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from biosae_utils.errors import BiosaeError
from biosae_utils.params import PageParams, Tracked, marked
from biosae_utils.phases import manifest, sources
from biosae_utils.phases.base import ALL, Phase
from biosae_utils.phases.places import PAGES, Node, node_of, phase_dir
from biosae_utils.phases.registry import find, reads
from biosae_utils.store import fingerprint, hash_of, read_json

FETCHED = Path("data/fetched")


def folder_of(phase: Phase, params: PageParams) -> Path:
    """Folder that a page owns."""
    return phase_dir(params.results, params.run, *node_of(phase.name, params))


def pages_of(params: PageParams) -> list[Node]:
    """Pages of the run: of its config where one was run, else whatever is complete."""
    base = Path(params.results) / params.run
    if (base / PAGES).is_file():
        return [tuple(page) for page in read_json(base / PAGES)["pages"]]
    found = []
    for path in sorted(base.glob(f"**/{manifest.NAME}")):
        about = manifest.read(path.parent)
        found.append((about["phase"], about["model"], about["layer"]))
    return found


def needs(pages: Sequence[Node], phase: Phase, params: PageParams) -> list[Node]:
    """Pages that must be complete before this one can run: same layer, else same model, else all of the run.

    A page per layer needs its own layer of an earlier page per layer, and that of its random-weights twin where the
    run has one; a page per model needs all layers of its model; a page per run needs all of them.
    """
    node = node_of(phase.name, params)
    _, model, layer = node
    wanted = set(reads(phase))
    twin = (phase.control, getattr(params, "control", None), layer)

    def belongs(page: Node) -> bool:
        mine = (model is None or page[1] in (None, model)) and (layer is None or page[2] in (None, layer))
        return page[0] in wanted and mine

    return [page for page in pages if page != node and (belongs(page) or page == twin)]


def data_files(phase: Phase, params: PageParams) -> list[Path]:
    """Files from outside that a page reads: those its parameters name, and what is fetched."""
    found = [lock for name in phase.fetched if (lock := _lock(name)).is_file()]
    for name in marked(type(params), Tracked):
        value = getattr(params, name)
        for text in value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]:
            if text is None:
                continue
            path = Path(text)
            if path.is_dir():
                found += sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            elif path.is_file():
                found.append(path)
            elif (lock := _lock(text)).is_file():
                found.append(lock)
    return list(dict.fromkeys(found))


def _lock(name: str) -> Path:
    """What `biosae fetch` leaves beside what it brought: sizes and hashes of all files."""
    return FETCHED / name / "lock.json"


def key(phase: Phase, params: PageParams, pages: Sequence[Node] | None = None) -> dict[str, Any]:
    """Everything that decides a result, as hashes by name. Pages that are needed and not complete have none."""
    dumped = params.model_dump(mode="json")
    inputs = {}
    for page in needs(pages_of(params) if pages is None else pages, phase, params):
        folder = phase_dir(params.results, params.run, *page)
        if manifest.is_complete(folder):
            about = manifest.read(folder)
            inputs["/".join(str(part) for part in page if part is not None)] = (
                fingerprint([about["content"], about["outputs"].get(manifest.CLAIMS)])
                if phase.reads == ALL
                else about["content"]
            )
    return {
        "params": manifest.params_hash(dumped),
        "code": sources.code_hash(sources.closure(sources.module_of(phase))),
        "data": {path.as_posix(): hash_of(path) for path in data_files(phase, params)},
        "inputs": inputs,
    }


def why_stale(phase: Phase, params: PageParams, pages: Sequence[Node] | None = None) -> tuple[str, str]:
    """State of a result and the reason in one line: ``("done", "")``, or not_run, missing or stale and why."""
    folder = folder_of(phase, params)
    if not manifest.is_complete(folder):
        return "not_run", ""
    try:
        about = manifest.read(folder)
        wrong = [f"{name} {what}" for name, what in manifest.changed(folder, about)]
    except BiosaeError as e:
        return "missing", str(e)
    if wrong:
        return "missing", "; ".join(wrong[:3]) + ("; ..." if len(wrong) > 3 else "")
    had, now = about["key"], key(phase, params, pages)
    if had == now:
        return "done", ""
    if had["params"] != now["params"]:
        old, new = about["params"], params.model_dump(mode="json")
        names = [f"{k} {old.get(k)!r} -> {v!r}" for k, v in new.items() if old.get(k) != v and k != "results"]
        return "stale", f"the config differs: {'; '.join(names)}"
    if had["code"] != now["code"]:
        return "stale", f"the code of {phase.short}, or of what it imports, was changed"
    for what, words in (("data", "the file"), ("inputs", "its input")):
        for name in sorted({*had[what], *now[what]}):
            if had[what].get(name) != now[what].get(name):
                gone = "was lost" if name not in now[what] else "is new" if name not in had[what] else "changed"
                return "stale", f"{words} {name} {gone}"
    return "stale", "it was made from something else"


def judge_all(params_of: dict[Node, PageParams]) -> dict[Node, tuple[str, str]]:
    """State of every page of a run, with pages downstream of one that is not current stale as well.

    Parameters
    ----------
    params_of : dict
        Parameters of each page of the run, as its config gives them.
    """
    pages = list(params_of)
    states: dict[Node, tuple[str, str]] = {}

    def judge(node: Node) -> tuple[str, str]:
        if node not in states:
            phase, params = find(node[0]), params_of[node]
            late = [other for other in needs(pages, phase, params) if judge(other)[0] != "done"]
            if late and manifest.is_complete(folder_of(phase, params)):
                name = ", ".join(str(part) for part in late[0] if part is not None)
                states[node] = "stale", f"its input ({name}) is {judge(late[0])[0].replace('_', ' ')}"
            else:
                states[node] = why_stale(phase, params, pages)
        return states[node]

    for node in pages:
        judge(node)
    return states
