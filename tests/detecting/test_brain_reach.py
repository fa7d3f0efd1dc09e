"""Slices far from the brain are not run through the network, and the verdict is what it is with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ichor.detecting.brain_reach import BRAIN_REACH_MM, predict_near_brain
from ichor.detecting.detector import Detector
from ichor.detecting.examining import examine
from ichor.detecting.scoring import Prediction
from ichor.detecting.sessions import MapModel
from ichor.exam import Exam

GAP = 12.0


@pytest.fixture(scope="module")
def long_exam(make_exam: Callable[..., Exam]) -> Exam:
    """A head on a neck, and air above it."""
    exam = make_exam(gaps=(GAP,) * 29)
    volume = exam.volume.copy()
    rows, columns = np.indices(volume.shape[1:]) - np.array(volume.shape[1:])[:, None, None] / 2
    radius = np.hypot(rows, columns) * exam.geometry.spacing[0]
    neck = np.where(radius < 12, 700, np.where(radius < 55, 50, -1000)).astype(np.int16)
    below = [k for k in range(len(volume) // 2) if volume[k].max() < 0]
    volume[below] = neck
    assert len(below) > 4
    return replace(exam, volume=volume)


def test_what_lies_far_from_the_brain_is_not_run_and_changes_no_verdict(
    long_exam: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector("fast", "cpu", "onnxruntime")
    assert isinstance(detector.model, MapModel)
    run: list[int] = []
    predict = detector.model._predict_batch

    def counted(batch: np.ndarray) -> list[np.ndarray]:
        run.append(len(batch))
        return predict(batch)

    monkeypatch.setattr(detector.model, "_predict_batch", counted)
    found = detector.detect(long_exam)
    prepared = examine(long_exam, detector.bundle.manifest.preparation).prepared
    far = np.flatnonzero(~prepared.near_brain)
    assert len(far) >= 6
    assert sum(run) == long_exam.n_slices - len(far)
    (noticed,) = [w for w in found.warnings if w.code == "far_from_brain"]
    assert list(noticed.slices or ()) == far.tolist()
    brain = np.flatnonzero(long_exam.volume.max(axis=(1, 2)) > 800)  # the skull
    assert GAP * min(abs(k - j) for k in far for j in brain) > BRAIN_REACH_MM / 2

    everywhere = detector._outcome(long_exam, replace(prepared, reach_mm=None))
    assert sum(run) == 2 * long_exam.n_slices - len(far)
    assert found.probabilities is not None
    values = [getattr(found.probabilities, name) for name in type(found.probabilities).model_fields]
    assert values == pytest.approx(everywhere.exam.tolist(), abs=5e-3)  # over a recurrent head
    lowest = min(one.probabilities.any for one in found.slices)
    assert all(found.slices[k].probabilities.any == pytest.approx(lowest, abs=1e-3) for k in far)


def test_slices_that_are_not_run_get_what_is_lowest() -> None:
    near = np.array([False, True, True, False])
    logits = np.array([[1.0, -2.0], [-1.0, 3.0]], np.float32)

    def predict(stack: np.ndarray) -> Prediction:
        assert stack.shape == (2, 4, 8, 8)
        return Prediction(logits[:, :, None, None].repeat(4, axis=2), logits, None)

    found = predict_near_brain(predict, np.zeros((4, 4, 8, 8), np.float32), near)
    assert found.slices.tolist() == [[-1, -2], [1, -2], [-1, 3], [-1, -2]]
    assert found.maps is not None
    assert found.maps[:, :, 0, 0].tolist() == found.slices.tolist()
    assert found.pooled is None
