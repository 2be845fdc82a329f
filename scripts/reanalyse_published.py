"""Put a published feature atlas through our annotation and its controls; write summary tables of a few kB.

    python scripts/reanalyse_published.py DIR [--out data/published_summary/NAME] [--genesets FILE ...]

DIR holds the JSON of the atlas (plain or gzipped), as `biosae fetch atlas-geneformer` leaves it. The tables that ship
with the project were written by this script; the book's page on the published atlas shows them. KEGG may be added with
--genesets once fetched; it is never shipped.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from pathlib import Path

import pandas as pd
from rich.progress import Progress

from biosae_utils.analysis.genesets import concat, load_genesets
from biosae_utils.analysis.published import read_atlas
from biosae_utils.analysis.reanalysis import POPULATIONS, SIGNIFICANT, reanalyse
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.manifest import code_version
from biosae_utils.store import atomic_path, fingerprint, read_json, sha256, write_json

FETCHED = {"atlas-geneformer": "geneformer-v2-316m", "atlas-scgpt": "scgpt-human"}  # names that `biosae fetch` gives
SOURCES = {
    "geneformer-v2-316m": "github.com/Biodyn-AI/geneformer-atlas, public/data (MIT)",
    "scgpt-human": "github.com/Biodyn-AI/scgpt-atlas, public/data (MIT)",
}


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """A table as CSV with few digits, atomically."""
    with atomic_path(path) as tmp:
        table.to_csv(tmp, index=False, float_format=f"%.{SIGNIFICANT}g", lineterminator="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--out", type=Path, help="folder of the tables; default data/published_summary/<name of DIR>")
    parser.add_argument("--genesets", type=Path, nargs="+", default=[Path("data/demo/genesets.parquet")])
    parser.add_argument("--revision", help="commit of the atlas' repository; by default what `biosae fetch` noted")
    parser.add_argument("--permutations", type=int, default=25, help="draws of permuted gene labels")
    parser.add_argument("--matched", type=int, default=12, help="draws of frequency-matched lists")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        run(args)
    except BiosaeError as e:
        sys.exit(str(e))


def run(args: argparse.Namespace) -> None:
    """Read, compute, write; the record of what was read comes last."""
    parts = [load_genesets(path) for path in args.genesets]
    everything = concat(parts)
    collections = list(dict.fromkeys(everything.terms["collection"]))
    families = {c: [c] for c in collections[:1]} | (
        {" + ".join(collections): collections} if len(collections) > 1 else {}
    )
    atlas, code = read_atlas(args.directory), code_version()  # before this run's own tables make the checkout differ
    for problem in atlas.problems.itertuples():
        print(f"{problem.file}: {problem.what}")
    name = FETCHED.get(atlas.name, atlas.name)
    out = args.out or Path("data/published_summary") / name
    lock = args.directory / "lock.json"  # left by `biosae fetch`
    revision = args.revision or (read_json(lock).get("revision") if lock.is_file() else None) or "not known"
    tables = []
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("re-analysis", total=len(families) * len(atlas.layers) * len(POPULATIONS))
        for label, chosen in families.items():
            sets = everything.select(everything.terms["collection"].isin(chosen).to_numpy())
            table = reanalyse(
                atlas, sets, n_permutations=args.permutations, n_matched=args.matched, seed=args.seed,
                n_jobs=os.cpu_count() or 1, done=lambda: bar.advance(task),
            )  # fmt: skip
            table.insert(0, "sets", label)
            tables.append(table)
    write_csv(out / "rules.csv", pd.concat(tables))
    write_csv(out / "published.csv", atlas.published)
    alive = atlas.features[~atlas.features["dead"]]
    record = {
        "atlas": name,
        "source": SOURCES.get(name, "not known"),
        "revision": revision,
        "content": fingerprint(atlas.hashes),
        "files_read": len(atlas.hashes),
        "n_layers": atlas.n_layers,
        "layers_read": atlas.layers,
        "layers_listed": atlas.listed_layers,
        "features_alive": len(alive),
        "features_listed": int((alive["n_listed"] > 0).sum()),
        "genes": int(atlas.top_genes["gene"].nunique()),
        "problems": atlas.problems.to_dict("records"),
        "genesets": {path.name: sha256(path) for path in args.genesets},
        "permutations": args.permutations,
        "matched": args.matched,
        "seed": args.seed,
        "command": f"python scripts/reanalyse_published.py DIR --out data/published_summary/{name}",
        "code_version": code,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    write_json(out / "provenance.json", record)
    print(f"{atlas.summary}; tables in {out}")


if __name__ == "__main__":
    main()
