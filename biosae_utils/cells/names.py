"""Which gene is each column: decided column by column from all that `var` says, mouse refused."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pandas as pd

from biosae_utils.cells.genes import Genes
from biosae_utils.cells.human import HumanGenes, human_genes
from biosae_utils.errors import BiosaeError

# Columns of var that hold names, in the order in which they are believed; compared in small letters without . _ -
ID_COLUMNS = (
    *("ensemblid", "ensemblids", "geneids", "geneid", "ensembl", "ensemblgeneid", "ensemblgene", "featureid"),
    *("featureids", "ensgid", "ensg", "genestableid", "accession", "id", "ids", "geneensembl"),
)
SYMBOL_COLUMNS = (
    *("symbol", "featurename", "genesymbols", "genesymbol", "genename", "genenames", "geneshortname", "hgncsymbol"),
    *("hgnc", "hugosymbol", "hugo", "symbols", "realgenename", "originalgenesymbols", "featurenames", "features"),
    *("feature", "gene", "genes", "name", "names", "varnames"),
)
MISSING = frozenset(
    "|na|n/a|#n/a|nan|none|null|nil|<na>|-|--|.|?|unknown|unnamed|undefined|missing|not available|no symbol".split("|")
)
ID = re.compile(r"(ENSG\d{11})(?:\.\d+)?(?:_PAR_Y)?", re.IGNORECASE)  # with a version or a pseudo-autosomal mark
GENOME = re.compile(r"^(?:GRCh3[78]|hg19|hg38)_+")  # 10x writes it before names when cells of two species are mixed
OTHER_ID = r"^(ENS(?!G\d)[A-Z]{3,4}G)\d{11}"
MIN_KNOWN = 0.1  # share of columns that must be known human genes
LOST = 0.03  # share of the molecules in unknown genes above which it is a warning
INDEX = "the index of var"


def find_genes(var: pd.DataFrame, *, where: str = "") -> tuple[Genes, list[str]]:
    """Ensembl ids and symbols of the columns of a count matrix.

    Every gene is looked for in the columns that hold ids, those that hold symbols, and the index, and takes the first
    name that is one; so files that mix symbols with ids lose nothing. What is missing then is filled in from
    the table of human genes.

    Parameters
    ----------
    var : DataFrame, shape (n_genes, ...)
        Gene table of an h5ad, gene names in the index.
    where : str
        File name for error messages.

    Returns
    -------
    genes : Genes
    messages : list of str
        What was found where, and what was filled in.

    Raises
    ------
    BiosaeError
        If the genes are not human or cannot be recognised.
    """
    human = human_genes()
    ids, symbols = _sources(var)
    texts = {name: _cleaned(column) for name, column in (ids | symbols).items()}
    _refuse_other_species(texts, symbols, where)
    split = {name: [_split(t, human) for t in column] for name, column in texts.items()}
    ensembl, id_from = _first([[i for i, _ in split[c]] for c in ids], list(ids), len(var))
    known = [[s if human.find(s) else "" for _, s in split[c]] for c in symbols]
    named = [[s if not s.isdigit() else "" for _, s in split[c]] for c in symbols]
    symbol, symbol_from = _first(known + named, list(symbols) * 2, len(var))

    is_known = np.array([bool(e) or bool(human.find(s)) for e, s in zip(ensembl, symbol, strict=True)], bool)
    if is_known.mean() < MIN_KNOWN:
        raise BiosaeError(
            f"Only {is_known.sum()} of {len(var)} genes are known human Ensembl ids or symbols (first: "
            + ", ".join(repr(str(n)) for n in var.index[:3])
            + ")",
            where=where,
            do="put Ensembl ids into var['ensembl_id'], or symbols into var['symbol'] or the index",
        )
    messages = [f"{len(var):,} genes: Ensembl ids from {_told(id_from)}; symbols from {_told(symbol_from)}."]
    filled = _with_ids(ensembl, symbol, human)
    called = np.array([s or human.symbol_of.get(e, "") for e, s in zip(filled, symbol, strict=True)], str)
    for kind, before, after in (("Ensembl ids", ensembl, filled), ("symbols", symbol, called)):
        added, left = int((after != "").sum() - (before != "").sum()), int((after == "").sum())
        if added:
            messages.append(f"{added:,} missing {kind} were filled in from the table of human genes.")
        if left:
            messages.append(f"{left:,} {kind} are unknown.")
    return Genes(filled, called), messages + mangled(called[filled == ""], human)


def _sources(var: pd.DataFrame) -> tuple[dict[str, pd.Series], dict[str, pd.Series]]:
    """Columns in which ids, and in which symbols are looked for, the most trusted first."""
    plain = {re.sub(r"[^a-z0-9]", "", str(c).lower()): str(c) for c in reversed(list(var.columns))}
    texts = {str(c): var[c] for c in var.columns}
    named = {
        kind: [plain[n] for n in names if n in plain] for kind, names in (("id", ID_COLUMNS), ("s", SYMBOL_COLUMNS))
    }
    index = {INDEX: pd.Series(var.index, index=var.index)}
    by_id = {c: texts[c] for c in named["id"]}
    by_symbol = {c: texts[c] for c in named["s"]}
    other = {c: t for c, t in texts.items() if c not in by_id and c not in by_symbol and _holds_ids(t)}
    return by_id | index | by_symbol | other, by_symbol | index | by_id


def _holds_ids(column: pd.Series) -> bool:
    """Whether a column that no one would name so holds Ensembl ids."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return False
    return bool(column.astype(str).str.match(ID).mean() > 0.5)


def _cleaned(column: pd.Series) -> list[str]:
    """Text of a column, ``""`` where it says that there is none."""
    texts = column.astype(object).where(column.notna(), "").astype(str).str.strip()
    return ["" if t.lower() in MISSING else t for t in texts]


def _split(text: str, human: HumanGenes) -> tuple[str, str]:
    """Ensembl id and symbol in a text that may hold either, or both (``ISG15_ENSG00000187608``, ``ISG15|9636``)."""
    text = GENOME.sub("", text)
    if not (found := ID.search(text)):
        parts = [p for p in re.split(r"\||__", text) if p]
        return "", next((p for p in parts if human.find(p)), text) if len(parts) > 1 else text
    rest = (text[: found.start()] + text[found.end() :]).strip(" _|.,:;()-")
    return found[1].upper(), rest if human.find(rest) else ""


def _first(columns: list[list[str]], names: list[str], n: int) -> tuple[np.ndarray, Counter]:
    """First text that is not empty, gene by gene, and how many came from where."""
    found, source = np.full(n, "", object), Counter()
    for column, name in zip(columns, names, strict=True):
        take = (found == "") & (np.array(column, object) != "")
        found[take] = np.array(column, object)[take]
        source[name] += int(take.sum())
    return found.astype(str), source


def _told(source: Counter) -> str:
    """Where names came from; numbers only if there are several places."""
    places = [(name if name == INDEX else f"var[{name!r}]", n) for name, n in source.items() if n]
    if len(places) < 2:
        return places[0][0] if places else "nowhere"
    return ", ".join(f"{place} ({n:,})" for place, n in places)


def _with_ids(ensembl: np.ndarray, symbol: np.ndarray, human: HumanGenes) -> np.ndarray:
    """Ensembl ids, looked up by symbol where missing.

    An earlier name whose gene already has a column was a gene of its own in the file's reference, and gets no id.
    """
    filled = ensembl.astype(object)
    earlier: list[int] = []
    for i in np.flatnonzero((ensembl == "") & (symbol != "")):
        name = str(symbol[i])
        if found := human.find(name):
            if human.symbol_of.get(found, "").upper() == name.upper():
                filled[i] = found
            else:
                earlier.append(i)
    taken = set(filled)
    for i in earlier:
        if (found := human.find(str(symbol[i]))) not in taken:
            filled[i] = found
            taken.add(found)
    return filled.astype(str)


MONTHS = "(?:Mar|Sep|Dec|Oct|Apr|Nov)"  # of MARCH1, SEPT2, DEC1, OCT4 ...
EXCEL = re.compile(rf"^(?:\d{{1,2}}-{MONTHS}|{MONTHS}-\d{{1,2}}|\d{{4}}-\d\d-\d\d.*|\d[.,]\d+E\+\d+)$")


def mangled(unknown: np.ndarray, human: HumanGenes) -> list[str]:
    """Hints at names that R (``make.names``) or Excel (dates) has changed."""
    said = []
    by_r = {n: real for n in unknown.tolist() if (real := _before_r(n, human))}
    if by_r:
        name, real = next(iter(by_r.items()))
        said.append(
            f"WARNING: {len(by_r):,} unknown names look as if R had changed them ({name} for {real}): write the table "
            "of genes with check.names=FALSE, or give Ensembl ids."
        )
    if dates := [n for n in unknown.tolist() if EXCEL.match(n)]:
        said.append(
            f"WARNING: {len(dates):,} unknown names look as if Excel had made dates or numbers of them ({dates[0]}): "
            "take the names from the original file, or give Ensembl ids."
        )
    return said


def _before_r(name: str, human: HumanGenes) -> str:
    """The gene that R's ``make.names`` would have called so, if there is one."""
    bare = re.sub(r"^X(?=\d)", "", name)
    if bare == name and "." not in name:
        return ""
    dashed = bare.replace(".", "-")
    tries = [bare, dashed, re.sub(r"-(\d+)$", r".\1", dashed)]
    return next((t for t in tries if t != name and human.find(t)), "")


def unknown_molecules(genes: Genes, total: np.ndarray) -> list[str]:
    """A warning if many molecules are of genes without a known Ensembl id, with the largest ones named.

    Parameters
    ----------
    genes : Genes
    total : ndarray of float, shape (n_genes,)
        Molecules of each gene in the cells looked at.
    """
    lost = np.where(genes.ensembl == "", total, 0.0)
    share = lost.sum() / max(total.sum(), 1.0)
    if share <= LOST:
        return []
    largest = [i for i in np.argsort(-lost, kind="stable")[:10] if lost[i] > 0]
    names = ", ".join(
        f"{genes.symbol[i] or f'column {i} without a name'} ({lost[i] / total.sum():.1%})" for i in largest
    )
    return [
        f"WARNING: {share:.1%} of the molecules are of {int((lost > 0).sum()):,} genes whose Ensembl id is unknown, "
        f"and models cannot see them; the largest are {names}."
    ]


def _refuse_other_species(texts: dict[str, list[str]], symbols: dict[str, pd.Series], where: str) -> None:
    for name, column in texts.items():
        other = pd.Series(column, dtype=str).str.extract(OTHER_ID, expand=False).dropna()
        if len(other) > 0.1 * len(column):
            prefix = other.mode()[0]
            animal = "mouse" if prefix == "ENSMUSG" else "another species"
            raise BiosaeError(
                f"The genes are of {animal} ({prefix}...), the models know human genes only",
                where=f"{where}: {name}",
                do="map the genes to their human orthologues first",
            )
    names = pd.Series(texts[next(iter(symbols))], dtype=str)
    words = names[names.str.match(r"^[A-Za-z]{2,}[A-Za-z0-9]*$")]
    title = words[words.str.match(r"^[A-Z][a-z]+[a-z0-9]*$")]
    known = sum(t.upper() in human_genes().id_of for t in title)
    if len(words) > 20 and len(title) > 0.5 * len(words) and known > 0.3 * len(title):
        raise BiosaeError(
            f"The symbols are written as mouse genes ({', '.join(title[:3])}), the models know human genes only",
            where=where,
            do="map the genes to their human orthologues first (human genes are written in upper case)",
        )
