"""From an executed notebook to a page of the book: noise off, key takeaways and provenance on."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from biosae_utils import store
from biosae_utils.book import manifest
from biosae_utils.book.claims_table import claims_html
from biosae_utils.book.page import read_claims
from biosae_utils.book.paths import notebook, phase_dir
from biosae_utils.errors import BiosaeError
from biosae_utils.params import PageParams

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
        return True  # the echo of a cell's last expression, for instance the path that `page.save` returns
    return WIDGET in output.get("data", {})


def dress(nb: Any, phase: str, params: PageParams, out: Path) -> Any:
    """Put key takeaways, claims and provenance under the H1; drop the takeaways cell.

    Parameters
    ----------
    nb : NotebookNode
        Cleaned, executed notebook.
    phase : str
    params : PageParams
    out : Path
        Where the page will lie; links to downloads are relative to it.
    """
    import nbformat

    folder = phase_dir(
        params.results, params.run, phase, getattr(params, "model", None), getattr(params, "layer", None)
    )
    about = manifest.require(folder, phase)
    first = next((c for c in nb.cells if c.cell_type == "markdown"), None)
    title, _, rest = first.source.partition("\n") if first is not None else ("", "", "")
    if not title.startswith("# "):
        raise BiosaeError("The first Markdown cell of a notebook starts with its H1", where=str(notebook(phase)))
    first.source = rest.strip() or " "
    top = [
        title,
        takeaways(about["takeaways"]),
        *([claims_html(claims)] if (claims := read_claims(folder)) else []),
        provenance(about, params, folder, out),
    ]
    nb.cells = [c for c in nb.cells if "takeaways" not in c.metadata.get("tags", [])]
    at = nb.cells.index(first)
    nb.cells[at:at] = [nbformat.v4.new_markdown_cell(text, id=f"top{i}") for i, text in enumerate(top)]
    return nb


def takeaways(sentences: list[str]) -> str:
    """Key takeaways as a MyST admonition."""
    return "\n".join(
        [":::{admonition} Key takeaways", ":class: tip biosae-takeaways", *[f"- {s}" for s in sentences], ":::"]
    )


def provenance(about: dict[str, Any], params: PageParams, folder: Path, out: Path) -> str:
    """Model, layer, data, SAE, seed, code, date and seconds in one line; parameters, command and downloads inside."""
    facts = _facts(about, params)
    rows = "\n".join(f"| `{k}` | `{v}` |" for k, v in about["params"].items())
    files = [f"{{download}}`executed notebook <{out.name}>`"]
    text = notebook(about["phase"])
    if text.is_file():
        files.append(f"{{download}}`notebook as text <{_relative(text, out)}>`")
    for name in about["tables"]:
        files.append(f"{{download}}`{name} <{_relative(folder / name, out)}>`")
        if csv := _csv(folder / name, out):
            files.append(f"{{download}}`{csv.name.removeprefix(out.stem + '.')} <{csv.name}>`")
    return f""":::{{dropdown}} {" · ".join(facts)}
:class-container: biosae-provenance

Compute this page again, here with its own parameters; add `-p name=value` to change one:

```bash
{about["command"]}
```

Downloads: {" · ".join(files)}

| parameter | value |
|---|---|
{rows}

Parameters `{about["params_hash"]}`, content `{about["content"]}`, finished {about["finished"]},
peak memory {about["max_rss_mb"]:.0f} MiB.
:::"""


def _facts(about: dict[str, Any], params: PageParams) -> list[str]:
    facts = []
    if about["model"]:
        facts.append(
            about["model"]
            if about["params"]["variant"] == "trained"
            else f"{about['model']} ({about['params']['variant']})"
        )
    if about["layer"] is not None:
        facts.append(f"layer {about['layer']}")
    data = phase_dir(params.results, params.run, "00_data")
    if manifest.is_complete(data):
        facts.append(Path(store.read_json(data / manifest.NAME)["params"]["path"]).name)
    if digest := sae_hash(params):
        facts.append(f"SAE {digest[:8]}")
    seconds = about["seconds"]
    return [
        *facts,
        f"seed {about['params']['seed']}",
        f"code {about['code_version']}",
        about["finished"][:10],
        f"{seconds:.0f} s",
    ]


def sae_hash(params: PageParams) -> str | None:
    """SHA-256 of the weights of the SAE that a layer's page is about."""
    model, layer = getattr(params, "model", None), getattr(params, "layer", None)
    if model is None or layer is None:
        return None
    folder = phase_dir(params.results, params.run, "02_sae", model)
    if not manifest.is_complete(folder):
        return None
    made = store.read_json(folder / manifest.NAME)["outputs"]
    return made.get(f"layer_{layer:02d}/sae/sae_weights.safetensors", {}).get("sha256")


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
    name = " ".join([phase, *([f"of {model}"] if model else []), *([f"layer {layer}"] if layer is not None else [])])
    reason = re.sub(r"\s+", " ", reason).strip()
    return f"""# {name}: not available

:::{{warning}}
This page was not computed, and nothing on other pages stands for it.

{reason}
:::

The command that computes it:

```bash
{command}
```
"""
