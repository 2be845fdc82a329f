"""What the claims of 04_annotate say, whatever the numbers: sentence, unit, control and rule."""

from __future__ import annotations

from typing import Any

DECOYS = (
    "decoys (permuted gene labels, or frequency-matched lists) are judged half and half with real lists; supported if "
    "the lower end of the jackknife interval over cells exceeds the 97.5 % quantile of the kind of decoy that is "
    "annotated more often"
)
WILSON = "BH per list; supported if the lower end of a Wilson interval over latents exceeds the upper end of the "
FIRING, POINTS = "% of latents that fire", "percentage points"
MIN_SHARE = 2.0
"""Points by which an annotated share must exceed its control: of a thousand latents, twenty."""
MIN_AUROC = 0.02
"""Distance in AUROC that a reader could use a label for."""
MIN_EDGES = 0.5
"""STRING edges a list beyond its control: one more in every second list."""

SAID: dict[str, dict[str, Any]] = {
    "annotated_published": {
        "title": "Under the published rule more latents are annotated than decoy lists",
        "unit": FIRING,
        "rule": DECOYS,
        "minimum": MIN_SHARE,
    },
    "annotated_feature": {
        "title": "With all tests of a latent as the family, more latents are annotated than decoy lists",
        "unit": FIRING,
        "rule": DECOYS,
        "minimum": MIN_SHARE,
    },
    "annotated_layer": {
        "title": "With all tests of the layer as the family, more latents are annotated than decoy lists",
        "unit": FIRING,
        "rule": DECOYS,
        "minimum": MIN_SHARE,
    },
    "annotated_beyond_directions": {
        "title": "Latents rise further above their own frequency-matched lists than directions that nobody trained, "
        "listed by the same rule",
        "unit": POINTS,
        "rule": "BH per list, less matched lists, mean over trainings and as many draws of random directions; "
        "supported if the Wilson interval over lists lies above that of the highest rival, and every training above "
        "each of its draws",
        "minimum": MIN_SHARE,
    },
    "annotated_beyond_random_weights": {
        "title": "More latents are annotated than latents of the same network with random weights",
        "unit": FIRING,
        "rule": f"{WILSON}control's",
        "minimum": MIN_SHARE,
    },
    "excess_beyond_random_weights": {
        "title": "Latents rise further above their own frequency-matched lists than those of random weights do",
        "unit": POINTS,
        "rule": f"{WILSON}control's",
        "minimum": MIN_SHARE,
    },
    "labels_predict": {
        "title": "A label chosen on half of the genes predicts where the latent fires on the other half, in other "
        "cells",
        "unit": "mean AUROC",
        "control_kind": "unrelated labels of other labelled latents",
        "rule": "labelled latents (BH per latent on the choosing half), each term with one vote; supported if the "
        "lower end of the bootstrap interval over terms of the paired difference exceeds 0",
        "minimum": MIN_AUROC,
    },
    "string_edges": {
        "title": "Latents list interacting genes more often than matched lists do",
        "unit": "STRING edges per list",
        "control_kind": "genes swapped within strata of degree and popularity",
        "rule": "supported if the lower end of the bootstrap interval over latents of the mean number of edges exceeds "
        "the mean of the matched lists",
        "minimum": MIN_EDGES,
    },
    "trrust_targets": {
        "title": "Latents list targets of one transcription factor more often than decoy lists do",
        "unit": FIRING,
        "rule": "all (latent, factor) tests of the layer as one family, decoys half and half with real lists; "
        "supported if the real share exceeds the 97.5 % quantile of the kind of decoy that is annotated more often",
        "minimum": MIN_SHARE,
    },
}
WORDS = {name: {"id": name, **words} for name, words in SAID.items()}
"""Fields of `biosae_utils.claims.Claim` by the id of the claim."""
