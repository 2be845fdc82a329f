"""Columns that are no genes: antibodies, guides, peaks, hashtags, spike-ins."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

TYPE_COLUMNS = (
    "featuretypes",
    "featuretype",
    "featureclass",
    "featurebiotype",
    "modality",
    "modalities",
    "librarytype",
)
# what tools call features that are no transcripts; a column of biotypes (protein_coding ...) names none of them
KINDS = (
    ("antibodies", r"antibod|^adt|protein capture|^protein$|^proteins$|^prot$|totalseq|cite"),
    ("guides", r"crispr|guide|grna"),
    ("peaks", r"peak|atac|chromatin"),
    ("hashtags", r"multiplex|hash|^hto|cellplex|^cmo"),
    ("spike-ins", r"spike|ercc"),
    ("custom features", r"^custom"),
)
NAMES = (
    ("antibodies", r"(?i)totalseq|^(?:adt|ab|prot|antibody)[_:]"),
    ("guides", r"(?i)^(?:sg|g)rna[_:-]"),
    ("peaks", r"(?i)^chr[0-9XYM]{1,2}[:_-]\d+[_-]\d+$"),
    ("hashtags", r"(?i)^(?:hto|hashtag)[_:-]?"),
    ("spike-ins", r"^ERCC-\d{5}$"),
)


def kinds_of(var: pd.DataFrame) -> np.ndarray:
    """What each column of a matrix is, ``""`` for a gene.

    Parameters
    ----------
    var : DataFrame, shape (n_columns, ...)
        Says it in a column like ``feature_types``, or not at all: then names that no gene has are looked for.

    Returns
    -------
    ndarray of str, shape (n_columns,)
    """
    kinds = np.full(len(var), "", object)
    names = pd.Series(var.index.astype(str))
    for kind, pattern in NAMES:
        kinds[names.str.contains(pattern, regex=True).to_numpy() & (kinds == "")] = kind
    plain = {re.sub(r"[^a-z0-9]", "", str(c).lower()): c for c in var.columns}
    for column in (plain[c] for c in TYPE_COLUMNS if c in plain):
        said = var[column].astype(object).where(var[column].notna(), "").astype(str).str.lower().str.strip()
        for kind, pattern in KINDS:
            kinds[said.str.contains(pattern, regex=True).to_numpy() & (kinds == "")] = kind
    return kinds.astype(str)


def left_out(kinds: np.ndarray) -> list[str]:
    """One sentence on what is left out.

    Parameters
    ----------
    kinds : ndarray of str, shape (n_columns,)
        See `kinds_of`.
    """
    others = [k for k in dict.fromkeys(kinds.tolist()) if k]
    if not others:
        return []
    told = ", ".join(f"{int((kinds == k).sum()):,} {k}" for k in others)
    return [f"WARNING: {told} are no genes and are left out."]
