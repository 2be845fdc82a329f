"""Cells whose truth is known: programmes, cell types, TF -> target edges and knock-downs, written as any other h5ad.

    python -m biosae_utils.cells.planted planted.h5ad --cells 2000 --genes 1000 --like data/demo/pbmc_ifnb.h5ad

Counts are Poisson with ``log rate = depth + gene + programmes + regulation``. What was planted is written beside the
h5ad and not into it, so that no analysis can read it by accident.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from biosae_utils.cells.human import human_genes
from biosae_utils.errors import BiosaeError
from biosae_utils.store import atomic_path, read_table, write_table

if TYPE_CHECKING:
    from anndata import AnnData

CONTROL = "control"
KNOCKED_ACTIVITY = -2.0  # a knocked-down regulator's activity, in SD of its activity in other cells
SELF_EFFECT = 0.5  # log rate of a regulator's own gene per SD of its activity


@dataclass(frozen=True)
class Truth:
    """What was planted, as tables.

    Attributes
    ----------
    programmes : DataFrame
        One row a member: programme, gene, strength (natural log of the fold change at activity 1).
    activity : DataFrame
        One row a cell: barcode, then one column per programme, 0 where it is off.
    where : DataFrame
        One row a programme: programme, kind (``type``, ``condition``, ``state``), level (the cell type, the condition;
        empty for a state, which any cell may be in).
    edges : DataFrame
        One row an edge: tf, target, weight (log rate of the target per SD of the regulator's activity).
    knockdowns : DataFrame
        One row a knock-down: gene, is_tf (else a negative control), n_cells, efficiency (share of expression lost).
    genesets : DataFrame
        The programmes and as many decoys (genes of no programme, same sizes): collection, term_id, name, gene; the
        format that phase 04 reads.
    """

    programmes: pd.DataFrame
    activity: pd.DataFrame
    where: pd.DataFrame
    edges: pd.DataFrame
    knockdowns: pd.DataFrame
    genesets: pd.DataFrame

    def save(self, folder: Path | str) -> None:
        """Write each table to ``<folder>/<name>.parquet``."""
        for f in fields(self):
            write_table(Path(folder) / f"{f.name}.parquet", getattr(self, f.name))

    @classmethod
    def load(cls, folder: Path | str) -> Truth:
        """Read what `save` wrote."""
        return cls(**{f.name: read_table(Path(folder) / f"{f.name}.parquet") for f in fields(cls)})


def planted(
    n_cells: int = 1200,
    n_genes: int = 600,
    *,
    n_types: int = 3,
    n_states: int = 3,
    programme_size: int = 15,
    strength: float = 1.5,
    n_tfs: int = 4,
    n_targets: int = 8,
    weight: float = 0.6,
    n_control_knockdowns: int = 2,
    efficiency: float = 0.9,
    depth: float = 2000.0,
    genes: pd.DataFrame | None = None,
    seed: int = 0,
) -> tuple[AnnData, Truth]:
    """Draw cells with known structure.

    Parameters
    ----------
    n_cells, n_genes : int
    n_types : int
        Cell types; each has one programme of its own.
    n_states : int
        Programmes that a third of all cells has on, whatever their type. One more is on in ``stimulated`` cells.
    programme_size : int
        Genes of a programme; programmes share no gene.
    strength : float
        Mean log fold change of a member at activity 1; members vary around it by a fifth.
    n_tfs, n_targets : int
        Regulators, and targets of each; neither are in a programme.
    weight : float
        Size of the edges; every third one is repressive.
    n_control_knockdowns : int
        Knocked-down genes that regulate nothing.
    efficiency : float
        Share of a knocked-down gene's expression that is lost.
    depth : float
        Median counts of a cell.
    genes : DataFrame, optional
        ``symbol``, ``ensembl_id``, ``mean`` of genes to use (see `genes_like`); by default human genes with made means.
    seed : int

    Returns
    -------
    adata : AnnData
        Integer counts in ``X``; obs cell_type, condition, perturbation (``control`` or a gene), donor_id.
    truth : Truth

    Raises
    ------
    BiosaeError
        If the genes are too few for what is to be planted.
    """
    import anndata as ad

    if not 0 < efficiency < 1:
        raise BiosaeError(f"efficiency is {efficiency}; it lies between 0 and 1", where="planted")
    rng = np.random.default_rng(seed)
    genes = _made_genes(n_genes, rng) if genes is None else genes.head(n_genes).reset_index(drop=True)
    symbols = genes["symbol"].to_numpy(str)
    where = _programmes(n_types, n_states)
    size = {"members": len(where) * programme_size, "decoys": len(where) * programme_size}
    size |= {"tfs": n_tfs, "targets": n_tfs * n_targets, "negative": n_control_knockdowns}
    role = _roles(size, genes["mean"].to_numpy(), rng)
    members, decoys = (role[k].reshape(len(where), programme_size) for k in ("members", "decoys"))
    targets = role["targets"].reshape(n_tfs, n_targets)
    knocked_genes = np.r_[role["tfs"], role["negative"]]

    obs = _made_cells(n_cells, n_types, list(symbols[knocked_genes]), rng)
    activity = np.column_stack([_on(row, obs, rng) * rng.gamma(8, 1 / 8, n_cells) for row in where.itertuples()])
    loading = np.zeros((len(where), len(genes)))
    np.put_along_axis(loading, members, strength * rng.normal(1, 0.2, members.shape), axis=1)

    regulator = rng.normal(size=(n_cells, n_tfs))
    knocked = obs["perturbation"].to_numpy()[:, None] == symbols[knocked_genes]
    regulator[knocked[:, :n_tfs]] = KNOCKED_ACTIVITY
    weights = weight * np.where(np.arange(n_targets) % 3 == 2, -1.0, 1.0)
    effect = np.zeros((n_tfs, len(genes)))
    np.put_along_axis(effect, targets, weights, axis=1)

    log_rate = np.log(genes["mean"].to_numpy() / genes["mean"].sum()) + activity @ loading + regulator @ effect
    # a regulator's own gene follows its activity, except where it is knocked down by a known share
    log_rate[:, role["tfs"]] += np.where(knocked[:, :n_tfs], 0.0, SELF_EFFECT * regulator)
    log_rate[:, knocked_genes] += np.where(knocked, np.log(1 - efficiency), 0.0)
    library = depth * rng.lognormal(0, 0.3, (n_cells, 1))
    counts = sp.csr_matrix(rng.poisson(library * np.exp(log_rate)).astype(np.int32))

    names = where["programme"].to_numpy()
    sets = [("programme", members), ("decoy", decoys)]
    truth = Truth(
        programmes=_long(programme=names, gene=symbols[members], strength=np.take_along_axis(loading, members, axis=1)),
        activity=pd.DataFrame({"barcode": obs.index, **dict(zip(names, activity.T, strict=True))}),
        where=where,
        edges=_long(
            tf=symbols[role["tfs"]],
            target=symbols[targets],
            weight=np.broadcast_to(weights, (n_tfs, n_targets)),
        ),
        knockdowns=pd.DataFrame(
            {"gene": symbols[knocked_genes], "is_tf": np.arange(len(knocked_genes)) < n_tfs}
        ).assign(n_cells=knocked.sum(0), efficiency=efficiency),
        genesets=pd.concat(
            [
                _long(term_id=[f"{kind}:{n}" for n in names], name=[f"{kind} {n}" for n in names], gene=symbols[inside])
                for kind, inside in sets
            ],
            ignore_index=True,
        ).assign(collection="Planted")[["collection", "term_id", "name", "gene"]],
    )
    var = genes[["ensembl_id", "symbol"]].set_index(pd.Index(symbols, name="gene"))
    return ad.AnnData(counts, obs=obs, var=var), truth


def _programmes(n_types: int, n_states: int) -> pd.DataFrame:
    """`Truth.where`: one programme a type, one for the stimulated, the rest states."""
    rows = [(f"type {t}", "type", f"type {t}") for t in range(n_types)]
    rows += [("response", "condition", "stimulated")] + [(f"state {s}", "state", "") for s in range(n_states)]
    return pd.DataFrame(rows, columns=["programme", "kind", "level"])


def _roles(size: dict[str, int], mean: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Genes of each role, no gene twice, from the better expressed two thirds: a change is seen in seen genes only."""
    needed = sum(size.values())
    if needed > len(mean):
        raise BiosaeError(
            f"Programmes, decoys, regulators and targets need {needed} genes, there are {len(mean)}",
            where="planted",
            do="use more genes, or fewer or smaller programmes",
        )
    expressed = np.argsort(-mean, kind="stable")[: max(needed, 2 * len(mean) // 3)]
    edges = np.cumsum(list(size.values()))
    return dict(zip(size, np.split(rng.permutation(expressed)[:needed], edges[:-1]), strict=True))


def _long(**columns: np.ndarray | list[str]) -> pd.DataFrame:
    """Long table out of columns of shape (n,) and (n, m): the former are repeated m times."""
    arrays = {k: np.asarray(v) for k, v in columns.items()}
    m = max(a.shape[1] for a in arrays.values() if a.ndim == 2)
    return pd.DataFrame({k: a.ravel() if a.ndim == 2 else np.repeat(a, m) for k, a in arrays.items()})


def genes_like(path: Path | str, n: int) -> pd.DataFrame:
    """The `n` most expressed genes of a real file with an Ensembl id and a symbol: symbol, ensembl_id, mean count."""
    from biosae_utils.cells.data import open_cells

    cells = open_cells(path)
    rows = np.unique(np.linspace(0, cells.n_cells - 1, min(cells.n_cells, 1000)).astype(int))
    mean = np.asarray(cells.read(rows).mean(0)).ravel()
    table = pd.DataFrame({"symbol": cells.genes.symbol, "ensembl_id": cells.genes.ensembl, "mean": mean})
    named = table[(table["symbol"] != "") & (table["ensembl_id"] != "") & (table["mean"] > 0)]
    return named.drop_duplicates("symbol").nlargest(n, "mean").reset_index(drop=True)


def _made_genes(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Human genes with log-normal means."""
    human = human_genes()
    symbol_of = {i: n for i, n in human.symbol_of.items() if human.id_of[n] == i}
    ids = sorted(rng.choice(sorted(symbol_of), n, replace=False))
    return pd.DataFrame({"symbol": [symbol_of[i] for i in ids], "ensembl_id": ids, "mean": rng.lognormal(0, 1.0, n)})


def _made_cells(n: int, n_types: int, knocked: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Labels drawn independently of each other; half of the cells carry a knock-down, if there are any."""
    perturbation = np.full(n, CONTROL, dtype=object)
    if knocked:
        hit = rng.permutation(n)[: n // 2]
        perturbation[hit] = np.array(knocked, dtype=object)[np.arange(len(hit)) % len(knocked)]
    columns = {
        "cell_type": [f"type {t}" for t in rng.permutation(np.arange(n) % n_types)],
        "condition": np.where(rng.permutation(n) % 2, CONTROL, "stimulated"),
        "perturbation": perturbation.astype(str),
        "donor_id": [f"donor {d}" for d in rng.permutation(np.arange(n) % 6)],
    }
    index = pd.Index([f"cell{i}" for i in range(n)], name="barcode")
    return pd.DataFrame({k: pd.Categorical(v) for k, v in columns.items()}, index=index)


def _on(row: object, obs: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Cells in which a programme is on."""
    if row.kind == "type":
        return (obs["cell_type"] == row.level).to_numpy()
    if row.kind == "condition":
        return (obs["condition"] == row.level).to_numpy()
    return rng.random(len(obs)) < 1 / 3


def main(argv: list[str] | None = None) -> int:
    """Write planted cells and, in ``<name>.truth/``, what was planted."""
    parser = argparse.ArgumentParser(prog="python -m biosae_utils.cells.planted", description=main.__doc__)
    parser.add_argument("out", type=Path, help="h5ad to write")
    parser.add_argument("--cells", type=int, default=1200)
    parser.add_argument("--genes", type=int, default=600)
    parser.add_argument("--like", type=Path, help="h5ad whose most expressed genes and means are used")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        genes = genes_like(args.like, args.genes) if args.like else None
        adata, truth = planted(args.cells, args.genes, genes=genes, seed=args.seed)
        with atomic_path(args.out) as tmp:
            adata.write_h5ad(tmp, compression="gzip")
        truth.save(args.out.with_suffix(".truth"))
    except BiosaeError as e:
        print(f"FAILED: {e}", file=sys.stderr)
        return 1
    print(f"{adata.n_obs:,} cells x {adata.n_vars:,} genes in {args.out}; truth in {args.out.with_suffix('.truth')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
