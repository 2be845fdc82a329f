"""`Page`: the notebook's side of a phase. It loads what the phase computed, or computes it, and shows it.

A notebook holds prose, figures and sentences; what is computed is in `biosae_utils.phases`. Opened alone, with the
parameters of its parameter cell, it computes what is not there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biosae_utils import store
from biosae_utils.book import escape, figures
from biosae_utils.claims import CONTROLS, VERDICTS
from biosae_utils.errors import BiosaeError
from biosae_utils.params import PageParams, checked
from biosae_utils.phases import manifest
from biosae_utils.phases.base import Phase
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.registry import find
from biosae_utils.phases.run import compute

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from plotly.graph_objects import Figure

IPYTHON_NAMES = {"In", "Out", "exit", "quit", "get_ipython", "open"}
TAKEAWAYS = "application/vnd.biosae.takeaways+json"
CLAIMS = "application/vnd.biosae.claims+json"
MAX_TAKEAWAYS = 3


class Facts(dict[str, Any]):
    """Numbers and words of a page, by attribute: ``facts.n_cells``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no fact {name!r}; there are {', '.join(self)}") from None


class Result:
    """What a phase left in its folder.

    Attributes
    ----------
    folder : Path
    facts : Facts
        Numbers and words for the page's sentences.
    claims : dict of str -> dict
        Claims of the page by id; with several of one id, by ``id/group`` and ``id/layer``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = Facts(store.read_json(folder / "facts.json") if (folder / "facts.json").is_file() else {})
        own_layer = manifest.read(folder)["layer"]
        self.claims = {}
        for claim in manifest.claims(folder):
            parts = [claim["id"], claim["group"], None if own_layer is not None else claim["layer"]]
            self.claims["/".join(str(part) for part in parts if part is not None)] = claim

    def has(self, name: str) -> bool:
        """Whether the phase left a table of that name."""
        return (self.folder / f"{name}.parquet").is_file()

    def table(self, name: str) -> pd.DataFrame:
        """A table that the phase saved."""
        if not self.has(name):
            there = ", ".join(sorted(p.stem for p in self.folder.glob("*.parquet")))
            raise BiosaeError(f"There is no table {name!r}", where=str(self.folder), do=f"there are {there}")
        return store.read_table(self.folder / f"{name}.parquet")

    def array(self, name: str) -> np.ndarray:
        """An array that the phase saved."""
        import numpy as np

        return np.load(self.folder / f"{name}.npy", mmap_mode="r")


class Page:
    """One page of the book.

    Attributes
    ----------
    phase : Phase
    params : PageParams
        Typed parameters of the phase.
    """

    def __init__(self, phase: Phase, params: PageParams) -> None:
        self.phase, self.params = phase, params
        self._shown: list[str] = []

    @classmethod
    def open(cls, phase: str, namespace: Mapping[str, Any]) -> Page:
        """Check the notebook's parameters and set the figure template.

        Parameters
        ----------
        phase : str
        namespace : mapping
            ``globals()`` of the notebook, right after its parameter cell. Plain values in it that are no parameter of
            the phase are refused: they would silently do nothing. (When the cell is run a second time, the notebook's
            own variables are there too, and only the parameters are read.)
        """
        declared = find(phase)
        if Path.cwd().name == "notebooks" and (Path.cwd().parent / "pyproject.toml").is_file():
            os.chdir("..")  # a Jupyter session starts beside the notebook; paths count from the project
        values = _parameters(declared, namespace)
        page = cls(declared, checked(declared.params, values, where=f"parameters of {phase}"))
        figures.use_template()
        return page

    def result(self) -> Result:
        """What the phase computed with these parameters; computed now where that is not there or not current."""
        return Result(compute(self.phase, self.params, command=os.environ.get("BIOSAE_COMMAND", "")))

    @property
    def read(self) -> Inputs:
        """What earlier phases left, for an exercise in a session; a page of the book shows its own result."""
        return Inputs(self.phase, self.params)

    def figure(self, fig: Figure, name: str, alt: str, caption: str) -> None:
        """Show a Plotly figure with alternative text (for who cannot see it) and a caption (how to read it)."""
        self._once(name)
        figures.show(figures.figure_bundle(fig, name=name, alt=alt, caption=caption))

    def table(self, df: pd.DataFrame, name: str, caption: str) -> None:
        """Show a searchable table; the first 5,000 rows go into the book."""
        self._once(name)
        figures.show(figures.table_bundle(df, name=name, caption=caption))

    def text(self, markdown: str) -> None:
        """Show a paragraph with numbers in it; of Markdown it may hold emphasis and code."""
        markdown = escape.sentence(markdown)
        figures.show({"text/markdown": markdown, "text/plain": markdown})

    def _once(self, name: str) -> None:
        if name in self._shown:
            raise BiosaeError(
                f"Two figures or tables are called {name!r}", where=self.phase.name, do="give each its own name"
            )
        self._shown.append(name)

    def takeaways(self, sentences: Sequence[str]) -> None:
        """What a reader should conclude: at most three sentences, each number beside its control.

        Parameters
        ----------
        sentences : sequence of str
            In Markdown.
        """
        if not sentences or isinstance(sentences, str) or len(sentences) > MAX_TAKEAWAYS:
            raise BiosaeError(f"A page has 1 to {MAX_TAKEAWAYS} takeaways: a list of sentences", where=self.phase.name)
        shown = list(sentences)
        if control := CONTROLS.get(getattr(self.params, "variant", "trained")):
            note = "what this page shows is owed to input, shape and method. It is no finding, but what one must beat."
            shown.insert(0, f"**{control}**: {note}")
        claims = Result(compute(self.phase, self.params)).claims.values()
        lines = ["**Key takeaways**", "", *[f"- {t}" for t in shown]]
        lines += ["", *[f"- *{VERDICTS[c['verdict']]}*: {c['title']}" for c in claims]]
        text = "\n".join(lines)
        figures.show({TAKEAWAYS: shown, "text/markdown": text, "text/plain": text})


def _parameters(phase: Phase, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values of a notebook's namespace that its parameter cell can have set."""
    fields = phase.params.model_fields
    found = {name: value for name, value in namespace.items() if name in fields}
    if any(isinstance(value, Page) for value in namespace.values()):
        return found
    for name, value in namespace.items():
        plain = isinstance(value, str | int | float | list | dict | None)
        constant = name.startswith("_") or name.isupper() or name in IPYTHON_NAMES
        if plain and not constant:
            found[name] = value  # what is not a parameter is refused by `checked`, which names the right ones
    return found
