"""Files and folders of any kind as exams: what the data sets that a user brings are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichor.datasets.labelled import UNKNOWN, Confidence, LabelledExam
from ichor.errors import RefusedInput
from ichor.exam import Exam, Picture, Source
from ichor.labels import LABEL_NAMES
from ichor.preparing.stacks import picture_geometry
from ichor.preparing.windows import BRAIN, from_grey
from ichor.reading import read_all
from ichor.reading.context import ReadContext
from ichor.reading.dicom import read_dicom
from ichor.reading.files import InputFile

__all__ = [
    "HU_RANGE",
    "PICTURE_NAMES",
    "broken",
    "confidence_in",
    "exam_of",
    "grey_picture",
    "label_named",
    "labelled",
    "read_files",
    "repeat_exam_labels",
]

PICTURE_NAMES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
HU_RANGE = (-1024.0, 3071.0)
"""Of exams in Hounsfield units, below and above which nothing is stored."""
_BLEEDS = ("ich", "bleed", "bleeding", "hemorrhage", "haemorrhage", "hemorrhagic", "haemorrhagic")
_NEGATIVE = {"normal", "no", "none", "negative", "0", "healthy", "control", "without"}
_NEGATIVE |= {f"{no}{bleeds}" for no in ("no", "non", "not", "without") for bleeds in _BLEEDS}
_POSITIVE = {"any", "yes", "positive", "1", "with", *_BLEEDS}
_PICTURE_ERRORS = (OSError, SyntaxError, ValueError, LookupError)
"""What Pillow raises on broken files."""
_SHORT = {"edh": 1, "iph": 2, "ivh": 3, "sah": 4, "sdh": 5}


def exam_of(path: Path, name: str, series: str | None = None) -> tuple[Exam, tuple[float, float]]:
    """Read what a path holds; a picture becomes an exam of one slice.

    Parameters
    ----------
    path
        A DICOM folder or file, a zip, a NIfTI volume, a picture.
    name
        For messages, in place of the path.
    series
        Series instance UID to take; by default the one that detection would choose.

    Returns
    -------
    exam, hu_range
        HU below and above which the source is clipped.

    Raises
    ------
    RefusedInput
        As :func:`ichor.read`; and where the path holds several, for one entry of a data set has one label.
    """
    found = list(read_all(path, series=series))
    if len(found) != 1:
        raise RefusedInput(
            str(path),
            "unreadable",
            found=f"{len(found)} exams or pictures",
            expected="one, which the entry's label is of",
            remedy="give each a file and a label of its own",
        )
    subject = found[0]
    if isinstance(subject, RefusedInput):
        raise subject
    if isinstance(subject, Picture):
        source = Source(name, "picture")
        return Exam(from_grey(subject.grey)[None], picture_geometry(), source, subject.notices), (
            BRAIN.low,
            BRAIN.high,
        )
    return subject, HU_RANGE


def confidence_in(exam: Exam) -> Confidence:
    """Return how sure the HU of what :func:`exam_of` gave are: a picture's window is not known."""
    return "unknown" if exam.source.format == "picture" else "measured"


def read_files(paths: Sequence[Path], name: str) -> Exam:
    """Read the DICOM files of one series, wherever they lie; one file alone is a slice of its own.

    Raises
    ------
    RefusedInput
        Where they are no exam, or more than one.
    """
    context = ReadContext.begin(name, single_file=len(paths) == 1)
    found = list(read_dicom([InputFile(path, path.name) for path in paths], context))
    exams = [exam for exam in found if isinstance(exam, Exam)]
    if len(exams) == 1 == len(found):
        return exams[0]
    for refusal in found:
        if isinstance(refusal, RefusedInput):
            raise refusal
    raise RefusedInput(
        name,
        "unreadable",
        found=f"{len(found)} exams in {len(paths)} files",
        expected="the DICOM files of one exam",
        remedy="check the files",
    )


def grey_picture(path: Path, name: str) -> NDArray[np.uint8]:
    """Read a picture as it is: ``(rows, columns)``, nothing cut away.

    Parameters
    ----------
    path
        The file.
    name
        Of the patient, for messages.

    Raises
    ------
    RefusedInput
        Where it is not there or broken.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except _PICTURE_ERRORS as error:
        found = f"no picture that can be read in {path.parent.name}/{path.name} ({type(error).__name__})"
        raise broken(name, found, "a picture") from None


def broken(name: str, found: str, expected: str) -> RefusedInput:
    """Return the refusal of one exam of a data set: the others can be used."""
    return RefusedInput(name, "unreadable", found=found, expected=expected, remedy="get the data set again")


def repeat_exam_labels(labels: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Give slices what is known of their exam: a label that it has not is absent in each; where it has one is unknown.

    Parameters
    ----------
    labels
        ``(6,)`` of the exam.
    n
        Number of slices.

    Returns
    -------
    numpy.ndarray
        ``(n, 6)``; the labels themselves where there is one slice.
    """
    if n == 1:
        return labels[None].copy()
    per_slice = np.repeat(labels[None], n, axis=0)
    per_slice[:, labels != 0] = np.nan
    return per_slice


def labelled(dataset: str, patient: str, path: Path, labels: NDArray[np.float32]) -> LabelledExam:
    """Read an item that has no map of its blood.

    Parameters
    ----------
    dataset, patient
        As in :class:`LabelledExam`.
    path
        What to read.
    labels
        ``(6,)`` of the exam.
    """
    exam, hu_range = exam_of(path, f"{dataset}/{patient}")
    rows = repeat_exam_labels(labels, exam.n_slices)
    blood = np.zeros(exam.volume.shape, np.uint8)
    blood[rows[:, 0] != 0] = UNKNOWN
    return LabelledExam(dataset, patient, exam, rows, blood, hu_range, confidence_in(exam))


def label_named(text: str) -> int | None:
    """Understand the name of a class or a column: 0 to 5 its place in the labels, -1 for none, None for neither."""
    plain = "".join(c for c in text.lower() if c.isalnum())
    if plain in _NEGATIVE:
        return -1
    if plain in _POSITIVE:
        return 0
    if plain in _SHORT:
        return _SHORT[plain]
    known = {"".join(c for c in name if c.isalnum()): place for place, name in enumerate(LABEL_NAMES)}
    for ending in ("", "hemorrhage", "haemorrhage"):
        if plain.removesuffix(ending) in known:
            return known[plain.removesuffix(ending)]
    return None
