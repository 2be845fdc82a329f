"""Which matrix of a file holds counts: by name where names decide, and never one that only looks like counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from biosae_utils.cells.counts import Encoding, recognise, undo_log1p
from biosae_utils.cells.matrix import StoredMatrix, SummedMatrix
from biosae_utils.errors import BiosaeError

NAMED = ("counts", "raw_counts", "count", "umi", "umis", "umi_counts", "matrix", "raw")  # layers whose name says it
VELOCITY = ("spliced", "unspliced", "ambiguous")  # parts of a count
N_CHECKED = 200  # cells looked at when a file is opened; the others are checked as they are read
Matrix = StoredMatrix | SummedMatrix


@dataclass(frozen=True)
class Candidate:
    """A matrix of the file, and the genes of some of its cells, shape (n_looked_at, n_genes)."""

    place: str
    matrix: Matrix
    sample: sp.csr_matrix
    encoding: Encoding

    @property
    def is_counts(self) -> bool:
        return self.encoding.name == "counts"

    @property
    def layer(self) -> str:
        return self.place.removeprefix("layers/").lower() if self.place.startswith("layers/") else ""


def choose_counts(path: Path, places: Mapping[str, np.ndarray], asked: str = "auto") -> tuple[Candidate, list[str]]:
    """The matrix that holds counts, and what has to be said about the choice.

    Parameters
    ----------
    path : Path
    places : mapping of str to ndarray of bool, shape (n_columns,)
        Matrices in the file (``X``, ``raw/X``, ``layers/<name>``), and which of their columns are genes: the others
        say nothing about counts of transcripts.
    asked : str
        One of them, a layer's bare name, ``raw``, several joined by ``+``; ``auto`` chooses: a layer called like
        counts, ``raw/X``, ``X``, the sum of spliced, unspliced and ambiguous reads, one integer layer; else an
        ``X`` whose logarithm can be undone.

    Raises
    ------
    BiosaeError
        What was asked for is not there; nothing holds counts; or several matrices do, differ, and no name decides.
    """
    if asked != "auto":
        found = _seen(path, _asked(path, asked, list(places)), places, judge=False)
        if not found.encoding.usable:
            raise _no_counts(path, [found])
        return found, _doubts(found)
    # layers without a telling name are looked at only where no name decides: turning one stored by gene takes a while
    telling = [p for p in sorted(places) if p == "X" or _has_name(p)]
    seen = [_seen(path, [place], places) for place in telling]
    if not any(c.is_counts and _has_name(c.place) for c in seen):
        seen += [_seen(path, [place], places) for place in sorted(places) if place not in telling]
    whole = [c for c in seen if c.is_counts]
    undone = next((c for c in seen if c.place == "X" and c.encoding.is_log), None)
    agree = _agreement(undone) if undone else None
    found = _by_name(path, whole, places, agree) or _by_content(path, whole, agree)
    if found is None:
        found = undone or next((c for c in seen if c.encoding.usable), None)
    if found is None:
        raise _no_counts(path, seen)
    messages = []
    if agree and found.is_counts and agree(found) is False:
        messages.append(f"WARNING: {found.place} holds counts, but not those behind the logarithms in X.")
    chosen = found.place.split(" + ")
    if others := [c.place for c in whole if c.place not in chosen and not _equal(c, found)]:
        messages.append(f"There are other integers in {', '.join(others)}; the parameter counts chooses.")
    return found, messages


def _has_name(place: str) -> bool:
    """Whether a place is called so that it must hold counts."""
    return place.startswith("raw") or place.removeprefix("layers/").lower() in NAMED


def _by_name(
    path: Path, whole: list[Candidate], places: Mapping[str, np.ndarray], agree: Callable | None
) -> Candidate | None:
    """What names decide: a layer of counts, then raw, then X or what velocity counts are parts of."""
    named = [c for c in whole if _has_name(c.place)]
    named.sort(key=lambda c: NAMED.index(c.layer) if c.layer else len(NAMED))
    if named:
        return next((c for c in named if agree and agree(c)), named[0])
    parts = [c for name in VELOCITY for c in whole if c.layer == name]
    x = next((c for c in whole if c.place == "X"), None)
    if len(parts) < 2 or (x is not None and not any(_equal(x, part) for part in parts)):
        return None
    total = _seen(path, [c.place for c in parts], places)
    return None if agree and agree(total) is False else total


def _by_content(path: Path, whole: list[Candidate], agree: Callable | None) -> Candidate | None:
    """The one that X was made of, or the only one; parts of a count are no rivals."""
    rivals = [c for c in whole if c.layer not in VELOCITY] or whole
    if agree:
        return next((c for c in rivals if agree(c)), None)
    different = [c for i, c in enumerate(rivals) if not any(_equal(c, other) for other in rivals[:i])]
    if len(different) > 1:
        told = "; ".join(f"{c.place}: {c.encoding.why}" for c in different)
        raise BiosaeError(
            f"Several matrices hold different integers, and no name says which are the counts ({told})",
            where=str(path),
            do=f"name one in the parameter counts, for instance counts={different[0].place}",
        )
    return different[0] if different else None


def _asked(path: Path, asked: str, places: list[str]) -> list[str]:
    """Places that a parameter names."""
    found = []
    for name in (part.strip() for part in asked.split("+")):
        tries = ["raw/X", "raw.X"] if name in ("raw", "raw/X") else [name, f"layers/{name}"]
        place = next((t for t in tries if t in places), None)
        if place is None:
            raise BiosaeError(
                f"There is no {'raw/X' if name == 'raw' else name} in the file; there are {', '.join(sorted(places))}",
                where=str(path),
                do="name one of them in the parameter counts, or use auto",
            )
        found.append(place)
    return found


def _seen(path: Path, names: list[str], places: Mapping[str, np.ndarray], judge: bool = True) -> Candidate:
    """A place, or the sum of several, on cells spread over the file."""
    parts = [StoredMatrix(path, place) for place in names]
    matrix = parts[0] if len(parts) == 1 else SummedMatrix(parts)
    n = matrix.shape[0]
    rows = np.unique(np.linspace(0, max(n - 1, 0), min(n, N_CHECKED)).astype(int))
    is_gene = places[names[0]]
    if not is_gene.any():
        raise BiosaeError("No column is a gene: they are antibodies, peaks, guides or spike-ins", where=f"{path}: var")
    if matrix.shape[1] != len(is_gene):
        raise BiosaeError(
            f"The matrix has {matrix.shape[1]:,} columns, its table {len(is_gene):,}", where=f"{path}: {matrix.key}"
        )
    sample = matrix.read(rows)
    sample = sample if is_gene.all() else sample[:, is_gene]
    encoding = recognise(sample)
    if judge and encoding.name == "counts" and (why := no_counts_after_all(sample)):
        encoding = Encoding("", why)
    return Candidate(matrix.key, matrix, sample, encoding)


def no_counts_after_all(x: sp.csr_matrix) -> str:
    """Why integers are no counts; ``""`` when nothing speaks against them.

    Parameters
    ----------
    x : csr_matrix, shape (n_cells, n_genes)
        Non-negative integers.
    """
    x = sp.csr_matrix(x)
    filled = np.flatnonzero(np.diff(x.indptr))
    if len(filled) < 5:
        return ""
    largest = np.maximum.reduceat(x.data, x.indptr[filled])
    if largest.max() == 1:
        return "the values are only 0 and 1: presence, not counts"
    if (largest == largest[0]).all():
        return f"the largest value of every cell is {largest[0]:,.0f}: bins within cells, not counts"
    return ""


def _doubts(found: Candidate) -> list[str]:
    """What speaks against a matrix that was asked for."""
    why = no_counts_after_all(found.sample) if found.is_counts else ""
    return [f"WARNING: {found.place} was asked for, but {why}."] if why else []


def _agreement(undone: Candidate) -> Callable[[Candidate], bool | None]:
    """A check whether a candidate holds the counts behind an X of logarithms; None where it cannot be told."""
    counts, bad = undo_log1p(undone.sample)

    def agree(candidate: Candidate) -> bool | None:
        if candidate.sample.shape != counts.shape:
            return None  # raw has other genes
        return not (sp.csr_matrix(candidate.sample[~bad], dtype=np.float64) != counts[~bad]).nnz

    return agree


def _equal(a: Candidate, b: Candidate) -> bool:
    return a.sample.shape == b.sample.shape and not (a.sample != b.sample).nnz


def _no_counts(path: Path, seen: list[Candidate]) -> BiosaeError:
    return BiosaeError(
        "The values are neither counts nor logarithms that can be undone: "
        + "; ".join(f"{c.place}: {c.encoding.why}" for c in seen),
        where=str(path),
        do="save raw counts in X or layers/counts",
    )
