"""A project of two tiny phases, true to the contract: a run page and a page per layer that reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

DATA = """# %% [markdown]
# # Cells of {{ run }}
#
# The cells are drawn with seed {{ seed }}; see {term}`cell`.

# %% tags=["parameters"]
run = "tiny"
seed = 0
results = "results"
path = "cells.h5ad"
counts = "auto"
cell_type = "cell_type"
condition = None
donor = None
n_cells = 50
holdout = 0.2
models = {}

# %% tags=["hide-input"]
import sys

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from biosae_utils.book.page import Page

page = Page.open("00_data", globals())
p = page.params
print("50%|#####     | 1/2 [00:01<00:01,  1.0it/s]", file=sys.stderr)
df = pd.DataFrame({"cell": np.arange(p.n_cells), "value": np.random.default_rng(p.seed).normal(size=p.n_cells)})
page.save(df, "cells")

# %% tags=["hide-input"]
figure = go.Figure(go.Histogram(x=df.value))
page.figure(figure, name="values", alt="A bell-shaped histogram of values", caption="Higher bars hold more cells.")
page.table(df, name="cells", caption="Every cell with its value")

# %% [markdown]
# ## What it does not show
#
# Anything about $x = y$.

# %% tags=["takeaways"]
page.claim(
    id="mean",
    title="The mean value is positive",
    value=float(df.value.mean()),
    interval=(-1.0, 1.0),
    control=0.0,
    control_kind="zero",
    rule="mean above control",
    verdict="supported" if df.value.mean() > 0 else "not_supported",
)
page.close([f"The mean over {p.n_cells} cells is {df.value.mean():.2f}."])
"""

CATALOGUE = """# %% [markdown]
# # Latents of {{ model }}, layer {{ layer }}

# %% tags=["parameters"]
run = "tiny"
seed = 0
results = "results"
model = "m"
source = "nowhere"
variant = "trained"
layer = 0
n_top = 20
min_count = 10
shrinkage = 10.0

# %% tags=["hide-input"]
import pandas as pd

from biosae_utils.book.page import Page
from biosae_utils.errors import BiosaeError

page = Page.open("03_catalogue", globals())
p = page.params
df = pd.read_parquet(page.input("00_data", "cells.parquet"))
if p.n_top == 13:
    raise BiosaeError("Thirteen is no number of top genes", do="use another")
page.save(df.head(p.n_top), "features")
page.table(df.head(p.n_top), name="features", caption="Latents")

# %% tags=["takeaways"]
page.close([f"Layer {p.layer} has {p.n_top} latents."])
"""

CONFIG = """run: tiny
phases: [00_data, 03_catalogue]
models:
  m: {source: nowhere, layers: [0, 2]}
data: {path: cells.h5ad, condition: null, n_cells: 50}
"""


ROOT = Path(__file__).resolve().parents[2]


def write_project(root: Path, *, prose: bool = False) -> None:
    """Write the tiny project: two notebooks and a config; with `prose`, what it takes to render a book."""
    (root / "notebooks").mkdir()
    (root / "notebooks" / "00_data.py").write_text(DATA)
    (root / "notebooks" / "03_catalogue.py").write_text(CATALOGUE)
    (root / "config").mkdir()
    (root / "config" / "tiny.yaml").write_text(CONFIG)
    (root / "pyproject.toml").touch()
    if prose:
        shutil.copytree(ROOT / "workflow", root / "workflow")
        shutil.copytree(ROOT / "book", root / "book", ignore=shutil.ignore_patterns("executed"))
        shutil.copy(ROOT / "_config.yml", root)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Root of the tiny project; the current directory is there."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
