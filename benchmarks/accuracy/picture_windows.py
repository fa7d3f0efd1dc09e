"""How well is the window of a picture measured, and what does another window cost? Slices of whole exams as pictures.

Usage: python -m benchmarks.accuracy.picture_windows [--data DIR] [--bundle NAME] [--slices N]
       [--window LEVEL/WIDTH ...]

Slices of ct-ich (half bleeding; on them the bundle learned, so that only differences mean something), aisd, cq500
and the tilted exam of dicom-oddities, spread over exams and heights, are saved as PNG in each window, read as a user's
picture would be, and assessed. Errors are of brain (33 HU) turned back by the window that was taken, and of its width;
the AUC is of ct-ich, beside the same slices in the first window. A picture that is refused or whose window cannot be
told ranks by its probability, or lowest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import ichor
from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import change, heading, row
from ichor.datasets.aisd import Aisd
from ichor.datasets.ct_ich import CtIch
from ichor.detecting.detector import Detector
from ichor.detecting.picture_estimate import BRAIN_HU
from ichor.evaluating.metrics import paired_bootstrap, roc_auc
from ichor.exam import Exam
from ichor.findings import Findings
from ichor.preparing.windows import Window

WINDOWS = ("40/80", "40/120", "35/40", "32/8", "75/215", "80/200", "40/380", "50/350", "500/2000")
_FROM, _TO = 0.25, 0.9
"""Share of an exam's height from which slices are taken."""
_OTHERS = {"cq500": "cq500/CQ500-CT-0", "ge tilted": "dicom-oddities/ge_head_tilt_varspacing"}
_OF_OTHERS = 16


@dataclass(frozen=True)
class Slice:
    """One slice in HU; ``bleeds`` is NaN where that is not known."""

    source: str
    patient: str
    hu: NDArray[np.int16]
    bleeds: float


def main() -> None:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("--bundle", default="default", help="name or path of the model")
    arguments.add_argument("--slices", type=int, default=160, help="of ct-ich")
    arguments.add_argument("--window", action="append", help="level/width; may repeat")
    options = arguments.parse_args()
    slices = [*of_ct_ich(options.data, options.slices), *of_others(options.data)]
    detector = Detector(options.bundle)
    heading(
        *("window", "source", "n", "refused", "not told", "kept as brain", "width, found / true"),
        *("brain off by, HU: median, 90 %", "change of AUC (95 % interval)"),
    )
    first: dict[int, float] = {}
    for text in options.window or WINDOWS:
        level, width = (float(v) for v in text.split("/"))
        window = Window(level, width)
        found = {k: assessed(one, window, detector) for k, one in enumerate(slices)}
        ranks = {k: -1.0 if f.probabilities.any is None else f.probabilities.any for k, f in found.items()}
        first = first or ranks
        for source in dict.fromkeys(one.source for one in slices):
            of = [k for k, one in enumerate(slices) if one.source == source]
            print_row(text, window, source, [found[k] for k in of])
            if source == CtIch.name:
                truth, groups = (
                    np.array([slices[k].bleeds for k in of]),
                    np.array([slices[k].patient for k in of]),
                )
                after, before = (np.array([r[k] for k in of]) for r in (ranks, first))
                difference, _ = paired_bootstrap(roc_auc, truth, after, before, groups)
                area = f"{roc_auc(truth, after):.3f}"
                row(text, f"AUC of {source}", len(of), *[None] * 5, f"{area}: {change(difference)}")


def of_ct_ich(data: Path, n: int) -> Iterator[Slice]:
    """Take slices over all exams, half of them bleeding."""
    dataset = CtIch(data / CtIch.name)
    rng = np.random.default_rng(3)
    places: dict[bool, list[tuple[str, int]]] = {True: [], False: []}
    for patient in sorted(dataset.patients()):
        labels = dataset.slice_labels(patient)[:, 0]
        for k in range(round(_FROM * len(labels)), round(_TO * len(labels))):
            places[bool(labels[k])].append((patient, k))
    chosen: dict[str, list[tuple[int, bool]]] = {}
    for bleeds, of in places.items():
        for at in rng.permutation(len(of))[: n // 2]:
            patient, k = of[at]
            chosen.setdefault(patient, []).append((k, bleeds))
    for patient, rows in sorted(chosen.items()):
        volume = dataset.load(patient).exam.volume
        for k, bleeds in sorted(rows):
            yield Slice(CtIch.name, patient, volume[k], float(bleeds))


def of_others(data: Path) -> Iterator[Slice]:
    """Take slices of what the network that measures windows did not learn from, and of aisd."""
    dataset = Aisd(data / Aisd.name)
    volumes = [(Aisd.name, patient, dataset.load(patient).exam.volume) for patient in dataset.patients()]
    for name, folder in _OTHERS.items():
        exam = ichor.read(data / folder)
        if isinstance(exam, Exam):
            volumes.append((name, name, exam.volume))
    for name, patient, volume in volumes:
        at = np.linspace(_FROM * len(volume), _TO * len(volume) - 1, _OF_OTHERS).astype(int)
        for k in np.unique(at):
            yield Slice(name, patient, volume[k], float("nan"))


def assessed(one: Slice, window: Window, detector: Detector) -> Findings:
    """Save a slice as a picture and assess it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        Image.fromarray(window.to_grey(one.hu)).save(path, compress_level=1)
        found = [d.findings for d in detector.detect_all(path)]
    return found[0]


def brain_error(findings: Findings, window: Window) -> tuple[float, float]:
    """By how much brain is off, HU, and the width taken over the true one; NaN where no window was taken."""
    if findings.window is None or _refused_window(findings):
        return float("nan"), float("nan")
    taken = Window(findings.window.level, findings.window.width)
    grey = (BRAIN_HU - window.low) / window.width
    return taken.low + grey * taken.width - BRAIN_HU, taken.width / window.width


def print_row(text: str, window: Window, source: str, found: list[Findings]) -> None:
    """Print how the pictures of one source in one window fare."""
    errors = np.array([brain_error(f, window) for f in found])
    known = errors[np.isfinite(errors[:, 0])]
    off = width = None
    if len(known):
        off = f"{np.median(abs(known[:, 0])):.1f}, {np.percentile(abs(known[:, 0]), 90):.1f}"
        width = " ".join(f"{v:.2f}" for v in np.percentile(known[:, 1], [10, 50, 90]))
    refused = sum(not f.assessable for f in found)
    unknown = sum(any(w.code == "picture_window_unknown" for w in f.warnings) for f in found)
    kept = sum(
        f.window is not None and f.window.source == "assumed" and not _refused_window(f) for f in found
    )
    row(text, source, len(found), refused, unknown, kept, width, off, None)


def _refused_window(findings: Findings) -> bool:
    return any(w.code in ("picture_window_unknown", "picture_window_too_wide") for w in findings.warnings)


if __name__ == "__main__":
    main()
