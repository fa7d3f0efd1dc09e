"""Operating points, the uncertain band and the input profile of a bundle, as detection uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ichor.cli import run
from ichor.detecting import detect, detect_all
from ichor.detecting.bundle import load_bundle
from ichor.errors import BundleError, UsageError
from ichor.exam import Exam

Edit = Callable[[Callable[[dict[str, Any]], None]], Path]
FIGURE = {"name": "f", "value": 0.9, "low": 0.8, "high": 1.0, "n": 28}
NEW = ("operating_points", "uncertain_band", "input_profile")


def point(aim: float, probability: float) -> dict[str, Any]:
    return {"aim": aim, "probability": probability, "sensitivity": FIGURE, "specificity": FIGURE}


def band(low: float, high: float) -> dict[str, Any]:
    return {"alpha": 0.1, "low": low, "high": high, "positives": 28, "negatives": 38, "guarantee": "g"}


@pytest.fixture
def with_points(edit_manifest: Edit) -> str:
    points = {
        "exam": [point(0.9, 0.4), point(0.95, 0.0123)],
        "slice": [point(0.9, 0.3), point(0.95, 0.0456)],
        "picture": [point(0.9, 0.2), point(0.95, 0.0789)],
    }
    return str(edit_manifest(lambda m: m.update(operating_points=points)))


def test_a_bundle_without_them_still_loads_and_says_nothing_of_them(
    head_exam: Exam, edit_manifest: Edit
) -> None:
    def strip(manifest: dict[str, Any]) -> None:
        for key in NEW:
            manifest.pop(key, None)

    plain = str(edit_manifest(strip))
    findings = detect(head_exam, bundle=plain)
    assert findings.assessable and findings.uncertain is None and findings.uncertainty is None
    assert "unlike_training" not in [w.code for w in findings.warnings]
    with pytest.raises(UsageError, match=r"sensitivity 0\.95: found no such operating point.*one of: none"):
        detect(head_exam, bundle=plain, sensitivity=0.95)


def test_a_sensitivity_takes_its_own_threshold(head_exam: Exam, with_points: str) -> None:
    usual = detect(head_exam, bundle=with_points)
    findings = detect(head_exam, bundle=with_points, sensitivity=0.95)
    assert findings.thresholds.any == 0.0123
    assert findings.positive.any == ((findings.probabilities.any or 0) >= 0.0123)
    assert findings.probabilities == usual.probabilities
    changed = findings.thresholds.model_copy(update={"any": usual.thresholds.any})
    assert changed == usual.thresholds  # those of the subtypes are left alone


def test_a_lone_slice_takes_the_point_for_slices(head_exam: Exam, with_points: str) -> None:
    k, g = 14, head_exam.geometry
    lone = replace(
        head_exam, volume=head_exam.volume[k : k + 1], geometry=replace(g, positions=g.positions[k : k + 1])
    )
    lone = replace(lone, source=replace(lone.source, sop_instance_uids=("1.2.3.14",)))
    assert detect(lone, bundle=with_points, sensitivity=0.95).thresholds.any == 0.0456


def test_a_point_that_is_not_there_is_told_before_anything_is_read(tmp_path: Path, with_points: str) -> None:
    with pytest.raises(UsageError, match=r"sensitivity 0\.5.*one of: 0\.9, 0\.95"):
        next(detect_all(tmp_path / "nothing", bundle=with_points, sensitivity=0.5))
    with pytest.raises(UsageError, match="both a threshold and a sensitivity"):
        detect(tmp_path / "nothing", threshold=0.5, sensitivity=0.9)


def test_the_command_mirrors_it(tmp_path: Path, with_points: str, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["detect", str(tmp_path), "--bundle", with_points]
    assert run([*command, "--sensitivity", "0.42"]) == 2
    assert "expected one of: 0.9, 0.95" in capfd.readouterr().err
    assert run([*command, "--sensitivity", "0.9", "--threshold", "0.2"]) == 2
    assert "both --threshold and --sensitivity" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("low", "high", "uncertain", "says"),
    [
        (
            0.0,
            1.0,
            True,
            "Uncertain: between 0.00 and 1.00 neither hemorrhage nor its absence can be left out at the 90%",
        ),
        (0.0, 0.0, False, "above it"),
        (1.0, 1.0, False, "below it"),
    ],
)
def test_the_band(
    head_exam: Exam, edit_manifest: Edit, low: float, high: float, uncertain: bool, says: str
) -> None:
    folder = edit_manifest(lambda m: m.update(uncertain_band=band(low, high)))
    findings = detect(head_exam, bundle=str(folder))
    assert findings.uncertain is uncertain
    assert findings.uncertainty is not None and says in findings.uncertainty
    again = detect(head_exam, bundle=str(folder), threshold=0.999)
    assert again.uncertain is uncertain  # rests on the probability, whatever the threshold


def test_a_lone_slice_is_neither(head_exam: Exam, edit_manifest: Edit) -> None:
    folder = edit_manifest(lambda m: m.update(uncertain_band=band(0, 1)))
    g = head_exam.geometry
    lone = replace(
        head_exam, volume=head_exam.volume[14:15], geometry=replace(g, positions=g.positions[14:15])
    )
    lone = replace(lone, source=replace(lone.source, sop_instance_uids=("1.2.3.14",)))
    assert detect(lone, bundle=str(folder)).uncertain is None


def test_an_input_unlike_the_profile_is_told_and_judged(head_exam: Exam, edit_manifest: Edit) -> None:
    profile = {"slice_step_mm": {"low": 1.0, "high": 3.0}, "of a later version": {"low": 0.0, "high": 0.0}}
    findings = detect(head_exam, bundle=str(edit_manifest(lambda m: m.update(input_profile=profile))))
    said = {w.code: w.message for w in findings.warnings}["unlike_training"]
    assert findings.assessable and "distance between slices 5.0 mm (trained on 1.0 to 3.0 mm" in said


@pytest.mark.parametrize("high", [0.0, 1.0], ids=["certain", "uncertain"])
@pytest.mark.parametrize("unlike", [False, True])
def test_the_band_promises_nothing_of_an_exam_unlike_the_measured_ones(
    head_exam: Exam, edit_manifest: Edit, high: float, unlike: bool
) -> None:
    cut = {"low": 1.0, "high": 3.0 if unlike else 9.0}
    folder = edit_manifest(
        lambda m: m.update(input_profile={"slice_step_mm": cut}, uncertain_band=band(0, high))
    )
    said = detect(head_exam, bundle=str(folder)).uncertainty
    assert said is not None and ("its level does not hold here" in said) is unlike


@pytest.mark.parametrize(
    "change",
    [
        {"uncertain_band": band(-0.1, 0.5)},
        {"uncertain_band": band(0.1, 0.5) | {"alpha": 0}},
        {"operating_points": {"exam": [point(1.5, 0.5)]}},
        {"input_profile": {"slice_step_mm": {"low": 1.0}}},
    ],
)
def test_a_broken_part_is_refused(edit_manifest: Edit, change: dict[str, Any]) -> None:
    folder = edit_manifest(lambda m: m.update(change))
    with pytest.raises(BundleError, match=next(iter(change))):
        load_bundle(folder)
