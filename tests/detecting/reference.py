"""What the shipped bundles give for the public data, in figures small enough to keep in the repository.

``python tests/detecting/reference.py DATA`` writes ``reference_probabilities.json`` anew. It holds what they gave at their
release; a change of these numbers is a change of the model, or of how an input is read, and says so
in the changelog. No pixel and nothing of a patient is in it: the public data sets' own numbers of exams, and results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ichor.datasets.registry import open_dataset
from ichor.detecting import Detector
from ichor.findings import Findings

FILE = Path(__file__).with_name("reference_probabilities.json")
EXAMS = ("ct-ich", "phe-sich")
OTHER_STEP = 10
"""The bundles beside the default run on each tenth exam."""
RSNA_STEP = 20
"""Pictures of RSNA: each twentieth."""


def figures(findings: Findings) -> dict[str, Any]:
    """The numbers of one exam or picture: of the exam, of its slices in the mean, and its volume."""
    if not findings.assessable:
        return {"assessable": False}
    slices = np.array([s.probabilities.as_array() for s in findings.slices])
    return {
        "exam": findings.probabilities.as_array().tolist(),
        "slices": np.round(slices.mean(axis=0), 8).tolist(),
        "volume_ml": findings.volume_ml,
        "regions": len(findings.regions),
    }


def compute(kind: str, data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Detect one kind of the public data, and give each result by its key."""
    bundle, source = kind.split("/")
    detector = Detector(bundle, engine="onnxruntime")
    if source in EXAMS:
        dataset = open_dataset(source, data)
        step = 1 if bundle == "default" else OTHER_STEP
        for patient in list(dataset.patients())[::step]:
            yield patient, figures(detector.detect(dataset.load(patient).exam))
        return
    if source == "dicom":
        inputs = [data / "cq500", *sorted((data / "dicom-oddities").iterdir())]
    elif source == "head-ct":
        folder = data / "head-ct-hemorrhage"
        inputs = [p for p in sorted(folder.rglob("*.png")) if "mask" not in str(p)]
    else:
        inputs = sorted((data / "rsna-slices" / "images").iterdir())[::RSNA_STEP]
    for path in inputs:
        for number, detection in enumerate(detector.detect_all(path)):
            yield f"{path.name}/{number}", figures(detection.findings)


KINDS = (
    *(f"default/{source}" for source in (*EXAMS, "dicom", "head-ct", "rsna")),
    *(f"{bundle}/{source}" for bundle in ("fast", "open") for source in EXAMS),
)


def write(reference: dict[str, dict[str, Any]]) -> None:
    """Write the file, an exam a line."""
    kinds = []
    for kind, results in reference.items():
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in results.items()]
        kinds.append(f" {json.dumps(kind)}: {{\n" + ",\n".join(lines) + "\n }")
    FILE.write_text("{\n" + ",\n".join(kinds) + "\n}\n")


if __name__ == "__main__":
    write({kind: dict(compute(kind, Path(sys.argv[1]))) for kind in KINDS})
