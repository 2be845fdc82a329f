"""What is written beside the weights of a model that we pretrained."""

from __future__ import annotations


def describe(card: dict) -> str:
    """The model card as Markdown, from the numbers of the run in ``card.json``."""
    evaluation, training, data, shape = card["evaluation"], card["training"], card["data"], card["architecture"]
    rows = [("this model", evaluation["model"]), *((b["name"], b) for b in evaluation["baselines"])]
    table = "\n".join(f"| {name} | {r['mean']:.3f} | {r['low']:.3f} to {r['high']:.3f} |" for name, r in rows)
    gain = evaluation["gain_over_best_baseline"]
    sources = ", ".join(f"{n:,} cells of {name}" for name, n in data["sources"].items())
    return f"""# {card["name"]}

A small model of the same architecture as its namesake ({card["parameters"] / 1e6:.2f} M parameters,
d {shape["d_model"]}, {shape["layers"]} layers), pretrained from random weights on the training cells of {sources}.
It exists so that the demo runs on two cores in minutes; its numbers say nothing about the published model.

Held-out loss ({evaluation["unit"]}; {evaluation["heldout_cells"]:,} cells that training never saw,
{evaluation["masked_positions"]:,} masked positions; 95 % intervals by resampling cells):

| | loss | interval |
|---|---|---|
{table}

The model's gain over the best baseline is {gain["mean"]:.3f} ({gain["low"]:.3f} to {gain["high"]:.3f}).
Baselines are fitted on the training cells alone and judged at the same masked positions. {evaluation.get("note", "")}

Training: {training["steps"]:,} steps of {training["batch"]} cells in {training["seconds"]:.0f} s on one
{card["machine"]["device"]}; {data["training"]:,} cells, seed {training["seed"]}; weights chosen on {data["validation"]}
validation cells, apart from the held-out ones. Rebuild, or with `--evaluate` only measure again:
`python -m scripts.pretrain_mini --models {card["name"]} --minutes {training["minutes"]:g}`. Weights are float16; all
numbers above were measured on the saved file. Licence of the weights: MIT; the sources of the
cells are in `data/demo/PROVENANCE.md`.
"""
