"""What the claims of 04_annotate say, whatever the numbers: sentence, unit, control and rule."""

from __future__ import annotations

PERMUTATIONS = "supported if the lower end of the jackknife interval over cells exceeds the 97.5 % quantile of the "
WILSON = "BH per list; supported if the lower end of a Wilson interval over latents exceeds the upper end of the "
FIRING, POINTS = "% of latents that fire", "percentage points"

SAID: dict[str, dict[str, str]] = {
    "annotated_published": {
        "title": "Under the published rule more latents are annotated than lists with permuted gene labels",
        "unit": FIRING,
        "rule": f"{PERMUTATIONS}permutations",
    },
    "annotated_feature": {
        "title": "With all tests of a latent as the family, more latents are annotated than by chance",
        "unit": FIRING,
        "rule": f"{PERMUTATIONS}permutations",
    },
    "annotated_layer": {
        "title": "With all tests of the layer as the family, more latents are annotated than by chance",
        "unit": FIRING,
        "rule": f"{PERMUTATIONS}permutations",
    },
    "annotated_beyond_directions": {
        "title": "Latents rise further above their own frequency-matched lists than coordinates, principal axes and "
        "random directions do",
        "unit": POINTS,
        "rule": f"{WILSON}baseline's, each less its matched lists",
    },
    "annotated_beyond_random_weights": {
        "title": "More latents are annotated than latents of the same network with random weights",
        "unit": FIRING,
        "rule": f"{WILSON}control's",
    },
    "excess_beyond_random_weights": {
        "title": "Latents rise further above their own frequency-matched lists than those of random weights do",
        "unit": POINTS,
        "rule": f"{WILSON}control's",
    },
    "labels_predict": {
        "title": "A label chosen on half of the genes predicts where the latent fires on the other half, in other "
        "cells",
        "unit": "mean AUROC",
        "control_kind": "labels of other labelled latents",
        "rule": "labelled latents (BH per latent on the choosing half); supported if the lower end of the bootstrap "
        "interval of the difference exceeds 0",
    },
    "string_edges": {
        "title": "Latents list interacting genes more often than matched lists do",
        "unit": "STRING edges per list",
        "control_kind": "genes swapped within strata of degree and popularity",
        "rule": "supported if the lower end of the bootstrap interval over latents of the mean number of edges exceeds "
        "the mean of the matched lists",
    },
    "trrust_targets": {
        "title": "Latents list targets of one transcription factor more often than permuted labels do",
        "unit": FIRING,
        "control_kind": "permuted gene labels",
        "rule": "all (latent, factor) tests of the layer as one family; supported if the real share exceeds the 97.5 % "
        "quantile of permuted labels",
    },
}
WORDS = {name: {"id": name, **words} for name, words in SAID.items()}
"""Fields of `biosae_utils.claims.Claim` by the id of the claim."""
