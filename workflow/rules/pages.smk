# One rule per scope of a page. A job leaves the executed notebook and, in the phase's folder, the manifest that marks it
# complete; both are outputs, so a job killed in between runs again.

import json
import shlex

from biosae_utils.book import dag
from biosae_utils.book.paths import page_path, phase_dir


def node(wildcards):
    layer = wildcards.get("layer")
    return wildcards.phase, wildcards.get("model"), None if layer is None else int(layer)


def manifest_of(page):
    return str(phase_dir(RUN.results, RUN.run, *page) / "manifest.json")


def upstream(wildcards):
    return [manifest_of(page) for page in dag.needs(RUN, node(wildcards))]


def code(wildcards):
    return [str(path) for path in dag.sources(wildcards.phase)]


def data(wildcards):
    return [str(path) for path in dag.data_files(RUN.phase_params(*node(wildcards)))]


def as_json(wildcards):
    """Parameters of the page; Snakemake compares them with those of the last run."""
    return shlex.quote(json.dumps(RUN.phase_params(*node(wildcards)).model_dump(mode="json"), sort_keys=True))


def takes(what):
    return lambda wildcards: getattr(dag.resources(wildcards.phase), what)


def threads(wildcards):
    """Models side by side use small machines better than many threads for one; a phase with 0 gets its model's share."""
    return dag.resources(wildcards.phase).threads or max(1, workflow.cores // len(RUN.models))


def folder(scope):
    """Folder patterns of a scope as (results, executed)."""
    return f"{RUN.results}/{RUN.run}/{scope}", f"book/executed/{RUN.run}/{scope}"


JOB = (
    "python -m biosae_utils.book.run_phase {wildcards.phase} --params {params.json} --out-notebook {output.page}"
    f" --config {shlex.quote(RUN_CONFIG)}" + " --threads {threads} 2> {log} || {{ tail -n 1 {log} >&2; exit 1; }}"
)
SCOPES = {"layer": "{model}/layer_{layer}/", "model": "{model}/", "run": ""}


for name, scope_folder in SCOPES.items():

    rule:
        name:
            f"{name}_page"
        input:
            upstream=upstream,
            code=code,
            data=data,
        output:
            manifest=folder(scope_folder)[0] + "{phase}/manifest.json",
            page=folder(scope_folder)[1] + "{phase}.ipynb",
        params:
            json=as_json,
        log:
            f"logs/{RUN.run}/{scope_folder}" + "{phase}.log",
        threads: threads
        priority: 1 if name == "model" else 0  # extraction and training are long: pages of layers fill in beside them
        resources:
            mem_mb=takes("mem_mb"),
            runtime=takes("runtime"),
            gpu=takes("gpu"),
        shell:
            JOB


rule pages:
    """Every page of the run, not rendered."""
    input:
        [str(page_path(RUN.run, *page)) for page in RUN.pages()],
