"""What the files of a published atlas must look like: the fields that are used, with their limits.

Keys are the atlas' own short ones; keys that are not used are ignored.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

MAX_ROWS = 1 << 17

Index = Annotated[int, Field(ge=0, lt=MAX_ROWS)]
Text = Annotated[str, Field(max_length=400)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Gene(Row):
    """Name, mean activation, firings."""

    n: Annotated[str, Field(min_length=1, max_length=60)]
    a: Number
    fc: Annotated[int, Field(ge=0)] | None = None


Genes = Annotated[list[Gene], Field(max_length=200)]


class Feature(Row):
    """Index, dead, frequency, firings, annotations, module, SVD-aligned, label, its source, first genes."""

    i: Index
    d: bool
    f: Annotated[float, Field(ge=0, le=1)]
    fc: Annotated[int, Field(ge=0)] = 0
    na: Annotated[int, Field(ge=0)] = 0
    m: Annotated[int, Field(ge=-1, lt=MAX_ROWS)] = -1
    sv: bool = False
    lb: Text = ""
    to: Text = ""
    tg: Genes


class Listing(Row):
    """The whole gene list of an annotated feature."""

    genes: Genes


class Target(Row):
    b: Index
    pmi: Number


class Source(Row):
    a: Index
    deps: Annotated[list[Target], Field(max_length=1000)]


class Edge(Row):
    a: Index
    b: Index
    pmi: Number


class Pair(Row):
    """Two layers of the cross-layer graph: `deps` in the Geneformer atlas, `edges` in the scGPT one."""

    deps: Annotated[list[Source], Field(max_length=MAX_ROWS)] | None = None
    edges: Annotated[list[Edge], Field(max_length=MAX_ROWS)] | None = None


class LayerSummary(Row):
    layer: Annotated[int, Field(ge=0, lt=200)]
    alive: Index
    dead: Index
    annotated: Index
    annotation_rate: Annotated[float, Field(ge=0, le=1)]
    n_svd_aligned: Index | None = None
    variance_explained: Number | None = None


class Summary(Row):
    n_layers: Annotated[int, Field(ge=1, le=200)]
    layers: Annotated[list[LayerSummary], Field(max_length=200)]


class Step(Row):
    from_layer: Annotated[int, Field(ge=0, lt=200)]
    to_layer: Annotated[int, Field(ge=0, lt=200)]
    persistence_rate: Annotated[float, Field(ge=0, le=1)]


class Tracking(Row):
    adjacent_persistence: Annotated[list[Step], Field(max_length=200)]


def _unique(rows: list[Feature]) -> list[Feature]:
    if len({row.i for row in rows}) < len(rows):
        raise ValueError("a feature is listed twice")
    return rows


FEATURES = TypeAdapter(Annotated[list[Feature], Field(min_length=1, max_length=MAX_ROWS), AfterValidator(_unique)])
ANNOTATIONS = TypeAdapter(dict[Index, Listing])
GRAPH = TypeAdapter(dict[Annotated[str, Field(pattern=r"^L\d{2}_L\d{2}$")], Pair])
SUMMARY = TypeAdapter(Summary)
TRACKING = TypeAdapter(Tracking)
