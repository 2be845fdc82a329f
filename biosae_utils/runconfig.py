"""The YAML of a run: which phases for which models, and one block of parameters per phase.

`RunConfig.phase_params` turns a block into the parameters of one page. Everything is checked before anything runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator

from biosae_utils.errors import BiosaeError
from biosae_utils.params import OPTIONS, PHASES, VARIANT, DataParams, PageParams, Strict, Variant, checked, scope
from biosae_utils.store import fingerprint


class ModelEntry(Strict):
    source: str = Field(description="registered name or directory of the checkpoint")
    variant: Variant = Field("trained", description=VARIANT)
    options: dict[str, str] = Field({}, description=OPTIONS)
    layers: list[int] = Field(min_length=1, description="layers analysed page by page")
    phases: list[str] | None = Field(None, description="phases run for this model; null for all of the run's phases")


class RunConfig(Strict):
    """config/<run>.yaml; every key is explained in config/README.md."""

    run: str = Field(
        pattern=r"^[A-Za-z0-9_-]+$",
        description="name of the run: letters, digits, _ and -; results go to results/<run>/",
    )
    title: str = Field("", description="title of the book")
    seed: int = Field(0, ge=0, description="seed of everything random, unless a block sets its own")
    results: str = Field("results", description="folder that holds all runs")
    phases: list[str] = Field(description="phases to run, in reading order")
    models: dict[str, ModelEntry] = Field(min_length=1, description="slug of a model in paths and titles -> the model")
    data: dict[str, Any]
    extract: dict[str, Any] = Field({})
    sae: dict[str, Any] = Field({})
    catalogue: dict[str, Any] = Field({})
    annotate: dict[str, Any] = Field({})
    svd: dict[str, Any] = Field({})
    track: dict[str, Any] = Field({})
    scorecard: dict[str, Any] = Field({})
    published: dict[str, Any] = Field({})

    @field_validator("phases")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in PHASES:
                raise ValueError(f"no phase called {name!r}; there are {', '.join(PHASES)}")
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
        except yaml.YAMLError as e:
            raise BiosaeError(f"The config is not YAML ({e})", where=str(path)) from e
        if not isinstance(raw, dict):
            raise BiosaeError("The config is empty or not a mapping", where=str(path), do="see config/README.md")
        config = checked(cls, raw, where=str(path))
        for slug, entry in config.models.items():
            if config.runs("06_tracking", slug) and len(entry.layers) < 2:
                raise BiosaeError(
                    "06_tracking follows latents from layer to layer, and this model has one layer",
                    where=f"models.{slug}.layers in {path}",
                    do="name another layer, or list the model's `phases` without it",
                )
        for phase, model, layer in config.pages():
            config.phase_params(phase, model, layer)
        return config

    def runs(self, phase: str, model: str) -> bool:
        """Whether `phase` is run for `model`."""
        own = self.models[model].phases
        return phase in self.phases and (own is None or phase in own)

    def pages(self) -> list[tuple[str, str | None, int | None]]:
        """Every page of the run as (phase, model, layer), in reading order of the phases."""
        out: list[tuple[str, str | None, int | None]] = []
        for phase in self.phases:
            kind = scope(phase)
            if kind == "run":
                out.append((phase, None, None))
                continue
            for slug, entry in self.models.items():
                if self.runs(phase, slug):
                    out += (
                        [(phase, slug, None)] if kind == "model" else [(phase, slug, layer) for layer in entry.layers]
                    )
        return out

    def twin(self, model: str, layer: int) -> str | None:
        """The run's random-weights copy of a model, if the catalogue of this layer is among its pages."""
        own = self.models[model]
        for slug, entry in self.models.items():
            same = (entry.source, entry.options) == (own.source, own.options) and layer in entry.layers
            if same and entry.variant == "random-weights" != own.variant and self.runs("03_catalogue", slug):
                return slug
        return None

    def rules_hash(self) -> str:
        """Hash of the parameters of every page but the scorecard: the thresholds that were fixed before the run."""
        pages = [page for page in self.pages() if page[0] != "15_scorecard"]
        dumps = [self.phase_params(*page).model_dump(mode="json", exclude={"results"}) for page in pages]
        return fingerprint([[*page, values] for page, values in zip(pages, dumps, strict=True)])

    def phase_params(
        self, phase: str, model: str | None = None, layer: int | None = None, **override: Any
    ) -> PageParams:
        """Parameters of one page: defaults, then the config's block of that phase, then `override`."""
        cls = PHASES[phase]
        block = getattr(self, phase.split("_", 1)[1] if phase != "06_tracking" else "track")
        values: dict[str, Any] = {"run": self.run, "seed": self.seed, "results": self.results, **block}
        if model is not None:
            entry = self.models.get(model)
            if entry is None:
                raise BiosaeError(
                    f"No model called {model!r} in this run", where="models", do=f"use one of {', '.join(self.models)}"
                )
            values |= {"model": model, "source": entry.source, "variant": entry.variant}
            if "layers" in cls.model_fields:
                values["layers"] = entry.layers
            if "options" in cls.model_fields:
                values["options"] = entry.options
        if layer is not None:
            values["layer"] = layer
            if "control" in cls.model_fields:
                values["control"] = self.twin(model, layer)
        if "data" in cls.model_fields:
            values["data"] = self.data.get("path", DataParams.model_fields["path"].default)
        if phase == "15_scorecard":
            values["rules_hash"] = self.rules_hash()
        if phase == "00_data":
            values["models"] = {slug: entry.source for slug, entry in self.models.items() if entry.variant == "trained"}
        return checked(cls, {**values, **override}, where=f"parameters of {phase}")
