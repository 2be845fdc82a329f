"""Render the executed pages and the prose of a run with Jupyter Book, offline and without a single warning.

python -m biosae_utils.book.site --config config/demo.yaml [--allow-missing]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from biosae_utils import store
from biosae_utils.book.assemble import placeholder
from biosae_utils.book.page import default_command
from biosae_utils.book.paths import log_path, page_path
from biosae_utils.book.status import collect_claims
from biosae_utils.book.toc import write_toc
from biosae_utils.errors import BiosaeError
from biosae_utils.runconfig import RunConfig

DEMO = "demo"
RENDERING = ("render", "switcher", "claims_table", "toc", "site")


def html_dir(run: str) -> Path:
    """Where a run is rendered: the demo to ``_build/html``, others to ``_build/<run>/html``."""
    return Path("_build", "html") if run == DEMO else Path("_build", run, "html")


def toc_path(config: RunConfig) -> Path:
    """Table of contents of a run; the demo's is at the root, so that `jupyter-book build .` works."""
    return Path("_toc.yml") if config.run == DEMO else Path(config.results, config.run, "_toc.yml")


def prose(root: Path | str = ".") -> list[Path]:
    """Files that are no result and whose edit changes the rendered book."""
    root = Path(root)
    own = [
        p
        for p in sorted((root / "book").rglob("*"))
        if p.is_file() and "executed" not in p.relative_to(root / "book").parts
    ]
    here = Path(__file__).parent
    return [*own, root / "_config.yml", *[here / f"{name}.py" for name in RENDERING]]


def render(config: RunConfig, *, config_path: str = "", allow_missing: bool = False) -> Path:
    """Render the book of a run.

    Parameters
    ----------
    config : RunConfig
    config_path : str, optional
        Where the config lies; used to word commands.
    allow_missing : bool
        Render a page that says so for each page that was not computed, instead of refusing.

    Returns
    -------
    Path
        ``index.html``.
    """
    _placeholders(config, config_path, allow_missing)
    toc = toc_path(config)
    write_toc(config, toc)
    claims = collect_claims(config.run, results=config.results, pages=config.pages())
    out = html_dir(config.run)
    failed = _sphinx(config, out, toc)
    if failed:
        raise BiosaeError("The book was rendered with warnings, which count as errors", do="see the lines above")
    print(f"Rendered {len(config.pages())} pages with {len(claims)} claims into {out / 'index.html'}")
    return out / "index.html"


def _placeholders(config: RunConfig, config_path: str, allow: bool) -> None:
    """Write a page that says "not available" beside each missing page; remove those no longer needed."""
    missing = []
    for page in config.pages():
        executed = page_path(config.run, *page)
        stand_in = executed.with_suffix(".md")
        if executed.is_file():
            stand_in.unlink(missing_ok=True)
            continue
        missing.append("/".join(str(part) for part in page if part is not None))
        if not allow:
            continue
        error = log_path(config.run, *page).with_suffix(".error.json")
        reason = (
            store.read_json(error)["message"]
            if error.is_file()
            else "It was not run, because a page that it needs failed."
        )
        command = default_command(*page) + (
            f" --config {config_path}" if config_path not in ("", "config/demo.yaml") else ""
        )
        with store.atomic_path(stand_in) as tmp:
            tmp.write_text(placeholder(*page, reason=reason, command=command))
    if missing and not allow:
        raise BiosaeError(f"{len(missing)} pages are not computed, the first is {missing[0]}", do="run `make book`")


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
