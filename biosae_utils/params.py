"""Typed parameters: one class per notebook. Unknown names and wrong types are refused in one sentence.

`runconfig.RunConfig` makes them from the YAML of a run; `biosae run -p name=value` overrides single names.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from biosae_utils.errors import BiosaeError
from biosae_utils.sae_options import Option, SaeOptions

Variant = Literal["trained", "random-weights", "shuffled-genes"]
VARIANT = "trained, random-weights (same shape, seeded init) or shuffled-genes (tokens permuted in each cell)"
DTYPE = "auto (bfloat16 on cuda, float32 elsewhere), float32 or bfloat16"
OPTIONS = "what the model's family takes besides, for instance {ties: spread} for scGPT"
DEVICE = "auto (cuda, then mps, then cpu), or one of cpu, mps, cuda, cuda:0, ..."


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Descriptions of fields that come from a plain dataclass."""
        for field in cls.model_fields.values():
            if said := [m.description for m in field.metadata if isinstance(m, Option)]:
                field.description = said[0]


# ---- one class per phase: the names that a notebook's parameter cell may hold ------------------------------------


class PageParams(Strict):
    """What every page knows about itself."""

    run: str = Field("demo", pattern=r"^[A-Za-z0-9_-]+$", description="name of the run; results go to results/<run>/")
    seed: int = Field(0, ge=0, description="seed of everything random on this page")
    results: str = Field("results", description="folder that holds all runs")


class ModelPage(PageParams):
    model: str = Field("mini-geneformer", description="slug of the model as in the config")
    source: str = Field(
        "data/demo/models/mini-geneformer", description="registered name or directory of the checkpoint"
    )
    variant: Variant = Field("trained", description=VARIANT)


class LayerPage(ModelPage):
    layer: int = Field(0, ge=0, le=127, description="block whose output is analysed, counted from 0")


class DataParams(PageParams):
    """00_data: the cells, checked, and the cohort that the run uses."""

    path: str = Field("data/demo/pbmc_ifnb.h5ad", description="h5ad with counts")
    counts: str = Field("auto", description="where counts are: auto, X, raw, or layers/<name>")
    cell_type: str | None = Field("cell_type", description="obs column; null when there is none")
    condition: str | None = Field("condition", description="obs column; null when there is none")
    donor: str | None = Field(None, description="obs column; null when there is none")
    n_cells: int | None = Field(
        2000, ge=20, description="cells drawn, balanced over cell type and condition; null for all"
    )
    holdout: float = Field(
        0.2, gt=0, lt=0.9, description="share of cells (of donors where there are any) kept for evaluation"
    )
    models: dict[str, str] = Field(
        {"mini-geneformer": "data/demo/models/mini-geneformer"}, description="model slug -> source"
    )


class ExtractParams(ModelPage):
    """01_extract: one pass over all cells that keeps a uniform sample of training positions of every layer."""

    data: str = Field(
        "data/demo/pbmc_ifnb.h5ad", description="h5ad with counts; the cohort of 00_data says which cells"
    )
    options: dict[str, str] = Field({}, description=OPTIONS)
    n_positions: int = Field(150_000, ge=1_000, description="training positions kept per layer")
    n_positions_heldout: int = Field(20_000, ge=500, description="held-out positions kept per layer")
    layers: list[int] | None = Field(
        None, description="blocks whose output is kept; null for all; the model's in a config"
    )
    max_tokens: int | None = Field(None, ge=64, description="padded tokens a batch; null finds it from free memory")
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description=DEVICE)
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description=DTYPE)


class SaeParams(ModelPage, SaeOptions):
    """02_sae: a TopK SAE for every layer, its held-out quality, and the sparse codes of all positions."""

    data: str = Field("data/demo/pbmc_ifnb.h5ad", description="h5ad with counts, as for 01_extract")
    options: dict[str, str] = Field({}, description=OPTIONS)
    n_seeds: int = Field(
        3, ge=1, le=10, description="SAEs trained per layer with different seeds; codes come from the first"
    )
    layers: list[int] | None = Field(None, description="blocks that get an SAE; null for all; the model's in a config")
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description=DEVICE)
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description=DTYPE)


class CatalogueParams(LayerPage):
    """03_catalogue: what each latent fires on."""

    n_top: int = Field(20, ge=3, le=200, description="top genes kept per latent")
    min_count: int = Field(10, ge=1, description="firings of a latent on a gene below which the gene cannot be listed")
    shrinkage: float = Field(
        10.0, ge=0, description="pseudo-count that pulls a gene's mean activation towards the latent's mean"
    )


class AnnotateParams(LayerPage):
    """04_annotate: latents against gene sets, with permuted controls."""

    genesets: str = Field("data/demo/genesets.parquet", description="Parquet of gene sets")
    collections: list[str] = Field(
        ["GO_BP", "Reactome", "Hallmark"], description="collections of that file to test against"
    )
    n_top: int = Field(20, ge=3, le=200, description="top genes of a latent that are tested")
    fdr: float = Field(0.05, gt=0, lt=1, description="false discovery rate over all tests of the page")
    min_size: int = Field(5, ge=2, description="smallest gene set tested, in genes the model knows")
    max_size: int = Field(500, ge=5, description="largest gene set tested, in genes the model knows")
    n_permutations: int = Field(50, ge=1, description="relabelled copies of the lists behind the control")
    control: str | None = Field(
        None, description="the same model with random weights, where the run has its catalogue; set by the config"
    )


class SvdParams(ModelPage):
    """05_svd: SAE against SVD at matched rank and matched active count."""

    n_random: int = Field(1000, ge=10, description="random directions behind the floor")
    n_axes: int = Field(50, ge=1, description="leading principal axes of the published rule and of the subspace share")
    cosine: float = Field(
        0.5, gt=0, lt=1, description="|cosine| with one axis above which the published rule sees a latent"
    )
    n_boot: int = Field(1000, ge=100, description="resamples of cells and latents behind the intervals")


class TrackParams(ModelPage):
    """06_tracking: latents followed over layers, beside other-seed and random floors."""

    threshold: float = Field(0.7, gt=0, lt=1, description="decoder cosine above which two latents count as the same")
    activation_threshold: float = Field(
        0.5, gt=0, lt=1, description="correlation of activations above which two latents count as the same"
    )
    min_count: int = Field(10, ge=1, description="firings on held-out positions below which a latent is not followed")
    n_boot: int = Field(1000, ge=100, description="resamples of latents behind the intervals")


class ScorecardParams(PageParams):
    """15_scorecard: every claim of the run."""

    rules_hash: str = Field("", description="hash of the parameters of all pages; filled by the runner")


class PublishedParams(PageParams):
    """16_published: the published atlas under every annotation rule, beside its controls."""

    summary: str = Field(
        "data/published_summary/geneformer-v2-316m", description="tables written by scripts/reanalyse_published.py"
    )


PHASES: dict[str, type[PageParams]] = {
    "00_data": DataParams,
    "01_extract": ExtractParams,
    "02_sae": SaeParams,
    "03_catalogue": CatalogueParams,
    "04_annotate": AnnotateParams,
    "05_svd": SvdParams,
    "06_tracking": TrackParams,
    "15_scorecard": ScorecardParams,
    "16_published": PublishedParams,
}

Scope = Literal["run", "model", "layer"]


def scope(phase: str) -> Scope:
    """Whether a phase has one page per run, per model, or per model and layer."""
    cls = PHASES[phase]
    return "layer" if issubclass(cls, LayerPage) else "model" if issubclass(cls, ModelPage) else "run"


def checked(cls: type[BaseModel], values: dict[str, Any], *, where: str) -> Any:
    """Build `cls` from `values`; every problem is told in one sentence that lists what is allowed."""
    try:
        return cls(**values)
    except ValidationError as e:
        problems = []
        for err in e.errors():
            name = ".".join(str(p) for p in err["loc"])
            if err["type"] == "extra_forbidden":
                close = difflib.get_close_matches(name, cls.model_fields, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                problems.append(f"unknown name {name}{hint}; the names are {', '.join(cls.model_fields)}")
            else:
                problems.append(f"{name} = {err.get('input')!r}: {err['msg'].lower()}")
        raise BiosaeError("; ".join(problems), where=where) from e
