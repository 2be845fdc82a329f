"""What has been computed, what failed and why, what no longer fits the config; and the claims of all complete pages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from biosae_utils import store
from biosae_utils.book import manifest
from biosae_utils.book.dag import Node, data_files, needs, sources
from biosae_utils.book.page import read_claims
from biosae_utils.book.paths import log_path, notebook, page_path, phase_dir
from biosae_utils.errors import BiosaeError
from biosae_utils.runconfig import RunConfig


def status(config: RunConfig) -> dict[str, Any]:
    """State of every page of a run.

    Returns
    -------
    dict
        ``{run, phases: [{phase, model, layer, state, reason, seconds, max_rss_mb}]}``; state is done, failed (the last
        try ended with an error), stale (parameters, sources or inputs changed since), missing (finished once, files are
        gone) or not_run.
    """
    states: dict[Node, str] = {}
    rows = []
    for page in config.pages():
        state, reason, about = _judge(config, page, states)
        states[page] = state
        phase, model, layer = page
        rows.append(
            {"phase": phase, "model": model, "layer": layer, "state": state, "reason": reason,
             "seconds": about.get("seconds"), "max_rss_mb": about.get("max_rss_mb")}
        )  # fmt: skip
    return {"run": config.run, "phases": rows}


def _judge(config: RunConfig, page: Node, states: dict[Node, str]) -> tuple[str, str, dict[str, Any]]:
    """State of one page, the reason in one line, and its manifest (or error record)."""
    folder = phase_dir(config.results, config.run, *page)
    error = log_path(config.run, *page).with_suffix(".error.json")
    if error.is_file():
        about = store.read_json(error)
        return "failed", about["message"], about
    if not manifest.is_complete(folder):
        return "not_run", "", {}
    about = store.read_json(folder / manifest.NAME)
    gone = manifest.missing_outputs(folder, about)
    if not page_path(config.run, *page).is_file():
        gone.append("the executed page")
    if gone:
        return "missing", f"gone or changed: {', '.join(gone[:3])}" + (" ..." if len(gone) > 3 else ""), about
    reason = _stale(config, page, folder, about, states)
    return ("stale", reason, about) if reason else ("done", "", about)


def _stale(config: RunConfig, page: Node, folder: Path, about: dict[str, Any], states: dict[Node, str]) -> str:
    """Why a complete page no longer fits, in one line; empty if it does."""
    params = config.phase_params(*page)
    wanted = params.model_dump(mode="json")
    if manifest.params_hash(wanted) != about["params_hash"]:
        had = about["params"]
        names = [f"{k} {had.get(k)!r} -> {v!r}" for k, v in wanted.items() if had.get(k) != v and k != "results"]
        return f"the config differs: {'; '.join(names)}"
    made = (folder / manifest.NAME).stat().st_mtime
    text = notebook(page[0])
    newer = [
        p for p in [*(sources(page[0]) if text.is_file() else []), *data_files(params)] if p.stat().st_mtime > made
    ]
    if newer:
        return f"{newer[0].name} was edited since"
    for other in needs(config, page):
        upstream = phase_dir(config.results, config.run, *other) / manifest.NAME
        if states.get(other) != "done" or upstream.stat().st_mtime > made:
            name = ", ".join(str(part) for part in other if part is not None)
            return f"computed before its input ({name}) {'changed' if upstream.is_file() else 'was lost'}"
    return ""


def collect_claims(
    run: str, *, results: str | Path = "results", pages: Iterable[Node] | None = None, write: bool = True
) -> list[dict[str, Any]]:
    """Claims of the complete pages of a run, in reading order; written to ``results/<run>/claims.json``.

    Parameters
    ----------
    run : str
    results : Path
    pages : iterable of (phase, model, layer), optional
        Pages whose claims count, as in `RunConfig.pages`; by default all that are there.
    write : bool
        Whether to write the file.

    Returns
    -------
    list of dict
        A page whose claims cannot be read is an error: a scorecard with a silent gap would be wrong.
    """
    base = Path(results) / run
    if pages is None:
        folders = [path.parent for path in base.glob(f"**/{manifest.NAME}")]
    else:
        folders = [f for page in pages if manifest.is_complete(f := phase_dir(results, run, *page))]
    claims: list[dict[str, Any]] = []
    for folder in sorted(folders, key=lambda f: (f.name, f.as_posix())):
        about = store.read_json(folder / manifest.NAME)
        if not isinstance(about, dict) or about.get("run") != run:
            raise BiosaeError("A manifest belongs to another run", where=str(folder), do="delete that folder and rerun")
        claims += read_claims(folder)
    if write and base.is_dir():
        target = base / "claims.json"
        if not target.is_file() or store.read_json(target) != claims:
            store.write_json(target, claims)
    return claims
