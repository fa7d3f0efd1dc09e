"""What it saves that slices far from the brain are not run, and whether a verdict changes.

Usage: python -m benchmarks.speed.far_slices [--data DIR] [--bundle NAME] [--exams N] [--repeats N]

First how many slices of the exams at hand lie far from the brain. Then exams of CT-ICH as they are, and with a neck
below, for which the lowest slice stands 40 times; each is detected with and without the rule, in turn, in one run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

import ichor
from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import heading, row
from ichor.datasets.registry import open_dataset
from ichor.detecting import Detector
from ichor.detecting.examining import examine
from ichor.exam import Exam
from ichor.preparing import Preparation

NECK = 40


def exams(data: Path) -> Iterator[tuple[str, Exam]]:
    """Yield the exams of heads at hand."""
    dataset = open_dataset("ct-ich", data)
    for patient in sorted(dataset.patients()):
        yield f"ct-ich/{patient}", dataset.load(patient).exam
    for name in ("cq500/CQ500-CT-0", "dicom-oddities/ge_head_tilt_varspacing"):
        if (data / name).is_dir():
            found = ichor.read(data / name)
            if isinstance(found, Exam):
                yield name, found


def with_neck(exam: Exam) -> Exam:
    """Put an exam's lowest slice below it many times, as far apart as its lowest two are."""
    geometry = exam.geometry
    step = geometry.positions[1] - geometry.positions[0]
    below = geometry.positions[0] - step * np.arange(NECK, 0, -1)[:, None]
    positions = np.concatenate([below, geometry.positions])
    volume = np.concatenate([np.repeat(exam.volume[:1], NECK, axis=0), exam.volume])
    source = replace(exam.source, sop_instance_uids=())
    return replace(exam, volume=volume, geometry=replace(geometry, positions=positions), source=source)


def seconds(detector: Detector, exam: Exam, *, rule: bool) -> tuple[float, np.ndarray]:
    """Return how long preparing and predicting take, and the probabilities of the exam."""
    began = time.perf_counter()
    prepared = examine(exam, detector.bundle.manifest.preparation).prepared
    found = detector._outcome(exam, prepared if rule else replace(prepared, reach_mm=None))
    return time.perf_counter() - began, found.exam


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--bundle", default="default")
    arguments.add_argument("--exams", type=int, default=4)
    arguments.add_argument("--repeats", type=int, default=3)
    options = arguments.parse_args()
    some: list[tuple[str, Exam]] = []
    slices = far = count = 0
    for name, exam in exams(options.data):
        near = examine(exam, Preparation()).prepared.near_brain
        count, slices, far = count + 1, slices + len(near), far + int((~near).sum())
        if len(some) < options.exams:
            some.append((name, exam))
    print(f"{count} exams, {slices} slices on the grid, of which far from the brain: {far}\n")
    heading("exam", "slices", "run", "all, s", "by the rule, s", "ratio", "largest change of a probability")
    detector = Detector(options.bundle, "cpu")
    for name, exam in some:
        for what, one in ((name, exam), (f"{name} with a neck", with_neck(exam))):
            near = examine(one, detector.bundle.manifest.preparation).prepared.near_brain
            pairs = [
                (seconds(detector, one, rule=False), seconds(detector, one, rule=True))
                for _ in range(options.repeats)
            ]
            every, ruled = (median(pair[k][0] for pair in pairs) for k in (0, 1))
            change = float(np.abs(pairs[0][0][1] - pairs[0][1][1]).max())
            row(
                what,
                len(near),
                int(near.sum()),
                f"{every:.2f}",
                f"{ruled:.2f}",
                f"{every / ruled:.2f}",
                f"{change:.4f}",
            )


if __name__ == "__main__":
    main()
