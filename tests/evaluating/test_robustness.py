"""The table of robustness: written by a measurement, read for the card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ichor.errors import UsageError
from ichor.evaluating.robustness import ROBUSTNESS_FILE, read_robustness, write_robustness

KEPT = Path(__file__).parents[2] / "benchmarks" / "runs" / "attempts" / "fourth"


def test_the_kept_table_is_read_and_written_as_it_is(tmp_path):
    rows = read_robustness(KEPT)
    assert rows[0].change == "as it is"
    assert rows[0].exam_change == (0.0, 0.0, 0.0)
    assert all(row.exam_change[1] <= row.exam_change[0] <= row.exam_change[2] for row in rows)
    write_robustness(tmp_path / ROBUSTNESS_FILE, rows)
    assert json.loads((tmp_path / ROBUSTNESS_FILE).read_text()) == json.loads(
        (KEPT / ROBUSTNESS_FILE).read_text()
    )
    assert read_robustness(tmp_path) == rows


def test_a_run_that_was_not_measured_has_no_rows(tmp_path):
    assert read_robustness(tmp_path) == []


@pytest.mark.parametrize("text", ["{", "3", '[{"change": "as it is"}]', '{"rows": []}'])
def test_another_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / ROBUSTNESS_FILE
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError, match=r"robustness\.json: found no table .* measure again"):
        read_robustness(tmp_path)
