"""Everything that can annotate a latent: gene sets in the project, and what the user fetched, or has not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.analysis import edges
from biosae_utils.analysis.annotation_rules import Network
from biosae_utils.analysis.genesets import GeneSets, concat, load_genesets
from biosae_utils.cells import fetch
from biosae_utils.errors import BiosaeError

FETCHED = {"KEGG": "kegg", "STRING": "string-v12", "TRRUST": "trrust-v2"}
"""Names under which `biosae fetch` knows what is not shipped."""
COMMANDS = {name: f"biosae fetch {source}" for name, source in FETCHED.items()}


@dataclass(frozen=True)
class Libraries:
    """Gene sets and networks of a page.

    Attributes
    ----------
    sets : GeneSets
        The collections asked for, as far as they are here.
    string, trrust : DataFrame or None
        Edges; None where not fetched.
    absent : tuple of str
        What is not here: KEGG (when asked for), STRING, TRRUST.
    table : DataFrame
        source, kind, size, state: for the page.
    """

    sets: GeneSets
    string: pd.DataFrame | None
    trrust: pd.DataFrame | None
    absent: tuple[str, ...]
    table: pd.DataFrame

    def string_network(self, genes: np.ndarray) -> sp.csr_matrix | None:
        """STRING over `genes`, symmetric; None where not fetched."""
        return None if self.string is None else edges.adjacency(self.string["a"], self.string["b"], genes)

    def network(self, genes: np.ndarray) -> Network | None:
        """STRING and TRRUST edges together, and TRRUST's factors, for the published rule; None unless both are here."""
        if self.string is None or self.trrust is None:
            return None
        both = self.string_network(genes) + edges.adjacency(self.trrust["tf"], self.trrust["target"], genes)
        return Network(both, np.isin(edges.upper(genes), self.trrust["tf"].to_numpy()))


def load(genesets: Path | str, collections: Sequence[str], root: Path = fetch.ROOT) -> Libraries:
    """Read the collections and whatever networks are here.

    Parameters
    ----------
    genesets : path
        File of gene sets that ships with the project, or the user's own.
    collections : sequence of str
        Collections to use. One that is not in the file but can be fetched (KEGG) is taken from `root`.
    root : Path
        Folder of fetched sources.
    """
    folders = {name: _folder(source, root) for name, source in FETCHED.items()}
    extra = [c for c in collections if c in FETCHED and c not in ("STRING", "TRRUST")]
    parts = (
        [load_genesets(genesets, [c for c in collections if c not in extra])] if set(collections) - set(extra) else []
    )
    parts += [load_genesets(folder / f"{c}.json") for c in extra if (folder := folders[c])]
    if not parts:
        raise BiosaeError(
            "None of the collections asked for is here",
            where=", ".join(collections),
            do="; ".join(COMMANDS[c] for c in extra),
        )
    sets = concat(parts) if len(parts) > 1 else parts[0]
    string = trrust = None
    if folder := folders["STRING"]:
        string = edges.read_string(folder / edges.STRING_LINKS, folder / edges.STRING_INFO)
    if folder := folders["TRRUST"]:
        trrust = edges.read_trrust(folder / edges.TRRUST_FILE)
    return Libraries(
        sets,
        string,
        trrust,
        tuple(n for n, f in folders.items() if f is None and (n in extra or n in ("STRING", "TRRUST"))),
        _overview(sets, folders, extra, string, trrust),
    )


def _folder(source: str, root: Path) -> Path | None:
    try:
        return fetch.folder_of(source, root)
    except BiosaeError:
        return None


def _overview(
    sets: GeneSets,
    folders: dict[str, Path | None],
    extra: list[str],
    string: pd.DataFrame | None,
    trrust: pd.DataFrame | None,
) -> pd.DataFrame:
    """One row a source: what it is, how large, whether it is used."""
    rows = [
        (c, "gene sets", f"{n:,} terms", "used") for c, n in sets.terms["collection"].value_counts(sort=False).items()
    ]
    kinds = {"KEGG": "gene sets", "STRING": "interactions", "TRRUST": "factors and targets"}
    networks = {"STRING": string, "TRRUST": trrust}
    for name, folder in folders.items():
        if folder is None:
            rows.append((name, kinds[name], "", f"not fetched: {COMMANDS[name]}"))
        elif (network := networks.get(name)) is not None:
            rows.append((name, kinds[name], f"{len(network):,} edges", "used"))
        elif name not in extra:
            rows.append((name, kinds[name], "", f"fetched, not used: add {name} to `collections`"))
    return pd.DataFrame(rows, columns=["source", "kind", "size", "state"])
