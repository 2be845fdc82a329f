"""16_published: the published atlas of Geneformer under every annotation rule, beside its controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from biosae_utils import intervals
from biosae_utils.claims import verdict
from biosae_utils.errors import BiosaeError
from biosae_utils.params import InputFile, PageParams
from biosae_utils.phases.base import Phase
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output
from biosae_utils.store import read_json

ATLAS = "atlas-geneformer"
WIDTH = 1152
"""Width of the residual stream of Geneformer V2-316M; the atlas does not state it."""
N_AXES = 50
"""Principal axes of the published rule for novelty."""
N_BOOT = 2000
MIN_SHARE, MIN_NOVEL = 2.0, 1.0
"""Points by which a share must differ from its control to count: annotated features, and features novel by the rule."""
DECOYS = {"permuted": "permuted labels", "matched": "frequency-matched lists"}
N_SHOWN = 10
"""Genes of a feature that the table of features names."""
IN_PANELS = ("published", "full_listed", "feature", "layer")
IN_TABLE = ("published", "full_listed", "layer")
LISTS = {"listed": "whole lists", "first five": "first five genes of all features"}
FAMILIES = {
    "published": "only tests with two shared genes are corrected, as published",
    "full_listed": "all tests of a feature are corrected",
    "layer": "all tests of a layer are corrected",
}
"""Rules that have a claim, and which tests form their family."""


class Params(PageParams):
    """The published atlas under every annotation rule, beside its controls."""

    summary: InputFile = Field(
        "data/published_summary/geneformer-v2-316m", description="tables written by scripts/reanalyse_published.py"
    )


def compute(p: Params, read: Inputs, out: Output) -> None:
    """Shares under each rule, the rule for novelty put to random directions, and the features where they are here."""
    source = Path(p.summary)
    shares, stated, made = (_summary(source / name) for name in ("rules.csv", "published.csv", "provenance.json"))
    out.table(shares, "rules")
    out.table(stated, "published")
    out.table(provenance(made), "source", download=False)
    command = f"{made['command']} && biosae run 16_published"
    about_rules = rules(p, shares, stated, command, out)
    layers(shares, stated, made["n_layers"], out)
    with out.step("random directions"):
        about_novelty = novelty(p, stated, command, out)
    turnover(stated, command, out)
    with out.step("features of the fetched atlas"):
        about_features = features(out)
    out.facts(
        n_alive=made["features_alive"], n_listed=made["features_listed"], n_missing=len(made["problems"]),
        stated=_stated(stated), **about_rules, **about_novelty, **about_features,
    )  # fmt: skip


def _summary(path: Path) -> Any:
    """One file of the summary; a missing one is an error that says what writes it."""
    if not path.is_file():
        raise BiosaeError(
            "A file of the summary is missing",
            where=str(path),
            do="write it with `python scripts/reanalyse_published.py DIR --out` and that folder",
        )
    return pd.read_csv(path) if path.suffix == ".csv" else read_json(path)


def _stated(stated: pd.DataFrame) -> float:
    """Share of the alive features that the authors call annotated."""
    return stated["annotated"].sum() / stated["alive"].sum()


def provenance(made: dict[str, Any]) -> pd.DataFrame:
    """What was read, by what, and how to read it again: what, value."""
    facts = {
        "source": made["source"],
        "revision": made["revision"],
        "content": f"fingerprint {made['content']} over {made['files_read']} files",
        "layers read": f"{len(made['layers_read'])} of {made['n_layers']}",
        "alive features": f"{made['features_alive']:,}, naming {made['genes']:,} genes",
        "… with their whole gene list": f"{made['features_listed']:,}",
        "missing or unreadable": "; ".join(f"{row['file']}: {row['what']}" for row in made["problems"]) or "nothing",
        "gene sets": ", ".join(f"{name}, SHA-256 {digest[:12]}" for name, digest in made["genesets"].items()),
        "draws": f"{made['permutations']} of permuted labels, {made['matched']} of frequency-matched lists, "
        f"seed {made['seed']}",
        "code": f"{made['code_version']}, {made['date']}",
        "command": made["command"],
    }
    return pd.DataFrame({"what": facts.keys(), "value": [str(value) for value in facts.values()]})


def labels() -> dict[str, str]:
    """What each annotation rule is called."""
    from biosae_utils.analysis.annotation_rules import RULES

    return {rule.name: rule.label for rule in RULES}


def rules(p: Params, shares: pd.DataFrame, stated: pd.DataFrame, command: str, out: Output) -> dict[str, Any]:
    """Annotated share under each rule, mean over layers, for every collection of gene sets; claims on all of them."""
    from biosae_utils.analysis import reanalysis

    by_sets = shares.groupby("sets", sort=False)
    means = pd.concat(
        [reanalysis.over_layers(part, n_boot=N_BOOT, seed=p.seed).assign(sets=name) for name, part in by_sets]
    )
    out.table(means, "over_layers")
    long = reanalysis.by_source(means)
    order = [name for name in labels() if name in set(long["rule"])]
    long = long.assign(rule=pd.Categorical(long["rule"], order)).sort_values("rule", kind="stable")
    out.table(long.assign(rule=long["rule"].map(labels()).astype(str)), "rule_bars", download=False)
    everything = shares["sets"].unique()[-1]
    table = means[means["sets"] == everything].set_index(["population", "rule"])
    for population, words in LISTS.items():
        for rule, family in FAMILIES.items():
            row = table.loc[(population, rule)]
            out.claim(
                id=f"annotated_{rule}",
                group=words,
                title=f"Published features are annotated more often than controls when {family} ({words})",
                value=_mean(row, "real"),
                unit="% of features",
                control=_mean(row, _higher(row)),
                control_kind=f"{DECOYS[_higher(row)]} among real lists, the kind annotated more often",
                rule="decoys are judged half and half with real lists; supported if the 95 % interval over layers of "
                "the difference from the kind that is annotated more often lies above 0",
                minimum=MIN_SHARE,
                verdict=verdict(row["gain_low"] > 0),
                published=100 * _stated(stated),
                command=command,
            )
    return {"sets": everything, "shares": {pop: _facts(table.loc[pop]) for pop in LISTS}, "bars_said": _said(table)}


def _higher(row: pd.Series) -> str:
    """The control that a rule has to beat."""
    return "permuted" if row["permuted"] >= row["matched"] else "matched"


def _mean(row: pd.Series, name: str) -> intervals.Interval:
    """Mean over layers in percent."""
    return intervals.Interval(row[name], row[f"{name}_low"], row[f"{name}_high"], "layers").scaled(100)


def _facts(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Share of the real lists and of the higher control under each rule."""
    return {rule: {"real": row["real"], "control": row[_higher(row)]} for rule, row in table.iterrows()}


def _said(table: pd.DataFrame) -> str:
    """All shares as text, for who does not see the bars."""
    return "; ".join(
        f"{population}, {labels()[rule]}: real {row['real']:.1%}, permuted {row['permuted']:.1%}, "
        f"matched {row['matched']:.1%}"
        for (population, rule), row in table.iterrows()
    )


def layers(shares: pd.DataFrame, stated: pd.DataFrame, n_layers: int, out: Output) -> None:
    """Shares layer by layer: for the figure, with gaps where the source lacks the lists, and as a wide table."""
    from biosae_utils.analysis import reanalysis

    ours = shares[shares["sets"] == shares["sets"].unique()[-1]]
    long = reanalysis.by_source(ours[ours["rule"].isin(IN_PANELS)])
    long = long[long["source"] != "matched"]
    keys = ["rule", "population", "source"]
    every = long[keys].drop_duplicates().merge(pd.DataFrame({"layer": range(n_layers)}), how="cross")
    long = every.merge(long, on=[*keys, "layer"], how="left")
    said = stated.rename(columns={"annotation_rate": "share"})[["layer", "share"]]
    said = said.assign(rule="published", population="authors", source="stated")
    long = pd.concat([long, said], ignore_index=True)[[*keys, "layer", "share", "low", "high"]]
    out.table(long.assign(rule=long["rule"].map(labels())), "layer_lines", download=False)
    wide = ours[ours["rule"].isin(IN_TABLE)]
    wide = wide.assign(rule=wide["rule"].map(labels()))[
        ["layer", "population", "rule", "n_features", "real", "real_low", "real_high", "permuted", "matched"]
    ]
    rate = stated[["layer", "annotation_rate"]].rename(columns={"annotation_rate": "stated"})
    out.table(wide.merge(rate, on="layer", how="left"), "layers", download=False)


def novelty(p: Params, stated: pd.DataFrame, command: str, out: Output) -> dict[str, Any]:
    """The rule for "invisible to SVD", put to random directions and to directions inside the axes."""
    from biosae_utils.analysis import geometry, nulls

    rng, n = np.random.default_rng(p.seed), int(stated["alive"].mean())
    axes = np.eye(WIDTH)[:N_AXES]  # any orthogonal axes: random directions do not care which
    controls = {
        "random": geometry.published_novel(nulls.random_directions(n, WIDTH, rng), axes).mean(),
        "inside": geometry.published_novel(nulls.rotated_axes(axes, n, rng), axes).mean(),
    }
    novel = (1 - stated["n_svd_aligned"] / stated["alive"]).rename("real")
    lines = pd.concat([stated["layer"], novel], axis=1).assign(**controls)
    out.table(lines.melt("layer", var_name="which", value_name="novel"), "novel", download=False)
    share = intervals.bootstrap_mean(novel.to_numpy(), n_boot=N_BOOT, seed=p.seed, over="layers").scaled(100)
    out.claim(
        id="invisible_to_svd",
        title="Published features are invisible to single principal axes more often than random directions are",
        value=share,
        unit="% of features",
        control=100 * controls["random"],
        control_kind="random directions of the same width, same rule",
        rule="supported if the 95 % interval over layers lies above the share of random directions",
        minimum=MIN_NOVEL,
        verdict=verdict(share.low > 100 * controls["random"]),
        published=100 * (1 - stated["n_svd_aligned"].sum() / stated["alive"].sum()),
        command=command,
    )
    return {
        "novel": novel.mean(), "novel_min": novel.min(), "novel_max": novel.max(), "n_directions": n, "width": WIDTH,
        "novel_random": controls["random"], "novel_inside": controls["inside"],
    }  # fmt: skip


def turnover(stated: pd.DataFrame, command: str, out: Output) -> None:
    """What the atlas states of persistence cannot be read without another training, which it lacks."""
    out.claim(
        id="turnover",
        title="Published features persist into the next layer less often than into another training of their own",
        rule="supported if persistence lies below that of another seed of the same layer",
        verdict="not_tested",
        reason="the atlas has no second training of a layer",
        published=100 * stated["persistence"].mean(),
        command=command,
    )


def features(out: Output) -> dict[str, Any]:
    """The features of the atlas with the labels of their authors, where it was fetched."""
    from biosae_utils.analysis.published import import_atlas
    from biosae_utils.cells import fetch

    try:
        folder = fetch.folder_of(ATLAS)
    except BiosaeError:
        return {"n_features": 0}
    found = sorted(folder.rglob("layer_*_features.json*"))
    atlas = import_atlas(found[0].parent if found else folder, out.dir / "atlas")
    first = atlas.top_genes[atlas.top_genes["position"] < N_SHOWN]
    first = first.groupby(["layer", "feature"])["gene"].agg(", ".join).rename("top genes").reset_index()
    shown = atlas.features[~atlas.features["dead"]].merge(first, on=["layer", "feature"])
    columns = ["layer", "feature", "frequency", "module", "n_annotations", "label", "top genes"]
    out.table(shown.sort_values("n_annotations", ascending=False, kind="stable")[columns], "features")
    return {"n_features": len(shown)}


PHASE = Phase(
    "16_published", Params, compute, title="The published atlas", part="published", reads=(), fetched=(ATLAS,)
)
