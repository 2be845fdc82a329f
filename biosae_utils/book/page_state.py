"""Whether an executed page, and the rendered book, are what their result, their notebook and the framework give."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from biosae_utils import store
from biosae_utils.book.paths import notebook, page_path
from biosae_utils.params import PageParams
from biosae_utils.phases import manifest, sources
from biosae_utils.phases.base import Phase
from biosae_utils.phases.places import Node, node_of
from biosae_utils.phases.registry import find
from biosae_utils.phases.state import folder_of, judge_all
from biosae_utils.runconfig import RunConfig

HERE = Path(__file__).parent


def state_path(out: Path) -> Path:
    """Beside an executed page: what it was made from."""
    return out.with_name(f".{out.stem}.json")


@cache
def page_code(phase: str) -> str:
    """Hash of what decides how a page looks: its notebook, word for word, and the page framework."""
    text = notebook(phase)
    own = [HERE / f"{name}.py" for name in ("page", "run_page", "assemble")]
    return store.fingerprint([text.read_text(), sources.code_hash(sources.closure(text, *own))])


def page_key(phase: Phase, params: PageParams) -> dict[str, Any]:
    """Everything that decides an executed page."""
    about = manifest.read(folder_of(phase, params))
    return {
        "params": manifest.params_hash(params.model_dump(mode="json")),
        "result": store.fingerprint([about["content"], about["outputs"].get(manifest.CLAIMS)]),
        "code": page_code(phase.name),
    }


def record(phase: Phase, params: PageParams, out: Path) -> None:
    """Note what an executed page was made from, and what was written."""
    files = {path.name: store.hash_of(path) for path in [out, *sorted(out.parent.glob(f"{out.stem}.*.csv"))]}
    store.write_json(state_path(out), {"key": page_key(phase, params), "files": files})
    store.hash_of.save()


def why_page_stale(phase: Phase, params: PageParams) -> tuple[str, str]:
    """State of an executed page whose result is current, and the reason in one line."""
    out = page_path(params.run, *node_of(phase.name, params))
    path = state_path(out)
    if not out.is_file() or not path.is_file():
        return "not_run", "the page was not executed"
    about = store.read_json(path)
    for name, digest in about["files"].items():
        file = out.with_name(name)
        if not file.is_file() or store.hash_of(file) != digest:
            return "missing", f"{name} {'was changed' if file.is_file() else 'is gone'}"
    had, now = about["key"], page_key(phase, params)
    words = {
        "params": "its parameters differ",
        "result": "its result was computed again",
        "code": "its notebook or the page framework was edited",
    }
    return next((("stale", words[name]) for name in words if had[name] != now[name]), ("done", ""))


def states(config: RunConfig) -> dict[Node, tuple[tuple[str, str], tuple[str, str]]]:
    """State and reason of every page of a run: of its result, and of the executed page that shows it."""
    params = config.all_params()
    results = judge_all(params)
    store.hash_of.save()
    return {
        node: (state, why_page_stale(find(node[0]), params[node]) if state[0] == "done" else state)
        for node, state in results.items()
    }
