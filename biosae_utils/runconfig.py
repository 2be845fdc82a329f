"""The YAML of a run: which phases for which models, and one block of parameters per phase.

`RunConfig.phase_params` turns a block into the parameters of one page. Everything is checked before anything runs.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator, model_validator

from biosae_utils.errors import BiosaeError
from biosae_utils.params import OPTIONS, RUN_NAME, VARIANT, Filled, PageParams, Strict, Variant, checked, marked
from biosae_utils.phases.base import ALL, Phase, Resources, Size
from biosae_utils.phases.places import PAGES, Node
from biosae_utils.phases.registry import find, phases
from biosae_utils.phases.size import size_of
from biosae_utils.store import fingerprint, read_json, write_json


class ModelEntry(Strict):
    """One model of a run."""

    source: str = Field(description="registered name or directory of the checkpoint")
    variant: Variant = Field("trained", description=VARIANT)
    options: dict[str, str] = Field({}, description=OPTIONS)
    layers: list[int] = Field(min_length=1, description="layers analysed page by page")
    phases: list[str] | None = Field(None, description="phases run for this model; null for all of the run's phases")


class ResourceEntry(Strict):
    """What one job of a phase takes, where the phase's own estimate is not right for a machine or a data set."""

    threads: int | None = Field(None, ge=0, description="threads; 0 for the model's share of all cores")
    mem_mb: int | None = Field(None, ge=100, description="memory, MB")
    runtime: int | None = Field(None, ge=1, description="minutes after which the job is given up")
    gpu: int | None = Field(None, ge=0, description="device slots")


class RunConfig(Strict):
    """config/<run>.yaml; every key is explained in config/README.md."""

    run: str = Field(
        pattern=RUN_NAME, description="name of the run: letters, digits, _ and -; results go to results/<run>/"
    )
    title: str = Field("", description="title of the book")
    seed: int = Field(0, ge=0, description="seed of everything random, unless a block sets its own")
    results: str = Field("results", description="folder that holds all runs")
    phases: list[str] = Field(description="phases to run, in reading order")
    models: dict[str, ModelEntry] = Field(min_length=1, description="slug of a model in paths and titles -> the model")
    resources: dict[str, ResourceEntry] = Field(
        {}, description="phase without its number -> what a job takes, in place of the phase's own estimate"
    )
    blocks: dict[str, dict[str, Any]] = Field({}, exclude=True, description="parameters of each phase, by its block")

    @staticmethod
    def more_names() -> list[str]:
        """Keys of the YAML that are no fields: one block a phase, called like it without its number."""
        return [phase.short for phase in phases().values()]

    @model_validator(mode="before")
    @classmethod
    def _gather_blocks(cls, raw: Any) -> Any:
        if not isinstance(raw, dict) or "blocks" in raw:
            return raw
        names = cls.more_names()
        blocks = {name: value for name, value in raw.items() if name in names}
        return {**{name: value for name, value in raw.items() if name not in blocks}, "blocks": blocks}

    @field_validator("phases")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in phases():
                raise ValueError(f"no phase called {name!r}; there are {', '.join(phases())}")
        return value

    @field_validator("models")
    @classmethod
    def _slugs(cls, value: dict[str, ModelEntry]) -> dict[str, ModelEntry]:
        for slug in value:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", slug):
                raise ValueError(f"{slug!r} cannot be a folder's name: use letters, digits, _, - and .")
        return value

    @field_validator("resources")
    @classmethod
    def _known_short(cls, value: dict[str, ResourceEntry]) -> dict[str, ResourceEntry]:
        for name in value:
            if name not in cls.more_names():
                raise ValueError(f"no phase called {name!r}; there are {', '.join(cls.more_names())}")
        return value

    @classmethod
    def load(cls, path: Path | str) -> RunConfig:
        """Read and check a run's YAML; every page's parameters are built once, so nothing fails later."""
        path = Path(path)
        if not path.is_file():
            raise BiosaeError(
                "There is no such config", where=str(path), do="see config/README.md for the ones that ship"
            )
        try:
            raw = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as e:
            raise BiosaeError(f"The config is not YAML ({e})", where=str(path)) from e
        if not isinstance(raw, dict):
            raise BiosaeError("The config is empty or not a mapping", where=str(path), do="see config/README.md")
        config = checked(cls, raw, where=str(path))
        config._enough_layers(path)
        config.all_params()
        return config

    def _enough_layers(self, path: Path) -> None:
        """Refuse a phase that follows something over layers for a model that has too few."""
        for name in self.phases:
            least = find(name).min_layers
            for slug, entry in self.models.items():
                if self.runs(name, slug) and len(entry.layers) < least:
                    raise BiosaeError(
                        f"{name} needs {least} layers or more of a model, and {slug} has {len(entry.layers)}",
                        where=f"models.{slug}.layers in {path}",
                        do="name another layer, or list the model's `phases` without it",
                    )

    def runs(self, phase: str, model: str) -> bool:
        """Whether `phase` is run for `model`."""
        own = self.models[model].phases
        return phase in self.phases and (own is None or phase in own)

    def pages(self) -> list[Node]:
        """Every page of the run as (phase, model, layer), in reading order of the phases."""
        out: list[Node] = []
        for phase in self.phases:
            scope = find(phase).scope
            if scope == "run":
                out.append((phase, None, None))
            for slug, entry in self.models.items():
                if scope != "run" and self.runs(phase, slug):
                    out += [(phase, slug, layer) for layer in (entry.layers if scope == "layer" else [None])]
        return out

    def page(self, phase: str, model: str | None = None, layer: int | None = None) -> Node:
        """The page of that name, or an error in one sentence that lists what there is."""
        declared = find(phase)
        if phase not in self.phases:
            raise BiosaeError(
                f"This run has no phase {phase!r}", where="phases", do=f"use one of {', '.join(self.phases)}"
            )
        scope = declared.scope
        if (scope == "run" and model is not None) or (scope != "layer" and layer is not None):
            extra = "--layer" if layer is not None else "--model"
            raise BiosaeError(f"{phase} has one page per {scope}", where=extra, do=f"leave {extra} out")
        if scope == "run":
            return phase, None, None
        having = [slug for slug in self.models if self.runs(phase, slug)]
        if model is None:
            raise BiosaeError(
                f"{phase} has a page per {scope}: which model?", do=f"add --model with one of {', '.join(having)}"
            )
        if model not in self.models:
            raise BiosaeError(
                f"There is no model {model!r} in this run", do=f"use --model with one of {', '.join(having)}"
            )
        if model not in having:
            raise BiosaeError(
                f"{phase} is not run for {model}",
                where=f"models.{model}.phases",
                do=f"use --model with one of {', '.join(having)}, or add the phase there",
            )
        if scope == "model":
            return phase, model, None
        layers = self.models[model].layers
        if layer not in layers:
            what = "which layer?" if layer is None else f"there is no layer {layer} of {model} in this run"
            raise BiosaeError(
                f"{phase} has a page per layer: {what}", do=f"use --layer with one of {', '.join(map(str, layers))}"
            )
        return phase, model, layer

    def twin(self, model: str, layer: int | None, phase: str) -> str | None:
        """The run's random-weights copy of a model, if `phase` of this layer is among its pages."""
        own = self.models[model]
        for slug, entry in self.models.items():
            same = (entry.source, entry.options) == (own.source, own.options) and (
                layer is None or layer in entry.layers
            )
            if same and entry.variant == "random-weights" != own.variant and self.runs(phase, slug):
                return slug
        return None

    def rules_hash(self) -> str:
        """Hash of the parameters of every page but those that read all others: the thresholds of the run."""
        pages = [page for page in self.pages() if find(page[0]).reads != ALL]
        dumps = [self.phase_params(*page).model_dump(mode="json", exclude={"results"}) for page in pages]
        return fingerprint([[*page, values] for page, values in zip(pages, dumps, strict=True)])

    def phase_params(
        self, phase: str, model: str | None = None, layer: int | None = None, **override: Any
    ) -> PageParams:
        """Parameters of one page: defaults, then the config's block of that phase, then `override`."""
        declared = find(phase)
        block = self.blocks.get(declared.short, {})
        filled = self._filled(declared, model, layer)
        for name in block.keys() & filled.keys():
            raise BiosaeError(
                f"{name} is filled in from the run and cannot be set in a block",
                where=f"`{declared.short}` of the config",
            )
        values = {"seed": self.seed, **block, **filled, **override}
        return checked(declared.params, values, where=f"parameters of {phase}")

    def _filled(self, phase: Phase, model: str | None, layer: int | None) -> dict[str, Any]:
        """Values of the fields that the run itself decides, as far as the phase has them."""
        values: dict[str, Any] = {"run": self.run, "results": self.results}
        if model is not None:
            if model not in self.models:
                raise BiosaeError(
                    f"No model called {model!r} in this run", where="models", do=f"use one of {', '.join(self.models)}"
                )
            entry = self.models[model]
            values |= {"model": model, "source": entry.source, "variant": entry.variant}
            values |= {"layers": entry.layers, "options": entry.options}
            values["control"] = self.twin(model, layer, phase.control) if phase.control else None
        if layer is not None:
            values["layer"] = layer
        if path := self.blocks.get("data", {}).get("path"):
            values["data"] = path
        values["models"] = {slug: entry.source for slug, entry in self.models.items() if entry.variant == "trained"}
        fields = marked(phase.params, Filled)
        if "rules_hash" in fields:
            values["rules_hash"] = self.rules_hash()
        return {name: value for name, value in values.items() if name in fields}

    def all_params(self) -> dict[Node, PageParams]:
        """Parameters of every page of the run."""
        return {page: self.phase_params(*page) for page in self.pages()}

    def size(self, model: str | None) -> Size:
        """How big the work on a model is; the largest of the run for a page about all of it."""
        if model is None:
            sizes = [self.size(slug) for slug in self.models]
            return max(sizes, key=lambda size: size.positions * size.d_model * size.layers)
        entry, data, sae = self.models[model], self._block("00_data"), self._block("02_sae")
        cells, expansion, k = data.get("n_cells") or 0, sae.get("expansion", 0), sae.get("k", 0)
        return size_of(entry.source, cells=cells, layers=len(entry.layers), expansion=expansion, k=k)

    def _block(self, phase: str) -> dict[str, Any]:
        """Parameters of a phase in this run, defaults filled in, whether it is run or not."""
        if phase not in phases():
            return {}
        own = {name: field.default for name, field in find(phase).params.model_fields.items()}
        return own | self.blocks.get(find(phase).short, {})

    def takes(self, phase: str, model: str | None = None) -> Resources:
        """What one job of a phase takes: its own estimate, then what the config says."""
        declared = find(phase)
        own, given = declared.takes(self.size(model)), self.resources.get(declared.short)
        return own if given is None else replace(own, **given.model_dump(exclude_none=True))

    def claim_results(self, path: Path | str) -> None:
        """Note in the run's folder whose results it holds and which pages belong to it; see `phases.state.pages_of`.

        Raises
        ------
        BiosaeError
            The folder belongs to another config of the same run name.
        """
        note = Path(self.results, self.run, PAGES)
        about: dict[str, Any] = {"config": Path(path).as_posix(), "pages": [list(page) for page in self.pages()]}
        had = read_json(note) if note.is_file() else about
        other = Path(had["config"])
        if other != Path(path) and other.is_file():
            raise BiosaeError(
                f"Run {self.run!r} belongs to another config, whose results would be replaced",
                where=f"{path} and {other}",
                do="give the run another name (`run:` in the config)",
            )
        if had != about or not note.is_file():
            write_json(note, about)
