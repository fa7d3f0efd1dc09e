"""What is uncertain, and a threshold for a sensitivity, on the terminal, on the page and in the table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from ichor.detecting.manifest import Measured, OperatingPoint, OperatingPoints
from ichor.reporting import print_table
from ichor.reporting.files import write_csv
from ichor.reporting.html import write_html
from ichor.reporting.words import threshold_origin

from .cases import card, findings_on, phantom

SENTENCE = "Uncertain: between 0.20 and 0.50 neither can be left out."


@pytest.mark.parametrize("uncertain", [True, False, None])
def test_everywhere_or_nowhere(tmp_path: Path, uncertain: bool | None) -> None:
    exam, mask = phantom()
    sentence = None if uncertain is None else SENTENCE if uncertain else "Outside of the uncertain band."
    findings = findings_on(exam, mask).model_copy(update={"uncertain": uncertain, "uncertainty": sentence})
    out = io.StringIO()
    print_table(findings, Console(file=out, width=100, highlight=False))
    assert ("HEMORRHAGE SUSPECTED, uncertain" in out.getvalue()) is bool(uncertain)
    assert (SENTENCE in out.getvalue()) is bool(uncertain)
    page = write_html(findings, exam, tmp_path / "r.html", card()).read_text()
    assert ('<span class="uncertain">uncertain</span>' in page) is bool(uncertain)
    assert sentence is None or sentence in page
    with write_csv(findings, tmp_path / "s.csv").open(newline="") as file:
        said = {row["exam_uncertain"] for row in csv.DictReader(file)}
    assert said == {"" if uncertain is None else str(uncertain).lower()}


def test_where_an_operating_points_threshold_comes_from() -> None:
    exam, mask = phantom()
    findings = findings_on(exam, mask)  # its threshold is 0.42
    sensitivity = Measured(name="s", value=0.93, low=0.77, high=0.99, n=28)
    specificity = Measured(name="s", value=0.68, low=0.51, high=0.82, n=38)
    point = OperatingPoint(aim=0.95, probability=0.42, sensitivity=sensitivity, specificity=specificity)
    other = card().thresholds["any"].model_copy(update={"probability": 0.3})
    known = card(thresholds={"any": other}, operating_points=OperatingPoints(exam=(point,)))
    said = threshold_origin(findings, known)
    assert "operating point for 95% sensitivity" in said
    assert "sensitivity 93% of 28 (95 % interval 77% to 99%) and specificity 68% of 38" in said
    own = known.thresholds["any"].model_copy(update={"probability": findings.thresholds.any})
    said = threshold_origin(findings, known.model_copy(update={"thresholds": {"any": own}}))
    assert said.endswith("where it was chosen, on 28 exams with hemorrhage and 38 without.")
    assert "set for this run" in threshold_origin(
        findings, known.model_copy(update={"operating_points": OperatingPoints()})
    )
