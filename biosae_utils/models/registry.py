"""Names of models, the families that read them, and the one function that loads any of them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import FoundationModel
from biosae_utils.models.geneformer import Geneformer
from biosae_utils.models.loading import pick_device, pick_dtype
from biosae_utils.models.scgpt import ScGPT
from biosae_utils.models.variants import ShuffledGenes

__all__ = ["FAMILIES", "MODELS", "Source", "load_model", "locate", "pick_device", "register"]

# A new family is one line here: a class with `accepts(directory)` and `load(directory, ...)`. First that accepts wins.
FAMILIES: list[Any] = [Geneformer, ScGPT]

VARIANTS = ("trained", "random-weights", "shuffled-genes")
HUB_SOURCE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+)(?::(?P<subfolder>[\w./-]+))?")


@dataclass(frozen=True)
class Source:
    """Where a model's files are on the Hugging Face hub.

    Attributes
    ----------
    repo, revision : str
        Repository and pinned commit (or branch).
    subfolder : str
        Folder of the model in the repository.
    files : tuple of str
        Patterns of the files needed, nothing else is downloaded.
    license : str
    size_mb : int
        Size of the download.
    sha256 : str
        Known prefix of the weights' hash, "" where none is published.
    """

    repo: str
    revision: str
    subfolder: str = ""
    files: tuple[str, ...] = ()
    license: str = ""
    size_mb: int = 0
    sha256: str = ""


def _geneformer(subfolder: str, dictionaries: str, size_mb: int) -> Source:
    return Source(
        repo="ctheodoris/Geneformer",
        revision="05fcbeb8a27d49e0a7a4349152202ee2c1cbfd28",
        subfolder=subfolder,
        files=(f"{subfolder}/config.json", f"{subfolder}/model.safetensors", dictionaries),
        license="Apache-2.0",
        size_mb=size_mb,
    )


MODELS: dict[str, Source] = {
    "geneformer-v1-10m": _geneformer("Geneformer-V1-10M", "geneformer/gene_dictionaries_30m/*_gc30M.pkl", 47),
    "geneformer-v2-104m": _geneformer("Geneformer-V2-104M", "geneformer/*_gc104M.pkl", 426),
    "geneformer-v2-104m-clcancer": _geneformer("Geneformer-V2-104M_CLcancer", "geneformer/*_gc104M.pkl", 426),
    "geneformer-v2-316m": _geneformer("Geneformer-V2-316M", "geneformer/*_gc104M.pkl", 1273),
    "scgpt-human": Source(
        repo="perturblab/scgpt-human",
        revision="main",  # the mirror publishes no tag; the weights' hash is what pins it
        files=("args.json", "vocab.json", "best_model.pt"),
        license="MIT",
        size_mb=207,
        sha256="6cb5d451",
    ),
}


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
) -> FoundationModel:
    """Load a model, or a control made of it.

    Parameters
    ----------
    source : str or Path
        A registered name (see `MODELS`), a directory with a checkpoint, or ``owner/repository@revision[:subfolder]`` on
        the hub.
    name : str, optional
        Name in paths and tables; by default the registered name or the directory's.
    variant : {"trained", "random-weights", "shuffled-genes"}
        The model itself; the same configuration with random weights; or the model on cells whose genes are shuffled.
    device, dtype : str
        ``auto`` takes the fastest device there is, bfloat16 on CUDA and float32 elsewhere.
    seed : int
        For random weights and shuffles.

    Returns
    -------
    FoundationModel
        Frozen, in evaluation mode.

    Raises
    ------
    BiosaeError
        The source is unknown, its files are not there, or they are damaged.
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
    on = pick_device(device)
    model = family.load(
        directory,
        name=name or (str(source) if str(source) in MODELS else directory.name),
        device=on,
        dtype=pick_dtype(dtype, on),
        random_weights=variant == "random-weights",
        seed=seed,
    )
    model.info = replace(model.info, source=str(source))
    return ShuffledGenes(model, seed) if variant == "shuffled-genes" else model


def locate(source: str | Path) -> Path:
    """The directory of a checkpoint that is on this machine already; nothing is downloaded.

    Raises
    ------
    BiosaeError
        It is not here; the message names the command that fetches it.
    """
    if Path(source).is_dir():
        return Path(source)
    name = str(source)
    entry = MODELS.get(name)
    if entry is None and (match := HUB_SOURCE.fullmatch(name)):
        entry = Source(match["repo"], match["revision"], match["subfolder"] or "")
    if entry is None:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise BiosaeError(
            f"No model {name!r}: neither a directory nor a registered name",
            do=f"{hint}registered are {', '.join(MODELS)}",
        )
    return download(entry, name, local_files_only=True)


def download(entry: Source, name: str, *, local_files_only: bool = False) -> Path:
    """Snapshot of a hub model in the hub's own cache, which resumes and checks; returns the model's folder."""
    from huggingface_hub import snapshot_download

    try:
        root = snapshot_download(
            entry.repo,
            revision=entry.revision,
            allow_patterns=list(entry.files) or None,
            local_files_only=local_files_only,
        )
    except Exception as e:  # the hub client raises a dozen classes for one fact: the files are not here
        raise BiosaeError(
            f"The model {name!r} is not on this machine ({type(e).__name__})",
            do=f"run: biosae fetch {name}" + ("" if local_files_only else " where huggingface.co can be reached"),
        ) from e
    return Path(root) / entry.subfolder
