"""What parameters of pages are made of: bases by scope, field types with a meaning, and the check that speaks.

A phase declares its own parameters in its module (`biosae_utils.phases`); `runconfig.RunConfig` fills them from the
YAML of a run, and `biosae run -p name=value` overrides single names.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from biosae_utils.errors import BiosaeError
from biosae_utils.sae_options import Option

Variant = Literal["trained", "random-weights", "shuffled-genes"]
VARIANT = "trained, random-weights (same shape, seeded init) or shuffled-genes (tokens permuted in each cell)"
OPTIONS = "what the model's family takes besides, for instance {ties: spread} for scGPT"
DEVICE = "auto (cuda, then mps, then cpu), or one of cpu, mps, cuda, cuda:0, ..."
DTYPE = "auto (bfloat16 on cuda, float32 elsewhere), float32 or bfloat16"
RUN_NAME = r"^[A-Za-z0-9_-]+$"


@dataclass(frozen=True)
class Tracked:
    """Marks a field that names a file or folder: when its content changes, what was computed from it is stale."""


@dataclass(frozen=True)
class Filled:
    """Marks a field that the run fills in; a block of the YAML does not set it."""


InputFile = Annotated[str, Tracked()]
"""Path of a file or folder, or name of something fetched, whose content belongs to the result."""

Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description=DEVICE)]
Dtype = Annotated[Literal["auto", "float32", "bfloat16"], Field(description=DTYPE)]


class Strict(BaseModel):
    """No unknown names, no silent conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Descriptions of fields that come from a plain dataclass."""
        for field in cls.model_fields.values():
            if said := [m.description for m in field.metadata if isinstance(m, Option)]:
                field.description = said[0]


class PageParams(Strict):
    """What every page knows about itself. A phase whose parameters derive from it has one page a run."""

    run: Annotated[str, Filled()] = Field(
        "demo", pattern=RUN_NAME, description="name of the run; results go to results/<run>/"
    )
    seed: int = Field(0, ge=0, description="seed of everything random on this page")
    results: Annotated[str, Filled()] = Field("results", description="folder that holds all runs")


class ModelPage(PageParams):
    """Parameters of a phase with one page a model."""

    model: Annotated[str, Filled()] = Field("mini-geneformer", description="slug of the model as in the config")
    source: Annotated[InputFile, Filled()] = Field(
        "data/demo/models/mini-geneformer", description="registered name or directory of the checkpoint"
    )
    variant: Annotated[Variant, Filled()] = Field("trained", description=VARIANT)


class LayerPage(ModelPage):
    """Parameters of a phase with one page a model and layer."""

    layer: Annotated[int, Filled()] = Field(
        0, ge=0, le=127, description="block whose output is analysed, counted from 0"
    )


class Controlled(Strict):
    """Parameters of a phase that shows the same model with random weights beside its own (``Phase.control``)."""

    control: Annotated[str | None, Filled()] = Field(
        None, description="the same model with random weights, where the run has it; set by the config"
    )


Scope = Literal["run", "model", "layer"]


def scope_of(cls: type[PageParams]) -> Scope:
    """Whether a phase with these parameters has one page per run, per model, or per model and layer."""
    return "layer" if issubclass(cls, LayerPage) else "model" if issubclass(cls, ModelPage) else "run"


def marked(cls: type[BaseModel], mark: type) -> list[str]:
    """Names of the fields of `cls` that carry a mark, for instance `Tracked`, also inside ``X | None`` or ``dict``."""

    def carries(hint: Any) -> bool:
        own = getattr(hint, "__metadata__", ())
        return any(isinstance(m, mark) for m in own) or any(carries(part) for part in get_args(hint))

    fields = cls.model_fields.items()
    return [name for name, f in fields if any(isinstance(m, mark) for m in f.metadata) or carries(f.annotation)]


def checked(cls: type[BaseModel], values: dict[str, Any], *, where: str) -> Any:
    """Build `cls` from `values`; every problem is told in one sentence that lists what is allowed."""
    try:
        return cls(**values)
    except ValidationError as e:
        names = [*cls.model_fields, *getattr(cls, "more_names", list)()]
        problems = []
        for err in e.errors():
            name = ".".join(str(p) for p in err["loc"])
            if err["type"] == "extra_forbidden":
                close = difflib.get_close_matches(name, names, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                problems.append(f"unknown name {name}{hint}; the names are {', '.join(names)}")
            else:
                problems.append(f"{name} = {err.get('input')!r}: {err['msg'].lower()}")
        raise BiosaeError("; ".join(problems), where=where) from e
