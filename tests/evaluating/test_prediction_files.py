"""Files of predictions: exams are pooled over the model's grid, whatever the thickness of the slices."""

import csv

import numpy as np
import pytest

from ichor.detecting.rules import ExamRule, ScoringRules, SliceRule
from ichor.detecting.scoring import Prediction, score, top_k_mean
from ichor.errors import UsageError
from ichor.evaluating.convert import convert
from ichor.evaluating.prediction_files import (
    prediction_rows,
    read_scores,
    read_single_scores,
    write_predictions,
)
from ichor.preparing.grid import SliceDistances

RULES = ScoringRules(SliceRule(), ExamRule(), 12.0)


def made(native_mm, seed=0):
    """A map model's prediction of an exam with one small bleed, on a grid of 5 mm, and the native slices' places."""
    rng = np.random.default_rng(seed)
    grid = 5.0 * np.arange(30)
    maps = rng.normal(-4, 0.3, (30, 6, 8, 8)).astype(np.float32)
    maps[14, :, :4, :4] += 6
    slices = np.sort(maps.reshape(30, 6, -1), axis=2)[:, :, -16:].mean(axis=2)
    return Prediction(maps, slices, slices), SliceDistances(grid, np.arange(0, 145 + 1e-6, native_mm))


@pytest.mark.parametrize(("native_mm", "excess"), [(5.0, 0.0), (2.5, 0.1), (1.25, 0.2), (0.625, 0.25)])
def test_the_evaluated_exam_is_the_detected_one(tmp_path, native_mm, excess):
    prediction, distances = made(native_mm)
    detected = score(prediction, distances, RULES)
    write_predictions(tmp_path / "p.csv", prediction_rows("made", "a", {"rule": detected}, distances))
    found = read_scores(tmp_path / "p.csv", "rule")["a"]
    np.testing.assert_allclose(found.exam, detected.exam, atol=1e-6)
    np.testing.assert_allclose(found.native, detected.native, atol=1e-5)
    np.testing.assert_allclose(found.grid, detected.grid, atol=1e-5)
    # The native slices, of which there are more at the bleed, would have given more.
    assert top_k_mean(found.native, 2)[0] - found.exam[0] >= excess - 1e-5
    if native_mm < 5:
        np.testing.assert_allclose(found.distances.grid, distances.grid)
        np.testing.assert_allclose(found.distances.native, distances.native, atol=1e-4)


@pytest.mark.parametrize("pooled_share", [0.0, 0.5])
def test_a_slice_by_itself_is_read_as_detection_scores_it(tmp_path, pooled_share):
    prediction, distances = made(5.0)
    prediction = prediction._replace(pooled=prediction.slices + 1)
    heads = {"map": prediction.slices, "pooled": prediction.pooled}
    scores = {head: score(Prediction(None, v), distances, RULES) for head, v in heads.items()}
    write_predictions(tmp_path / "p.csv", prediction_rows("made", "a", scores, distances))
    found = read_single_scores(tmp_path / "p.csv", pooled_share)["a"]
    rules = ScoringRules(SliceRule(pooled_share=pooled_share), ExamRule(), 12.0)
    alone = Prediction(*(part[14:15] for part in prediction[:3]))
    detected = score(alone, SliceDistances(np.zeros(1), np.zeros(1)), rules)
    np.testing.assert_allclose(found.native[14], detected.exam, atol=1e-5)


def old_file(folder, patients=("a", "b")):
    """Predictions as they were written before exams had rows."""
    path = folder / "fold-0" / "predictions.csv"
    path.parent.mkdir(parents=True)
    rng = np.random.default_rng(1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        heads = [f"{head}_{k}" for head in ("rule", "map") for k in LABELS]
        writer.writerow(["dataset", "patient", "slice", *heads])
        for patient in patients:
            for k in range(5):
                writer.writerow(["made", patient, k, *(f"{v:.5f}" for v in rng.normal(size=12))])
    return path


LABELS = ("any", "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")


def test_an_older_file_is_refused_and_converted_where_the_grid_has_its_slices(tmp_path):
    path = old_file(tmp_path / "run")
    before = path.read_text()
    with pytest.raises(
        UsageError, match=r"predictions\.csv: found no column 'level'; .*ichor\.evaluating\.convert"
    ):
        read_scores(path, "rule")
    with pytest.raises(UsageError, match=r"found 1 exams whose slices are thinner .* predict again"):
        convert(tmp_path / "run", lambda patient: patient == "a", ExamRule())
    assert path.read_text() == before
    assert convert(tmp_path / "run", lambda patient: True, ExamRule()) == [path]
    values = np.array([[float(v) for v in line.split(",")[3:9]] for line in before.splitlines()[1:6]])
    found = read_scores(path, "rule")["a"]
    np.testing.assert_allclose(found.native, values)
    np.testing.assert_allclose(found.exam, top_k_mean(values, 2), atol=1e-9)
    assert convert(tmp_path / "run", lambda patient: False, ExamRule()) == []  # it has its rows


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda lines: [line for line in lines if ",exam," not in line],
            "found 2 exams without their exam row",
        ),
        (lambda lines: [*lines, lines[1]], "found a second row of an exam"),
        (lambda lines: [*lines, lines[2].replace("slice", "slab")], "found the level 'slab'"),
        (lambda lines: [line for line in lines if ",slice,1," not in line], "found slice '2'; expected 1"),
        (lambda lines: [*lines[:-1], lines[-1].rsplit(",", 1)[0] + ",x"], "found no number for a label"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, change, says):
    path = old_file(tmp_path / "run")
    convert(tmp_path / "run", lambda patient: True, ExamRule())
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    with pytest.raises(UsageError, match=says):
        read_scores(path, "map")
