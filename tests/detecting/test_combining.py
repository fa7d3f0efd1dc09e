"""``A+B``: the mean of the calibrated logits, and no claim that was measured of one alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ichor
from ichor.cli.demo import demo_exam
from ichor.detecting.combining import bundle_parts, logits, open_detector
from ichor.errors import BundleError, UsageError
from ichor.exam import Exam

Edit = Callable[[Callable[[dict[str, Any]], None]], Path]


def test_the_mean_of_calibrated_logits(edit_manifest: Edit) -> None:
    def shift(data: dict[str, Any]) -> None:
        data["name"] = "other"
        for scaling in (*data["calibration"]["exam"], *data["calibration"]["slice"]):
            scaling["offset"] -= 2.0
        data["thresholds"]["any"]["probability"] = 0.5

    other = edit_manifest(shift)
    exam = ichor.read(demo_exam())
    assert isinstance(exam, Exam)
    a, b = ichor.detect(exam), ichor.detect(exam, bundle=other)
    both = ichor.detect(exam, bundle=f"default+{other}")
    expected = (logits(a.probabilities.as_array()) + logits(b.probabilities.as_array())) / 2
    # Probabilities are rounded to four places.
    assert both.probabilities.as_array() == pytest.approx(1 / (1 + np.exp(-expected)), abs=2e-3)
    middle = len(a.slices) // 2
    between = [f.slices[middle].probabilities.any for f in (b, both, a)]
    assert between == sorted(between)
    assert between[0] < between[2]
    assert both.volume_ml == a.volume_ml
    own = logits(np.array([a.thresholds.any, b.thresholds.any])).mean()
    assert both.thresholds.any == pytest.approx(1 / (1 + np.exp(-own)), abs=1e-4)
    assert (both.bundle.name, both.uncertain) == ("default+other", None)
    assert "combined_models" in {w.code for w in both.warnings}
    assert "combined_models" not in {w.code for w in a.warnings}
    with pytest.raises(UsageError, match=r"found no such operating point in bundle 'default\+other'"):
        ichor.detect(exam, bundle=f"default+{other}", sensitivity=0.95)


def test_what_cannot_be_combined_is_refused(edit_manifest: Edit) -> None:
    for wrong in ("default+default", "default+"):
        with pytest.raises(UsageError, match="two or more different ones"):
            bundle_parts(wrong)
    with pytest.raises(BundleError, match="nowhere"):
        bundle_parts("default+nowhere")

    def without_calibration(data: dict[str, Any]) -> None:
        for key in (
            "thresholds",
            "slice_thresholds",
            "picture_thresholds",
            "operating_points",
            "calibration",
        ):
            data.pop(key, None)
        data.pop("uncertain_band", None)

    with pytest.raises(UsageError, match="expected calibrated ones to combine"):
        open_detector(f"default+{edit_manifest(without_calibration)}")


def test_a_plus_in_a_name_is_no_sum(edit_manifest: Edit) -> None:
    folder = edit_manifest(lambda data: None)
    plain = folder.rename(folder.with_name("a+b"))
    assert bundle_parts(str(plain)) == [str(plain)]
    assert open_detector(str(plain)).bundle.folder == plain
