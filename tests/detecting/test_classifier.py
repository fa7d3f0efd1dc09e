"""Models that judge slices and draw no map: two graphs, all slices of an exam in order, nothing located."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ichor.detecting import detect
from ichor.detecting.bundle import load_bundle
from ichor.detecting.sessions import Batches, ClassifierModel, open_model
from ichor.errors import BundleError
from ichor.exam import Exam
from ichor.reporting.report import not_written, write_report

pytest.importorskip("onnx", reason="makes graphs with onnx, of the extra 'train'")

FORMATS = ("json", "csv", "html", "overlay", "nifti")


@pytest.fixture
def classifier(bundle_copy: Path) -> Callable[..., Path]:
    """Change the shipped bundle's copy into one that judges slices."""
    from detecting.classifiers import save_classifier

    def make(**given: Any) -> Path:
        save_classifier(bundle_copy, **given)
        return bundle_copy

    return make


def test_the_head_sees_all_slices_of_an_exam_in_order(classifier: Callable[..., Path]) -> None:
    bundle = load_bundle(classifier())
    model = open_model(bundle, "cpu")
    assert isinstance(model, ClassifierModel)
    p = bundle.manifest.preparation
    stack = np.random.default_rng(0).random((11, len(p.channels), p.rows, p.columns), np.float32)
    expected = 0.1 * np.cumsum(stack.mean(axis=(2, 3)).sum(axis=1))
    for batches in (Batches(1, 3), Batches(4), Batches(11)):
        maps, slices, *_ = ClassifierModel(model.features, model.head, batches).predict(stack)
        assert maps is None
        np.testing.assert_allclose(slices, np.repeat(expected[:, None], 6, axis=1), rtol=1e-4)
    np.testing.assert_allclose(model.predict(stack[::-1].copy())[1][-1], expected[-1], rtol=1e-4)


def test_findings_and_every_report_without_a_map(
    classifier: Callable[..., Path], head_exam: Exam, tmp_path: Path
) -> None:
    folder = classifier()
    findings = detect(head_exam, bundle=str(folder), device="cpu", threshold=0.01)
    assert findings.assessable and findings.positive.any
    assert (findings.regions, findings.volume_ml, findings.mask) == ([], None, None)
    assert "model_does_not_locate" in [w.code for w in findings.warnings]
    rising = [s.probabilities.any for s in findings.slices]
    assert rising == sorted(rising) and rising[0] < rising[-1]
    told = [findings.probabilities.as_array(), *(s.probabilities.as_array() for s in findings.slices)]
    assert np.max([p[1:] for p in told]) < 0.001, "a label that was not learnt must not look real"
    assert not any(v for name, v in findings.positive.model_dump().items() if name != "any")
    out = tmp_path / "report"
    written = write_report(findings, head_exam, out, FORMATS, load_bundle(folder).card)
    assert {p.name for p in written if p.parent == out} == {"findings.json", "slices.csv", "report.html"}
    assert "model sums says whether, not where" in (out / "report.html").read_text()
    assert not_written(findings, head_exam, FORMATS) == ["no mask.nii.gz: this model says whether, not where"]
    assert json.loads((out / "findings.json").read_text())["volume_ml"] is None


def test_grad_cam_is_shown_where_nothing_can_be_outlined(
    classifier: Callable[..., Path], head_exam: Exam, tmp_path: Path
) -> None:
    folder = classifier(explains=True)
    findings = detect(head_exam, bundle=str(folder), device="cpu", threshold=0.01)
    heat = findings.heat
    assert heat is not None and heat.shape == head_exam.volume.shape and heat.max() == 255
    # The channels are windows, each weighed by what is above 0: bone is warmest, air cold.
    assert np.median(head_exam.volume[heat > 200]) > 30 > np.median(head_exam.volume[heat == 0])
    (notice,) = [w.message for w in findings.warnings if w.code == "grad_cam"]
    write_report(findings, head_exam, tmp_path, FORMATS, load_bundle(folder).card)
    html = (tmp_path / "report.html").read_text()
    assert notice in html and "Grad-CAM, not an outline: which coarse parts" in html
    without = detect(head_exam, bundle=str(classifier()), device="cpu", threshold=0.01)
    assert without.heat is None and "grad_cam" not in {w.code for w in without.warnings}
    assert without.probabilities == findings.probabilities
    assert detect(head_exam, bundle=str(folder), device="cpu", threshold=0.99).heat is None


def test_logits_that_are_no_numbers_are_refused(classifier: Callable[..., Path], head_exam: Exam) -> None:
    """NaN lies below every threshold: it would be called negative."""
    folder = classifier(bias=float("nan"))
    with pytest.raises(BundleError, match="found logits that are no numbers"):
        detect(head_exam, bundle=str(folder), device="cpu")


def test_graphs_that_do_not_fit_each_other_are_refused(classifier: Callable[..., Path]) -> None:
    bundle = load_bundle(classifier())
    p = bundle.manifest.preparation
    model = open_model(bundle, "cpu")
    assert isinstance(model, ClassifierModel)
    stack = np.zeros((2, len(p.channels) + 1, p.rows, p.columns), np.float32)
    with pytest.raises(BundleError, match=r"graph of 'features': found .* on an input of shape \(1, "):
        model.predict(stack)


def test_a_head_with_other_labels_is_refused(classifier: Callable[..., Path], head_exam: Exam) -> None:
    with pytest.raises(
        BundleError, match=r"graph 'head': found an output of shape \(\d+, 5\) for \d+ slices"
    ):
        detect(head_exam, bundle=str(classifier(labels=5)), device="cpu")
