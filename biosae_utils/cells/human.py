"""Human genes: which Ensembl id a name stands for, and what an id is called.

The table is built by `scripts/build_human_genes.py`; its sources are told in data/demo/PROVENANCE.md. A name in use
today stands for the gene that bears it today, whoever bore it before; earlier names and aliases come after.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

TABLE = Path(__file__).with_name("human_genes.parquet")
FIRST, OWN = 1, 2  # roles of a pair: the name stands for this id; the id is called so


@dataclass(frozen=True)
class HumanGenes:
    """The table as two dictionaries.

    Attributes
    ----------
    id_of : dict of str to str
        Name, in use today or earlier, to Ensembl id.
    symbol_of : dict of str to str
        Ensembl id, in use or withdrawn, to what it is (or was last) called.
    """

    id_of: dict[str, str]
    symbol_of: dict[str, str]

    @cached_property
    def _in_capitals(self) -> dict[str, str]:
        """Names with small letters in them, as programs write them that know capitals only (C9ORF72)."""
        return {n.upper(): i for n, i in self.id_of.items() if self.is_own(n) and n.upper() not in self.id_of}

    def find(self, name: str) -> str:
        """Ensembl id that a name stands for, ``""`` where nobody is called so."""
        return self.id_of.get(name) or self._in_capitals.get(name, "")

    def is_own(self, name: str) -> bool:
        """Whether a name is the one in use, not an earlier one or an alias."""
        return bool(name) and self.symbol_of.get(self.id_of.get(name, "")) == name


@cache
def human_genes() -> HumanGenes:
    """The table of human genes; read once."""
    import pandas as pd

    table = pd.read_parquet(TABLE)
    ids = [f"ENSG{number:011d}" for number in table["ensembl"]]
    names, roles = table["name"].tolist(), table["role"].tolist()
    rows = list(zip(names, ids, roles, strict=True))
    return HumanGenes({n: i for n, i, r in rows if r & FIRST}, {i: n for n, i, r in rows if r & OWN})
