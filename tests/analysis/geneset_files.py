"""A long table of gene sets, and what `biosae fetch` leaves of KEGG, STRING and TRRUST, for tests."""

from __future__ import annotations

import json
from hashlib import sha256

import pandas as pd

LONG = pd.DataFrame(
    [
        ("GO", "GO:1", "one", "abc1"), ("GO", "GO:1", "one", "ABC1 "), ("GO", "GO:1", "one", "DEF"),
        ("GO", "GO:1", "one", "GHI"), ("GO", "GO:2", "two", "GHI"), ("GO", "GO:2", "two", "JKL"),
        ("Other", "GO:1", "same id", "DEF"), ("Other", "x", "x", "C1orf1"),
    ],
    columns=["collection", "term_id", "name", "gene"],
)  # fmt: skip


def content(sets):
    return {
        (c, t): set(sets.members(i))
        for i, (c, t) in enumerate(zip(sets.terms.collection, sets.terms.term_id, strict=True))
    }


LINKS = """protein1 protein2 combined_score
9606.P1 9606.P2 950
9606.P2 9606.P1 950
9606.P1 9606.P3 699
9606.P3 9606.P9 990
"""


INFO = "#string_protein_id\tpreferred_name\tprotein_size\tannotation\n" + "".join(
    f'9606.P{i}\tgene{i}\t100\tan "unclosed quote\n' for i in (1, 2, 3)
)


def put(root, source, files):
    """A fetched source as `biosae fetch` leaves it: files and their lock."""
    folder = root / source
    folder.mkdir(parents=True)
    lock = {}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        lock[name] = {"size": len(data), "sha256": sha256(data).hexdigest()}
    (folder / "lock.json").write_text(json.dumps({"files": lock}))
