# The rendered book. `book.json` says which book was rendered where, and is written last.

from pathlib import Path

from biosae_utils.book.site import prose


rule book:
    input:
        pages=rules.pages.input,
        prose=[str(path) for path in prose()],
    output:
        f"results/{RUN.run}/book.json",
    params:
        run_config=shlex.quote(RUN_CONFIG),
        pages=lambda wildcards: [list(page) for page in RUN.pages()],
    log:
        f"logs/{RUN.run}/book.log",
    shell:
        "python -m biosae_utils.book.site --config {params.run_config} > {log} 2>&1 || {{ tail -n 20 {log} >&2; exit 1; }}"
