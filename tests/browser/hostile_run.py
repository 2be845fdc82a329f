"""A tiny run in which every name that data can bring is hostile: it would run a script, fetch a picture, end a cell."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import yaml


def hostile(place: str) -> str:
    """A name of a place (gene, donor, ...) that tries everything; the place can be recognised in what it would do."""
    return (
        f"<svg onload=alert('{place}')> <img src=x onerror=alert('{place}')> <script>alert('{place}')</script> "
        f"\"q\" `{place}` | {{{{ seed }}}} $({place}) ](javascript:alert('{place}')) {{raw}}`x` :::"
    )


FILE = "<svg onload=alert(1)> 'q' & $(x) `y`.h5ad"
"""A file's name; a slash it cannot hold."""
PLACES = ("gene", "cell type", "condition", "term", "title")
"""Where names are shown; those of donors decide what is held out, and stand in a download."""
PHASES = ["00_data", "01_extract", "02_sae", "03_catalogue", "04_annotate", "16_published", "15_scorecard"]


def write_run(project: Path) -> Path:
    """Cells, gene sets and a config with hostile names, in a copy of the project; returns the config."""
    cells = project / "data" / FILE
    cells.write_bytes((project / "data/demo/pbmc_ifnb.h5ad").read_bytes())
    with h5py.File(cells, "r+") as f:
        for column, place in (("cell_type", "cell type"), ("condition", "condition")):
            rename(f[f"obs/{column}/categories"], place)
        donors = f["obs"].create_group("donor")
        donors.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
        n = len(f["obs/barcode"])
        donors["codes"] = (np.arange(n) % 4).astype(np.int8)
        donors["codes"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        donors.create_dataset(
            "categories", data=[hostile("donor") + str(i) for i in range(4)], dtype=h5py.string_dtype()
        )
        donors["categories"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        f["obs"].attrs["column-order"] = [*f["obs"].attrs["column-order"], "donor"]
        symbols = f["var/symbol"].asstr()[:]
        commonest = np.argsort(-np.bincount(f["X/indices"][:], minlength=len(symbols)))[:2000]
        known = symbols[commonest[1::2]].copy()
        symbols[commonest[::2]] = [f"{hostile('gene')} {symbol}" for symbol in symbols[commonest[::2]]]
        f["var/symbol"][:] = symbols
    rng = np.random.default_rng(0)
    sets = {f"{hostile('term')} {i}": rng.choice(known, 60, replace=False).tolist() for i in range(60)}
    (project / "data/hostile.json").write_text(json.dumps(sets))
    config = yaml.safe_load((project / "config/tiny.yaml").read_text())
    config |= {
        "run": "hostile", "title": hostile("title"), "phases": PHASES,
        "models": {"mini-geneformer": {**config["models"]["mini-geneformer"], "layers": [2]}},
        "data": {"path": str(cells.relative_to(project)), "n_cells": 80, "donor": "donor"},
        "extract": {"n_positions": 4000, "n_positions_heldout": 1000}, "sae": {"steps": 40, "batch_size": 256},
        "annotate": {"genesets": "data/hostile.json", "collections": ["hostile"], "n_permutations": 5},
    }  # fmt: skip
    path = project / "config/hostile.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def rename(categories: h5py.Dataset, place: str) -> None:
    """Give every category of a column a hostile name that ends with its own."""
    parent, name = categories.parent, categories.name.rpartition("/")[2]
    attributes, had = dict(categories.attrs), categories.asstr()[:]
    del parent[name]
    new = parent.create_dataset(name, data=[f"{hostile(place)} {own}" for own in had], dtype=h5py.string_dtype())
    new.attrs.update(attributes)
