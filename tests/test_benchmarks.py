"""The committed results are whole, and the table shows them."""

import json
from pathlib import Path

import pytest

from benchmarks import table

RESULTS = sorted(table.RESULTS.glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_a_result_names_its_machine_and_what_it_was_compared_with(path: Path):
    result = json.loads(path.read_text())
    assert result.keys() == {"machine", "versions", "date", "rows"} and result["machine"] and result["rows"]
    for row in result["rows"]:
        assert (row["reference"] is None) == (row["reference_name"] == "")
        if row["ratio"] is not None:
            assert row["ratio"] == pytest.approx(row["reference"] / row["ours"], rel=1e-6)


def test_the_table_is_made_of_the_results_beside_it():
    assert (table.RESULTS / "README.md").read_text() == table.page()
    assert len(RESULTS) >= 5


def test_a_row_says_ratio_spread_and_bound(tmp_path: Path):
    row = {"case": "  part", "ours": 2.0, "reference": 500.0, "reference_name": "loop", "ratio": 250.0}
    row |= {"bound": 1.0, "unit": "ms", "runs": 3, "spread": 0.05}
    (tmp_path / "x.machine.json").write_text(
        json.dumps({"machine": "M", "versions": {"torch": "2"}, "date": "2026-01-01", "rows": [row]})
    )
    text = table.page(tmp_path)
    assert "## x: M" in text and "| &ensp;&ensp;part | 2 | 500 (loop) | 250.0 | 1 | ms | 3 | 5% |" in text
