# Two rules a phase, named after it: `modules` computes (no notebook, runs on a bare machine), `modules_page` executes the
# notebook that shows it.
#
# Snakemake goes by time stamps; this book goes by content. So an input that is current is `ancient` (its time does not
# matter), and what is not current, judged by hashes of parameters, code, data, inputs and outputs, gets one more input that
# is always new. A job that finds its result current after all (its input was computed again and came out the same) leaves
# it alone.

import json
import shlex
import time
from pathlib import Path

from biosae_utils.book.page_state import states
from biosae_utils.book.paths import page_path
from biosae_utils.phases.places import default_command, phase_dir
from biosae_utils.phases.registry import find
from biosae_utils.phases.state import needs

PARAMS = RUN.all_params()
STATES = states(RUN)
STALE = Path(".snakemake", "biosae-stale")
STALE.parent.mkdir(exist_ok=True)
STALE.write_text(f"{time.time_ns()}\n")  # new content each time: Snakemake also compares checksums
PLACES = {"layer": "{model}/layer_{layer}/", "model": "{model}/", "run": ""}


def done(page):
    """Stamp of a computed page: the folder's manifest says more, but Snakemake would delete it before a job."""
    return str(phase_dir(RUN.results, RUN.run, *page)) + ".done"


def node(phase, wildcards):
    layer = wildcards.get("layer")
    return phase, wildcards.get("model"), None if layer is None else int(layer)


def flagged(state):
    return [] if state[0] == "done" else [str(STALE)]


def timeless(path, state):
    """An input whose time does not matter, unless it is about to be made again."""
    return ancient(path) if state[0] == "done" else path


def upstream(phase):
    def of(wildcards):
        page = node(phase, wildcards)
        needed = needs(RUN.pages(), find(phase), PARAMS[page])
        return [*[timeless(done(other), STATES[other][0]) for other in needed], *flagged(STATES[page][0])]

    return of


def computed(phase):
    def of(wildcards):
        page = node(phase, wildcards)
        return [timeless(done(page), STATES[page][0]), *flagged(STATES[page][1])]

    return of


def as_json(phase):
    return lambda wildcards: shlex.quote(json.dumps(PARAMS[node(phase, wildcards)].model_dump(mode="json")))


def command(phase):
    suffix = "" if RUN_CONFIG == "config/demo.yaml" else f" --config {shlex.quote(RUN_CONFIG)}"
    return lambda wildcards: shlex.quote(default_command(*node(phase, wildcards)) + suffix)


def takes(phase, what):
    return lambda wildcards: getattr(RUN.takes(phase, wildcards.get("model")), what)


def threads_of(phase):
    """Models side by side use small machines better than many threads for one; a phase with 0 gets its model's share."""
    return lambda wildcards: takes(phase, "threads")(wildcards) or max(1, workflow.cores // len(RUN.models))


SAID = " 2> {log} || {{ tail -n 1 {log} >&2; exit 1; }}"

for phase in RUN.phases:
    declared = find(phase)
    where = PLACES[declared.scope]

    rule:
        name:
            declared.short
        input:
            upstream(phase),
        output:
            f"{RUN.results}/{RUN.run}/{where}{phase}.done",
        params:
            phase=phase,
            json=as_json(phase),
            command=command(phase),
            slot=lambda wildcards, resources: "--device-slot" if resources.get("gpu") else "",
        log:
            f"logs/{RUN.run}/{where}{phase}.log",
        threads: threads_of(phase)
        priority: 1 if declared.scope == "model" else 0  # extraction and training are long: pages of layers fill in beside them
        resources:
            mem_mb=takes(phase, "mem_mb"),
            runtime=takes(phase, "runtime"),
            gpu=takes(phase, "gpu"),
        shell:
            "python -m biosae_utils.phases.run {params.phase} --params {params.json} --command {params.command}"
            " --threads {threads} --done {output} {params.slot}" + SAID

    rule:
        name:
            f"{declared.short}_page"
        input:
            computed(phase),
        output:
            f"book/executed/{RUN.run}/{where}{phase}.ipynb",
        params:
            phase=phase,
            json=as_json(phase),
            config=lambda wildcards: shlex.quote(RUN_CONFIG),  # a function: braces in the name are no wildcards
        log:
            f"logs/{RUN.run}/{where}{phase}.page.log",
        resources:
            mem_mb=1000,
            runtime=30,
        shell:
            "python -m biosae_utils.book.run_page {params.phase} --params {params.json} --config {params.config}" + SAID


rule pages:
    """Every page of the run, not rendered."""
    input:
        [str(page_path(RUN.run, *page)) for page in RUN.pages()],
