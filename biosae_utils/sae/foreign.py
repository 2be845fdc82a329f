"""SAEs of other programs: checkpoints of the published analysis, sparsify, dictionary_learning, earlier SAELens.

Every reader gives what the other program computes, or refuses by name what it cannot give. Nothing in a file is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.formats import CONFIG, NAMES, WEIGHTS, load_sae
from biosae_utils.sae.topk import TopKSAE
from biosae_utils.sae.weights import (
    CONVERT,
    build,
    checked,
    jumprelu,
    read_safetensors,
    read_torch,
    shape_of,
    with_centring,
    with_unit_rows,
)
from biosae_utils.store import read_json

SPARSIFY = "sae.safetensors"
DICTIONARY = "ae.pt"


def import_sae(source: Path | str, mean: Path | str | None = None) -> TopKSAE:
    """Read an SAE of any known format; its metadata say what the source says of model and layer.

    Parameters
    ----------
    source : path
        A folder of SAELens, sparsify or dictionary_learning, or a file (``sae_final.pt``, ``ae.pt``).
    mean : path, optional
        ``activation_mean.npy`` of a published checkpoint.
    """
    source = Path(source)
    if (source / DICTIONARY).is_file():
        return import_dictionary_learning(source / DICTIONARY)
    if (source / SPARSIFY).is_file():
        return import_sparsify(source)
    if (source / WEIGHTS).is_file() and (source / CONFIG).is_file():
        return load_sae(source)
    if not source.is_file():
        raise BiosaeError(
            "This is no SAE of a known format",
            where=str(source),
            do=f"give a published sae_final.pt, an ae.pt of dictionary_learning, or a folder with {CONFIG} and "
            f"{WEIGHTS} (SAELens) or {SPARSIFY} (sparsify); of another program, {CONVERT}",
        )
    state = read_torch(source)
    published = isinstance(state, dict) and "model_state_dict" in state
    return import_published(source, mean) if published else import_dictionary_learning(source)


def import_published(path: Path | str, mean: Path | str | None = None) -> TopKSAE:
    """Convert a checkpoint of the published analysis (``sae_final.pt``).

    Its stored mean goes into ``b_dec``. Codes and decoder rows stay as published; the rows have no common norm
    there, since that trainer normalised the other axis, so values of two latents cannot be compared before each is
    multiplied by the norm of its row.

    Parameters
    ----------
    path : path
        File with model_state_dict (W_enc.weight (F, d), W_enc.bias, W_dec.weight (d, F), W_dec.bias), d_model,
        n_features, k.
    mean : path, optional
        ``activation_mean.npy``; by default the one beside `path`.
    """
    import numpy as np

    path = Path(path)
    state = read_torch(path)
    weights = state.get("model_state_dict") if isinstance(state, dict) else None
    sizes: list[Any] = (
        [state.get(name) for name in ("d_model", "n_features", "k")] if isinstance(state, dict) else [None]
    )
    if not isinstance(weights, dict) or not all(isinstance(v, int) and v > 0 for v in sizes):
        raise BiosaeError(
            "This is not a published checkpoint",
            where=str(path),
            do="it needs model_state_dict, d_model, n_features and k",
        )
    d_in, d_sae, k = sizes
    shapes: dict[str, tuple[int, ...]] = {"W_enc.weight": (d_sae, d_in), "W_enc.bias": (d_sae,)}
    shapes |= {"W_dec.weight": (d_in, d_sae), "W_dec.bias": (d_in,)}
    old = checked(weights, shapes, path)
    mean = Path(mean) if mean is not None else path.with_name("activation_mean.npy")
    try:
        centre = torch.from_numpy(np.load(mean, allow_pickle=False)).float()
    except (OSError, ValueError, EOFError, TypeError) as e:
        raise BiosaeError(
            "The mean of the activations cannot be read", where=str(mean), do="keep it beside the checkpoint"
        ) from e
    checked({"mean": centre}, {"mean": (d_in,)}, mean)
    # ours: pre = (x - b_dec) @ W_enc + b_enc;  published: pre = (x - mean) @ W_enc + bias, output + W_dec.bias + mean
    encoder, offset = old["W_enc.weight"].t(), old["W_dec.bias"]
    tensors = {
        "W_enc": encoder,
        "b_enc": old["W_enc.bias"] + offset @ encoder,
        "W_dec": old["W_dec.weight"].t(),
        "b_dec": offset + centre,
    }
    return build(tensors, k)


def import_sparsify(folder: Path | str) -> TopKSAE:
    """Convert a directory of EleutherAI's sparsify: ``cfg.json`` and ``sae.safetensors``."""
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or not all(isinstance(config.get(n), int) and config[n] > 0 for n in ("d_in", "k")):
        raise BiosaeError("This is not a sparsify config", where=str(folder / CONFIG), do="it needs d_in and k")
    known = {
        "d_in",
        "k",
        "num_latents",
        "expansion_factor",
        "normalize_decoder",
        "multi_topk",
    }  # the last two: training
    refused = [f"{key} = {value!r}" for key, value in config.items() if key not in known and value]
    if config.get("activation", "topk") == "topk":
        refused = [what for what in refused if not what.startswith("activation =")]
    if refused:
        raise BiosaeError(
            f"Only plain TopK SAEs of sparsify can be imported, this one has {', '.join(refused)}",
            where=str(folder / CONFIG),
        )
    d_in, k = config["d_in"], config["k"]
    d_sae = config.get("num_latents") or d_in * config.get("expansion_factor", 32)
    file = folder / SPARSIFY
    shapes = {"encoder.weight": (d_sae, d_in), "encoder.bias": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    old = checked(read_safetensors(file), shapes, file)
    tensors = {
        "W_enc": old["encoder.weight"].t(),
        "b_enc": old["encoder.bias"],
        "W_dec": old["W_dec"],
        "b_dec": old["b_dec"],
    }
    return build(tensors, k, metadata={"hook_name": folder.resolve().name})


# ---- dictionary_learning -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """How a class of dictionary_learning stores and computes.

    Attributes
    ----------
    linear : bool
        Weights are those of linear layers (transposed), else matrices as here.
    bias : str
        Name of the bias of the output.
    active : {"k", "threshold", "zero"}
        What decides which latents are active: the k largest, a threshold, or being positive.
    centred : bool
        The bias is subtracted before encoding.
    extra : tuple of str
        Further tensors that it stores.
    """

    linear: bool
    bias: str
    active: str
    centred: bool = True
    extra: tuple[str, ...] = ()

    @property
    def names(self) -> dict[str, str]:
        """Our name of each tensor -> its name there."""
        linear = {"W_enc": "encoder.weight", "b_enc": "encoder.bias", "W_dec": "decoder.weight"}
        return {**(linear if self.linear else {name: name for name in NAMES}), "b_dec": self.bias}

    @property
    def tensors(self) -> set[str]:
        """All that such a file holds."""
        return {*self.names.values(), *self.extra}


LAYOUTS = {
    "AutoEncoderTopK": Layout(True, "b_dec", "k", extra=("k", "threshold")),
    "BatchTopKSAE": Layout(True, "b_dec", "threshold", extra=("k", "threshold")),
    "MatryoshkaBatchTopKSAE": Layout(False, "b_dec", "threshold", extra=("k", "threshold", "group_sizes")),
    "JumpReluAutoEncoder": Layout(False, "b_dec", "threshold", centred=False, extra=("threshold",)),
    "AutoEncoder": Layout(True, "bias", "zero"),
    "AutoEncoderNew": Layout(True, "decoder.bias", "zero", centred=False),
}


def import_dictionary_learning(path: Path | str) -> TopKSAE:
    """Convert an ``ae.pt`` of dictionary_learning, with the ``config.json`` beside it where there is one.

    Codes are those of its ``encode`` in evaluation: BatchTopK above its threshold, TopK by the k largest, and
    ``AutoEncoder`` with decoder rows of norm 1, as its loader makes them.
    """
    path = Path(path)
    state = read_torch(path)
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise BiosaeError("This is no ae.pt of dictionary_learning: it must hold tensors by name", where=str(path))
    trainer = _trainer(path.with_name("config.json"))
    name = _class_of(state, trainer, path)
    layout = LAYOUTS[name]
    names = layout.names
    rows, columns = shape_of(state, names["W_enc"], path)
    d_in, d_sae = (columns, rows) if layout.linear else (rows, columns)
    shapes: dict[str, tuple[int, ...]] = {names["W_enc"]: (rows, columns), names["W_dec"]: (columns, rows)}
    shapes |= {names["b_enc"]: (d_sae,), names["b_dec"]: (d_in,)}
    old = checked({key: value for key, value in state.items() if key not in layout.extra}, shapes, path)
    tensors = {ours: old[theirs] for ours, theirs in names.items()}
    if layout.linear:
        tensors |= {key: tensors[key].t() for key in ("W_enc", "W_dec")}
    if not layout.centred:
        tensors = with_centring(tensors)
    if name == "AutoEncoder":
        tensors = with_unit_rows(tensors)
    known = {"model_name": trainer.get("lm_name"), "layer": trainer.get("layer"), "imported_class": name}
    metadata = {key: value for key, value in known.items() if value is not None}
    if layout.active == "k":
        return build(tensors, _k(state, trainer, path), metadata=metadata)
    threshold = torch.zeros(1) if layout.active == "zero" else _threshold(state, d_sae, path)
    return jumprelu(tensors, threshold, metadata)


def _trainer(path: Path) -> dict[str, Any]:
    """The trainer's part of config.json; empty without one."""
    config = read_json(path) if path.is_file() else {}
    trainer = config.get("trainer", {}) if isinstance(config, dict) else None
    if not isinstance(trainer, dict):
        raise BiosaeError("The trainer is not an object", where=str(path))
    return trainer


def _class_of(state: dict[str, Tensor], trainer: dict[str, Any], path: Path) -> str:
    """Which class wrote this: its config says it, else the names of the tensors, where they can."""
    if said := trainer.get("dict_class"):
        if said not in LAYOUTS:
            raise BiosaeError(f"Dictionaries of class {said} cannot be imported", where=str(path), do=CONVERT)
        return said
    fits = [
        name
        for name, layout in LAYOUTS.items()
        if set(state) == layout.tensors or (layout.active == "k" and set(state) == layout.tensors - {"threshold"})
    ]
    if len(fits) != 1:
        raise BiosaeError(
            f"The tensors of this file ({', '.join(sorted(map(str, state)))}) do not say which class wrote them"
            + (f": {' or '.join(fits)}" if fits else ""),
            where=str(path),
            do=f"keep the config.json of dictionary_learning beside it, or {CONVERT}",
        )
    return fits[0]


def _k(state: dict[str, Tensor], trainer: dict[str, Any], path: Path) -> int:
    stored = int(state["k"]) if "k" in state and state["k"].numel() == 1 else None
    said = trainer.get("k", stored)
    if not isinstance(said, int) or said < 1 or stored not in (None, said):
        raise BiosaeError(f"k is {stored} in the weights and {said!r} in the config", where=str(path))
    return said


def _threshold(state: dict[str, Tensor], d_sae: int, path: Path) -> Tensor:
    value = state.get("threshold")
    shape = (d_sae,) if isinstance(value, Tensor) and value.dim() else ()
    return checked({"threshold": value}, {"threshold": shape}, path)["threshold"]
