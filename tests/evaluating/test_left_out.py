"""Figures of a source that training lacked: measured, written, read for the card."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ichor.errors import UsageError
from ichor.evaluating.kept_tables import write_rows
from ichor.evaluating.left_out import LEFT_OUT_FILE, left_out_figures, read_left_out
from ichor.evaluating.predictions import OutOfFold


def predictions(noise: float, *, kind: str = "exams") -> OutOfFold:
    """Return 40 patients of three slices; any and subdural are labelled, every second patient bleeds."""
    rng = np.random.default_rng(3)
    names = np.array([f"{n:03d}" for n in range(40)])
    exam_labels = np.full((40, 6), np.nan, np.float32)
    exam_labels[:, 0] = exam_labels[:, 5] = np.arange(40) % 2
    labels = np.repeat(exam_labels, 3, axis=0)
    logits = np.nan_to_num(labels) * 2 + rng.normal(0, noise, labels.shape)
    return OutOfFold(
        patients=np.repeat(names, 3),
        folds=np.zeros(120, np.intp),
        logits=logits.astype(np.float64),
        labels=labels,
        exam_patients=names,
        exam_folds=np.zeros(40, np.intp),
        exam_logits=logits.reshape(40, 3, 6).max(axis=1),
        exam_labels=exam_labels,
        kind=kind,
    )


def test_areas_stand_beside_those_of_networks_that_trained_on_it():
    worse, better = predictions(2.0), predictions(0.1)
    found = left_out_figures("a", worse, 32, better)
    assert [one.figure for one in found] == [
        "exam AUC, any hemorrhage",
        "exam AUC, subdural",
        "slice AUC, any hemorrhage",
        "slice AUC, subdural",
    ]
    for one in found:
        assert one.low <= one.value <= one.high
        assert one.trained == 1.0
        assert one.change is not None
        assert one.change[0] == pytest.approx(one.value - 1)
        assert one.change[1] <= one.change[0] <= one.change[2] <= 0
    assert found[2].unit == "120 slices, 60 positive, 40 patients"


def test_pictures_have_no_exams_and_one_class_alone_has_no_area():
    run = predictions(1.0, kind="pictures")
    assert {one.figure.split()[0] for one in left_out_figures("a", run, 32)} == {"picture"}
    none = replace(run, labels=np.zeros_like(run.labels), exam_labels=np.zeros_like(run.exam_labels))
    assert left_out_figures("a", none, 32) == []


def test_predictions_of_others_are_refused():
    run = predictions(1.0)
    with pytest.raises(UsageError, match=r"a: found 120 slices, and 60 .* expected the same"):
        left_out_figures("a", run, 32, run.of(run.exam_patients[:20].tolist()))


def test_what_is_written_is_read(tmp_path):
    assert read_left_out(tmp_path) == []
    rows = left_out_figures("a", predictions(1.0), 32, predictions(1.5))
    write_rows(tmp_path / LEFT_OUT_FILE, rows)
    assert read_left_out(tmp_path) == rows
    (tmp_path / LEFT_OUT_FILE).write_text("[3]")
    with pytest.raises(UsageError, match=r"sources\.json: found no table of sources left out"):
        read_left_out(tmp_path)
