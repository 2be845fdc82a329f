"""SAEs on disk: SAELens directories in and out, published checkpoints and sparsify directories in, the Hugging Face
hub.

Everything that comes from outside is untrusted: weights are read as safetensors or by
``torch.load(weights_only=True)``, and names, shapes, types and finiteness are checked before a model is built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.topk import TopKSAE
from biosae_utils.store import atomic_path, read_json, write_json

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")


# ---- SAELens layout ----------------------------------------------------------------------------------------------


def save_sae(folder: Path | str, sae: TopKSAE, metadata: dict[str, Any] | None = None) -> Path:
    """Write one SAE in SAELens layout: ``sae_lens.SAE.load_from_disk(folder)`` gives the same outputs.

    The weights are renamed into place first and cfg.json last, so a directory with cfg.json is whole.

    Parameters
    ----------
    folder : path
    sae : TopKSAE
        Takes raw activations (its input mean and scale are folded in). ``batchtopk`` is written as the JumpReLU that
        it is after training; the cap of 4 k latents a vector is ours alone and almost never binds.
    metadata : dict, optional
        JSON-able facts such as model_name, hook_name, dataset; kept as they are.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    tensors = {name: getattr(sae, name).detach().to("cpu", torch.float32).contiguous() for name in NAMES}
    config: dict[str, Any] = {"architecture": "topk", "d_in": sae.d_in, "d_sae": sae.d_sae, "k": sae.k}
    if sae.kind == "batchtopk":
        tensors["threshold"] = sae.threshold.detach().to("cpu", torch.float32).contiguous()
        config = {"architecture": "jumprelu", "d_in": sae.d_in, "d_sae": sae.d_sae}
    else:
        config["rescale_acts_by_decoder_norm"] = False
    config |= {
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {**(metadata or {}), "biosae": {"kind": sae.kind, "k": sae.k, "groups": list(sae.groups)}},
    }
    with atomic_path(folder / WEIGHTS) as tmp:
        save_file(tensors, tmp)
    write_json(folder / CONFIG, config)
    return folder


def load_sae(folder: Path | str, *, device: torch.device | str = "cpu") -> TopKSAE:
    """Load an SAE from a SAELens directory, ours or another's, of architecture topk or jumprelu.

    Returns
    -------
    TopKSAE
        In evaluation mode, without gradients; ``sae.metadata`` holds the metadata of cfg.json.

    Raises
    ------
    BiosaeError
        If files are missing, damaged, or describe an SAE that this class cannot reproduce exactly.
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise BiosaeError("cfg.json is not an object", where=str(folder / CONFIG))
    metadata = config.get("metadata") if isinstance(config.get("metadata"), dict) else {}
    own = metadata.get("biosae") if isinstance(metadata.get("biosae"), dict) else {}
    architecture = config.get("architecture")
    if architecture not in ("topk", "jumprelu"):
        raise BiosaeError(
            f"SAEs of architecture {architecture!r} cannot be loaded",
            where=str(folder / CONFIG),
            do="use topk or jumprelu",
        )
    for key in ("normalize_activations", "reshape_activations"):
        if config.get(key) not in (None, "none"):
            raise BiosaeError(
                f"{key} = {config[key]!r} is not supported",
                where=str(folder / CONFIG),
                do="fold it into the weights first",
            )
    sizes = [config.get("d_in"), config.get("d_sae"), config.get("k", own.get("k"))]
    if not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in sizes):
        raise BiosaeError("d_in, d_sae and k must be positive integers", where=str(folder / CONFIG))
    d_in, d_sae, k = sizes
    shapes = {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    if architecture == "jumprelu":
        shapes["threshold"] = (d_sae,)
    tensors = _checked(_read_safetensors(folder / WEIGHTS), shapes, folder / WEIGHTS)
    if config.get("rescale_acts_by_decoder_norm"):  # TopK by what a latent adds: the same as rows of norm 1
        norm = tensors["W_dec"].norm(dim=1).clamp_min(1e-12)
        tensors["W_dec"] = tensors["W_dec"] / norm[:, None]
        tensors["W_enc"], tensors["b_enc"] = tensors["W_enc"] * norm, tensors["b_enc"] * norm
    if config.get("apply_b_dec_to_input") is False:
        tensors["b_enc"] = tensors["b_enc"] + tensors["b_dec"] @ tensors["W_enc"]
    kind = "batchtopk" if architecture == "jumprelu" else own.get("kind", "topk")
    sae = _build(tensors, k, kind=kind, groups=own.get("groups") or None).to(device)
    sae.metadata = metadata
    return sae


# ---- what others wrote -------------------------------------------------------------------------------------------


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
    state = _torch_load(path)
    weights = state.get("model_state_dict") if isinstance(state, dict) else None
    sizes = [state.get(name) for name in ("d_model", "n_features", "k")] if isinstance(state, dict) else [None]
    if not isinstance(weights, dict) or not all(isinstance(v, int) and v > 0 for v in sizes):
        raise BiosaeError(
            "This is not a published checkpoint",
            where=str(path),
            do="it needs model_state_dict, d_model, n_features and k",
        )
    d_in, d_sae, k = sizes
    old = _checked(
        weights,
        {"W_enc.weight": (d_sae, d_in), "W_enc.bias": (d_sae,), "W_dec.weight": (d_in, d_sae), "W_dec.bias": (d_in,)},
        path,
    )
    mean = Path(mean) if mean is not None else path.with_name("activation_mean.npy")
    try:
        centre = torch.from_numpy(np.load(mean, allow_pickle=False)).float()
    except (OSError, ValueError, EOFError) as e:
        raise BiosaeError(
            "The mean of the activations cannot be read", where=str(mean), do="keep it beside the checkpoint"
        ) from e
    _checked({"mean": centre}, {"mean": (d_in,)}, mean)
    # ours: pre = (x - b_dec) @ W_enc + b_enc;  published: pre = (x - mean) @ W_enc + bias, output + W_dec.bias + mean
    encoder, offset = old["W_enc.weight"].t(), old["W_dec.bias"]
    tensors = {
        "W_enc": encoder,
        "b_enc": old["W_enc.bias"] + offset @ encoder,
        "W_dec": old["W_dec.weight"].t(),
        "b_dec": offset + centre,
    }
    return _build(tensors, k)


def import_sparsify(folder: Path | str) -> TopKSAE:
    """Convert a directory of EleutherAI's sparsify: ``cfg.json`` and ``sae.safetensors``."""
    folder = Path(folder)
    config = read_json(folder / "cfg.json")
    if not isinstance(config, dict) or not all(isinstance(config.get(n), int) and config[n] > 0 for n in ("d_in", "k")):
        raise BiosaeError("This is not a sparsify config", where=str(folder / "cfg.json"), do="it needs d_in and k")
    if config.get("activation", "topk") != "topk" or config.get("transcode") or config.get("skip_connection"):
        raise BiosaeError("Only plain TopK SAEs of sparsify can be imported", where=str(folder / "cfg.json"))
    d_in, k = config["d_in"], config["k"]
    d_sae = config.get("num_latents") or d_in * config.get("expansion_factor", 32)
    file = folder / "sae.safetensors"
    shapes = {"encoder.weight": (d_sae, d_in), "encoder.bias": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    old = _checked(_read_safetensors(file), shapes, file)
    tensors = {
        "W_enc": old["encoder.weight"].t(),
        "b_enc": old["encoder.bias"],
        "W_dec": old["W_dec"],
        "b_dec": old["b_dec"],
    }
    return _build(tensors, k)


# ---- the hub -----------------------------------------------------------------------------------------------------


def upload_saes(repo: str, folders: dict[str, Path | str], *, private: bool = True) -> str:
    """Upload SAELens directories to a hub repository as ``<name>/{cfg.json,sae_weights.safetensors}``.

    Parameters
    ----------
    repo : str
        ``owner/name``; made when it does not exist. The token is huggingface_hub's own (``hf auth login``).
    folders : dict of str to path
        Name in the repository (``layer_03``) -> directory written by `save_sae`; each is loaded once as a check.

    Returns
    -------
    str
        Address of the last commit.

    Raises
    ------
    BiosaeError
        There is no network, no permission, or no such owner.
    """
    from huggingface_hub import HfApi

    for folder in folders.values():
        load_sae(folder)
    api, url = HfApi(), ""
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        for name, folder in folders.items():
            url = str(
                api.upload_folder(
                    repo_id=repo,
                    folder_path=str(folder),
                    path_in_repo=name,
                    allow_patterns=[CONFIG, WEIGHTS],
                    commit_message=f"Add {name}",
                )
            )
    except Exception as e:  # the hub client has a dozen classes for one fact: nothing could be sent
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise BiosaeError(
            f"The hub did not take the SAEs ({reason})",
            where=repo,
            do="check the network and `hf auth login`, or write a folder with -o and upload it yourself",
        ) from e
    return url


# ---- checks ------------------------------------------------------------------------------------------------------


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as e:
        raise BiosaeError("The weights are missing", where=str(path)) from e
    except (SafetensorError, OSError, ValueError, KeyError) as e:
        raise BiosaeError(f"The weights are damaged ({e})", where=str(path), do="fetch or write them again") from e


def _torch_load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as e:
        raise BiosaeError("There is no such checkpoint", where=str(path)) from e
    except Exception as e:  # the unpickler meets arbitrary bytes and fails in arbitrary ways
        raise BiosaeError(
            f"The checkpoint is damaged or holds more than tensors ({type(e).__name__})",
            where=str(path),
            do="fetch it again",
        ) from e


def _checked(tensors: dict[str, Any], shapes: dict[str, tuple[int, ...]], where: Path) -> dict[str, Tensor]:
    """The named tensors as float32, after checks of presence, shape and finiteness."""
    out = {}
    for name, shape in shapes.items():
        value = tensors.get(name)
        if not isinstance(value, Tensor):
            raise BiosaeError(f"The tensor {name} is missing", where=str(where), do=f"it must hold {', '.join(shapes)}")
        if tuple(value.shape) != shape:
            raise BiosaeError(f"{name} has shape {tuple(value.shape)}, not {shape}", where=str(where))
        out[name] = value.float()
        if not torch.isfinite(out[name]).all():
            raise BiosaeError(f"{name} holds NaN or infinite values", where=str(where))
    return out


@torch.no_grad()
def _build(tensors: dict[str, Tensor], k: int, *, kind: str = "topk", groups: Any = None) -> TopKSAE:
    d_in, d_sae = tensors["W_enc"].shape
    sae = TopKSAE(d_in, d_sae, k, kind=kind, groups=groups)
    for name, value in tensors.items():
        getattr(sae, name).copy_(value)
    return sae.eval().requires_grad_(False)
