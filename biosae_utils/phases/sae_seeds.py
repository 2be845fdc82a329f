"""Whether another seed finds the same latents (02_sae), beside random weights and random directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from biosae_utils.claims import verdict
from biosae_utils.intervals import Interval
from biosae_utils.numbers import span
from biosae_utils.phases import readers
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output

LEAST_AGREEING = 2.0
"""Points of latents found again that count: 15 of 768."""
ABOUT: dict[str, Any] = {
    "id": "seeds",
    "title": "Independently trained SAEs find the same latents again, beyond what random weights or directions do",
    "unit": "% of latents",
    "minimum": LEAST_AGREEING,
}


def agree(
    decoders: Mapping[int, Sequence[np.ndarray]], control: str | None, read: Inputs, out: Output, *, seed: int
) -> dict[str, Any]:
    """Share of latents that another seed finds again, beside the same of random weights and of random directions."""
    from biosae_utils.analysis.sae_report import SAME, agreement, seed_agreement

    pairs = seed_agreement(decoders, decoders_of(control, list(decoders), read) if control else {}, seed=seed)
    out.table(pairs, "seeds")
    table = agreement(pairs, seed=seed)
    out.table(table, "agreement")
    names = {"untrained": f"{control}, its own SAEs", "random": "random directions with the covariance of decoder rows"}
    for layer, part in table.groupby("layer"):
        rule = (
            f"share of one-to-one pairs with a cosine of at least {SAME}; supported if the 95 % interval over latents "
        )
        rule += f"lies above that of the control; trivial if they are fewer than {LEAST_AGREEING:.0f} points apart"
        about = ABOUT | {"layer": int(layer), "rule": rule}
        found = {row["kind"]: _interval(row).scaled(100) for row in part.to_dict("records")}
        if "seeds" not in found:
            out.claim(**about, verdict="not_tested", reason="the run trains one seed")
            continue
        ours = found.pop("seeds")
        rival = max(found, key=lambda kind: (found[kind].value, kind == "untrained"))
        kind = f"{names[rival]}, paired in the same way"
        holds = verdict(ours.low > found[rival].high)
        out.claim(**about, value=ours, control=found[rival], control_kind=kind, verdict=holds)
    return {"agree_said": in_words(table, control), "same": SAME, "cosine_seeds": _mean(pairs, "seeds")}


def decoders_of(model: str, layers: Sequence[int], read: Inputs) -> dict[int, list[np.ndarray]]:
    """Decoder rows of every seed of another model, at those of the layers that it has."""
    saes = readers.Saes.read(read, model=model)
    have = [layer for layer in layers if layer in saes.layers]
    return {layer: [saes.load(layer, seed).W_dec.numpy() for seed in saes.seeds] for layer in have}


def in_words(table: pd.DataFrame, control: str | None) -> str:
    """Shares by kind; those of random weights beside the trained ones of the same layers."""
    shares = {kind: part.set_index("layer")["share"] for kind, part in table.groupby("kind")}
    random = span(shares["random"], "share")
    if "seeds" not in shares:
        return f"One seed was trained, so agreement is unknown; of random directions {random} find a partner by chance."
    said = f"Of the latents {span(shares['seeds'], 'share')} are found again by another seed, of random "
    said += f"directions {random}"
    if "untrained" not in shares:
        return f"{said}; they are not compared with random weights here."
    theirs = shares["untrained"]
    where = ", ".join(str(layer) for layer in theirs.index)
    same = span(shares["seeds"].reindex(theirs.index), "share")
    return f"{said}; in layer {where} {same}, where SAEs of {control} find {span(theirs, 'share')} again."


def _interval(row: Mapping[str, Any]) -> Interval:
    return Interval(row["share"], row["low"], row["high"], "latents")


def _mean(pairs: pd.DataFrame, kind: str) -> float | None:
    own = pairs.loc[pairs["kind"] == kind, "cosine"]
    return own.mean() if len(own) else None
