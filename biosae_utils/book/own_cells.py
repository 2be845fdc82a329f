"""A run on somebody's own cells: its name, its config, and nobody else's results touched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from biosae_utils.errors import BiosaeError
from biosae_utils.store import atomic_path


def config_for(data: str, base: str) -> str:
    """Config of a run on `data`, derived from `base`; written to ``results/<run>/config.yaml`` once.

    The run is named after the file; where that name belongs to another file, or to a config that ships, it gets a
    number. Columns that hold cell type, condition and donor are guessed from the file and printed. A config that is
    there is used as it is: it may have been edited.
    """
    from biosae_utils.cells.columns import guess_columns
    from biosae_utils.cells.container import checked_path
    from biosae_utils.cells.data import open_cells

    path = checked_path(data, do="pass an h5ad file: make book DATA=my.h5ad")
    raw: dict[str, Any] = yaml.safe_load(Path(base).read_text())
    columns = guess_columns(open_cells(path).obs)  # refuses bad files before anything is started
    target, is_new = _free_config(path, Path(raw.get("results", "results")))
    if not is_new:
        print(f"{path.name}: config {target} is there already and is used as it is")
        return str(target)
    raw |= {"run": target.parent.name, "title": f"What single-cell foundation models know: {path.name}"}
    raw["data"] = {**raw.get("data", {}), "path": str(path), **columns}
    with atomic_path(target) as tmp:
        text = f"# Derived from {base} for {path.name}. Edit it and run: make book CONFIG={target}\n"
        tmp.write_text(text + yaml.safe_dump(raw, sort_keys=False, allow_unicode=True))
    guessed = ", ".join(f"{k} = {v}" for k, v in columns.items())
    print(f"{path.name}: run {target.parent.name}, config {target}; columns: {guessed}")
    return str(target)


def _free_config(path: Path, results: Path) -> tuple[Path, bool]:
    """Where the config of a run on `path` lies, and whether it has to be written: no other file's run is touched."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-") or "cells"
    taken = {str(_key_of(config, "run")) for config in Path("config").glob("*.yaml")}
    for number in range(1, 1000):
        run = name if number == 1 else f"{name}-{number}"
        target = results / run / "config.yaml"
        if target.is_file():
            had = (_key_of(target, "data") or {}).get("path", "")
            if Path(had).resolve() == path.resolve():
                return target, False
        elif run not in taken and not target.parent.exists():
            return target, True
    raise BiosaeError(f"There are a thousand runs called {name}", where=str(results), do="remove what is not needed")


def _key_of(config: Path, name: str) -> Any:
    """A value of somebody's YAML; None where there is none, or no YAML."""
    try:
        raw = yaml.safe_load(config.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return raw.get(name) if isinstance(raw, dict) else None
