# The rendered book. Pages and prose in, `index.html` (written last) out.

from biosae_utils.book.site import html_dir, why_not_rendered


rule book:
    input:
        pages=[timeless(str(page_path(RUN.run, *page)), shown) for page, (_, shown) in STATES.items()],
        stale=flagged(why_not_rendered(RUN) if all(page[0] == "done" for _, page in STATES.values()) else ("stale", "")),
    output:
        str(html_dir(RUN.run) / "index.html"),
    params:
        run_config=lambda wildcards: shlex.quote(RUN_CONFIG),  # a function: braces in the name are no wildcards
    log:
        f"logs/{RUN.run}/book.log",
    shell:
        "python -m biosae_utils.book.site --config {params.run_config} 2> {log} || {{ tail -n 20 {log} >&2; exit 1; }}"
