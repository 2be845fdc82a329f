"""The committed results are whole, and the page says who is better at what."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import table

RESULTS = sorted(table.RESULTS.glob("*.json"))
ROW = {"case": "c", "ours": 2.0, "reference": None, "reference_name": "", "ratio": None, "bound": None}
ROW |= {"unit": "ms", "runs": 1, "spread": 0.0}


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_a_result_names_its_machine_and_what_it_was_compared_with(path: Path):
    result = json.loads(path.read_text())
    assert result.keys() == {"machine", "versions", "date", "rows"} and result["machine"] and result["rows"]
    for row in result["rows"]:
        assert row.keys() == ROW.keys()
        assert (row["reference"] is None) == (row["reference_name"] == "")
        assert row["reference"] != row["ours"] and not row["reference_name"].startswith("ours"), "compared with itself"
        if row["ratio"] is not None:
            assert row["ratio"] == pytest.approx(row["reference"] / row["ours"], rel=1e-6)


def test_the_page_is_made_of_the_results_beside_it_and_begins_with_ten_lines():
    text = (table.RESULTS / "README.md").read_text()
    assert text == table.page() and len(RESULTS) >= 5
    summary, losses, _ = re.split(r"\n## .*\n", text)
    lines = [line for line in summary.splitlines() if line.startswith("| ")][2:]
    assert len(table.HEADLINES) == 10 and len(lines) >= 10, "each headline was measured, here on one machine"
    assert "Dead latents" in losses and "default learning rate" in losses
    assert text.count("<details>") == text.count("</details>") == len(RESULTS)


def page(folder: Path, *rows: dict) -> str:
    result = {"machine": "M(R) 9, 2 threads", "versions": {"torch": "2"}, "date": "2026-01-01"}
    (folder / "sae.machine.json").write_text(json.dumps(result | {"rows": [ROW | row for row in rows]}))
    return table.page(folder)


def against(name: str, ours: float, other: float, **more: object) -> dict:
    return {"ours": ours, "reference": other, "reference_name": name, "ratio": other / ours, **more}


def test_ours_stands_beside_the_best_of_the_others_whichever_way_the_unit_points(tmp_path: Path):
    rows = [against(name, 2.0, other, case="fvu", unit="% missed") for name, other in (("slow", 500.0), ("fast", 3.0))]
    more = {"case": "recovery", "unit": "mean cosine"}
    rows += [against(name, 0.8, other, **more) for name, other in (("low", 0.2), ("high, lr 1 of (1, 2)", 0.9))]
    text = page(tmp_path, *rows)
    assert "| M 9 | % missed, lower | **2** | 3 (fast) | 1.5 |" in text
    assert "| M 9 | mean cosine, higher | **0.8** | 0.9 (high, lr 1) | 0.889 |" in text
    losses = text.partition("## Where we lose")[2].partition("## ")[0]
    assert "0.8 against 0.9 mean cosine of high" in losses and "missed" not in losses


def test_a_loss_against_nothing_is_a_loss_without_a_factor(tmp_path: Path):
    text = page(tmp_path, against("naive", 5.0, 0.0, case="dead", unit="% of latents"))
    assert "| **5** | 0 (naive) | worse |" in text and "5 against 0 % of latents of naive" in text


def test_targets_and_our_own_default_are_nobody_s_program(tmp_path: Path):
    grid = [against(table.DEFAULT_RATE, ours, 8.0, case=f"g, lr {ours}", unit="% FVU") for ours in (6.0, 9.0)]
    text = page(tmp_path, against("target", 20.0, 10.0, case="fvu"), *grid)
    assert "target |" not in text.partition("## Every figure")[0]
    assert "not the best of its grid in 1 of 1 grids; at worst the best rate leaves 25% less FVU (g)" in text


def test_nothing_lost_is_said(tmp_path: Path):
    assert "Nowhere in these figures." in page(tmp_path, against("loop", 1.0, 2.0))


def test_a_row_says_ratio_spread_and_bound(tmp_path: Path):
    text = page(
        tmp_path,
        against("loop", 2.0, 500.0, case="  part", bound=1.0, runs=3, spread=0.05),
        {"runs": 3, "spread": None},
    )
    assert "<summary>sae: M(R) 9, 2 threads (2 rows)</summary>" in text
    assert "| &ensp;&ensp;part | 2 | 500 (loop) | 250.00 | 1 | ms | 3 | 5% |" in text
    assert "| c | 2 |  |  |  | ms | 3 |  |" in text
