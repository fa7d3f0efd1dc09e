"""Read a data set once and keep what its report shows: counts, histograms, small pictures."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.datasets.labelled import UNKNOWN, Confidence, Dataset, LabelledExam
from ichor.datasets.splits import patient_folds
from ichor.errors import RefusedInput, UsageError
from ichor.labels import LABEL_NAMES
from ichor.preparing.head import head_boxes
from ichor.preparing.windows import BRAIN
from ichor.progress import Progress, silent

__all__ = ["CLASSES", "HU_LOW", "LABEL_STATES", "ExamFacts", "Fault", "Survey", "Thumbnail", "survey"]

CLASSES = (*LABEL_NAMES[1:], "any, subtype unknown", "none")
"""Of each of which a montage is made; the last but one for data without subtypes."""
HU_LOW, HU_HIGH = -1100, 3100
LABEL_STATES = ("none", "hemorrhage", "unknown")
"""Rows of the HU histogram: slices by what is known of them."""

_MOST_EXAMS, _MOST_PICTURES = 300, 3000
_MOST_COMPARED = 4000
"""Slices that are kept to look for duplicates."""
_COMPARED_SIDE = 192
_SHOWN_SIDE = 176
_LEAST_HEAD = 0.3
"""Of an exam's largest slice: smaller ones look alike in all heads and are not compared."""
_CUT = 0.75
"""Share of a picture that its head's box fills where it was cut to the head: 0.84 and more, 0.64 and less where not."""
_LEAST_SHARE = 0.15
"""Of a picture with margins: smaller heads are slices near the vertex, which look alike in all (RSNA: up to 0.978)."""
_LARGE, _SMALL = 0.85, 0.5
"""Of an exam's largest slice: between two large ones, none is small."""
_SECONDS_FOR_LABELS = 60.0
_PROBED = 3


@dataclass(frozen=True)
class ExamFacts:
    """What the report shows of one exam.

    Attributes
    ----------
    patient
        The data set's pseudonym.
    labels
        ``(n, 6)``, NaN for unknown.
    shape
        Rows and columns.
    spacing_mm, step_mm, thickness_mm, tilt_degrees
        Between pixels, between slices, of a slice, of the gantry; None where not known.
    hu_range, hu_confidence
        As in :class:`~ichor.datasets.labelled.LabelledExam`.
    repeated
        Slices that are equal to another slice of the same exam.
    out_of_order
        Whether the head closes towards the vertex and then opens again.
    subgroup_values
        As the data set has them.
    """

    patient: str
    labels: NDArray[np.float32]
    shape: tuple[int, int]
    spacing_mm: float | None
    step_mm: float | None
    thickness_mm: float | None
    tilt_degrees: float | None
    hu_range: tuple[float, float]
    hu_confidence: Confidence
    repeated: int
    out_of_order: bool
    subgroup_values: dict[str, float]


@dataclass(frozen=True)
class Fault:
    """An exam or picture that cannot be read, and why."""

    patient: str
    reason: str


@dataclass(frozen=True)
class Thumbnail:
    """A small picture, in the brain window.

    Attributes
    ----------
    patient, index
        Which slice, 0-based.
    grey
        ``(rows, columns)`` uint8, square, cut to the head.
    """

    patient: str
    index: int
    grey: NDArray[np.uint8]


@dataclass
class Survey:
    """What was read of a data set.

    Attributes
    ----------
    patients
        ``(6,)`` exam labels of all exams.
    exams
        Facts of those that were read.
    chosen
        How many exams were to be read: all, or a sample.
    slice_labels
        ``(n, 6)`` of every exam whose slices are counted.
    faults
        What could not be read.
    hu
        ``(3, bins)`` pixels a HU from ``HU_LOW`` upwards within the box of the head, by ``LABEL_STATES``.
    blood_hu
        ``(bins,)`` the same for pixels marked as blood.
    thumbnails
        A slice an exam, by class.
    compared
        ``(rows, columns)`` uint8 cut to the head by ``(patient, slice)``, to look for duplicates.
    digests
        Of the whole slice, by the same key.
    """

    patients: dict[str, NDArray[np.float32]]
    chosen: int
    exams: list[ExamFacts] = field(default_factory=list)
    slice_labels: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    hu: NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, HU_HIGH - HU_LOW + 1), np.int64))
    blood_hu: NDArray[np.int64] = field(default_factory=lambda: np.zeros(HU_HIGH - HU_LOW + 1, np.int64))
    thumbnails: dict[str, list[Thumbnail]] = field(default_factory=lambda: {name: [] for name in CLASSES})
    compared: dict[tuple[str, int], NDArray[np.uint8]] = field(default_factory=dict)
    digests: dict[tuple[str, int], str] = field(default_factory=dict)


def survey(
    dataset: Dataset,
    most: int | None = None,
    progress: Progress = silent,
) -> Survey:
    """Read a data set, or a sample of a large one in which every subtype has its share.

    Parameters
    ----------
    dataset
        What to read.
    most
        Exams (or pictures) to read; None for 300 (or 3000).
    progress
        Called with what is being done, and how much of it (0 to 1).

    Raises
    ------
    UsageError
        Where not one exam can be read.
    """
    progress("reading labels", 0.0)
    patients = dataset.patients()
    if not patients:
        raise UsageError(f"data set {dataset.name}: found no exam; expected one or more; check the folder")
    pictures = dataset.info.kind == "pictures"
    names = _sample(patients, most or (_MOST_PICTURES if pictures else _MOST_EXAMS))
    found = Survey(patients, len(names))
    a_slice = max(1 if pictures else 8, _MOST_COMPARED // len(names))
    for k, name in enumerate(names):
        progress(f"reading {k + 1} of {len(names)}", k / len(names))
        try:
            item = dataset.load(name)
        except (RefusedInput, UsageError, OSError, ValueError, SyntaxError, EOFError) as error:
            found.faults.append(Fault(name, _reason(error)))
        else:
            _take(found, item, dataset.subgroup_values(name), a_slice)
    if not found.exams:
        raise UsageError(
            f"data set {dataset.name}: found {len(names)} exams of which none can be read (the first: "
            f"{found.faults[0].reason.rstrip('.')}); expected one or more; check the files"
        )
    progress("reading labels of slices", 1.0)
    _label_the_rest(found, dataset)
    return found


def _sample(patients: dict[str, NDArray[np.float32]], most: int) -> list[str]:
    if len(patients) <= most:
        return list(patients)
    folds = patient_folds(patients, -(-len(patients) // most), 0)
    return [name for name in patients if folds[name] == 0]


def _label_the_rest(found: Survey, dataset: Dataset) -> None:
    """Count the slices of the other exams too, unless their labels take long: some are read from the images."""
    failed = {fault.patient for fault in found.faults}
    rest = [name for name in found.patients if name not in found.slice_labels and name not in failed]
    since = time.monotonic()
    for k, name in enumerate(rest):
        if k == _PROBED and (time.monotonic() - since) / _PROBED * len(rest) > _SECONDS_FOR_LABELS:
            return
        try:
            found.slice_labels[name] = dataset.slice_labels(name)
        except (RefusedInput, UsageError, OSError, ValueError) as error:
            found.faults.append(Fault(name, _reason(error)))


def _take(found: Survey, item: LabelledExam, subgroup_values: dict[str, float], most_compared: int) -> None:
    volume, geometry = item.exam.volume, item.exam.geometry
    boxes, areas = head_boxes(volume)
    seen = np.flatnonzero(areas >= _LEAST_HEAD * areas.max()) if areas.max() else np.empty(0, np.intp)
    if len(volume) == 1:
        share = _share(boxes[0], volume.shape[1:])
        seen = np.arange(int(share >= _LEAST_SHARE))
        if share > _CUT:  # it comes cut to its head: compared whole, as splits do
            boxes = np.full((1, 4), np.nan)
    digests = [hashlib.blake2b(plane.tobytes(), digest_size=16).hexdigest() for plane in volume]
    for k in range(len(volume)):
        _count(found, item, k, _box(boxes[k], volume.shape[1:]))
    for k in seen[np.unique(np.linspace(0, max(0, len(seen) - 1), min(most_compared, len(seen)), dtype=int))]:
        found.compared[item.patient, int(k)] = _small(_cut(volume[k], boxes[k]), _COMPARED_SIDE)
        found.digests[item.patient, int(k)] = digests[k]
    for name, k in _examples(item, areas).items():
        grey = _square(_cut(volume[k], boxes[k]))
        found.thumbnails[name].append(Thumbnail(item.patient, k, _small(grey, _SHOWN_SIDE)))
    known = geometry.spacing_known
    stacked = known and geometry.positions_known and geometry.n_slices > 1
    thickness = geometry.thickness[np.isfinite(geometry.thickness)]
    heads = [digests[k] for k in seen]
    found.slice_labels[item.patient] = item.labels
    found.exams.append(
        ExamFacts(
            item.patient,
            item.labels,
            (volume.shape[1], volume.shape[2]),
            float(geometry.spacing[0]) if known else None,
            geometry.slice_step if stacked else None,
            float(np.median(thickness)) if known and len(thickness) else None,
            geometry.tilt_degrees if stacked and item.exam.source.format != "picture" else None,
            item.hu_range,
            item.hu_confidence,
            len(heads) - len(set(heads)),
            _out_of_order(areas),
            subgroup_values,
        )
    )


def _count(found: Survey, item: LabelledExam, k: int, box: tuple[slice, slice]) -> None:
    # Every second pixel each way: the shape of a histogram does not need all.
    plane = item.exam.volume[k][box][::2, ::2]
    bins = np.clip(plane, HU_LOW, HU_HIGH).astype(np.intp) - HU_LOW
    label = item.labels[k, 0]
    state = 2 if np.isnan(label) else int(label > 0)
    found.hu[state] += np.bincount(bins.ravel(), minlength=found.hu.shape[1])
    marks = item.blood[k][box][::2, ::2]
    blood = (marks > 0) & (marks != UNKNOWN)
    if blood.any():
        found.blood_hu += np.bincount(bins[blood], minlength=len(found.blood_hu))


def _examples(item: LabelledExam, areas: NDArray[np.float64]) -> dict[str, int]:
    """Return the slice that shows each class best: with most blood marked, or the middle of those that have it."""
    out = {}
    for place, name in enumerate(LABEL_NAMES[1:], start=1):
        slices = np.flatnonzero(item.labels[:, place] == 1)
        if len(slices):
            marked = (item.blood[slices] == place).sum(axis=(1, 2))
            out[name] = int(slices[marked.argmax()] if marked.any() else slices[len(slices) // 2])
    without = np.flatnonzero((item.labels[:, 0] == 1) & ~(item.labels[:, 1:] == 1).any(axis=1))
    if len(without) and not out:
        out[CLASSES[-2]] = int(without[len(without) // 2])
    none = np.flatnonzero((item.labels[:, 0] == 0) & (areas >= _LEAST_HEAD * areas.max()))
    if len(none):
        out[CLASSES[-1]] = int(none[len(none) // 2])
    return out


def _out_of_order(areas: NDArray[np.float64]) -> bool:
    large = np.flatnonzero(areas >= _LARGE * areas.max())
    return bool((areas[large[0] : large[-1]] < _SMALL * areas.max()).any())


def _box(box: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[slice, slice]:
    if not np.isfinite(box).all():
        return slice(0, shape[0]), slice(0, shape[1])
    r0, c0, r1, c1 = (int(v) for v in box)
    return slice(r0, r1), slice(c0, c1)


def _share(box: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    rows, columns = _box(box, shape)
    return float((rows.stop - rows.start) * (columns.stop - columns.start) / (shape[0] * shape[1]))


def _cut(plane: NDArray[np.int16], box: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Cut a slice to its head, in the brain window."""
    return BRAIN.to_grey(plane[_box(box, plane.shape)])


def _square(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = max(grey.shape)
    out = np.zeros((side, side), np.uint8)
    r, c = (side - grey.shape[0]) // 2, (side - grey.shape[1]) // 2
    out[r : r + grey.shape[0], c : c + grey.shape[1]] = grey
    return out


def _small(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BOX))


def _reason(error: Exception) -> str:
    """Return the reason without a path, which may name a person."""
    if isinstance(error, RefusedInput):
        return error.sentence
    return {
        "FileNotFoundError": "a file is missing",
        "UnidentifiedImageError": "not a picture",
        "PermissionError": "may not be read",
        "UsageError": "does not fit its labels",
    }.get(type(error).__name__, f"broken ({type(error).__name__})")
