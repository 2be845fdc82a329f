"""`biosae fetch`: models, gene sets, networks, atlases and cells from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from biosae_utils.cli.app import app, err, out


@app.command(
    epilog="""**Examples**

`biosae fetch --list`

`biosae fetch geneformer-v2-316m trrust-v2`

`biosae fetch kegg --dry-run`"""
)
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="What to fetch.", show_default=False)] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show what there is, how big, and what is here.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be downloaded and stop.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read what is here again and compare checksums.")] = False,
    to: Annotated[Path, typer.Option(help="Folder that holds one folder per name.")] = Path("data/fetched"),
) -> None:
    """Download models, gene sets, networks, atlases and cells: checked, resumable, with their licence.

    A download that broke off goes on where it stopped when the same command is given again.
    """
    from biosae_utils.cells import fetch as fetching
    from biosae_utils.cells.sources import find

    if list_ or not names:
        show_sources(fetching.listing(to))
        return
    for name in names:
        find(name)  # all names are checked before the first download
    for name in names:
        source, wanted = find(name), fetching.missing_files(find(name), to / name)
        if dry_run or wanted:
            out.print(f"{name}: {source.title}. Licence: {source.licence}.", markup=False)
        for file in wanted if dry_run else []:
            where = f"{source.hub}: {file.path}" if source.hub else source.address(file)
            out.print(f"  would download {where} ({megabytes(file.size or file.about or 0)})")
        if dry_run and wanted:
            continue
        messages = bring(name, to) if wanted else [f"{name} is here already: {to / name}"]
        if verify:
            messages.append(f"{fetching.verify(name, to)} files of {name} are what they were at the first download")
        for message in messages:
            out.print(message, markup=False)


def bring(name: str, to: Path) -> list[str]:
    """Fetch with a progress bar, which is quiet when nobody watches."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from biosae_utils.cells.fetch import fetch as fetch_source

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err, disable=not err.is_terminal) as progress:
        bars: dict[str, Any] = {}

        def advance(path: str, done: int, total: int | None) -> None:
            if path not in bars:
                bars[path] = progress.add_task(Path(path).name, total=total)
            progress.update(bars[path], completed=done, total=total)

        return fetch_source(name, to, advance=advance)


def show_sources(rows: list[Any]) -> None:
    """Table of everything that can be fetched."""
    table = Table(box=None, pad_edge=False)
    for name in ("name", "kind", "size", "here?", "licence", "what"):
        table.add_column(name, overflow="fold", justify="right" if name == "size" else "left")
    for row in rows:
        size = megabytes(row.size) if row.exact or not row.size else f"about {megabytes(row.size)}"
        table.add_row(row.name, row.kind, size, row.state, row.licence, row.title)
    out.print(table, soft_wrap=False)


def megabytes(n_bytes: int) -> str:
    """Size for people."""
    if not n_bytes:
        return "size unknown"
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.1f} MB"
