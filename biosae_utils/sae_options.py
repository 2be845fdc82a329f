"""The options of an SAE, said once: meaning, range and default. Pages, the trainer and the sweep take them from here.

Plain dataclasses, since the rooms that train run where pydantic is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Self

Kind = Literal["topk", "batchtopk", "matryoshka"]


@dataclass(frozen=True)
class Option:
    """What an option means and which numbers it may take; None where there is no bound.

    The two special methods are the interface by which pydantic finds bounds in a type that it did not make (grouped
    metadata of annotated-types).
    """

    description: str
    gt: float | None = None
    ge: float | None = None
    le: float | None = None
    __is_annotated_types_grouped_metadata__ = True

    def __iter__(self) -> Iterator[Any]:
        from pydantic import Field

        yield from Field(gt=self.gt, ge=self.ge, le=self.le).metadata


@dataclass(frozen=True)
class SaeOptions:
    """What a page, `biosae sweep` and the trainer all let one choose about an SAE."""

    expansion: Annotated[int, Option("d_sae / d_in", ge=1, le=64)] = 4
    k: Annotated[int, Option("active latents a position", ge=1)] = 16
    kind: Annotated[Kind, Option("k per position, k on average over a batch, or nested dictionaries")] = "topk"
    steps: Annotated[int, Option("optimiser steps", ge=10)] = 800
    batch_size: Annotated[int, Option("positions a step", ge=32)] = 1024
    lr: Annotated[float | None, Option("peak learning rate; null for 0.083 / sqrt(d_in)", gt=0)] = None

    @classmethod
    def of(cls, options: SaeOptions, **changes: Any) -> Self:
        """The same options, as parameters of a page hold them for instance, with `changes` and what `cls` adds."""
        return cls(**{f.name: getattr(options, f.name) for f in fields(SaeOptions)} | changes)
