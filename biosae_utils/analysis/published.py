"""The published feature atlases: a directory of JSON that somebody else wrote, read with care.

Both atlases of that family are read (cross-layer graph with `deps`, Geneformer, or `edges`, scGPT), plain or gzipped.
The files are untrusted: sizes are limited, every field that is used is checked (`published_schema`), and `Atlas.files`
tells of each file whether it was read, instead of silently leaving out what was not.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from biosae_utils.analysis.published_schema import (
    ANNOTATIONS,
    FEATURES,
    GRAPH,
    SUMMARY,
    TRACKING,
    Feature,
    Pair,
    Summary,
    Tracking,
)
from biosae_utils.errors import BiosaeError
from biosae_utils.store import write_json, write_table

MAX_BYTES = 64 << 20  # the largest real file holds 13 MB; anything above is not an atlas but a bomb
AGAIN = "check the source and download the file again"


# ---- one file ----------------------------------------------------------------------------------------------------


def locate(folder: Path, name: str) -> Path | None:
    """`name` in the folder, plain or gzipped; None when neither is there."""
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def read_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Content of a plain or gzipped file; one that is truncated or unpacks to more than `max_bytes` is refused."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as f:
            raw = f.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as e:
        raise BiosaeError(f"A file of the atlas is truncated or unreadable ({e})", where=str(path), do=AGAIN) from e
    if len(raw) > max_bytes:
        raise BiosaeError(f"A file of the atlas holds more than {max_bytes:,} bytes", where=str(path), do=AGAIN)
    return raw


def parse(raw: bytes, schema: TypeAdapter[Any], *, where: str) -> Any:
    """JSON that is not to be trusted, checked against its schema; the error names the first field that is wrong.

    ``Infinity`` and ``NaN``, which are no JSON but which Python writes, are left to the schema: it refuses them in
    every field that is used. Fields that are not used may hold anything, and odds ratios there are often infinite.
    """
    try:
        return schema.validate_python(json.loads(raw))
    except ValidationError as e:
        first = e.errors()[0]
        field = ".".join(map(str, first["loc"])) or "top level"
        what = f"A file of the atlas has another layout ({field}: {first['msg'].lower()})"
        raise BiosaeError(what, where=where, do=AGAIN) from e
    except (ValueError, RecursionError) as e:  # not UTF-8, not JSON, absurd numbers, absurd nesting
        raise BiosaeError(f"A file of the atlas is not JSON ({str(e)[:120]})", where=where, do=AGAIN) from e


# ---- the whole atlas ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Atlas:
    """A published atlas as tables.

    Attributes
    ----------
    name : str
        Name of the directory.
    n_layers : int
        Layers that the model has, readable or not.
    features : DataFrame
        layer, feature, dead, frequency, n_fired, n_annotations, module, svd_aligned, label, label_source, n_listed
        (length of the whole list; 0 where the atlas keeps the first five genes only).
    top_genes : DataFrame
        layer, feature, position (from 0), gene (upper case), mean, count (missing for short lists), full (bool: the
        whole list, not its first five).
    highways : DataFrame
        layer_a, layer_b, a, b, pmi.
    published : DataFrame
        layer and the figures that the atlas states of it: alive, dead, annotated, annotation_rate, n_svd_aligned,
        variance_explained, persistence (to the next layer).
    files : DataFrame
        file, what: every file that belongs to the atlas; what is wrong with it, ``""`` when it was read.
    hashes : dict
        SHA-256 of the content (unpacked) of every file that was read.
    """

    name: str
    n_layers: int
    features: pd.DataFrame
    top_genes: pd.DataFrame
    highways: pd.DataFrame
    published: pd.DataFrame
    files: pd.DataFrame
    hashes: dict[str, str]

    @property
    def problems(self) -> pd.DataFrame:
        """file, what: everything that is missing or could not be read."""
        return self.files[self.files["what"] != ""].reset_index(drop=True)

    @property
    def layers(self) -> list[int]:
        """Layers whose features could be read."""
        return sorted(self.features["layer"].unique().tolist())

    @property
    def listed_layers(self) -> list[int]:
        """Layers of which whole gene lists could be read too."""
        return sorted(self.features.loc[self.features["n_listed"] > 0, "layer"].unique().tolist())

    @property
    def summary(self) -> str:
        """How much was read, in one line."""
        n_alive, listed = int((~self.features["dead"]).sum()), len(self.listed_layers)
        return (
            f"{n_alive:,} alive features of {len(self.layers)} of {self.n_layers} layers, "
            f"whole gene lists of {listed} of {self.n_layers}"
        )


def read_atlas(folder: Path | str) -> Atlas:
    """Read a directory of a published atlas.

    Raises
    ------
    BiosaeError
        There is no such directory, or no layer in it can be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BiosaeError(
            "There is no such directory", where=str(folder), do="give the folder that holds layer_00_features.json"
        )
    said: dict[str, str] = {}
    hashes: dict[str, str] = {}

    def read(name: str, schema: TypeAdapter[Any]) -> Any:
        path = locate(folder, name)
        if path is None:
            said[name] = "missing"
            return None
        try:
            raw = read_bytes(path)
            value = parse(raw, schema, where=str(path))
        except BiosaeError as e:
            said[name] = e.what
            return None
        said[name], hashes[name] = "", hashlib.sha256(raw).hexdigest()
        return value

    summary = read("global_summary.json", SUMMARY)
    pattern = re.compile(r"layer_(\d{2})_features\.json(\.gz)?")
    named = {int(m[1]) for p in folder.iterdir() if (m := pattern.fullmatch(p.name))}
    n_layers = max([summary.n_layers if summary else 0, *(n + 1 for n in named)])
    features, genes = [], []
    for layer in range(n_layers):
        rows = read(f"layer_{layer:02d}_features.json", FEATURES)
        lists = read(f"layer_{layer:02d}_annotations.json", ANNOTATIONS)
        if rows is None:
            continue
        lists = {} if lists is None else {i: entry.genes for i, entry in lists.items()}
        features += [_feature(layer, row, len(lists.get(row.i, ()))) for row in rows]
        for row in rows:
            full = row.i in lists
            genes += [
                (layer, row.i, at, g.n.strip().upper(), g.a, g.fc, full)
                for at, g in enumerate(lists[row.i] if full else row.tg)
            ]
    if not features:
        wrong = [f"{name}: {what}" for name, what in said.items() if what and name.endswith("features.json")]
        raise BiosaeError(
            f"No layer of this atlas can be read ({'; '.join(wrong[:3]) or 'there is no layer_00_features.json'})",
            where=str(folder),
            do="give the folder that holds layer_00_features.json, or download the atlas again",
        )
    tracking, graph = read("cross_layer_tracking.json", TRACKING), read("cross_layer_graph.json", GRAPH)
    return Atlas(
        name=folder.resolve().name,
        n_layers=n_layers,
        features=pd.DataFrame(features),
        top_genes=pd.DataFrame(genes, columns=["layer", "feature", "position", "gene", "mean", "count", "full"]),
        highways=_highways(graph),
        published=_published(summary, tracking),
        files=pd.DataFrame(said.items(), columns=["file", "what"]),
        hashes=hashes,
    )


def _feature(layer: int, row: Feature, n_listed: int) -> dict[str, Any]:
    return {
        "layer": layer,
        "feature": row.i,
        "dead": row.d,
        "frequency": row.f,
        "n_fired": row.fc,
        "n_annotations": row.na,
        "module": row.m,
        "svd_aligned": row.sv,
        "label": row.lb,
        "label_source": row.to,
        "n_listed": n_listed,
    }


def _highways(graph: dict[str, Pair] | None) -> pd.DataFrame:
    """Edges of the cross-layer graph in either layout."""
    rows = []
    for name, pair in (graph or {}).items():
        layers = int(name[1:3]), int(name[5:7])
        rows += [(*layers, source.a, t.b, t.pmi) for source in pair.deps or () for t in source.deps]
        rows += [(*layers, e.a, e.b, e.pmi) for e in pair.edges or ()]
    return pd.DataFrame(rows, columns=["layer_a", "layer_b", "a", "b", "pmi"])


def _published(summary: Summary | None, tracking: Tracking | None) -> pd.DataFrame:
    """The atlas' own figures, one row a layer."""
    names = ["layer", "alive", "dead", "annotated", "annotation_rate", "n_svd_aligned", "variance_explained"]
    table = pd.DataFrame(
        [[getattr(row, n) for n in names] for row in (summary.layers if summary else ())], columns=names
    )
    rate = {
        s.from_layer: s.persistence_rate
        for s in (tracking.adjacent_persistence if tracking else ())
        if s.to_layer == s.from_layer + 1
    }
    return table.assign(persistence=table["layer"].map(rate).astype(float))


def import_atlas(folder: Path | str, out: Path | str) -> Atlas:
    """Read an atlas and write its tables (Parquet) and a record of what was read (import.json) to `out`."""
    atlas, out = read_atlas(folder), Path(out)
    for name in ("features", "top_genes", "highways", "published"):
        write_table(out / f"{name}.parquet", getattr(atlas, name))
    record = {
        "atlas": atlas.name,
        "n_layers": atlas.n_layers,
        "layers": atlas.layers,
        "listed_layers": atlas.listed_layers,
        "problems": atlas.problems.to_dict("records"),
        "sha256": atlas.hashes,
    }
    write_json(out / "import.json", record)
    return atlas
