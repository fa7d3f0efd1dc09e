"""The test part of RSNA 2019 as Kaggle lays it out: a folder of images in no order, exam by exam to probabilities."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import read_files
from ichor.datasets.rsna_index import IndexedImage, build_index
from ichor.detecting import Detector, Options
from ichor.errors import RefusedInput, UsageError
from ichor.findings import Findings
from ichor.labels import LABEL_NAMES
from ichor.progress import Progress, silent

__all__ = ["FolderPredictions", "predict_folder"]

_HEADER = ("id", *LABEL_NAMES)


@dataclass(frozen=True)
class FolderPredictions:
    """Probabilities of the images of a folder.

    Attributes
    ----------
    probabilities
        ``(6,)`` in label order by image: of all that have a file.
    alone
        Images that were assessed by themselves: their exam could not be.
    guessed
        Images that could not be assessed at all; they have the mean of the others.
    reasons
        Why exams and images could not be assessed, by code, with their number.
    """

    probabilities: dict[str, NDArray[np.float64]]
    alone: tuple[str, ...]
    guessed: tuple[str, ...]
    reasons: Mapping[str, int]


def predict_folder(
    folder: Path, kept: Path, detector: Detector, progress: Progress = silent
) -> FolderPredictions:
    """Assess every image of a folder, its exam around it; one exam is in memory at a time.

    Parameters
    ----------
    folder
        Holds the images, ``ID_*.dcm``, of any number of exams.
    kept
        CSV to which probabilities are added exam by exam: a call that was killed goes on there. The index of the
        headers is kept beside it.
    detector
        The model.
    progress
        Called after each exam.

    Raises
    ------
    UsageError
        Where the folder holds no images, or none can be assessed.
    """
    index = build_index(folder, kept.with_name(f"{kept.name}.index"), lambda text: progress(text, 0.0))
    if not index:
        raise UsageError(f"{folder}: found no *.dcm; expected the images of the test part; check the path")
    exams: dict[tuple[str, str], list[IndexedImage]] = {}
    for row in index.values():
        exams.setdefault((row.study, row.series) if not row.fault else (row.image, ""), []).append(row)
    run = _Run(folder, detector, kept)
    for number, rows in enumerate(exams.values(), start=1):
        run.exam(sorted(rows, key=lambda row: row.height))
        progress(f"exam {number} of {len(exams)}", number / len(exams))
    return run.finished(list(index))


class _Run:
    """Probabilities as they come, each written down before the next exam is read."""

    def __init__(self, folder: Path, detector: Detector, kept: Path) -> None:
        self.folder = folder
        self.detector = detector
        self.kept = kept
        self.found = _read_kept(kept)
        self.alone: list[str] = []
        self.reasons: Counter[str] = Counter()

    def exam(self, rows: list[IndexedImage]) -> None:
        """Assess the images of one exam; those that are no part of it, each by itself."""
        images = [row.image for row in rows if row.image not in self.found]
        if not images:
            return
        new = self._assess([row.image for row in rows]) if len(rows) > 1 else {}
        for image in images:
            if image not in new and (one := self._assess([image])):
                new |= one
                self.alone.append(image)
        new = {image: values for image, values in new.items() if image in images}
        with self.kept.open("a", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            if file.tell() == 0:
                table.writerow(_HEADER)
            table.writerows([image, *map(float, values)] for image, values in new.items())
        self.found |= new

    def finished(self, images: list[str]) -> FolderPredictions:
        """Give what was found, and the mean to what could not be assessed."""
        there = {image: self.found[image] for image in images if image in self.found}
        if not there:
            why = ", ".join(self.reasons)
            raise UsageError(
                f"{self.folder}: found no image that can be assessed ({why}); expected some; look at one with "
                "ichor detect"
            )
        guessed = tuple(image for image in images if image not in there)
        mean: NDArray[np.float64] = np.asarray(np.mean(list(there.values()), axis=0))
        filled = dict(there)
        for image in guessed:
            filled[image] = mean
        return FolderPredictions(filled, tuple(self.alone), guessed, self.reasons)

    def _assess(self, images: list[str]) -> dict[str, NDArray[np.float64]]:
        """Probabilities of the images of one exam, or of one image; none where it cannot be assessed."""
        try:
            exam = read_files([self.folder / f"{image}.dcm" for image in images], "an exam")
            found = self.detector.detect(exam, Options(original_uids=True))
        except RefusedInput as refusal:
            self.reasons[refusal.code] += 1
            return {}
        if not found.assessable:
            self.reasons.update(w.code for w in found.warnings[:1])
            return {}
        return _by_image(found, images)


def _by_image(findings: Findings, images: list[str]) -> dict[str, NDArray[np.float64]]:
    """Probabilities by image: its UID is its name in this challenge; a single file needs none."""
    rows = [(s.sop_instance_uid or "", s.probabilities.as_array()) for s in findings.slices]
    if len(images) == 1 and len(rows) == 1:
        return {images[0]: rows[0][1]}
    return {uid: values for uid, values in rows if uid in set(images)}


def _read_kept(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return what an earlier call wrote; a last line that a kill tore is taken off the file."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    if torn := len(content) - content.rfind(b"\n") - 1:
        os.truncate(path, len(content) - torn)
        content = content[:-torn]
    rows = list(csv.reader(content.decode("utf-8").splitlines()))[1:]
    return {row[0]: np.array([float(value) for value in row[1:]]) for row in rows}
