"""A small published atlas of the true layout, with planted programmes, for the tests of its reader and re-analysis."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

GENES = [f"G{i}" for i in range(400)]
N_LAYERS, N_FEATURES, N_LISTED = 3, 60, 40


def feature(i: int, genes: list[str], listed: bool) -> dict[str, object]:
    """One record with the keys of the real files."""
    return {
        "i": i, "d": not genes, "f": 0.01, "ma": 0.1, "fc": 400 if genes else 0, "na": 2 if listed else 0, "m": 1,
        "sv": False, "lb": "some term" if listed else "", "to": "GO_BP" if listed else "none",
        "tg": [{"n": g, "a": 9.0 - k} for k, g in enumerate(genes[:5])],
    }  # fmt: skip


def write_atlas(folder: Path, *, layout: str = "deps", packed: bool = True) -> Path:
    """An atlas whose listed features hold programmes of ten genes (G0-G9, G10-G19, ...) and ten others."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, object] = {}
    for layer in range(N_LAYERS):
        features, lists = [], {}
        for i in range(N_FEATURES):
            start = 10 * (i % 10)
            own = GENES[start : start + 10] if i < N_LISTED else []
            genes = [*own, *rng.choice(GENES[100:], 20 - len(own), replace=False)] if i < N_FEATURES - 1 else []
            features.append(feature(i, genes, i < N_LISTED))
            if i < N_LISTED:
                lists[str(i)] = {
                    "genes": [{"n": g, "a": 9.0, "fc": 12} for g in genes],
                    "anns": [{"o": "GO_BP", "t": "some term", "p": 0.01, "or": 3.0, "n": 4, "g": genes[:4]}],
                }
        files[f"layer_{layer:02d}_features.json"] = features
        files[f"layer_{layer:02d}_annotations.json"] = lists
    edge = {"a": 1, "b": 2, "pmi": 5.5, "lb": "unlabeled", "c": 30}
    pair = (
        {"deps": [{"a": 1, "deps": [edge, edge | {"b": 3}]}]}
        if layout == "deps"
        else {"edges": [edge, edge | {"b": 3}]}
    )
    files["cross_layer_graph.json"] = {"L00_L01": {"summary": {"n_highways": 1}, **pair}}
    files["global_summary.json"] = {
        "n_layers": N_LAYERS,
        "layers": [
            {"layer": layer, "alive": 59, "dead": 1, "annotated": 40, "annotation_rate": 0.68, "n_svd_aligned": 2}
            for layer in range(N_LAYERS)
        ],
    }
    files["cross_layer_tracking.json"] = {
        "adjacent_persistence": [{"from_layer": 0, "to_layer": 1, "persistence_rate": 0.025, "n_matches": 2}]
    }
    for name, value in files.items():
        text = json.dumps(value).encode()
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(text) if packed else text)
    return folder
