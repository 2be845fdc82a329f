"""SAEs on disk and on the Hugging Face hub, in the layout of SAELens.

Everything that comes from outside is untrusted: weights are read as safetensors, and names, shapes, types and
finiteness are checked before a model is built. What `TopKSAE` cannot reproduce is refused by its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.saelens import Config, read_config
from biosae_utils.sae.topk import TopKSAE
from biosae_utils.sae.weights import (
    build,
    checked,
    jumprelu,
    read_safetensors,
    with_centring,
    with_unit_rows,
)
from biosae_utils.store import atomic_path, write_json

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")


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
    own = {"kind": sae.kind, "k": sae.k, "groups": list(sae.groups)} | ({} if sae.capped else {"capped": False})
    config |= {
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {**(metadata or {}), "biosae": own},
    }
    with atomic_path(folder / WEIGHTS) as tmp:
        save_file(tensors, tmp)
    write_json(folder / CONFIG, config)
    return folder


def load_sae(folder: Path | str, *, device: torch.device | str = "cpu") -> TopKSAE:
    """Load an SAE from a SAELens directory, ours or another's, of architecture topk, jumprelu or standard (ReLU).

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
    config = read_config(folder / CONFIG)
    shapes = {
        "W_enc": (config.d_in, config.d_sae), "b_enc": (config.d_sae,),
        "W_dec": (config.d_sae, config.d_in), "b_dec": (config.d_in,),
    }  # fmt: skip
    if config.architecture == "jumprelu":
        shapes["threshold"] = (config.d_sae,)
    found, factor = _factor(read_safetensors(folder / WEIGHTS), config, folder / WEIGHTS)
    tensors = checked(found, shapes, folder / WEIGHTS)
    if config.unit_rows:
        tensors = with_unit_rows(tensors)
    if not config.centred:
        tensors = with_centring(tensors)
    if factor is not None:
        tensors["W_dec"] = tensors["W_dec"] * factor[:, None]
    threshold = tensors.pop("threshold", torch.zeros(1))
    if config.architecture == "topk":
        sae = build(tensors, config.k, kind=config.own.get("kind", "topk"), groups=config.own.get("groups") or None)
    elif config.own:  # ours: the smallest value that counts is stored
        sae = build(tensors | {"threshold": threshold.expand(config.d_sae)}, config.k, kind="batchtopk")
    else:
        sae = jumprelu(tensors, threshold)
    sae.metadata = config.metadata
    return sae.to(device)


def _factor(tensors: dict[str, Tensor], config: Config, where: Path) -> tuple[dict[str, Tensor], Tensor | None]:
    """The tensors without the factor on each code that SAELens wrote before 6.0, and that factor.

    It was stored, as ones, also where the config says that there is none.
    """
    names = [name for name in ("scaling_factor", "finetuning_scaling_factor") if name in tensors]
    rest = {name: value for name, value in tensors.items() if name not in names}
    if not names:
        if config.scaled:
            raise BiosaeError("finetuning_scaling_factor is on, but the weights hold no such tensor", where=str(where))
        return rest, None
    factor = checked({names[0]: tensors[names[0]]}, {names[0]: (config.d_sae,)}, where)[names[0]]
    if len(names) > 1 or (not config.scaled and not torch.allclose(factor, torch.ones_like(factor))):
        raise BiosaeError(
            f"The weights hold {' and '.join(names)}, but finetuning_scaling_factor of cfg.json is not on",
            where=str(where),
            do="set it to true if the codes are to be multiplied, or remove the tensor",
        )
    if config.unit_rows:
        raise BiosaeError("finetuning_scaling_factor and rescale_acts_by_decoder_norm are both on", where=str(where))
    return rest, factor if config.scaled else None


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
