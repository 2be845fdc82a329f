"""What phases leave, typed and checked: no phase spells the file names of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from biosae_utils.errors import BiosaeError
from biosae_utils.phases import manifest
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.state import pages_of
from biosae_utils.store import read_json, read_table

if TYPE_CHECKING:
    from biosae_utils.analysis.catalogue import GeneFiring
    from biosae_utils.analysis.group_scores import Choice
    from biosae_utils.models.base import Tokens
    from biosae_utils.sae.codes import CodeStore
    from biosae_utils.sae.positions import Positions
    from biosae_utils.sae.topk import TopKSAE


def layer_folder(layer: int) -> str:
    """Name of a layer's folder or file stem within a phase that is about a whole model."""
    return f"layer_{layer:02d}"


def own_layer(read: Inputs) -> int:
    """The layer that a page is about."""
    if read.layer is None:
        raise BiosaeError("The page is not about one layer", do="say which layer to read")
    return read.layer


def cohort(read: Inputs) -> pd.DataFrame:
    """The cells of the run, from 00_data: row (in the file), barcode, cell_type, condition, donor, heldout, ..."""
    return read_table(read.file("00_data", "cohort.parquet"))


def rivals(read: Inputs) -> Choice:
    """One gene and depth as rivals of latents for each group of cells, from 00_data."""
    from biosae_utils.analysis.group_scores import Choice

    best, values = (read_table(read.file("00_data", f"{name}.parquet")) for name in ("rivals", "rival_values"))
    return Choice(best, values.to_numpy())


def data_name(read: Inputs) -> str:
    """Path of the cells as the config gives it."""
    return manifest.read(read.file("00_data"))["params"]["path"]


def positions(read: Inputs) -> Positions:
    """Cell, token and rank of every position, from 01_extract (memory maps)."""
    from biosae_utils.sae.positions import Positions

    return Positions.load(read.file("01_extract", "positions"))


def tokens(read: Inputs) -> Tokens:
    """The cohort as the model reads it, from 01_extract."""
    from biosae_utils.models.base import Tokens

    return Tokens.load(read.file("01_extract", "tokens"))


def family(read: Inputs) -> str:
    """Family of the model (``geneformer``, ``scgpt``, ...), from 01_extract, which loaded it."""
    return read_json(read.file("01_extract", "facts.json"))["family"]


def vocabulary(read: Inputs) -> pd.DataFrame:
    """token, symbol, key, special: the model's vocabulary, from 01_extract."""
    return read_table(read.file("01_extract", "vocab.parquet"))


@dataclass(frozen=True)
class Sample:
    """Dense states of a sample of positions, from 01_extract.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        Canonical position of each vector.
    vectors : dict of int -> ndarray of float16, shape (n, d)
        Layer -> memory map.
    cell, token : ndarray of int32, shape (n,)
        Cell (in the cohort) and token of each vector.
    """

    rows: np.ndarray
    vectors: dict[int, np.ndarray]
    cell: np.ndarray
    token: np.ndarray

    @classmethod
    def read(cls, read: Inputs, layers: list[int], *, heldout: bool = False) -> Sample:
        """The training sample, or that of held-out cells."""
        name = "sample_heldout" if heldout else "sample"
        rows = np.load(read.file("01_extract", f"{name}/rows.npy"))
        vectors = {
            layer: np.load(read.file("01_extract", f"{name}/{layer_folder(layer)}.npy"), mmap_mode="r")
            for layer in layers
        }
        table = positions(read)
        return cls(rows, vectors, np.asarray(table.cell)[rows], np.asarray(table.token)[rows])


@dataclass(frozen=True)
class Saes:
    """Trained SAEs of a model, from 02_sae.

    Attributes
    ----------
    folders : dict of (int, int) -> Path
        (layer, seed counted from 0) -> folder in SAELens layout; the codes of the book come from seed 0.
    """

    folders: dict[tuple[int, int], Path]

    @classmethod
    def read(cls, read: Inputs, *, model: str | None = None) -> Saes:
        """Which SAEs there are, of the page's model or another one, all checked."""
        base = read.file("02_sae", model=model)
        found = {}
        for folder in sorted(base.glob("layer_*")):
            layer = int(folder.name.removeprefix("layer_"))
            for path in sorted(folder.iterdir()):
                if (path / "cfg.json").is_file():
                    found[layer, 0 if path.name == "sae" else int(path.name.removeprefix("seed_"))] = path
        return cls(found)

    @staticmethod
    def place(layer: int, seed: int = 0) -> str:
        """Folder of an SAE within 02_sae."""
        return f"{layer_folder(layer)}/{f'seed_{seed}' if seed else 'sae'}"

    @property
    def layers(self) -> list[int]:
        """Layers with an SAE, in order."""
        return sorted({layer for layer, _ in self.folders})

    @property
    def seeds(self) -> list[int]:
        """Seeds that every layer has."""
        every = {seed for _, seed in self.folders}
        return sorted(seed for seed in every if all((layer, seed) in self.folders for layer in self.layers))

    def load(self, layer: int, seed: int = 0) -> TopKSAE:
        """One SAE."""
        from biosae_utils.sae.formats import load_sae

        return load_sae(self.folders[layer, seed])


def codes(read: Inputs, layer: int | None = None) -> CodeStore:
    """Sparse codes of all positions at a layer (the page's own by default), from 02_sae."""
    from biosae_utils.sae.codes import CodeStore

    return CodeStore.open(read.file("02_sae", f"{layer_folder(own_layer(read) if layer is None else layer)}/codes"))


@dataclass(frozen=True)
class Catalogue:
    """What the latents of a layer fire on, from 03_catalogue.

    Attributes
    ----------
    features : DataFrame
        One row a latent: latent, state, n_fired, frequency, mean, max, gene_share, rank_share, top_genes, ...
    genes : DataFrame
        One row a gene of the model that these cells express: gene, token, symbol, n_positions, n_positions_heldout.
    top_genes : DataFrame
        latent, position (from 1), gene_index, token, gene, ...: the lists, from training cells.
    without_block : DataFrame
        The same with one block of cells left out: latent, position, gene_index, token, block.
    params : dict
        Parameters by which the lists were made: n_top, min_count, shrinkage.
    """

    features: pd.DataFrame
    genes: pd.DataFrame
    top_genes: pd.DataFrame
    without_block: pd.DataFrame
    params: dict[str, Any]
    _firing: Path

    @classmethod
    def read(cls, read: Inputs, *, model: str | None = None, n_top: int | None = None) -> Catalogue:
        """The catalogue of the page's layer, or of the same layer of another model; lists cut to `n_top` genes.

        Raises
        ------
        BiosaeError
            The catalogue keeps fewer genes than `n_top`.
        """
        folder = read.file("03_catalogue", model=model)
        params = manifest.read(folder)["params"]
        if n_top is not None and n_top > params["n_top"]:
            raise BiosaeError(
                f"Lists of {n_top} genes were asked for, and the catalogue keeps {params['n_top']} of each latent",
                where="n_top",
                do=f"compute 03_catalogue with n_top={n_top} too: set it under `catalogue` in the config",
            )
        tables = {name: read_table(folder / f"{name}.parquet") for name in ("features", "genes", "top_genes")}
        without = read_table(folder / "top_genes_without_block.parquet")
        without = without.assign(token=tables["genes"]["token"].to_numpy()[without["gene_index"]])
        limit = params["n_top"] if n_top is None else n_top
        tables["top_genes"] = tables["top_genes"][tables["top_genes"]["position"] <= limit]
        without = without[without["position"] <= limit]
        return cls(**tables, without_block=without, params=params, _firing=folder / "firing.parquet")

    def firing(self) -> tuple[GeneFiring, GeneFiring]:
        """Sums and counts of each latent on each gene, in training cells and in held-out cells."""
        from biosae_utils.analysis.catalogue import firing_from_table

        return firing_from_table(read_table(self._firing), self.genes, len(self.features))

    @property
    def alive(self) -> np.ndarray:
        """Latents that fire."""
        return np.flatnonzero((self.features["state"] != "dead").to_numpy())


def claims(read: Inputs) -> list[dict[str, Any]]:
    """Claims of all other complete pages of the run, in reading order."""
    folders = [read.folder(phase, model=model, layer=layer) for phase, model, layer in pages_of(read.params)]
    return manifest.claims_of(folders)
