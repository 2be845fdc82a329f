"""Render the executed pages and the prose of a run with Jupyter Book, offline and without a single warning.

python -m biosae_utils.book.site --config config/demo.yaml [--allow-missing]
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from biosae_utils import store
from biosae_utils.book.assemble import placeholder
from biosae_utils.book.page_state import states
from biosae_utils.book.paths import page_path
from biosae_utils.book.toc import write_toc
from biosae_utils.errors import BiosaeError
from biosae_utils.phases import manifest, sources
from biosae_utils.phases.places import Node, default_command, log_path, phase_dir
from biosae_utils.runconfig import RunConfig

DEMO = "demo"
HERE = Path(__file__).parent
STATE = ".book.json"
"""Beside the HTML: what the book was rendered from, and what was written."""


def html_dir(run: str) -> Path:
    """Where a run is rendered: the demo to ``_build/html``, others to ``_build/<run>/html``."""
    return Path("_build", "html") if run == DEMO else Path("_build", run, "html")


def toc_path(config: RunConfig) -> Path:
    """Table of contents of a run; the demo's is at the root, so that `jupyter-book build .` works."""
    return Path("_toc.yml") if config.run == DEMO else Path(config.results, config.run, "_toc.yml")


def prose() -> list[Path]:
    """Files that are no result and whose edit changes the rendered book."""
    files = (p for p in sorted(Path("book").rglob("*")) if p.is_file() and not p.name.startswith("."))
    return [*(p for p in files if "executed" not in p.parts), Path("_config.yml")]


@cache
def _code() -> str:
    return sources.code_hash(sources.closure(HERE / "render.py", HERE / "site.py"))


def book_key(config: RunConfig) -> dict[str, Any]:
    """Everything that decides the rendered book, as hashes."""
    pages = {}
    for page in config.pages():
        path = page_path(config.run, *page)
        pages[path.as_posix()] = store.hash_of(path) if path.is_file() else "not available"
    return {
        "pages": pages,
        "prose": {path.as_posix(): store.hash_of(path) for path in prose()},
        "code": _code(),
        "title": config.title,
    }


def html_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Files of the rendered book that are not what was rendered, as (name, what is wrong)."""
    out = html_dir(config.run)
    record = out.parent / f"{out.name}{STATE}"
    if not record.is_file():
        yield "index.html", "was not rendered to its end"
        return
    for name, digest in store.read_json(record)["files"].items():
        path = out / name
        if not path.is_file():
            yield name, "is gone"
        elif store.hash_of(path) != digest:
            yield name, "was changed after it was rendered"


def why_not_rendered(config: RunConfig) -> tuple[str, str]:
    """State of the rendered book and the reason in one line."""
    out = html_dir(config.run)
    record = out.parent / f"{out.name}{STATE}"
    if not record.is_file():
        return "not_run", ""
    for name, what in html_problems(config):
        return "missing", f"{out / name} {what}"
    had, now = store.read_json(record)["key"], book_key(config)
    for name in now:
        if isinstance(now[name], dict):
            which = sorted(k for k in {*had[name], *now[name]} if had[name].get(k) != now[name].get(k))
            if which:
                return "stale", f"{', '.join(which[:3])}{' ...' if len(which) > 3 else ''} changed since"
        elif had[name] != now[name]:
            return "stale", f"its {name} changed since"
    return "done", ""


def collect_claims(config: RunConfig) -> list[dict[str, Any]]:
    """Claims of the complete pages of a run, in reading order; written to ``results/<run>/claims.json``."""
    folders = [phase_dir(config.results, config.run, *page) for page in config.pages()]
    claims = manifest.claims_of(folders)
    target = Path(config.results, config.run, "claims.json")
    if not target.is_file() or store.read_json(target) != claims:
        store.write_json(target, claims)
    return claims


def render(config: RunConfig, *, config_path: str = "", allow_missing: bool = False) -> Path:
    """Render the book of a run.

    Parameters
    ----------
    config : RunConfig
    config_path : str, optional
        Where the config lies; used to word commands.
    allow_missing : bool
        Render a page that says so for each page that is not current, instead of refusing.

    Returns
    -------
    Path
        ``index.html``.
    """
    _placeholders(config, config_path, allow_missing)
    toc = toc_path(config)
    write_toc(config, toc)
    claims = collect_claims(config)
    out = html_dir(config.run)
    record = out.parent / f"{out.name}{STATE}"
    record.unlink(missing_ok=True)
    key = book_key(config)
    failed = _sphinx(config, out, toc)
    if failed:
        raise BiosaeError("The book was rendered with warnings, which count as errors", do="see the lines above")
    files = {p.relative_to(out).as_posix(): store.hash_of(p) for p in sorted(out.rglob("*")) if p.is_file()}
    store.write_json(record, {"key": key, "files": files})
    store.hash_of.save()
    print(f"Rendered {len(config.pages())} pages with {len(claims)} claims into {out / 'index.html'}")
    return out / "index.html"


def _placeholders(config: RunConfig, config_path: str, allow: bool) -> None:
    """Write a page that says "not available" in place of each page that is not current; others lose theirs."""
    missing: dict[Node, str] = {}
    for page, (result, shown) in states(config).items():
        stand_in = page_path(config.run, *page).with_suffix(".md")
        state, reason = result if result[0] != "done" else shown
        if state == "done":
            stand_in.unlink(missing_ok=True)
        else:
            missing[page] = reason or "It was not run, because a page that it needs failed."
    if missing and not allow:
        names = ", ".join("/".join(str(part) for part in page if part is not None) for page in list(missing)[:3])
        raise BiosaeError(
            f"{len(missing)} pages are not current: {names} ...", do="run `make book`, which computes them"
        )
    suffix = "" if config_path in ("", "config/demo.yaml") else f" --config {shlex.quote(config_path)}"
    for page, reason in missing.items():
        error = log_path(config.run, *page).with_suffix(".error.json")
        said = store.read_json(error)["message"] if error.is_file() else reason
        executed = page_path(config.run, *page)
        executed.unlink(missing_ok=True)
        with store.atomic_path(executed.with_suffix(".md")) as tmp:
            tmp.write_text(placeholder(*page, reason=said, command=default_command(*page) + suffix))


def _sphinx(config: RunConfig, out: Path, toc: Path) -> bool:
    """Run Jupyter Book's Sphinx, in one process, with warnings as errors; returns whether it failed."""
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    from jupyter_book.sphinx import build_sphinx

    overrides = {
        "external_toc_path": str(toc.resolve()),
        "nitpicky": True,
        "biosae_run": config.run,
        "biosae_results": config.results,
        "latex_individualpages": False,  # asked for by jupyter-book even where nothing is made of it
        "html_title": config.title or f"What single-cell foundation models know: {config.run}",
    }
    result = build_sphinx(
        str(Path.cwd()),
        str(out.resolve()),
        path_config="_config.yml",
        noconfig=True,
        confoverrides=overrides,
        doctreedir=str((out.parent / ".doctrees" / config.run).resolve()),
        force_all=True,
        quiet=True,
        warningiserror=True,
        keep_going=True,
    )
    return result != 0


def main(argv: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m biosae_utils.book.site", description="Render the book of a run.")
    parser.add_argument("--config", default="config/demo.yaml")
    parser.add_argument("--allow-missing", action="store_true")
    args = parser.parse_args(argv)
    try:
        render(RunConfig.load(args.config), config_path=args.config, allow_missing=args.allow_missing)
    except BiosaeError as e:
        print(f"FAILED: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
