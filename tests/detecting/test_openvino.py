"""The model in OpenVINO: the same answer, said in the findings, and nothing sent."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ichor.cli.demo import demo_exam
from ichor.detecting import Detector
from ichor.detecting import openvino_session as engine
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES
from ichor.reading import read
from ichor.reading.muting import hidden_module


def test_it_is_refused_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    with (
        hidden_module("openvino"),
        pytest.raises(UsageError, match="found no package openvino; expected the ex"),
    ):
        Detector(engine="openvino")
    with pytest.raises(UsageError, match="engine 'tpu': expected auto, onnxruntime, openvino"):
        Detector(engine="tpu")


needs_openvino = pytest.mark.skipif(not engine.is_installed(), reason="needs the extra 'openvino'")


@needs_openvino
def test_it_answers_as_onnx_runtime_does_from_two_threads_and_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICHOR_CACHE", str(tmp_path))
    exam = read(demo_exam())
    expected = Detector().detect(exam)
    detector = Detector(engine="openvino")
    assert detector.model.provider.startswith("OpenVINO")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(detector.detect, [exam, exam]))
    kept = list((tmp_path / "openvino").iterdir())
    assert kept and (tmp_path / "openvino").stat().st_mode & 0o077 == 0
    found.append(Detector(engine="openvino").detect(exam))
    tolerance = 0.05 if engine.has_bf16() else 2e-4
    for one in found:
        assert [w.code for w in one.warnings if w.code == "other_engine"]
        assert one.positive == expected.positive
        for label in LABEL_NAMES:
            a, b = ([getattr(s.probabilities, label) for s in f.slices] for f in (one, expected))
            np.testing.assert_allclose(a, b, atol=tolerance)
    assert "other_engine" not in [w.code for w in expected.warnings]


@needs_openvino
def test_auto_takes_it_where_the_processor_has_bf16_and_it_answers_alike(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ICHOR_ENGINE")
    monkeypatch.setattr(engine, "has_bf16", lambda: False)
    assert Detector().model.provider == "CPUExecutionProvider"
    monkeypatch.setattr(engine, "has_bf16", lambda: True)  # where it has not, OpenVINO itself takes fp32
    assert Detector().model.provider.startswith("OpenVINO")
    assert Detector(engine="onnxruntime").model.provider == "CPUExecutionProvider"
    monkeypatch.setitem(engine._MOST_DIFFERENCE, "bf16", -1.0)
    assert Detector().model.provider == "CPUExecutionProvider"
    assert "OpenVINO answers otherwise than ONNX Runtime" in caplog.text
    with pytest.raises(UsageError, match="found other logits than ONNX Runtime's"):
        Detector(engine="openvino")


@needs_openvino
def test_what_could_send_telemetry_is_not_imported() -> None:
    code = (
        "import sys; from ichor.detecting import Detector; Detector(engine='openvino');"
        "print([name for name in sys.modules if 'telemetry' in name and sys.modules[name] is not None])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "openvino_telemetry" not in done.stdout
