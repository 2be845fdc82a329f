"""config/README.md, written from the declarations, so that every key is explained where it is checked."""

from __future__ import annotations

import re
import typing
from collections.abc import Collection
from pathlib import Path

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from biosae_utils.params import Filled, marked
from biosae_utils.phases.registry import phases
from biosae_utils.runconfig import ModelEntry, ResourceEntry, RunConfig

SHIPPED = ("demo.yaml", "tiny.yaml")
"""Configs that come with the project, in the order of the table; others in that folder are somebody's own."""

HEAD = """# Configs

One YAML file is one run: which models and layers, on which cells, with which parameters.
`make book CONFIG=config/mine.yaml` runs it and renders the book; results go to `results/<run>/`. The file is checked
before anything runs: an unknown name or a wrong type is refused in one sentence that lists the right ones. What a run
does not set keeps the default below.

| shipped run | title |
|---|---|
{runs}

A run on your own cells needs these lines and nothing else (`make book DATA=my.h5ad` does it for a quick look):

```yaml
run: mine
phases: [00_data, 01_extract, 02_sae, 03_catalogue, 04_annotate]
models:
  mini-geneformer: {{source: data/demo/models/mini-geneformer, layers: [0, 3]}}
data: {{path: my.h5ad, cell_type: my_labels, condition: null}}
```

A model with random weights is one more entry, and its pages are ordinary pages. Where it has a layer of a trained model
with the same `source`, the annotation page of that layer shows it as a control:

```yaml
  mini-geneformer.random-weights:
    source: data/demo/models/mini-geneformer
    variant: random-weights
    layers: [3]
    phases: [01_extract, 02_sae, 03_catalogue, 04_annotate]
```

One page again with another parameter, without touching the file:
`biosae run 04_annotate --model mini-geneformer --layer 3 -p fdr=0.01`.

This file is written by `make sync` from the declarations of the phases (`biosae_utils/phases/`) and from
`biosae_utils/runconfig.py`; change the descriptions there.
"""


def type_name(hint: object) -> str:
    """A type as a biologist would write it."""
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(hint))
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    text = re.sub(r"(biosae_utils\.(params|runconfig)|typing)\.", "", text)
    words = {"str": "text", "int": "whole number", "float": "number", "None": "null", "Any": "anything"}
    text = re.sub(r"\b(str|int|float|None|Any)\b", lambda m: words[m[0]], text)
    text = re.sub(r"list\[(.*?)\]", r"list of \1", text)
    text = re.sub(r"dict\[(.*?), (.*?)\]", r"mapping of \1 to \2", text)
    return text.replace(" | ", " or ")


def limits(field: FieldInfo) -> str:
    """Bounds of a number, for instance ``> 0, < 1``."""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [
        (sign, getattr(rule, name))
        for rule in field.metadata
        for name, sign in signs.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join(f"{sign} {bound:,}" for sign, bound in found)


def default(field: FieldInfo) -> str:
    """The default in YAML."""
    if field.is_required():
        return "*required*"
    return f"`{yaml.safe_dump(field.default, default_flow_style=True, width=1000).strip().removesuffix('...').strip()}`"


def table(cls: type[BaseModel], skip: Collection[str] = ()) -> str:
    """Markdown table of the keys of `cls`."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        if name in skip:
            continue
        kind = type_name(field.annotation) + (f" ({limits(field)})" if limits(field) else "")
        lines.append(f"| `{name}` | {kind} | {default(field)} | {field.description} |")
    return "\n".join(lines)


def render() -> str:
    """The whole of config/README.md."""
    shipped = [(name, yaml.safe_load(Path("config", name).read_text()).get("title", "")) for name in SHIPPED]
    runs = "\n".join(f"| `{name}` | {title} |" for name, title in shipped)
    names = ", ".join(f"`{name}`" for name in phases())
    parts = [
        HEAD.format(runs=runs),
        "## The run\n\n" + table(RunConfig, skip={"blocks"}),
        f"The phases are {names}. Each may have a block of parameters, named in its heading below.",
        "## One model: `models.<slug>`\n\n" + table(ModelEntry),
        "## What jobs take: `resources.<block of a phase>`\n\n" + table(ResourceEntry),
    ]
    for name, phase in phases().items():
        skip = {*marked(phase.params, Filled), "seed"}
        text = " ".join((phase.params.__doc__ or "").split())
        body = table(phase.params, skip=skip) if set(phase.params.model_fields) - skip else "No keys."
        parts.append(f"## `{phase.short}`: phase {name}, one page a {phase.scope}\n\n{text}\n\n{body}")
    return "\n\n".join(part.strip() for part in parts) + "\n"
