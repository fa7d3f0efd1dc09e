"""RSNA 2019 Intracranial Hemorrhage Detection, in Kaggle's own layout (Flanders et al., Radiology: AI 2020).

``stage_2_train.csv`` has six rows an image, ``ID_..._subtype`` and 0 or 1, some of them twice; ``stage_2_train/``
the DICOM files in no order. Headers say which images are of one study and where they lie; one file's pixels are
known to be corrupt.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.items import HU_RANGE, read_files
from ichor.datasets.labelled import UNKNOWN, Dataset, DatasetInfo, LabelledExam
from ichor.datasets.rsna_index import IndexedImage, build_index, read_submission_ids
from ichor.datasets.sources import Kaggle
from ichor.errors import RefusedInput, UsageError
from ichor.labels import LABEL_NAMES

__all__ = ["CORRUPT", "Rsna"]

CORRUPT = ("ID_6431af929",)
"""Images whose pixels are cut short in the published files."""
_MIN_SLICES = 3
_SAME_PLACE_MM = 0.05
_LEAVE_OUT = "leave-out.txt"
_LOG_EVERY_SECONDS = 10.0
_UNSET = 9
_NO_LABELS = bytes([_UNSET] * 6)


class Rsna(Dataset):
    """The training part in a folder. An exam is a study, and a patient's studies stay together in a split.

    Studies named in ``leave-out.txt``, one a line, are left out: those that ``ichor data check rsna`` could not read.

    Parameters
    ----------
    root
        The folder that holds ``stage_2_train.csv`` and ``stage_2_train``.
    log
        Called with how far the reading of the headers is; standard error by default, where it takes long.
    index
        Where to keep what the headers say; ``ichor-index.csv`` in ``root``, or, where that cannot be written,
        in the user's cache.

    Attributes
    ----------
    notes
        What was left out, and why.

    Raises
    ------
    UsageError
        Where the table is broken, or contradicts itself.
    """

    name = "rsna"
    info = DatasetInfo(
        title="RSNA 2019 Intracranial Hemorrhage Detection",
        citation="Flanders et al., Construction of a Machine Learning Dataset through Collaboration: The RSNA 2019 "
        "Brain CT Hemorrhage Challenge, Radiology: Artificial Intelligence 2020, 2(3):e190211",
        licence="RSNA's terms: non-commercial research and teaching",
        restriction="non-commercial use, academic research and education",
        url="https://www.kaggle.com/competitions/rsna-intracranial-hemorrhage-detection",
        kind="exams",
        access="Kaggle; accept the competition's rules there; needs its client's token; 180 GB",
        expected=("stage_2_train.csv", "stage_2_train/*.dcm"),
        content="RSNA 2019, about 750,000 slices in DICOM",
        labels="six labels a slice",
        remark="many scanners of several institutions, labelled slice by slice",
        source=Kaggle(
            "competitions",
            "rsna-intracranial-hemorrhage-detection",
            strip="rsna-intracranial-hemorrhage-detection",
        ),
        slow_to_count=True,
    )

    def __init__(
        self, root: Path, log: Callable[[str], None] | None = None, index: Path | None = None
    ) -> None:
        super().__init__(root)
        self._log = log or _log_now_and_then()
        self._index = index or _index_path(self.root)
        self.notes: list[str] = []
        self._places, self._labels = self._read_labels()

    def patients(self) -> dict[str, NDArray[np.float32]]:
        """Return ``(6,)`` labels of each study."""
        return {study: self.slice_labels(study).max(axis=0) for study in self._studies}

    def groups(self) -> dict[str, str]:
        """Return the patient of each study."""
        return {study: images[0].patient for study, images in self._studies.items()}

    def slice_labels(self, patient: str) -> NDArray[np.float32]:
        """Return ``(n, 6)`` slice labels of a study, upward."""
        return self._labels[[self._places[image.image] for image in self._studies[patient]]].astype(
            np.float32
        )

    def images(self, patient: str) -> list[str]:
        """Return the images of a study, upward."""
        return [image.image for image in self._studies[patient]]

    def test_ids(self) -> list[str]:
        """Return the images of the test part, in the order in which Kaggle wants them."""
        return read_submission_ids(self.root / "stage_2_sample_submission.csv")

    def load(self, patient: str) -> LabelledExam:
        """Read one study, its slices in the order of :meth:`images`.

        Raises
        ------
        RefusedInput
            Where a file's pixels cannot be read.
        """
        folder, names = self.root / "stage_2_train", self.images(patient)
        exam = read_files([folder / f"{name}.dcm" for name in names], f"{self.name}/{patient}")
        if list(exam.source.sop_instance_uids) != names:
            raise RefusedInput(
                f"{self.name}/{patient}",
                "unreadable",
                found=f"{exam.n_slices} usable slices, or another order",
                expected=f"the {len(names)} labelled ones, upward",
                remedy=f"name the study in {_LEAVE_OUT}, beside the table",
            )
        labels = self.slice_labels(patient)
        blood = np.zeros(exam.volume.shape, np.uint8)
        blood[labels[:, 0] != 0] = UNKNOWN
        return LabelledExam(self.name, patient, exam, labels, blood, HU_RANGE)

    @cached_property
    def _studies(self) -> dict[str, list[IndexedImage]]:
        found = build_index(self.root / "stage_2_train", self._index, self._log)
        left_out: dict[str, list[str]] = {}
        series: dict[tuple[str, str], list[IndexedImage]] = {}
        for image, row in found.items():
            if row.fault or image in CORRUPT:
                left_out.setdefault("with a corrupt file", []).append(image)
            elif image not in self._places:
                left_out.setdefault("without labels", []).append(image)
            else:
                series.setdefault((row.study, row.series), []).append(row)
        if missing := self._places.keys() - found.keys():
            left_out["labelled without a file"] = sorted(missing)
        several = Counter(study for study, _ in series)
        unwanted = self._unwanted()
        studies = {}
        for (study, number), rows in sorted(series.items()):
            name = study if several[study] == 1 else f"{study}.{number}"
            upward = sorted(rows, key=lambda row: (row.height, row.image))
            apart = upward[:1]
            for row in upward[1:]:
                if row.height - apart[-1].height > _SAME_PLACE_MM:
                    apart.append(row)
            if len(apart) < len(upward):
                double = sorted({row.image for row in upward} - {row.image for row in apart})
                left_out.setdefault("that lie where another one of their study does", []).extend(double)
            if name in unwanted:
                left_out.setdefault(f"named in {_LEAVE_OUT}", []).extend(row.image for row in apart)
            elif len(apart) < _MIN_SLICES:
                fewer = f"in studies of fewer than {_MIN_SLICES} images"
                left_out.setdefault(fewer, []).extend(row.image for row in apart)
            else:
                studies[name] = apart
        for why, images in left_out.items():
            self.notes.append(f"{len(images):,} images {why} were left out, first {images[0]}")
        return studies

    def _unwanted(self) -> set[str]:
        path = self.root / _LEAVE_OUT
        return set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()

    def _read_labels(self) -> tuple[dict[str, int], NDArray[np.int8]]:
        """Place of each image in the table, and ``(images, 6)`` labels."""
        path = self.root / "stage_2_train.csv"
        columns = {name: column for column, name in enumerate(LABEL_NAMES)}
        known = {"0": 0, "1": 1}
        places: dict[str, int] = {}
        labels = bytearray()
        repeated = 0
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            next(rows, None)
            for line, row in enumerate(rows, start=2):
                try:
                    name, label = row
                    image, _, subtype = name.rpartition("_")
                    column, value = columns[subtype], known[label]
                except (KeyError, ValueError):
                    raise UsageError(
                        f"{path}, line {line}: found {','.join(row)!r}; expected ID_..._subtype and 0 or 1; "
                        "get the table again"
                    ) from None
                place = places.get(image)
                if place is None:
                    place = places[image] = len(places)
                    labels += _NO_LABELS
                before = labels[6 * place + column]
                if before == _UNSET:
                    labels[6 * place + column] = value
                elif before == value:
                    repeated += 1
                else:
                    raise UsageError(
                        f"{path}, line {line}: found {name} again, as {value} and as {before}; "
                        "expected one label; get the table again"
                    )
        table = np.frombuffer(bytes(labels), np.int8).reshape(-1, 6)
        part = np.flatnonzero((table == _UNSET).any(axis=1))
        if len(part) or not places:
            first = f", first {list(places)[part[0]]}" if len(part) else ", and no others"
            raise UsageError(
                f"{path}: found {len(part)} images without all six labels{first}; get the table again"
            )
        if repeated:
            self.notes.append(f"{repeated:,} rows of the table repeat others and were taken once")
        return places, table


def _log_now_and_then() -> Callable[[str], None]:
    """Return a log that prints a line every few seconds: work that ends sooner prints nothing."""
    last = time.monotonic()

    def log(text: str) -> None:
        nonlocal last
        if time.monotonic() - last > _LOG_EVERY_SECONDS:
            last = time.monotonic()
            print(f"rsna: {text}", file=sys.stderr, flush=True)

    return log


def _index_path(root: Path) -> Path:
    if os.access(root, os.W_OK):
        return root / "ichor-index.csv"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ichor" / "rsna-index.csv"
