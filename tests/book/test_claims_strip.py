"""The strip of claims: what is read at a glance, what is behind the fold, and what counts as a finding."""

from __future__ import annotations

import re

from biosae_utils.book.claims_strip import claims_html, overview_html, summary_html


def claim(**other) -> dict:
    return {
        "id": "a", "phase": "04_annotate", "model": "m", "layer": 1, "variant": "trained", "group": None,
        "title": "Labels <beat> chance", "value": 0.25, "unit": "share of latents", "interval": [0.2, 0.3],
        "interval_over": "cells", "control": 0.01, "control_interval": [0.005, 0.02],
        "control_kind": "permuted `labels`", "rule": "above control", "minimum": 0.015, "verdict": "supported",
        "reason": "", "published": 0.524, "command": "biosae run 04_annotate", **other,
    }  # fmt: skip


def untested(**other) -> dict:
    empty = {"value": None, "interval": None, "interval_over": "", "control": None, "control_interval": None}
    return claim(**empty, published=None, verdict="not_tested", reason="STRING is not fetched", **other)


def glance(text: str) -> list[str]:
    """What each line shows before it is opened."""
    return re.findall(r"<summary>(.*?)</summary>", text)


def test_a_line_shows_title_value_control_both_intervals_and_verdict():
    (line,) = glance(claims_html([claim()]))
    for part in (
        "Labels &lt;beat&gt; chance",
        "25.0 %</b>",
        ">(20.0 to 30.0)<",
        "1.0 %</b>",
        ">(0.5 to 2.0)<",
        ">supported<",
    ):
        assert part in line, part
    assert 'aria-label="25.0 % (20.0 to 30.0); control 1.0 % (0.5 to 2.0); axis from 0 to 60 %"' in line


def test_rule_unit_what_was_resampled_control_published_and_command_are_behind_the_fold():
    text = claims_html([claim()])
    fold = text[text.index("biosae-fold") :]
    for part in (
        "above control", "<dd>1.5 % of latents</dd>",
        "% of latents", "95 % interval over cells", "permuted <code>labels</code>",
        "52.4 % of latents", "<code>biosae run 04_annotate</code>",
    ):  # fmt: skip
        assert part in fold, part


def test_what_was_not_tested_says_why_and_has_no_axis():
    (line,) = glance(claims_html([untested()]))
    assert "STRING is not fetched" in line and ">not tested<" in line and "<svg" not in line


def test_a_trivial_verdict_has_its_own_name():
    assert ">above control, trivially<" in claims_html([claim(verdict="trivial")])


def test_groups_pages_and_controls_are_named():
    (line,) = glance(claims_html([claim(group="B cells", variant="random-weights")], where=True))
    assert "<em>B cells</em>" in line and "04_annotate, m, layer 1" in line and "random weights: no finding" in line


def test_the_html_is_one_line_and_markdown_cannot_end_it():
    text = claims_html([claim(title="Two\n\nlines of it", rule="a\n\nb", group="c\r\rd")])
    assert len(text.splitlines()) == 1


def test_the_key_names_the_marks_that_are_there():
    assert "◇ published" in claims_html([claim()]) and "◇" not in claims_html([claim(published=None)])
    assert "95 % interval" not in summary_html([claim()]).split("<ul>")[0], "its lines have none"


def test_a_published_figure_keeps_its_digits_where_nothing_was_tested():
    assert "2.40 % of latents" in claims_html([untested() | {"published": 0.024}])


def test_the_overview_counts_findings_only_and_draws_all_pages_of_the_first():
    claims = [claim(), claim(layer=2, value=0.4, verdict="not_supported"), claim(phase="00_data", title="Cells differ")]
    claims.append(claim(title="All is well", value=0.9, variant="random-weights"))
    text = overview_html(claims, {"00_data": "Cells"})
    first, second = glance(text)
    assert "Cells</strong>" in first and "04_annotate</strong>" in second
    assert (
        "1 supported" in second
        and "1 not supported" in second
        and "25 to 40 %</b>" in second
        and "control <b>1 %" in second
    )
    assert second.count("<circle") == 2 and "All is well" not in text


def test_the_summary_counts_pages_and_lists_them_behind_the_fold():
    claims = [claim(), claim(layer=2, value=0.4, verdict="not_supported"), untested(title="Another one")]
    text = summary_html([*claims, claim(title="All is well", variant="random-weights")])
    lines = glance(text)
    assert "1 of 2 supported" in lines[0] and "25 to 40 %" in lines[0] and ">not tested<" in lines[1]
    assert len(lines) == 2, "claims of controls are no findings"
    assert "<li>04_annotate, m, layer 2: 40.0 % (20.0 to 30.0), control 1.0 %: not supported</li>" in text
