"""Gene sets as files hold them: GMT, Enrichr text, JSON of two kinds, long tables; read whole or refused by line.

What had to be guessed or left out on the way is said in notes, which the pages that use the sets show.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biosae_utils.analysis.geneset_members import (
    COLUMNS,
    WEIGHTS,
    Read,
    blank,
    called,
    count,
    with_symbols,
    without_empty,
)
from biosae_utils.cells.names import human_genes
from biosae_utils.errors import BiosaeError
from biosae_utils.store import read_table

NOTHING = {"", "na", "n/a", "none", "null", "nan", "-", ".", "> na"}
"""What stands where there is no description."""
STRAY = 0.05
"""Share of lines whose description may happen to be called like a gene."""


@dataclass(frozen=True)
class Term:
    """One term as a file gives it: where it stands (``line 3``), its name, what else is said of it, its genes."""

    place: str
    name: str
    label: str
    genes: list[str]


def read_sets(path: Path) -> Read:
    """Read ``.gmt``, ``.txt`` (Enrichr), ``.json`` (all three gzipped or not, in any case) or ``.parquet``.

    Raises
    ------
    BiosaeError
        The format is none of these; the file is damaged, holds no gene, or holds what are no symbols of human genes.
        The line (term, row) is named.
    """
    kind, stem = _kind(path)
    if not path.is_file():
        raise BiosaeError(
            "There is no such file of gene sets",
            where=str(path),
            do="check `genesets` in the config, or run `biosae fetch --list`",
        )
    if kind == ".parquet":
        read = Read(_long_table(path))
    else:
        notes: list[str] = []
        text = _text(path, notes)
        terms = _json(text, path, notes) if kind == ".json" else _gmt(text, path, notes)
        terms = _once(terms, path, notes)
        rows = [(stem, t.name, t.label, gene, t.place) for t in terms for gene in t.genes or ("",)]
        read = Read(pd.DataFrame(rows, columns=[*COLUMNS, "place"]), notes)
    return with_symbols(without_empty(read, path), path)


def _kind(path: Path) -> tuple[str, str]:
    """Format of a file by its name, and its name without endings."""
    name = path.name.removesuffix(".gz").removesuffix(".GZ")
    kind = Path(name).suffix.lower()
    if kind not in (".gmt", ".txt", ".json", ".parquet") or (kind == ".parquet" and name != path.name):
        raise BiosaeError(
            f"Gene sets cannot be read from {path.suffix or 'this file'}",
            where=str(path),
            do="use .gmt, .txt (Enrichr), .json (each may be gzipped) or .parquet",
        )
    return kind, Path(name).stem


def _text(path: Path, notes: list[str]) -> str:
    """Text of a file, gzipped or not, in UTF-8, UTF-16 or, said in a note, the encoding of Windows."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as e:
            raise BiosaeError(f"A gzipped file of gene sets is damaged ({e})", where=str(path)) from e
    wide = raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if b"\0" in raw and not wide:
        raise BiosaeError("This file of gene sets is not text", where=str(path), do="save it as text, tab-separated")
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        notes.append(f"read as Windows-1252, since line {line} is not UTF-8")
        text = raw.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


# ---- GMT and Enrichr text ----------------------------------------------------------------------------------------


def _gmt(text: str, path: Path, notes: list[str]) -> list[Term]:
    """Lines of a name, a description and genes; the description may be missing in the whole file."""
    lines: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split at characters of Windows
        fields = [_unquoted(f) for f in line.split("\t")]
        if not any(fields):
            continue
        if len(fields) == 1 or not fields[0]:
            what = "has no tab" if len(fields) == 1 else "has no name"
            raise BiosaeError(
                f"A line of gene sets {what}: it needs a name, a description and genes, split by tabs",
                where=f"{path}, line {number}",
            )
        lines.append((number, fields))
    first = 2 if _described(lines, path) else 1
    if first == 1:
        notes.append("no description column: the second field of each line is its first gene")
    terms = []
    for number, fields in lines:
        label = fields[1] if first == 2 and not _is_nothing(fields[1]) else fields[0]
        terms.append(Term(f"line {number}", fields[0], label, [f for f in fields[first:] if f]))
    return terms


def _unquoted(text: str) -> str:
    """A field without the quotation marks that spreadsheets put around it."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"').strip()
    return text


def _is_nothing(description: str) -> bool:
    return description.lower() in NOTHING or description.lower().startswith(("http://", "https://"))


def _described(lines: list[tuple[int, list[str]]], path: Path) -> bool:
    """Whether the second fields are descriptions, not genes.

    They are genes if all of them look like one and most are known symbols, or are members elsewhere in the file.
    """
    id_of = human_genes().id_of
    members = {f.upper() for _, fields in lines for f in fields[2:]}
    words, genes = 0, []
    for number, fields in lines:
        name, second = fields[0].upper(), fields[1].upper()
        if _is_nothing(second) or re.search(r"[\s:]", second) or second in name:
            words += 1
        elif second in id_of or second in members or re.fullmatch(r"(ENSG\d{11}.*|\d+)", second.partition(",")[0]):
            genes.append(number)
    others = len(lines) - len(genes)
    if len(genes) <= STRAY * len(lines):
        return True
    if not words and others <= len(genes):
        return False
    raise BiosaeError(
        f"The second fields of {len(genes)} of {len(lines)} lines are genes, those of the others descriptions",
        where=f"{path}, line {genes[0]}",
        do="put a description, or na, into the second field of every line",
    )


# ---- JSON --------------------------------------------------------------------------------------------------------


def _json(text: str, path: Path, notes: list[str]) -> list[Term]:
    """``{name: [symbols]}``, ``{name: {symbol: weight}}`` or MSigDB's ``{name: {"geneSymbols": [symbols], ...}}``."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found and found[key] != value:
                raise BiosaeError(f"Two terms are called {key!r}", where=str(path), do="give each its own name")
            found[key] = value
        return found

    try:
        sets = json.loads(text, object_pairs_hook=unique)
    except (json.JSONDecodeError, RecursionError) as e:
        raise BiosaeError(f"A JSON file of gene sets is damaged ({e})", where=str(path)) from e
    if not isinstance(sets, dict):
        raise BiosaeError("A JSON file of gene sets must be {name: [symbols]}", where=str(path))
    terms, weighted = [], False
    for name, value in sets.items():
        genes = value.get("geneSymbols", value) if isinstance(value, dict) else value
        weighted |= isinstance(genes, dict)
        if isinstance(genes, dict) and all(isinstance(w, int | float) for w in genes.values()):
            weights = {w for w in genes.values() if w != 1}
            genes = list(genes)
            if weights and WEIGHTS not in notes:
                notes.append(WEIGHTS)
        if not isinstance(genes, list) or not all(isinstance(g, str | int) or g is None for g in genes):
            raise BiosaeError(
                "A JSON file of gene sets must be {name: [symbols]}, or MSigDB's {name: {geneSymbols: [symbols]}}",
                where=f"{path}, term {name!r}",
            )
        terms.append(Term(f"term {name!r}", name.strip(), name.strip(), [str(g) for g in genes if g is not None]))
    return terms


def _once(terms: list[Term], path: Path, notes: list[str]) -> list[Term]:
    """Every name once: the same genes again are left out, other genes under the same name are refused."""
    seen: dict[str, Term] = {}
    repeated = []
    for term in terms:
        if not term.name:
            raise BiosaeError("A term has no name", where=f"{path}, {term.place}")
        before = seen.setdefault(term.name, term)
        if before is not term:
            if {g.upper() for g in before.genes} != {g.upper() for g in term.genes}:
                raise BiosaeError(
                    f"Two terms are called {term.name!r}, with different genes",
                    where=f"{path}, {before.place} and {term.place}",
                    do="give each its own name",
                )
            repeated.append(term)
    if repeated:
        notes.append(f"{count(repeated, 'term')} stood twice with the same genes (first: {repeated[0].place})")
    return list(seen.values())


# ---- tables ------------------------------------------------------------------------------------------------------


def _long_table(path: Path) -> pd.DataFrame:
    """A long table with the number of each row; one name for each term, and no key missing."""
    table = read_table(path)
    table = table.assign(place=np.arange(1, len(table) + 1))
    if "genes" in table.columns and "gene" not in table.columns:
        table = table.explode("genes").rename(columns={"genes": "gene"})
    if missing := sorted(set(COLUMNS) - set(table.columns)):
        raise BiosaeError(
            f"A table of gene sets lacks the columns {', '.join(missing)}",
            where=str(path),
            do="give one row per (term, gene) with collection, term_id, name and gene",
        )
    table = table[[*COLUMNS, "place"]].reset_index(drop=True)
    for column in COLUMNS[:3]:
        if (bad := blank(table[column])).any():
            raise BiosaeError(f"A term has no {column}", where=f"{path}, {called(table['place'][int(bad.argmax())])}")
    names = table.drop_duplicates(COLUMNS[:3])
    if (twice := names.duplicated(["collection", "term_id"])).any():
        row = names.loc[twice.idxmax()]
        raise BiosaeError(
            f"Two terms of {row['collection']} have the id {row['term_id']!r}, one of them called {row['name']!r}",
            where=f"{path}, {called(row['place'])}",
            do="give each its own term_id",
        )
    return table
