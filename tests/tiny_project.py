"""A project of two tiny phases, true to the contract: a page of the run, and a page per layer that reads it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

import biosae_utils.phases
from biosae_utils.phases import registry

ROOT = Path(__file__).resolve().parents[1]

DRAWS = '''"""70_draws: numbers drawn with a seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import Field

from biosae_utils.claims import verdict
from biosae_utils.params import InputFile, PageParams
from biosae_utils.phases.base import Phase


class Params(PageParams):
    """Numbers drawn with a seed."""

    path: InputFile = Field("cells.h5ad", description="a file")
    n: int = Field(50, ge=1, description="how many")


def compute(p, read, out):
    with out.step("draw"):
        values = np.random.default_rng(p.seed).normal(size=p.n)
    out.table(pd.DataFrame({"cell": np.arange(p.n), "value": values}), "values")
    out.facts(mean=values.mean(), n=p.n)
    out.claim(
        id="mean", title="The mean value is positive", value=values.mean(), interval=(-1.0, 1.0), interval_over="cells",
        control=0.0, control_kind="zero", rule="mean above control", minimum=0.0, verdict=verdict(values.mean() > 0),
    )


PHASE = Phase("70_draws", Params, compute, title="Draws", part="cells", reads=())
'''

ROWS = '''"""71_two_words: the first rows of the draws, for each layer."""

from __future__ import annotations

from pydantic import Field

from biosae_utils.errors import BiosaeError
from biosae_utils.params import LayerPage
from biosae_utils.phases.base import Phase
from biosae_utils.store import read_table


class Params(LayerPage):
    """The first rows of the draws."""

    n_top: int = Field(20, ge=1, description="how many rows")


def compute(p, read, out):
    df = read_table(read.file("70_draws", "values.parquet"))
    if p.n_top == 13:
        raise BiosaeError("Thirteen is no number of rows", do="use another")
    out.table(df.head(p.n_top), "rows")


PHASE = Phase("71_two_words", Params, compute, title="Rows", part="layer", reads=("70_draws",))
'''

DRAWS_NOTEBOOK = """# %% [markdown]
# # Draws of {{ run }}
#
# What is drawn with seed {{ seed }}? See {term}`latent`.
#
# More about it.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
path = "cells.h5ad"
n = 50

# %% tags=["hide-input"]
import sys

from biosae_utils.book.page import Page

page = Page.open("70_draws", globals())
found = page.result()
print("50%|#####     | 1/2 [00:01<00:01,  1.0it/s]", file=sys.stderr)

# %% tags=["hero", "hide-input"]
import plotly.graph_objects as go

page.figure(
    go.Figure(go.Histogram(x=found.table("values")["value"])),
    name="values",
    alt="A bell-shaped histogram of values",
    caption="Higher bars hold more cells.",
)

# %% [markdown]
# ## The table

# %% tags=["hide-input"]
page.table(found.table("values"), name="cells", caption="Every cell with its value")

# %% [markdown]
# ## What argues against it
#
# Anything about $x = y$.

# %% tags=["takeaways", "hide-input"]
page.takeaways([f"The mean over {found.facts.n} cells is {found.facts.mean:.2f}; the control is 0."])
"""

ROWS_NOTEBOOK = """# %% [markdown]
# # Rows of {{ model }}, layer {{ layer }}
#
# Which rows come first?

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
model = "mini-geneformer"
source = "data/demo/models/mini-geneformer"
variant = "trained"
layer = 0
n_top = 20

# %% tags=["hide-input"]
from biosae_utils.book.page import Page

page = Page.open("71_two_words", globals())
found = page.result()

# %% tags=["hide-input"]
page.table(found.table("rows"), name="rows", caption="Rows")

# %% tags=["takeaways", "hide-input"]
page.takeaways([f"Layer {page.params.layer} has {len(found.table('rows'))} rows."])
"""

CONFIG = """run: tiny
phases: [70_draws, 71_two_words]
models:
  m: {source: nowhere, layers: [0, 2]}
draws: {n: 30}
"""

SITE = """import sys
from pathlib import Path

import biosae_utils.phases

biosae_utils.phases.__path__.append({folder!r})
"""


def write_project(root: Path, *, prose: bool = False) -> None:
    """Write the tiny project: two phases, their notebooks, a config; with `prose`, what it takes to render a book."""
    for folder in ("phases", "notebooks", "config", "site"):
        (root / folder).mkdir()
    (root / "phases" / "draws.py").write_text(DRAWS)
    (root / "phases" / "two_words.py").write_text(ROWS)
    (root / "notebooks" / "70_draws.py").write_text(DRAWS_NOTEBOOK)
    (root / "notebooks" / "71_two_words.py").write_text(ROWS_NOTEBOOK)
    (root / "config" / "tiny.yaml").write_text(CONFIG)
    (root / "site" / "sitecustomize.py").write_text(SITE.format(folder=str(root / "phases")))
    (root / "cells.h5ad").write_bytes(b"no cells, but a file")
    (root / "pyproject.toml").touch()
    if prose:
        shutil.copytree(ROOT / "workflow", root / "workflow")
        shutil.copytree(ROOT / "book", root / "book", ignore=shutil.ignore_patterns("executed"))
        shutil.copy(ROOT / "_config.yml", root)


def enter(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Work in a tiny project: its folder is the current one, and its phases are known here and in child processes."""
    patch.chdir(root)
    patch.setenv("PYTHONPATH", os.pathsep.join([str(root / "site"), str(ROOT)]))
    patch.setattr(biosae_utils.phases, "__path__", [*biosae_utils.phases.__path__, str(root / "phases")])
    registry.phases.cache_clear()


def leave() -> None:
    """Forget the phases of a tiny project."""
    for name in ("draws", "two_words"):
        sys.modules.pop(f"biosae_utils.phases.{name}", None)
        if hasattr(biosae_utils.phases, name):
            delattr(biosae_utils.phases, name)
    registry.phases.cache_clear()
