# The rendered book. Pages and prose in, `index.html` (written last) out.

from biosae_utils.book.site import html_dir, prose


rule book:
    input:
        pages=rules.pages.input,
        prose=[str(path) for path in prose()],
    output:
        str(html_dir(RUN.run) / "index.html"),
    params:
        run_config=shlex.quote(RUN_CONFIG),
        pages=json.dumps(RUN.pages()),
    log:
        f"logs/{RUN.run}/book.log",
    shell:
        "python -m biosae_utils.book.site --config {params.run_config} 2> {log} || {{ tail -n 20 {log} >&2; exit 1; }}"
