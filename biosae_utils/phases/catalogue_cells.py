"""Latents as seen from the cells (03_catalogue): does one tell groups of cells apart better than a gene does?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from biosae_utils.claims import verdict
from biosae_utils.intervals import Interval
from biosae_utils.phases import readers
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output

if TYPE_CHECKING:
    import scipy.sparse as sp

LEAST_AUROC = 0.02
"""Difference of AUROC that counts: two pairs of cells in a hundred put in order."""
N_RELABELLED = 100
SHOWN = {
    "by_chance": "labels dealt out anew",
    "gene_heldout": "best single gene",
    "depth_heldout": "depth",
    "heldout": "best latent, held-out cells",
    "training": "best latent, training cells (chosen here)",
}
"""Dots of the figure: column of the table -> what it is called."""
ABOUT = {
    "id": "cells_separate",
    "title": "One latent tells a group of cells from all others better than the best single gene or depth does",
    "rule": "group, latent and rivals are chosen on training cells; supported if the 95 % interval over held-out cells "
    "of the paired difference from the strongest rival lies above 0 and that of the latent above the 97.5 % quantile "
    f"of the relabelled leader; trivial if the difference is below {LEAST_AUROC}",
}


def cell_groups(
    means: sp.csr_matrix, cohort: pd.DataFrame, features: pd.DataFrame, read: Inputs, out: Output, *, seed: int
) -> dict[str, Any]:
    """How well the best latent tells cell types and conditions apart, beside one gene, depth and relabelled cells."""
    from biosae_utils.analysis.celltypes import in_groups
    from biosae_utils.analysis.group_scores import against_rivals, by_chance, choose, leader

    heldout = cohort["heldout"].to_numpy(bool)
    columns = [name for name in ("condition", "cell_type") if in_groups(cohort, name)]
    if not columns:
        reason = "no cell type and no condition has two groups both in training and in held-out cells"
        out.claim(**ABOUT, verdict="not_tested", reason=reason)
        return {}
    labels = cohort[columns]
    found, every = choose(means, labels, heldout)
    best = against_rivals(found, readers.rivals(read), labels, heldout, seed=seed)
    drawn = {name: relabelled_groups(means, labels, name, heldout, seed) for name in columns}
    chance = {(name, group): high for name, (_, highs) in drawn.items() for group, high in highs.items()}
    best["by_chance"] = [chance[key] for key in zip(best["column"], best["group"], strict=True)]
    best = best.rename(columns={"chosen": "latent"}).merge(features[["latent", "top_genes"]], on="latent")
    out.table(every.rename(columns={"index": "latent"}), "cell_groups")
    out.table(best, "best_latents")
    out.table(dots_of(best), "best_latents_shown", download=False)
    lead, null = leader(best[best["column"] == columns[0]]), by_chance(drawn[columns[0]][0])
    rival = f"{lead['rival_name']}, {lead['rival']}"
    out.claim(
        **ABOUT,
        group=lead["group"],
        value=Interval(lead["heldout"], lead["low"], lead["high"], "cells"),
        unit="AUROC, held-out cells",
        control=Interval(lead["rival_heldout"], lead["rival_low"], lead["rival_high"], "cells"),
        control_kind=f"{rival}: the strongest of one gene and depth, chosen and scored in the same way",
        minimum=LEAST_AUROC,
        verdict=verdict(bool(lead["ahead_low"] > 0 and lead["low"] > null.high)),
    )
    says = {"column": lead["column"].replace("_", " "), "genes": ", ".join(lead["top_genes"].split(", ")[:4])}
    says |= {"rival": f"the expression of {lead['rival_name']}" if lead["rival"] == "one gene" else lead["rival_name"]}
    names = ("group", "latent", "training", "heldout", "rival_heldout", "ahead", "ahead_low", "ahead_high")
    numbers = {name: lead[name] for name in (*names, "depth_heldout")} | {"by_chance": null.high}
    counts = {"n_groups": len(best), "n_ahead": int((best["ahead_low"] > 0).sum())}
    counts["n_behind"] = int((best["ahead_high"] < 0).sum())
    return {f"best_{name}": value for name, value in (says | numbers | counts).items()}


def relabelled_groups(
    means: sp.csr_matrix, labels: pd.DataFrame, column: str, heldout: np.ndarray, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """Draws with labels dealt out anew within the other grouping of cells; 97.5 % quantile of each group."""
    from biosae_utils.analysis.group_scores import relabelled

    other = [name for name in labels if name != column]
    strata = labels[other[0]] if other else None
    scores, groups = relabelled(means, labels[column], strata, heldout, n_draws=N_RELABELLED, seed=seed)
    return scores, dict(zip(groups, np.quantile(scores[..., 1], 0.975, axis=0), strict=True))


def dots_of(best: pd.DataFrame) -> pd.DataFrame:
    """Best latents with one row a dot of their figure, kinds in the order of `SHOWN`."""
    ends = best[["low", "high"]]
    base = pd.DataFrame({"place": best["column"].str.replace("_", " ") + ": " + best["group"]})
    listed = best["latent"].astype(str) + ": " + best["top_genes"].str.slice(0, 60)
    says = {
        "gene_heldout": best["gene"],
        "depth_heldout": best["depth"],
        "by_chance": "97.5 % of relabelled draws",
    }
    return pd.concat(
        [
            base.assign(
                says=says.get(column, listed),
                which=name,
                auroc=best[column],
                **(ends if column == "heldout" else ends * np.nan),
            )
            for column, name in SHOWN.items()
        ],
        ignore_index=True,
    )
