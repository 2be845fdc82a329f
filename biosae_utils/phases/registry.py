"""The phases there are: every module of this room that ends with a declaration."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import biosae_utils.phases
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.base import ALL, Phase


@cache
def phases() -> dict[str, Phase]:
    """Every phase by name, in reading order."""
    found: dict[str, Phase] = {}
    for module in pkgutil.iter_modules(biosae_utils.phases.__path__):
        declared = getattr(importlib.import_module(f"biosae_utils.phases.{module.name}"), "PHASE", None)
        if isinstance(declared, Phase):
            if declared.short != module.name:
                raise ValueError(f"phase {declared.name} is declared in phases/{module.name}.py")
            found[declared.name] = declared
    for phase in found.values():
        for name in {*phase.reads, *filter(None, [phase.control])} - {*ALL, *found}:
            raise ValueError(f"phase {phase.name} reads {name}, which is no phase")
    return dict(sorted(found.items()))


def find(name: str) -> Phase:
    """A phase by name; an unknown one is refused with the names there are."""
    if name not in phases():
        raise BiosaeError(f"No phase is called {name!r}", do=f"use one of {', '.join(phases())}")
    return phases()[name]


def reads(phase: Phase) -> tuple[str, ...]:
    """Phases whose files `phase` reads, directly."""
    return tuple(name for name in phases() if name != phase.name) if phase.reads == ALL else phase.reads
