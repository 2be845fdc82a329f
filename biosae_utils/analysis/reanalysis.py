"""A published atlas under every annotation rule, beside its controls.

The atlas keeps a whole gene list only for features that its own rule annotated, and the first five genes of all
others. Both populations are analysed: ``listed`` is what can be asked of whole lists but is *selected by the outcome*,
so it flatters the real features; ``first five`` holds every alive feature, unselected, with short lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis.annotation_rates import MATCHED, PERMUTED, compare_rules
from biosae_utils.analysis.annotation_rules import RULES, Rule
from biosae_utils.analysis.enrich import make_lists
from biosae_utils.analysis.genesets import GeneSets
from biosae_utils.analysis.published import Atlas
from biosae_utils.errors import BiosaeError
from biosae_utils.intervals import bootstrap_mean

FIRST = 5
POPULATIONS = {
    "listed": "whole lists (features that the published rule annotated)",
    "first five": "first five genes of every alive feature",
}
CONTROLS = {"permuted": PERMUTED, "matched": MATCHED}
WITHOUT_NETWORK = tuple(rule for rule in RULES if not rule.network)
SIGNIFICANT = 4  # digits kept in committed tables


def measured_genes(atlas: Atlas) -> np.ndarray:
    """Genes that are named anywhere in the atlas, in all layers: as close as it lets us come to what was measured."""
    return np.array(sorted(atlas.top_genes["gene"].unique()), dtype=object)


def atlas_lists(atlas: Atlas, layer: int, population: str, genes: np.ndarray) -> sp.csr_matrix | None:
    """Gene lists of one layer, features by genes; None when the atlas has none of that kind for the layer.

    Parameters
    ----------
    population : {"listed", "first five"}
        See `POPULATIONS`; dead features are in neither.
    genes : ndarray of str
        Columns, upper case.
    """
    if population not in POPULATIONS:
        raise BiosaeError(f"No population {population!r}", do=f"use one of {', '.join(POPULATIONS)}")
    features = atlas.features[(atlas.features["layer"] == layer) & ~atlas.features["dead"]]
    rows = atlas.top_genes[atlas.top_genes["layer"] == layer]
    if population == "listed":
        features, rows = features[features["n_listed"] > 0], rows[rows["full"]]
    else:
        rows = rows[rows["position"] < FIRST]
    if len(features) == 0:
        return None
    row = {f: i for i, f in enumerate(features["feature"])}
    column = {g: i for i, g in enumerate(genes)}
    rows = rows[rows["feature"].isin(row)]
    return make_lists(
        rows["feature"].map(row).to_numpy(int), rows["gene"].map(column).to_numpy(int), (len(features), len(genes))
    )


def reanalyse(
    atlas: Atlas,
    sets: GeneSets,
    *,
    n_permutations: int = 25,
    n_matched: int = 12,
    alpha: float = 0.05,
    rules: Sequence[Rule] = WITHOUT_NETWORK,
    seed: int = 0,
    n_jobs: int = 1,
    done: Callable[[], None] = lambda: None,
) -> pd.DataFrame:
    """Annotated share of every layer and population under every rule, real and null.

    Parameters
    ----------
    atlas : Atlas
    sets : GeneSets
        Of all sizes; aligned here to the genes of the atlas.
    n_permutations, n_matched, alpha, rules, seed, n_jobs
        As in `compare_rules`.
    done : callable
        Called after each layer and population, for a progress bar.

    Returns
    -------
    DataFrame
        One row per layer, population and rule: n_features, n_terms, background, real, real_low, real_high (Wilson, over
        features), and for each control its mean, low and high (2.5 and 97.5 % quantiles over draws).
    """
    genes = measured_genes(atlas)
    sets = sets.on_genes(genes)
    rows = []
    for layer in atlas.layers:
        for population in POPULATIONS:
            lists = atlas_lists(atlas, layer, population, genes)
            if lists is not None:
                result = compare_rules(
                    {"real": lists}, sets, alpha=alpha, rules=rules, n_permutations=n_permutations,
                    n_matched=n_matched, seed=seed + layer, n_jobs=n_jobs,
                )  # fmt: skip
                rows += [{"layer": layer, "population": population, **row} for row in _wide(result)]
            done()
    return pd.DataFrame(rows)


def _wide(result: pd.DataFrame) -> list[dict[str, object]]:
    """One record a rule, with the real share and its controls side by side."""
    rows = []
    for rule, part in result.groupby("rule", sort=False):
        by = part.set_index("source")
        record = {"rule": rule, "n_features": int(by.at["real", "n_lists"])}
        record |= {name: int(by.at["real", name]) for name in ("n_terms", "background")}
        for short, source in {"real": "real", **CONTROLS}.items():
            share, low, high = by.loc[source, ["share", "low", "high"]]
            record |= {short: float(share), f"{short}_low": float(low), f"{short}_high": float(high)}
        rows.append(record)
    return rows


def over_layers(table: pd.DataFrame, *, n_boot: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Means over layers with intervals from resampled layers.

    Parameters
    ----------
    table : DataFrame
        From `reanalyse`, optionally with further key columns before ``layer``.

    Returns
    -------
    DataFrame
        population, rule, n_layers, n_features, mean of real, permuted and matched, and ``gain`` = real minus the
        larger of the two controls of each layer, each with low and high (95 %). Layers of one model are not independent
        experiments: the interval says how much the layers agree, not how another model would behave.
    """
    rows = []
    for (population, rule), part in table.groupby(["population", "rule"], sort=False):
        values = part[["real", *CONTROLS]].to_numpy()
        values = np.c_[values, values[:, 0] - values[:, 1:].max(1)]
        record = {
            "population": population,
            "rule": rule,
            "n_layers": len(part),
            "n_features": int(part["n_features"].sum()),
        }
        for i, name in enumerate(("real", *CONTROLS, "gain")):
            mean = bootstrap_mean(values[:, i], n_boot=n_boot, seed=seed, over="layers")  # same layers for every column
            record |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
        rows.append(record)
    return pd.DataFrame(rows)


def by_source(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with one row for the real features and one for each control.

    Parameters
    ----------
    table : DataFrame
        From `reanalyse` or `over_layers`.

    Returns
    -------
    DataFrame
        The key columns, source ("real", "permuted", "matched"), share, low, high.
    """
    keys = [name for name in ("sets", "layer", "population", "rule") if name in table]
    parts = [
        table[[*keys, source, f"{source}_low", f"{source}_high"]]
        .set_axis([*keys, "share", "low", "high"], axis=1)
        .assign(source=source)
        for source in ("real", *CONTROLS)
    ]
    return pd.concat(parts, ignore_index=True)
