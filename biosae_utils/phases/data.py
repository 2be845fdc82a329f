"""00_data: the cells, checked, the cohort that the run uses, and what the models can see of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from biosae_utils.claims import verdict
from biosae_utils.errors import BiosaeError
from biosae_utils.params import Filled, InputFile, PageParams
from biosae_utils.phases.base import Phase
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output

if TYPE_CHECKING:
    import scipy.sparse as sp

    from biosae_utils.analysis.conditions import Comparison
    from biosae_utils.cells.data import CellFile

FDR, N_NULL = 0.05, 50
FEWEST = 10.0
"""Genes above chance by which conditions must differ: fewer are no response that a model could be asked about."""
N_LEADING, N_LOST = 200, 20
QUANTILES = {"low": 0.025, "q25": 0.25, "median": 0.5, "q75": 0.75, "high": 0.975}


class Params(PageParams):
    """The cells, checked, and the cohort that the run uses."""

    path: InputFile = Field("data/demo/pbmc_ifnb.h5ad", description="h5ad, h5mu or zarr folder with counts")
    counts: str = Field("auto", description="where counts are: auto, X, raw, layers/<name>, or several joined by +")
    cell_type: str | None = Field("cell_type", description="obs column; null when there is none")
    condition: str | None = Field("condition", description="obs column; null when there is none")
    donor: str | None = Field(None, description="obs column; null when there is none")
    reference: str | None = Field(
        None, description="condition that the others are compared with; null for the one called like a control"
    )
    n_cells: int | None = Field(
        2000, ge=20, description="cells drawn, balanced over cell type and condition; null for all"
    )
    holdout: float = Field(
        0.2, gt=0, lt=0.9, description="share of cells (of donors where there are any) kept for evaluation"
    )
    models: Annotated[dict[str, InputFile], Filled()] = Field(
        {"mini-geneformer": "data/demo/models/mini-geneformer"}, description="model slug -> source"
    )


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Check the file, draw the cohort, ask what each model can see, and whether conditions differ at all."""
    from scipy import sparse

    from biosae_utils.analysis.differential import contrast
    from biosae_utils.cells.cohort import make_cohort
    from biosae_utils.cells.data import open_cells

    cells = open_cells(p.path, p.counts)
    with out.step("draw the cohort"):
        cohort = make_cohort(cells, p)
        counts = sparse.vstack([chunk for _, chunk in cells.chunks(cohort["row"].to_numpy())]).tocsr()
    out.table(cohort, "cohort")
    sides = contrast(cohort["condition"].to_numpy(), p.reference)
    found = [*cells.messages, *(sides.messages if sides else [])]
    out.table(
        pd.DataFrame({"step": np.arange(1, len(found) + 1), "what was found": found}),
        "checks",
        download=False,
    )
    about_groups = groups(cohort, out)
    with out.step("genes of each model"):
        about_models = genes_of_models(p, cells, counts, out)
    with out.step("what one gene tells"):
        one_gene(cells, cohort, counts, out)
    with out.step("compare conditions"):
        about_conditions = conditions(p, cells, cohort, counts, out)
    out.facts(
        file=Path(p.path).name,
        sha256=cells.sha256,
        encoding=cells.encoding,
        values_said="counts" if cells.encoding == "counts" else f"logarithms turned into counts ({cells.encoding})",
        location=cells.location,
        n_cells_file=cells.n_cells,
        columns={"cell_type": p.cell_type, "condition": p.condition, "donor": p.donor},
        **about_groups,
        **about_models,
        **about_conditions,
    )


def _labels(values: pd.Series, of_all: str) -> pd.Series:
    """Names of groups as text: `of_all` where the file has no such column, "not given" where a cell has no value."""
    return values.fillna(of_all if values.isna().all() else "not given").astype(str)


def groups(cohort: pd.DataFrame, out: Output) -> dict[str, Any]:
    """Cells, held-out share and depth by cell type and condition."""
    kind, state = (_labels(cohort[column], "all cells") for column in ("cell_type", "condition"))
    keys = [kind.rename("cell_type"), state.rename("condition")]
    by_group = cohort.groupby(keys).agg(
        cells=("row", "size"), held_out=("heldout", "sum"), counts=("n_counts", "median"), genes=("n_genes", "median")
    )
    names = {"held_out": "held out", "counts": "median counts", "genes": "median genes"}
    out.table(by_group.reset_index().rename(columns={"cell_type": "cell type"} | names), "groups")
    sides = by_group.assign(training=by_group["cells"] - by_group["held_out"])[["training", "held_out"]]
    bars = sides.melt(var_name="side", value_name="n", ignore_index=False).reset_index()
    out.table(bars, "group_sides", download=False)
    depth = cohort[["n_counts", "n_genes"]].rename(columns={"n_counts": "counts", "n_genes": "genes"})
    boxes = [
        {"condition": condition, "what": what} | {name: values.quantile(q) for name, q in QUANTILES.items()}
        for condition, part in depth.groupby(state)
        for what, values in part.items()
    ]
    out.table(pd.DataFrame(boxes), "depth", download=False)
    medians = depth["counts"].groupby(state).median()
    return {
        "n_cells": len(cohort),
        "n_heldout": int(cohort["heldout"].sum()),
        "n_types": kind.nunique(),
        "n_conditions": state.nunique(),
        "smallest_group": by_group["cells"].min(),
        "largest_group": by_group["cells"].max(),
        "median_counts": cohort["n_counts"].median(),
        "median_genes": cohort["n_genes"].median(),
        "depth_said": "; ".join(f"{name} {value:,.0f}" for name, value in medians.items()),
    }


def genes_of_models(p: Params, cells: CellFile, counts: sp.csr_matrix, out: Output) -> dict[str, Any]:
    """Which genes of the file each model knows, and what is lost with the others."""
    from biosae_utils.models.registry import load_model

    n_cells, total = counts.shape[0], np.asarray(counts.sum(0, dtype=np.float64)).ravel()
    genes = pd.DataFrame(
        {
            "ensembl": cells.genes.ensembl,
            "symbol": cells.genes.symbol,
            "n_cells": np.bincount(counts.indices, minlength=len(total)),
            "mean": total / n_cells,
        }
    )
    rows, lost = [], []
    for slug, source in p.models.items():
        model = load_model(source, name=slug, device="cpu")
        seen = model.gene_tokens(cells.genes) >= 0
        if not seen.any():
            raise BiosaeError(
                f"None of the {len(seen):,} genes is in the vocabulary of {slug}",
                where=p.path,
                do="check that gene ids are human Ensembl ids or symbols",
            )
        special = list(model.info.special_ids)
        room = model.info.max_len - int(np.isin(model.encode(counts[:1], cells.genes).ids, special).sum())
        rows.append(
            {
                "model": slug,
                "vocabulary": len(model.info.vocab) - len(special),
                "genes seen": int(seen.sum()),
                "genes lost": int((~seen).sum()),
                "expressed genes lost": int((~seen & (genes["n_cells"] > 0)).sum()),
                "molecules seen (%)": round(100 * total[seen].sum() / total.sum(), 2),
                "genes that fit": room,
                "cells cut (%)": round(100 * float((counts[:, seen].getnnz(axis=1) > room).mean()), 2),
            }
        )
        worst = genes.assign(gene=cells.genes.label)[~seen].nlargest(N_LOST, "mean", keep="first")
        lost.append(worst.rename(columns={"mean": "mean count", "n_cells": "cells"}).assign(model=slug))
        genes[f"in_{slug}"] = seen
    out.table(genes, "genes")
    out.table(pd.DataFrame(rows), "models")
    out.table(pd.concat(lost)[["model", "gene", "mean count", "cells"]], "lost", download=False)
    sees = [f"{r['model']} {r['genes seen']:,} ({r['molecules seen (%)']} % of the molecules)" for r in rows]
    return {"n_genes": len(genes), "models_said": ", ".join(sees)}


def one_gene(cells: CellFile, cohort: pd.DataFrame, counts: sp.csr_matrix, out: Output) -> None:
    """How well one gene, or depth, tells groups of cells apart: what any latent of any model must beat."""
    from scipy import sparse

    from biosae_utils.analysis.celltypes import in_groups
    from biosae_utils.analysis.group_scores import rivals

    columns = [name for name in ("condition", "cell_type") if in_groups(cohort, name)]
    if not columns:
        return
    expression = (sparse.diags(1e4 / np.maximum(cohort["n_counts"].to_numpy(), 1)) @ counts).log1p().tocsr()
    depth = cohort[["n_counts", "n_genes"]].rename(columns={"n_counts": "molecules", "n_genes": "genes detected"})
    found = rivals(expression, cells.genes.label, depth, cohort[columns], cohort["heldout"].to_numpy(bool))
    out.table(found.best, "rivals")
    names = [str(i) for i in range(found.values.shape[1])]
    out.table(pd.DataFrame(found.values, columns=names), "rival_values", download=False)


def conditions(p: Params, cells: CellFile, cohort: pd.DataFrame, counts: sp.csr_matrix, out: Output) -> dict[str, Any]:
    """Genes that differ between the reference condition and the others within cell types, and by chance."""
    from scipy import sparse

    from biosae_utils.analysis.conditions import compare, exceedance
    from biosae_utils.analysis.differential import contrast

    about = {
        "id": "conditions_differ",
        "title": "Genes differ between conditions within cell types, more than between relabelled cells",
        "rule": f"genes with BH q <= {FDR} over all genes; supported if the lower end of the jackknife interval over "
        f"blocks of cells exceeds the largest of {N_NULL} relabelled counts; trivial if value and control are fewer "
        f"than {FEWEST:.0f} genes apart",
    }
    sides = contrast(cohort["condition"].to_numpy(), p.reference)
    if sides is None or not sides.others:
        out.claim(**about, verdict="not_tested", reason="the cells have one condition only")
        return {"tested": False, "difference_said": "Whether conditions differ was not tested: there is only one."}
    given, reference = sides.has_condition, sides.reference
    kind = _labels(cohort["cell_type"], "all cells")[given]
    per_10k = (sparse.diags(1e4 / cohort.loc[given, "n_counts"].to_numpy()) @ counts[given]).tocsr()
    result = compare(per_10k, sides.group[given], kind.to_numpy(), alpha=FDR, n_null=N_NULL, seed=p.seed)
    claim = out.claim(
        **about,
        value=result.n_different,
        unit="genes",
        control=float(result.by_chance.mean()),
        control_kind="condition labels dealt out anew within each cell type, mean",
        minimum=FEWEST,
        verdict=verdict(result.n_different.low > result.by_chance.max()),
    )
    leading = leading_genes(result, cells.genes.label, reference, out)
    out.table(exceedance({"true": result.genes["z"].to_numpy(), "relabelled": result.z_null}), "z", download=False)
    return {
        "tested": True, "reference": reference, "others": list(sides.others), "fdr": FDR,
        "n_compared": int(given.sum()), "n_different": claim.value, "n_by_chance": claim.control,
        "leading": leading["gene"].head(3).tolist(), "leading_z": leading["z"].abs().head(3).tolist(),
        "difference_said": f"{claim.value:,.0f} genes differ between {reference} and other cells of the same type, "
        f"{claim.control:.2g} when labels are dealt out anew; {leading['gene'].iloc[0]} leads with an AUROC of "
        f"{leading['AUROC'].iloc[0]:.2f}, where 0.5 is chance.",
    }  # fmt: skip


def leading_genes(result: Comparison, names: np.ndarray, reference: str, out: Output) -> pd.DataFrame:
    """Every gene's test, for downloads, and the most different genes in order, for the page."""
    columns = {"auroc": "AUROC", "mean_group": "mean, others", "mean_rest": f"mean, {reference}"}
    table = result.genes.rename(columns=columns)
    table.insert(0, "gene", names)
    out.table(table, "conditions")
    order = table["z"].abs().sort_values(ascending=False, kind="stable").index
    leading = table.loc[order].head(N_LEADING)
    out.table(leading, "leading_genes", download=False)
    return leading


PHASE = Phase("00_data", Params, compute, title="Cells", part="cells", reads=())
