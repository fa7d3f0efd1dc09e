"""What do open weights cost? Import, first and warm exam of ``ipan`` at its published size, with random weights.

Usage: python -m benchmarks.speed.open_weights [--side 512] [--slices 30] [--engines onnxruntime,openvino]

The weights cannot be had everywhere, and time does not depend on them: networks of the published architecture are saved
in the published layout, imported, and compared with the graphs as any import is. Each engine runs in a process of its
own, so that its memory is its own. OpenVINO is of the extra ``openvino``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import heading, row
from ichor.detecting import Detector
from ichor.exam import Exam, Geometry, Source
from ichor.labels import LABEL_NAMES
from ichor.memory import peak_memory_mb
from ichor.models.ipan import Decoder, ExamHead, SliceEncoder
from ichor.training.importing.calls import import_bundle

_LABELS = (*LABEL_NAMES[1:], "any")
_WINDOWS = ((40, 80), (80, 200), (600, 2800))
_BACKBONE = "maxvit_tiny_tf_512"


def main() -> None:
    arguments = parser(__doc__, data=False)
    arguments.add_argument("--side", type=int, default=512)
    arguments.add_argument("--slices", type=int, default=30)
    arguments.add_argument("--engines", default="onnxruntime,openvino")
    arguments.add_argument(
        "--measure", nargs=2, metavar=("BUNDLE", "ENGINE"), help="of the process of an engine"
    )
    given = arguments.parse_args()
    if given.measure:
        bundle, engine = given.measure
        _measure(bundle, engine, given.slices)
        return
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        publish(home / "published", given.side)
        began = time.perf_counter()
        import_bundle("ipan", home / "published", home / "ipan")
        print(f"import: {time.perf_counter() - began:.1f} s\n")
        heading("engine", "first exam, s", "warm exam, s", "memory, GB")
        for engine in given.engines.split(","):
            command = [sys.executable, "-m", "benchmarks.speed.open_weights", "--slices", str(given.slices)]
            command += ["--measure", str(home / "ipan"), engine]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            row(engine, *(f"{found[key]:.1f}" for key in ("first", "warm", "memory")))


def publish(home: Path, side: int) -> None:
    """Save networks with random weights as the publication lays them out."""
    torch.manual_seed(0)
    n = len(_LABELS)
    encoder = SliceEncoder(_BACKBONE, 9, (side, side), n)
    head = ExamHead(encoder.num_features, n, 64, ([0.75] * n, [0.5] * n), range(n))
    for name in ("classifier", "sequence", "segmentation"):
        (home / name).mkdir(parents=True)
    save_file(encoder.state_dict(), home / "classifier" / "model.safetensors")
    save_file(head.state_dict(), home / "sequence" / "model.safetensors")
    for k in range(5):
        decoder = Decoder(encoder.map_channels, 256, n)
        save_file(decoder.state_dict(), home / "segmentation" / f"fold{k}.safetensors")
    config = {
        "model_type": "ct_head_hemorrhage_detection",
        "architecture": {
            "slice_classifier": f"{_BACKBONE}.in1k",
            "segmentation_decoder": "DeepLabV3Plus",
            "segmentation_folds": 5,
        },
        "input": {
            "height": side,
            "width": side,
            "large_image_resize_threshold": 640,
            "adjacent_slices": 3,
            "channel_order": "slice-major",
            "windows": [{"center": level, "width": width} for level, width in _WINDOWS],
            "normalization": {"input_min": 0.0, "input_max": 1.0, "output_min": -1.0, "output_max": 1.0},
        },
        "labels": _LABELS,
        "pooled_feature_dimension": encoder.num_features,
        "slice_blend_alphas": [0.75] * n,
        "series_blend_alphas": [0.5] * n,
        "series_baseline_aggregation": "max_probability",
        "training_max_sequence_length": 64,
        "long_series_inference_default": "resample",
    }
    (home / "config.json").write_text(json.dumps(config))


def _measure(bundle: str, engine: str, slices: int) -> None:
    """Print seconds and memory of one engine as JSON."""
    began = time.perf_counter()
    detector = Detector(bundle, device="cpu", engine=engine)
    exam = _head(slices)
    found = detector.detect(exam)
    first = time.perf_counter() - began
    if not found.assessable:
        raise SystemExit(
            f"found an exam that is not assessed: {[w.code for w in found.warnings]}; expected a head"
        )
    began = time.perf_counter()
    detector.detect(exam)
    warm = time.perf_counter() - began
    print(json.dumps({"first": first, "warm": warm, "memory": (peak_memory_mb() or float("nan")) / 1000}))


def _head(slices: int) -> Exam:
    """Make brain with noise in a ring of bone, 512 pixels wide."""
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:512, :512]
    radius = np.hypot((yy - 256) / 220, (xx - 256) / 180)
    plane = np.where(radius < 0.9, 34, np.where(radius < 1, 900, -1000))
    hu = (plane + rng.normal(0, 3, (slices, *plane.shape))).astype(np.int16)
    positions = np.stack([np.zeros(slices), np.zeros(slices), 5.0 * np.arange(slices)], axis=1)
    geometry = Geometry(positions, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), (0.42, 0.42))
    return Exam(hu, geometry, Source("made", "nifti"))


if __name__ == "__main__":
    main()
