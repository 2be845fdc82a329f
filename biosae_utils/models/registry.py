"""Names of models, the families that read them, and the one function that loads any of them."""

from __future__ import annotations

import difflib
import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import FoundationModel
from biosae_utils.models.geneformer import Geneformer
from biosae_utils.models.loading import pick_device, pick_dtype
from biosae_utils.models.scgpt import ScGPT
from biosae_utils.models.variants import ShuffledGenes

__all__ = ["FAMILIES", "MODELS", "load_model", "locate", "pick_device", "register"]

# A new family is one line here: a class with `accepts(directory)` and `load(directory, ...)`. First that accepts wins.
FAMILIES: list[Any] = [Geneformer, ScGPT]

# Where `biosae fetch NAME` puts a model, and the model's folder in there. Repository, revision, sizes and licence of
# each name are in cells/sources.yaml, the one table of what can be fetched.
FETCHED = Path("data/fetched")
MODELS = {
    "geneformer-v1-10m": "Geneformer-V1-10M",
    "geneformer-v2-104m": "Geneformer-V2-104M",
    "geneformer-v2-104m-clcancer": "Geneformer-V2-104M_CLcancer",
    "geneformer-v2-316m": "Geneformer-V2-316M",
    "scgpt-human": "",
}

VARIANTS = ("trained", "random-weights", "shuffled-genes")
HUB_SOURCE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+)(?::(?P<subfolder>[\w./-]+))?")


def register(family: Any) -> Any:
    """Add a family (a class with ``accepts`` and ``load``) before the built-in ones; usable as a decorator."""
    if family not in FAMILIES:
        FAMILIES.insert(0, family)
    return family


def load_model(
    source: str | Path,
    *,
    name: str | None = None,
    variant: str = "trained",
    device: str = "auto",
    dtype: str = "auto",
    seed: int = 0,
    **options: Any,
) -> FoundationModel:
    """Load a model, or a control made of it.

    Parameters
    ----------
    source : str or Path
        A registered name (see `MODELS`), a directory with a checkpoint, or ``owner/repository@revision[:subfolder]`` on
        the Hugging Face hub.
    name : str, optional
        Name in paths and tables; by default the registered name or the directory's.
    variant : {"trained", "random-weights", "shuffled-genes"}
        The model itself; the same configuration with random weights; or the model on cells whose genes are shuffled.
    device, dtype : str
        ``auto`` takes the fastest device there is, bfloat16 on CUDA and float32 elsewhere.
    seed : int
        For random weights and shuffles.
    **options
        What a family's ``load`` takes besides, such as scGPT's ``ties="spread"``.

    Returns
    -------
    FoundationModel
        Frozen, in evaluation mode.

    Raises
    ------
    BiosaeError
        The source is unknown, its files are not there, or they are damaged, or the family has no such option.
    """
    if variant not in VARIANTS:
        raise BiosaeError(f"Unknown variant {variant!r}", do=f"use one of {', '.join(VARIANTS)}")
    directory = locate(source)
    family = next((f for f in FAMILIES if f.accepts(directory)), None)
    if family is None:
        raise BiosaeError(
            "The directory is no checkpoint of a known family: Geneformer has config.json, scGPT has args.json",
            where=str(directory),
            do="point to the folder that holds these files",
        )
    if unknown := options.keys() - inspect.signature(family.load).parameters.keys():
        raise BiosaeError(f"{family.__name__} has no option {sorted(unknown)[0]!r}", where=str(directory))
    on = pick_device(device)
    model = family.load(
        directory,
        name=name or (str(source) if str(source) in MODELS else directory.name),
        device=on,
        dtype=pick_dtype(dtype, on),
        random_weights=variant == "random-weights",
        seed=seed,
        **options,
    )
    model.info = replace(model.info, source=str(source))
    return ShuffledGenes(model, seed) if variant == "shuffled-genes" else model


def locate(source: str | Path, fetched: Path = FETCHED) -> Path:
    """The directory of a checkpoint: given, fetched before, or in the hub's cache (downloaded on first use).

    Raises
    ------
    BiosaeError
        It is not here; for a registered name the message says which command fetches it.
    """
    if Path(source).is_dir():
        return Path(source)
    name = str(source)
    if name in MODELS:
        directory = fetched / name / MODELS[name]
        if not directory.is_dir():
            raise BiosaeError(f"{name} is not fetched", where=str(directory), do=f"biosae fetch {name}")
        return directory
    if match := HUB_SOURCE.fullmatch(name):
        return from_hub(match["repo"], match["revision"], match["subfolder"] or "")
    near = difflib.get_close_matches(name, MODELS, n=1)
    raise BiosaeError(
        f"No model {name!r}: neither a directory, nor a registered name, nor owner/repository@revision",
        do=(f"did you mean {near[0]}? " if near else "") + f"Registered are {', '.join(MODELS)}",
    )


def from_hub(repo: str, revision: str, subfolder: str) -> Path:
    """Model files of a hub repository at one revision, in the hub's own cache, which resumes and checks downloads."""
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.pt", "*.pkl"]
    if subfolder:
        patterns = [f"{subfolder}/{p}" for p in patterns] + [
            "geneformer/*.pkl",
            "geneformer/gene_dictionaries_30m/*.pkl",
        ]
    try:
        root = snapshot_download(repo, revision=revision, allow_patterns=patterns)
    except Exception as e:  # the hub client has a dozen classes for one fact: the files cannot be had
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise BiosaeError(
            f"The hub did not give {repo} ({reason})",
            where=f"revision {revision}",
            do="check name and network, or give a directory; registered models come with `biosae fetch NAME`",
        ) from e
    return Path(root) / subfolder
