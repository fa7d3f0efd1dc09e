"""A loaded model: read once, kept open, used by many threads, and seen to have changed."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ichor
from ichor.detecting import bundle as bundle_module
from ichor.detecting import calls as module
from ichor.detecting.calls import detect, detect_all, shared_detector
from ichor.detecting.detector import Detector, Options
from ichor.detecting.sessions import MapModel
from ichor.errors import BundleError, UsageError
from ichor.exam import Exam
from ichor.findings import Findings
from ichor.reading.limits import Limits

Edit = Callable[[Callable[[dict[str, Any]], None]], Path]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(device="cpu")


@pytest.fixture
def small_exam(make_exam: Callable[..., Exam]) -> Exam:
    return make_exam(gaps=(7.0,) * 9)


@pytest.fixture
def no_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not detected yet."""
    monkeypatch.setattr(module, "_detectors", type(module._detectors)())


def said(findings: Findings) -> tuple[dict[str, Any], bytes | None]:
    """All that findings say but how long it took."""
    data = findings.to_dict()
    del data["seconds"]
    return data, None if findings.mask is None else findings.mask.tobytes()


def test_eight_threads_give_what_one_gives(detector: Detector, make_exam: Callable[..., Exam]) -> None:
    exams = [make_exam(gaps=(gap,) * n) for gap, n in ((7.0, 9), (10.0, 6), (5.0, 10), (1.25, 12), (5.0, 1))]
    serial = [said(detector.detect(exam)) for exam in exams]
    assert len({json.dumps(data["probabilities"]) for data, _ in serial}) > 3, [
        d["warnings"] for d, _ in serial
    ]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda exam: said(detector.detect(exam)), exams * 2))
    assert parallel == serial * 2


def test_the_calls_of_the_package_give_the_same(detector: Detector, small_exam: Exam) -> None:
    assert said(detector.detect(small_exam)) == said(ichor.detect(small_exam, device="cpu"))


def test_a_second_call_takes_no_bundle_time(
    small_exam: Exam, no_shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = bundle_module.Bundle.read_graph

    def counted(self: Any, name: str) -> bytes:
        loaded.append(name)
        return load(self, name)

    monkeypatch.setattr(bundle_module.Bundle, "read_graph", counted)
    first = detect(small_exam)
    assert loaded == ["slice", "sequence"]
    assert said(detect(small_exam)) == said(first)
    assert len(loaded) == 2
    began = time.perf_counter()
    for _ in range(10):
        shared_detector()
    assert (time.perf_counter() - began) / 10 < 0.05


def test_a_detector_is_kept_for_each_bundle_and_device_and_the_oldest_is_let_go(no_shared: None) -> None:
    first = shared_detector()
    assert shared_detector("default") is first is shared_detector(first.bundle.folder)
    assert shared_detector("default", "cpu") is not first
    others = [shared_detector("fast"), shared_detector("fast", "cpu")]
    assert shared_detector("fast") is others[0]
    assert len(module._detectors) == 3
    assert shared_detector() is not first


def test_threads_that_ask_at_once_load_a_bundle_once(no_shared: None) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: id(shared_detector()), range(8)))) == 1


def test_a_changed_bundle_is_loaded_again(edit_manifest: Edit, small_exam: Exam) -> None:
    folder = edit_manifest(lambda _: None)
    before = detect(small_exam, bundle=folder)

    def change(manifest: dict[str, Any]) -> None:
        manifest["thresholds"]["any"]["probability"] = 0.123

    edit_manifest(change)
    after = detect(small_exam, bundle=folder)
    assert before.probabilities == after.probabilities
    assert before.bundle is not None and after.bundle is not None
    assert before.bundle.sha256 != after.bundle.sha256
    assert after.thresholds.any == 0.123


def test_an_altered_graph_is_seen_by_the_next_call(bundle_copy: Path, small_exam: Exam) -> None:
    detect(small_exam, bundle=bundle_copy)
    content = bytearray((bundle_copy / "sequence.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle_copy / "sequence.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"sequence\.onnx: found sha256"):
        detect(small_exam, bundle=bundle_copy)


def test_a_detector_holds_what_it_loaded(bundle_copy: Path, small_exam: Exam) -> None:
    """What happens to the folder afterwards changes nothing in a detector that is in use."""
    held = Detector(bundle_copy, "cpu")
    before = said(held.detect(small_exam))
    shutil.rmtree(bundle_copy)
    assert said(held.detect(small_exam)) == before


@pytest.mark.parametrize("name", ["slice.onnx", "sequence.onnx", "bundle.json", "card.md"])
def test_an_incomplete_bundle_is_refused_at_once(bundle_copy: Path, name: str) -> None:
    (bundle_copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: found no file"):
        Detector(bundle_copy, "cpu")


def test_several_exams_are_refused_before_any_is_detected(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in sorted((shared_data / "head-ct-hemorrhage" / "head_ct").glob("*.png"))[3:5]:
        shutil.copy(file, tmp_path)
    runs: list[int] = []
    predict = MapModel.predict

    def counted(self: MapModel, stack: np.ndarray, near: np.ndarray | None = None) -> Any:
        if near is None:  # it asks itself for those near the brain
            runs.append(len(stack))
        return predict(self, stack, near)

    monkeypatch.setattr(MapModel, "predict", counted)
    with pytest.raises(UsageError, match=r"several exams.*ichor\.detect_all"):
        detect(tmp_path)
    assert runs == []
    assert len(list(detect_all(tmp_path))) == 2
    assert runs == [1, 1]


@pytest.mark.parametrize("given", [{"series": "1.2.3"}, {"limits": Limits()}])
def test_what_only_reading_can_heed_is_refused_beside_an_exam(
    given: dict[str, Any], small_exam: Exam
) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(given))}: found it beside an exam.*ichor.read"):
        detect(small_exam, **given)


def test_options_go_by_keyword_alone() -> None:
    with pytest.raises(TypeError):
        Options(0.5)  # type: ignore[misc]
    with pytest.raises(TypeError, match="'treshold'"):
        detect("nothing", treshold=0.5)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="both a threshold and a sensitivity"):
        Options(threshold=0.5, sensitivity=0.9)


def test_options_are_checked_before_anything_is_read(detector: Detector, tmp_path: Path) -> None:
    options = Options(sensitivity=0.123)
    with pytest.raises(UsageError, match=r"sensitivity 0\.123: found no such operating point"):
        next(iter(detector.detect_all(tmp_path / "none", options=options)))
    with pytest.raises(UsageError, match=r"sensitivity 0\.123"):
        detect(tmp_path / "none", sensitivity=0.123)


def test_a_detector_is_made_without_a_training_library() -> None:
    import subprocess

    code = (
        "import sys, ichor; ichor.Detector();"
        "print(*[n for n in ('torch', 'onnx', 'pandas') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
