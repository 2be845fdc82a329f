"""A new phase is three files and its name in a config: everything else follows, up to its line on the scorecard."""

from __future__ import annotations

import json
import subprocess

import yaml
from building import build_command, copy_tree, tail

MODULE = '''"""98_cell_depth: how deep the cells of each type are."""

from __future__ import annotations

from pydantic import Field

from biosae_utils.params import PageParams
from biosae_utils.phases import readers
from biosae_utils.phases.base import Phase


class Params(PageParams):
    """How deep the cells of each type are."""

    least: int = Field(100, ge=0, description="molecules that a cell must have")


def compute(p, read, out):
    cohort = readers.cohort(read)
    deep = cohort[cohort["n_counts"] >= p.least]
    table = deep.groupby("cell_type", as_index=False)["n_counts"].median()
    out.table(table, "depth")
    out.facts(n=len(deep))
    out.claim(
        id="depth", title="Cells have molecules, more than cells without any", value=float(deep["n_counts"].median()),
        unit="molecules", control=0.0, control_kind="empty cells", rule="the median is above the control",
        minimum=1.0, verdict="supported",
    )


PHASE = Phase("98_cell_depth", Params, compute, title="Depth of cells", part="cells", reads=("00_data",))
'''

NOTEBOOK = """# %% [markdown]
# # Depth of cells
#
# How many molecules does a cell of each type have?

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
least = 100

# %% tags=["hide-input"]
from biosae_utils.book import plots
from biosae_utils.book.page import Page

page = Page.open("98_cell_depth", globals())
found = page.result()

# %% tags=["hero", "hide-input"]
page.figure(
    plots.bars(found.table("depth"), x="cell_type", y="n_counts"),
    name="depth",
    alt="Bars of the median number of molecules for each cell type",
    caption="Median over cells.",
)

# %% [markdown]
# ## What argues against it
#
# Nothing yet.

# %% tags=["takeaways", "hide-input"]
page.takeaways([f"{found.facts.n} cells have {page.params.least} molecules or more; empty cells have none."])
"""

CONFIG = {
    "run": "new",
    "phases": ["00_data", "98_cell_depth", "15_scorecard"],
    "models": {"mini-geneformer": {"source": "data/demo/models/mini-geneformer", "layers": [0]}},
    "data": {"n_cells": 60},
    "cell_depth": {"least": 50},
}


def test_three_files_make_a_page_a_line_on_the_scorecard_and_an_entry_in_the_contents(tmp_path):
    project = copy_tree(tmp_path)
    (project / "biosae_utils/phases/cell_depth.py").write_text(MODULE)
    (project / "notebooks/98_cell_depth.py").write_text(NOTEBOOK)
    (project / "config/new.yaml").write_text(yaml.safe_dump(CONFIG))
    done = subprocess.run(build_command("--config", "config/new.yaml"), cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, tail(done)
    html = project / "_build/new/html/book/executed/new"
    page = (html / "98_cell_depth.html").read_text()
    assert "cells have 50 molecules or more" in page and "empty cells" in page
    assert "readers.cohort(read)" in page.replace("</span>", "").replace("<span>", "") or "How it was computed" in page
    assert "Cells have molecules, more than cells without any" in (html / "15_scorecard.html").read_text()
    assert "title: Depth of cells" in (project / "results/new/_toc.yml").read_text()
    claims = json.loads((project / "results/new/claims.json").read_text())
    assert [c["phase"] for c in claims if c["id"] == "depth"] == ["98_cell_depth"]
