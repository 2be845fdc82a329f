"""What earlier phases left, checked against their manifests before it is handed to the phase that reads it."""

from __future__ import annotations

from pathlib import Path

from biosae_utils.errors import BiosaeError
from biosae_utils.params import PageParams
from biosae_utils.phases import manifest
from biosae_utils.phases.base import Phase
from biosae_utils.phases.places import default_command, node_of, phase_dir
from biosae_utils.phases.registry import find, reads
from biosae_utils.phases.state import pages_of


class Inputs:
    """Files of the phases that a page reads.

    Attributes
    ----------
    params : PageParams
        Of the page that reads.
    model, layer : str or None, int or None
        What that page is about.
    """

    def __init__(self, phase: Phase, params: PageParams) -> None:
        self.params = params
        self._phase = phase
        _, self.model, self.layer = node_of(phase.name, params)

    def file(self, phase: str, name: str = "", *, model: str | None = None, layer: int | None = None) -> Path:
        """Path of a file or folder of an earlier page: of the same layer, else of the same model, else of the run.

        Parameters
        ----------
        phase : str
            Phase that wrote it; one that the reading phase declares.
        name : str
            File or folder within that page's folder; the folder itself when empty.
        model, layer : optional
            Another model or layer than the reader's.

        Raises
        ------
        BiosaeError
            The page is not complete, the file is not there, or it is not what was written.
        """
        if phase not in (*reads(self._phase), self._phase.control):
            raise BiosaeError(
                f"{self._phase.name} reads {phase} and does not declare it",
                where=f"phases/{self._phase.short}.py",
                do="add it to `reads`",
            )
        folder = self.folder(phase, model=model, layer=layer)
        about = manifest.require(folder, phase)
        path = folder / name
        again = f"rerun it with `{default_command(about['phase'], about['model'], about['layer'])}`"
        if not path.exists():
            raise BiosaeError(f"{phase} left no {name}", where=str(folder), do=again)
        for file, what in manifest.changed(folder, about, name):
            raise BiosaeError(f"{file} {what}", where=str(folder), do=again)
        return path

    def folder(self, phase: str, *, model: str | None = None, layer: int | None = None) -> Path:
        """Folder of an earlier page, not checked; see `file`."""
        model = self.model if model is None else model
        layer = self.layer if layer is None else layer
        scope = find(phase).scope
        if (scope != "run" and model is None) or (scope == "layer" and layer is None):
            raise BiosaeError(f"{phase} has one folder per {scope}: say which", where=f"phases/{self._phase.short}.py")
        where = {"run": (None, None), "model": (model, None), "layer": (model, layer)}[scope]
        return phase_dir(self.params.results, self.params.run, phase, *where)

    def layers(self, phase: str, *, model: str | None = None) -> list[int]:
        """Layers of a model for which the run has `phase`, in order."""
        wanted = self.model if model is None else model
        return sorted(
            layer for name, of, layer in pages_of(self.params) if (name, of) == (phase, wanted) if layer is not None
        )

    def models(self, phase: str) -> list[str]:
        """Models for which the run has `phase`, in the order of the run."""
        return list(dict.fromkeys(of for name, of, _ in pages_of(self.params) if name == phase and of is not None))
