"""From an executed notebook to a page of the book, in the one order that all pages have.

Question, one hero figure, takeaways, claims; then the notebook's own text from details to exercise; then provenance and
the source of what was computed.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

from biosae_utils import store
from biosae_utils.book import escape
from biosae_utils.book.claims_strip import claims_html
from biosae_utils.book.page import TAKEAWAYS
from biosae_utils.book.paths import notebook
from biosae_utils.errors import BiosaeError
from biosae_utils.params import PageParams
from biosae_utils.phases import manifest
from biosae_utils.phases.base import Phase
from biosae_utils.phases.places import phase_dir, title
from biosae_utils.phases.state import folder_of

CSV_ROWS = 20_000
"""Tables up to this many rows are offered as CSV beside Parquet."""

WIDGET = "application/vnd.jupyter.widget-view+json"


def clean(nb: Any) -> Any:
    """Drop what changes from run to run or is noise: timings, progress bars, stderr, widgets, random cell ids.

    The parameter cell is left with the values that were used, so that the downloaded notebook computes the same page.
    """
    cells = nb.cells
    if any("injected-parameters" in c.metadata.get("tags", []) for c in cells):
        cells = [c for c in cells if "parameters" not in c.metadata.get("tags", [])]
    for i, cell in enumerate(cells):
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            tags = ["parameters", "hide-input"]
            cell.source = cell.source.replace("# Parameters\n", "", 1)
        cell.metadata = {"tags": tags} if tags else {}
        cell["id"] = f"c{i:03d}"
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not _noise(o)]
    nb.cells = cells
    nb.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return nb


def _noise(output: Any) -> bool:
    if output.output_type == "stream":
        return output.name == "stderr" or not output.text.strip()
    if output.output_type == "execute_result" and set(output.data) == {"text/plain"}:
        return True  # the echo of a cell's last expression
    return WIDGET in output.get("data", {})


def assemble(nb: Any, phase: Phase, params: PageParams, out: Path) -> Any:
    """Put a cleaned, executed notebook in the order of a page.

    Parameters
    ----------
    nb : NotebookNode
    phase : Phase
    params : PageParams
    out : Path
        Where the page will lie; links to downloads are relative to it.
    """
    folder = folder_of(phase, params)
    about = manifest.require(folder, phase.name)
    claims = store.read_json(folder / manifest.CLAIMS)
    first = next((c for c in nb.cells if c.cell_type == "markdown"), None)
    if first is None or not first.source.startswith("# "):
        raise BiosaeError("The first Markdown cell of a notebook starts with its H1", where=str(notebook(phase.name)))
    hero = [c for c in nb.cells if "hero" in c.metadata.get("tags", [])]
    if len(hero) > 1:
        raise BiosaeError("A page has one hero figure", where=str(notebook(phase.name)), do="tag one cell only")
    said = [c for c in nb.cells if _sentences(c) is not None]
    if len(said) != 1:
        raise BiosaeError("A page states its takeaways once", where=str(notebook(phase.name)), do="call page.takeaways")
    head, rest = _opening(first.source)
    nb.metadata["takeaways"] = _sentences(said[0])
    moved = {id(cell) for cell in (first, *hero, *said)}
    nb.cells = [
        _markdown(head, "head"),
        *hero,
        _markdown(takeaways(_sentences(said[0]) or []), "takeaways"),
        *([_markdown(claims_html(claims), "claims")] if claims else []),
        *([_markdown(rest, "rest")] if rest else []),
        *merged([cell for cell in nb.cells if id(cell) not in moved]),
        _markdown(provenance(about, params, folder, out), "provenance"),
        _markdown(how(phase), "how"),
    ]
    return nb


def _markdown(text: str, name: str) -> Any:
    import nbformat

    return nbformat.v4.new_markdown_cell(text, id=name)


def _opening(text: str) -> tuple[str, str]:
    """H1 and question (the first paragraph), and what the first cell says after them."""
    title, _, body = text.partition("\n")
    paragraphs = re.split(r"\n\s*\n", body.strip())
    return f"{title}\n\n{paragraphs[0]}", "\n\n".join(paragraphs[1:])


def _sentences(cell: Any) -> list[str] | None:
    """What a cell said by `Page.takeaways`, if it did."""
    for output in cell.get("outputs", []):
        if TAKEAWAYS in output.get("data", {}):
            return output["data"][TAKEAWAYS]
    return None


def merged(cells: list[Any]) -> list[Any]:
    """Folded code cells that follow each other without a figure between them, as one; empty cells go."""
    out: list[Any] = []
    for cell in cells:
        code = cell.cell_type == "code"
        if not cell.source.strip() and not (code and cell.outputs):
            continue
        before = out[-1] if out else None
        folded = code and "hide-input" in cell.metadata.get("tags", [])
        if folded and before is not None and before.cell_type == "code" and not before.outputs:
            before.source += "\n\n" + cell.source
            before.outputs = cell.outputs
        else:
            out.append(cell)
    return out


def takeaways(sentences: list[str]) -> str:
    """Key takeaways as a MyST admonition."""
    return "\n".join(
        [
            ":::{admonition} Key takeaways",
            ":class: tip biosae-takeaways",
            *[f"- {escape.sentence(s)}" for s in sentences],
            ":::",
        ]
    )


def provenance(about: dict[str, Any], params: PageParams, folder: Path, out: Path) -> str:
    """Model, layer, data, SAE, seed, code, date and seconds in one line; parameters, command and downloads inside."""
    rows = "\n".join(f"| `{k}` | {escape.code(v, cell=True)} |" for k, v in about["params"].items())
    steps = "".join(f"\n| {name} | {seconds:.1f} |" for name, seconds in about["steps"].items())
    spent = f"\n\n| step | seconds |\n|---|---:|{steps}" if steps else ""
    files = [f"{{download}}`executed notebook <{out.name}>`"]
    text = notebook(about["phase"])
    if text.is_file():
        files.append(f"{{download}}`notebook as text <{_relative(text, out)}>`")
    for name in about["tables"]:
        files.append(f"{{download}}`{name} <{_relative(folder / name, out)}>`")
        if csv := _csv(folder / name, out):
            files.append(f"{{download}}`{csv.name.removeprefix(out.stem + '.')} <{csv.name}>`")
    return f""":::{{dropdown}} {" · ".join(map(escape.md, _facts(about, params)))}
:class-container: biosae-provenance

Compute this page again, here with its own parameters; add `-p name=value` to change one:

{escape.block(about["command"], "bash")}

Downloads: {" · ".join(files)}

| parameter | value |
|---|---|
{rows}{spent}

Parameters `{about["key"]["params"]}`, code `{about["key"]["code"]}`, content `{about["content"]}`, finished
{about["finished"]}, peak memory {about["max_rss_mb"]:.0f} MiB.
:::"""


def how(phase: Phase) -> str:
    """The real source of what was computed, folded."""
    module = sys.modules[phase.compute.__module__]
    return f"""::::{{dropdown}} How it was computed
:class-container: biosae-provenance

`{module.__name__}`, as installed; the notebook above only shows what it left.

```python
{inspect.getsource(module).rstrip()}
```
::::"""


def _facts(about: dict[str, Any], params: PageParams) -> list[str]:
    facts = []
    if about["model"]:
        variant = about["params"]["variant"]
        facts.append(about["model"] if variant == "trained" else f"{about['model']} ({variant})")
    if about["layer"] is not None:
        facts.append(f"layer {about['layer']}")
    data = phase_dir(params.results, params.run, "00_data")
    if manifest.is_complete(data):
        facts.append(Path(manifest.read(data)["params"]["path"]).name)
    if digest := sae_hash(params):
        facts.append(f"SAE {digest[:8]}")
    return [
        *facts,
        f"seed {about['params']['seed']}",
        f"code {about['code_version']}",
        about["finished"][:10],
        f"{about['seconds']:.0f} s",
    ]


def sae_hash(params: PageParams) -> str | None:
    """SHA-256 of the weights of the SAE that a layer's page is about."""
    model, layer = getattr(params, "model", None), getattr(params, "layer", None)
    if model is None or layer is None:
        return None
    folder = phase_dir(params.results, params.run, "02_sae", model)
    if not manifest.is_complete(folder):
        return None
    return manifest.read(folder)["outputs"].get(f"layer_{layer:02d}/sae/sae_weights.safetensors", {}).get("sha256")


def _csv(table: Path, out: Path) -> Path | None:
    """The table as CSV beside the page, where it is small enough to be opened by hand."""
    df = store.read_table(table)
    if len(df) > CSV_ROWS:
        return None
    path = out.with_name(f"{out.stem}.{table.stem}.csv")
    with store.atomic_path(path) as tmp:
        df.to_csv(tmp, index=False, float_format="%.6g")
    return path


def _relative(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path.resolve(), out.parent.resolve())).as_posix()


def placeholder(phase: str, model: str | None, layer: int | None, reason: str, command: str) -> str:
    """Page, in Markdown, of a phase that left nothing: it says why and how to compute it."""
    reason = re.sub(r"\s+", " ", reason).strip()
    return f"""# {title(phase, model, layer)}: not available

:::{{warning}}
This page was not computed, and nothing on other pages stands for it.

{escape.md(reason)}
:::

The command that computes it:

{escape.block(command, "bash")}
"""
