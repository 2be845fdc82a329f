"""What has been computed, what failed and why, what no longer fits the config."""

from __future__ import annotations

from typing import Any

from biosae_utils import store
from biosae_utils.book.page_state import states
from biosae_utils.book.site import why_not_rendered
from biosae_utils.phases import manifest
from biosae_utils.phases.places import log_path, phase_dir
from biosae_utils.runconfig import RunConfig

BOOK = "book"
"""Name of the row of the rendered book."""


def status(config: RunConfig) -> dict[str, Any]:
    """State of every page of a run, and of the rendered book.

    Returns
    -------
    dict
        ``{run, phases: [{phase, model, layer, state, reason, seconds, max_rss_mb}]}``; state is done, failed (the last
        try ended with an error), stale (parameters, sources or inputs changed since), missing (finished once, files are
        gone or changed) or not_run. The last row is that of the rendered book.
    """
    rows = []
    for node, (result, page) in states(config).items():
        phase, model, layer = node
        state, reason = result if result[0] != "done" else page
        about: dict[str, Any] = {}
        folder, error = (
            phase_dir(config.results, config.run, *node),
            log_path(config.run, *node).with_suffix(".error.json"),
        )
        if error.is_file():
            about = store.read_json(error)
            state, reason = "failed", about["message"]
        elif manifest.is_complete(folder):
            about = store.read_json(folder / manifest.NAME)
        rows.append(
            {"phase": phase, "model": model, "layer": layer, "state": state, "reason": reason,
             "seconds": about.get("seconds"), "max_rss_mb": about.get("max_rss_mb")}
        )  # fmt: skip
    state, reason = why_not_rendered(config)
    rows.append(
        {
            "phase": BOOK,
            "model": None,
            "layer": None,
            "state": state,
            "reason": reason,
            "seconds": None,
            "max_rss_mb": None,
        }
    )
    store.hash_of.save()
    return {"run": config.run, "phases": rows}
