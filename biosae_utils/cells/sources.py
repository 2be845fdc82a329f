"""The table of everything that `biosae fetch` can bring: sources.yaml, read and checked."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from biosae_utils.errors import BiosaeError

Kind = Literal["model", "genesets", "network", "atlas", "cells"]


class SourceFile(BaseModel):
    """One file of a source; see the head of sources.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    size: int | None = None
    about: int | None = None
    check: str = Field("", pattern=r"^((sha256|md5):[0-9a-f]{8,64})?$")
    optional: bool = False
    layers: int = 0


class Source(BaseModel):
    """Something that can be fetched by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    title: str
    licence: str
    hub: str = ""
    url: str = ""
    library: str = ""
    revision: str = ""
    files: list[SourceFile] = Field(min_length=1)

    def model_post_init(self, _context: object) -> None:
        if bool(self.hub) == bool(self.url):
            raise ValueError("a source comes either from a hub or from a url")

    def all_files(self) -> list[SourceFile]:
        """The files with ``{layer}`` spelt out."""
        out = []
        for file in self.files:
            names = [file.path.format(layer=f"{i:02d}") for i in range(file.layers)] if file.layers else [file.path]
            out += [file.model_copy(update={"path": name, "layers": 0}) for name in names]
        return out

    def local(self, file: SourceFile) -> str:
        """Path inside the source's folder: the hub's own layout for models, else plain names."""
        return file.path if self.hub else Path(file.path).name

    def address(self, file: SourceFile) -> str:
        """Where a file lies on the web."""
        base = self.url.format(revision=self.revision, library=self.library)
        return base if self.library else base + file.path

    def size(self) -> tuple[int, bool]:
        """Bytes in all as far as known, and whether that is exact."""
        files = self.all_files()
        return sum(f.size or f.about or 0 for f in files), all(f.size is not None for f in files)


@cache
def shipped_sources() -> dict[str, Source]:
    """The sources of sources.yaml by name."""
    return read_sources(Path(__file__).with_name("sources.yaml"))


def read_sources(path: Path) -> dict[str, Source]:
    """Read and check a table of sources."""
    return {name: Source(**entry) for name, entry in yaml.safe_load(path.read_text()).items()}


def find(name: str, sources: dict[str, Source] | None = None) -> Source:
    """The source called `name`; an unknown name is refused with the names that exist."""
    sources = shipped_sources() if sources is None else sources
    if name not in sources:
        near = difflib.get_close_matches(name, sources, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise BiosaeError(f"There is nothing called {name!r} to fetch", do=f"{hint}choose from {', '.join(sources)}")
    return sources[name]
