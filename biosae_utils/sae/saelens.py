"""cfg.json of SAELens, of every version: what it says of the SAE, and what of it cannot be reproduced here.

Every key is applied, known to say nothing about the outputs, or refused by its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.weights import CONVERT
from biosae_utils.store import read_json

ARCHITECTURES = ("topk", "jumprelu", "standard")
APPLIED = {
    "architecture", "d_in", "d_sae", "k", "apply_b_dec_to_input", "rescale_acts_by_decoder_norm", "metadata",
    "finetuning_scaling_factor", "normalize_activations", "reshape_activations", "activation_fn",
    "activation_fn_kwargs",
}  # fmt: skip
STORAGE = {"dtype", "device"}
ORIGIN = {
    "model_name", "model_class_name", "model_from_pretrained_kwargs", "hook_name", "hook_layer", "dataset_path",
    "dataset_trust_remote_code", "context_size", "prepend_bos", "exclude_special_tokens", "seqpos_slice",
    "neuronpedia_id", "sae_lens_version", "sae_lens_training_version", "hf_hook_name",
}  # fmt: skip
TRAINING = {
    "l1_coefficient", "l1_warm_up_steps", "lp_norm", "l0_coefficient", "l0_warm_up_steps", "use_ghost_grads",
    "normalize_sae_decoder", "noise_scale", "decoder_orthogonal_init", "decoder_heuristic_init", "decoder_init_norm",
    "decoder_heuristic_init_norm", "init_encoder_as_decoder_transpose", "mse_loss_normalization",
    "scale_sparsity_penalty_by_decoder_norm", "jumprelu_init_threshold", "jumprelu_bandwidth", "aux_loss_coefficient",
    "jumprelu_sparsity_loss_mode", "jumprelu_tanh_scale", "jumprelu_ste_to_input", "pre_act_loss_coefficient",
    "target_l0", "use_sparse_activations", "topk_threshold_lr", "expansion_factor",
}  # fmt: skip
RENAMED = {"hook_point": "hook_name", "hook_point_layer": "hook_layer", "activation_fn_str": "activation_fn"}
"""Earlier names of keys."""


@dataclass(frozen=True)
class Config:
    """What cfg.json says.

    Attributes
    ----------
    architecture : {"topk", "jumprelu", "standard"}
    d_in, d_sae : int
    k : int or None
        None: as many latents as are above their thresholds.
    centred : bool
        ``b_dec`` is subtracted before encoding.
    unit_rows : bool
        Latents compete by what they add to the output (pre-activation times the norm of the decoder row).
    scaled : bool
        There is one more factor on each code, learned after training.
    metadata : dict
        As in the file; facts of earlier layouts, which had no metadata, are in it too.
    own : dict
        What `save_sae` of this package noted.
    """

    architecture: str
    d_in: int
    d_sae: int
    k: int | None
    centred: bool
    unit_rows: bool
    scaled: bool
    metadata: dict[str, Any]
    own: dict[str, Any]


def read_config(path: Path) -> Config:
    """Read and check a cfg.json.

    Raises
    ------
    BiosaeError
        It is missing or damaged, or says something that cannot be reproduced exactly; the key is named.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise BiosaeError("cfg.json is not an object", where=str(path))
    config: dict[str, Any] = {RENAMED.get(str(key), str(key)): value for key, value in found.items()}
    metadata = _object(config, "metadata", path)
    own = _object(metadata, "biosae", path)
    _refuse_unknown(config, metadata, path)
    function, options = config.get("activation_fn"), _object(config, "activation_fn_kwargs", path)
    architecture = config.get("architecture", "standard")  # before 6.0 the key could be missing
    if function == "topk":
        architecture, config = "topk", {**config, "k": _one_k(config, options, path)}
    elif function not in (None, "relu"):
        raise BiosaeError(f"The activation {function!r} cannot be loaded", where=str(path), do="use relu or topk")
    if architecture not in ARCHITECTURES:
        raise BiosaeError(
            f"SAEs of architecture {architecture!r} cannot be loaded",
            where=str(path),
            do=f"use {', '.join(ARCHITECTURES)}; a training checkpoint is converted by SAELens' save_inference_model",
        )
    # k in the config of a JumpReLU says how it was trained; SAELens does not cut its codes, and ours note their own cap
    k = config.get("k") if architecture == "topk" else own.get("k") if own.get("capped", True) else None
    sizes: dict[str, Any] = {"d_in": config.get("d_in"), "d_sae": config.get("d_sae")}
    for name, value in (sizes if architecture != "topk" and k is None else sizes | {"k": k}).items():
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise BiosaeError(f"d_in, d_sae and k must be positive integers, {name} is {value!r}", where=str(path))
    unit_rows = _flag(config, "rescale_acts_by_decoder_norm", False, path)
    if unit_rows and architecture != "topk":
        raise BiosaeError(
            f"rescale_acts_by_decoder_norm has no meaning for architecture {architecture}", where=str(path), do=CONVERT
        )
    return Config(
        architecture,
        **sizes,
        k=k,
        centred=_flag(config, "apply_b_dec_to_input", True, path),
        unit_rows=unit_rows,
        scaled=_flag(config, "finetuning_scaling_factor", False, path),
        metadata={**{key: config[key] for key in ORIGIN & set(config) if config[key] is not None}, **metadata},
        own=own,
    )


def _refuse_unknown(config: dict[str, Any], metadata: dict[str, Any], path: Path) -> None:
    """Refuse what would change the outputs, by name."""
    for key in ("normalize_activations", "reshape_activations"):
        if config.get(key) not in (None, False, "none"):
            raise BiosaeError(
                f"{key} = {config[key]!r} is not supported", where=str(path), do="fold it into the weights first"
            )
    for origin in (config, metadata):
        if "hook_z" in str(origin.get("hook_name", "")) and "reshape_activations" not in config:
            raise BiosaeError("This SAE reads attention heads (hook_z), not the residual stream", where=str(path))
        if other := origin.get("hook_name_out"):
            raise BiosaeError(f"This is a transcoder, which writes to {other}", where=str(path))
    known = APPLIED | STORAGE | ORIGIN | TRAINING
    if unknown := [f"{key} = {value!r}" for key, value in config.items() if key not in known and value]:
        raise BiosaeError(
            f"cfg.json says {', '.join(unknown)}, which is not known here and may change what the SAE computes",
            where=str(path),
            do=f"{CONVERT}; or remove the key if it says nothing about the outputs",
        )


def _one_k(config: dict[str, Any], options: dict[str, Any], path: Path) -> Any:
    """k of an SAE that says its activation is topk; earlier layouts have it in ``activation_fn_kwargs``."""
    if other := {key: value for key, value in options.items() if key != "k" and value}:
        raise BiosaeError(f"activation_fn_kwargs holds {other}, which is not supported", where=str(path), do=CONVERT)
    k, earlier = config.get("k"), options.get("k")
    if None not in (k, earlier) and k != earlier:
        raise BiosaeError("k and activation_fn_kwargs.k differ", where=str(path), do="say which one is right")
    return earlier if k is None else k


def _object(config: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = config.get(key)
    if value is not None and not isinstance(value, dict):
        raise BiosaeError(f"{key} is not an object", where=str(path))
    return value or {}


def _flag(config: dict[str, Any], key: str, default: bool, path: Path) -> bool:
    value = default if config.get(key) is None else config[key]
    if not isinstance(value, bool):
        raise BiosaeError(f"{key} must be true or false, not {value!r}", where=str(path))
    return value
