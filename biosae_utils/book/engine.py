"""A papermill engine that runs a notebook in the process that asked for it.

Every page of the book is a job of its own, and a job is a process: a kernel would be a second one, with a second start,
a second import of everything, sockets, and a life to be ended when the job's ends.
"""

from __future__ import annotations

import sys
from typing import Any

from papermill.engines import Engine, papermill_engines

NAME = "biosae"


class InProcess(Engine):
    """Runs code cells in a fresh IPython shell of this process; stops at the first that fails, as a kernel would."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> None:
        """Called by papermill with the notebook; outputs are written into its cells."""
        shell = _shell()
        for index, cell in enumerate(nb_man.nb.cells):
            nb_man.cell_start(cell, index)
            failed = cell.cell_type == "code" and not _run(shell, cell)
            nb_man.cell_complete(cell, index)
            if failed:
                return  # papermill finds the error among the outputs


def _shell() -> Any:
    """A shell without anything of an earlier one, without a history on disk, that keeps what is displayed."""
    from IPython.core.displayhook import CapturingDisplayHook
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    quiet = Config()
    quiet.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=quiet)
    shell.display_pub = CapturingDisplayPublisher()
    shell.display_trap.hook = CapturingDisplayHook(shell=shell, outputs=shell.display_pub.outputs)
    return shell


def _run(shell: Any, cell: Any) -> bool:
    """Run one cell and put what it showed into it; returns whether it succeeded."""
    import nbformat.v4 as v4
    from IPython.utils.capture import capture_output

    shown = shell.display_pub.outputs
    shown.clear()
    with capture_output(display=False) as said:
        result = shell.run_cell(cell.source, store_history=True)
    error = result.error_before_exec or result.error_in_exec
    cell.execution_count = result.execution_count
    cell.outputs = [v4.new_output("display_data", data=o["data"], metadata=o["metadata"] or {}) for o in shown]
    if said.stdout and error is None:
        cell.outputs.append(v4.new_output("stream", name="stdout", text=said.stdout))
    if said.stderr:
        sys.stderr.write(said.stderr)
    if error is not None:
        trace = said.stdout.splitlines()  # where IPython prints it
        cell.outputs.append(v4.new_output("error", ename=type(error).__name__, evalue=str(error), traceback=trace))
    return error is None


papermill_engines.register(NAME, InProcess)
