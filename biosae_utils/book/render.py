"""What Sphinx has to know: figures and tables drawn offline, claims gathered, pages linked to their siblings."""

from __future__ import annotations

import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from myst_nb.core.render import MimeData, MimeRenderPlugin

from biosae_utils.book import escape
from biosae_utils.book.claims_strip import claims_html, overview_html, summary_html
from biosae_utils.book.figures import PLOTLY_MIME, TABLE_MIME, light, template
from biosae_utils.book.main_results import main_results_html
from biosae_utils.book.policy import add_policy
from biosae_utils.book.prose import inline, plain
from biosae_utils.book.switcher import switcher_html
from biosae_utils.phases import sources
from biosae_utils.phases.registry import phases
from biosae_utils.store import read_json

LIGHT_PLOTLY = "vendor/plotly/plotly-cartesian.min.js"
"""What draws nearly all figures; a third of the whole Plotly, which is loaded where a figure needs more."""
WHOLE_PLOTLY = "plotly.min.js"
UNNAMED = {
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    '<summary aria-label="Toggle hidden content">': "<summary>",
}
"""What Sphinx and MyST-NB tell screen readers and is not so: a list without items, a label beside the visible one."""
KERNEL = re.compile(r"<script>kernelName = '[\w.-]*'</script>\s*")
"""What thebe writes into the text of a page."""
WIDE = 96
"""Characters of a row of a table above which it is given the margin too."""


def _json_script(content: Any) -> str:
    """JSON in a script tag; no text in it can end the tag."""
    payload = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json">{payload}</script>'


def figure_html(content: dict[str, Any]) -> str:
    """A figure: an empty box with alternative text, its data, and the caption that says how to read it."""
    content = {k: content[k] for k in ("data", "layout", "frames") if content.get(k)}
    layout = content.setdefault("layout", {})
    about = layout.get("meta") or {}
    alt = html.escape(plain(about.get("alt", "")), quote=True)
    said = about.get("caption", "").removeprefix("How to read it:").strip()
    caption = inline(said[:1].upper() + said[1:])
    height = int(layout.get("height") or 450)
    bundle = LIGHT_PLOTLY if light(content) else WHOLE_PLOTLY
    return (
        f'<figure class="biosae-figure" data-name="{html.escape(str(about.get("name", "")), quote=True)}" '
        f'data-bundle="{bundle}">'
        f'<div class="biosae-plotly" role="group" aria-label="{alt}" style="min-height:{height}px">'
        f"<noscript>{alt}</noscript></div>{_json_script(content)}"
        f"<figcaption><strong>How to read it.</strong> {caption}</figcaption></figure>"
    )


def table_html(content: dict[str, Any]) -> str:
    """A searchable table: empty, with its data; says so when rows were left out; a wide one takes the free width."""
    caption, shown, total = inline(content["caption"]), len(content["data"]), content["n_rows"]
    note = (
        f'<p class="biosae-table-note">The first {shown:,} of {total:,} rows; all are in the download.</p>'
        if shown < total
        else ""
    )
    name = html.escape(content["name"], quote=True)
    wide = " full-width" if sum(c.get("width", 0) + 2 for c in content["columns"]) > WIDE else ""
    return (
        f'<div class="biosae-table{wide}" data-name="{name}">'
        f'<p class="biosae-table-caption" id="caption-{name}">{caption}</p>'
        f'<table class="row-border hover compact" style="width:100%" aria-labelledby="caption-{name}"></table>'
        f"{_json_script({**content, 'caption': plain(content['caption'])})}{note}</div>"
    )


class _Renderer(MimeRenderPlugin):
    mime = ""

    @classmethod
    def handle(cls, data: MimeData, inline: bool, draw: Any) -> list[nodes.Element] | None:
        if inline or data.mime_type != cls.mime:
            return None
        content = data.content if isinstance(data.content, dict) else json.loads(data.content)
        return [nodes.raw(text=draw(content), format="html", classes=["output"])]


class PlotlyRenderer(_Renderer):
    """``application/vnd.plotly.v1+json`` as a figure; registered as a MyST-NB plug-in in pyproject.toml."""

    mime = PLOTLY_MIME
    mime_priority_overrides: ClassVar = [("html", PLOTLY_MIME, 1)]

    @staticmethod
    def handle_mime(renderer: Any, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        return PlotlyRenderer.handle(data, inline, figure_html)


class TableRenderer(_Renderer):
    """``application/vnd.biosae.table+json`` as a searchable table; registered in pyproject.toml."""

    mime = TABLE_MIME
    mime_priority_overrides: ClassVar = [("html", TABLE_MIME, 1)]

    @staticmethod
    def handle_mime(renderer: Any, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        return TableRenderer.handle(data, inline, table_html)


class ClaimsDirective(Directive):
    """``{biosae-claims}``: the run's claims; ``:overview:`` one row per phase, ``:summary:`` one per kind of claim,
    ``:results:`` the main results in sentences.
    """

    option_spec: ClassVar = {"overview": directives.flag, "summary": directives.flag, "results": directives.flag}

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        path = Path(env.config.biosae_results, env.config.biosae_run, "claims.json")
        claims = read_json(path) if path.is_file() else []
        if not claims:
            return [nodes.paragraph(text="No page of this run has stated a claim yet.")]
        if "overview" in self.options:
            text = overview_html(claims, {name: phase.title for name, phase in phases().items()})
        elif "results" in self.options:
            text = main_results_html(claims)
        elif "summary" in self.options:
            text = summary_html(claims)
        else:
            text = claims_html(claims, where=True, caption="Claims of the run")
        return [nodes.raw(text=text, format="html")]


def _configure(app: Any, config: Any) -> None:
    """The whole Plotly, from the Python package, beside the small one in `vendor`; the template of `figures`; icons."""
    config.html_static_path.append(str(files("plotly") / "package_data" / "plotly.min.js"))
    app.add_js_file(None, body=f"window.biosaeTemplate={json.dumps(template().to_plotly_json())}")
    app.add_js_file("biosae.js")
    app.add_css_file("biosae.css")
    app.add_css_file("icons.css")


def _finish_page(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the switcher under the H1; drop the scripts that the page has no use for.

    Thebe runs cells on a server on the internet, which no page here offers; and its constants are declared twice, by
    itself and by jupyter-book, which is a syntax error on every page. MathJax takes two megabytes, for formulas only.
    """
    unused = ["thebe"] + ["mathjax"] * ('class="math' not in context.get("body", ""))
    context["script_files"] = [s for s in context.get("script_files", []) if not _mentions(s, unused)]
    _name_book(templatename, context)
    add_policy(app, context)
    if "body" in context:
        for said, unsaid in UNNAMED.items():
            context["body"] = context["body"].replace(said, unsaid)
        context["body"] = KERNEL.sub("", context["body"])
        links = switcher_html(pagename, app.env.found_docs, lambda doc: context["pathto"](doc))
        if links:
            head, end, tail = context["body"].partition("</h1>")
            context["body"] = head + end + links + tail


def _name_book(templatename: str, context: dict[str, Any]) -> None:
    """Escape the title of the run in the two places where the theme shows it as it is."""
    name = escape.text(context.get("docstitle", ""))
    context["theme_logo"] = {**(context.get("theme_logo") or {}), "text": name}
    if templatename == "search.html":
        context["title"] = name


def _drop_icon_scripts(app: Any, error: Exception | None) -> None:
    """Empty the theme's 1.5 MB of scripts that draw icons; the dozen that a page shows are in ``icons.css``."""
    scripts = Path(app.outdir, "_static", "scripts", "fontawesome.js")
    if error is None and scripts.is_file():
        scripts.write_text("/* icons are in icons.css */\n")


def _mentions(script: Any, words: list[str]) -> bool:
    """Whether the address or the text of a script holds one of some words."""
    body = getattr(script, "attributes", {}).get("body") or ""
    text = f"{body} {getattr(script, 'filename', script)}".lower()
    return any(word in text for word in words)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's entry point (``extra_extensions`` in _config.yml)."""
    app.add_config_value("biosae_run", "demo", "env")
    app.add_config_value("biosae_results", "results", "env")
    # pages that were read are kept between builds, with the HTML that this code made of their figures
    app.add_config_value("biosae_code", sources.code_hash(sources.closure(Path(__file__))), "env")
    app.add_directive("biosae-claims", ClaimsDirective)
    app.connect("config-inited", _configure)
    app.connect("html-page-context", _finish_page, priority=900)
    app.connect("build-finished", _drop_icon_scripts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
