"""A small made data set of exams."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ichor.datasets.labelled import Dataset, DatasetInfo, LabelledExam
from ichor.exam import Exam, Geometry, Source

N = 12


def labels_of(*positive, place=2):
    labels = np.zeros((N, 6), np.float32)
    for k in positive:
        labels[k, [0, place]] = 1
    return labels


def volume(seed, blood=()):
    """Twelve slices of an egg, with its own folds."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:96, :96]
    out = np.full((N, 96, 96), -1000, np.int16)
    spots = [(*rng.uniform(25, 70, 2), rng.uniform(4, 12), rng.integers(-25, 30)) for _ in range(25)]
    for k in range(N):
        r = np.hypot((yy - 48) / 42, (xx - 48) / 36) / np.sin(np.pi * (k + 2) / 15)
        brain = np.full((96, 96), 35.0)
        for y, x, size, hu in spots:
            brain[np.hypot(yy - y - k, xx - x) < size] += hu
        out[k] = np.where(r < 0.9, brain, np.where(r < 1, 900, -1000))
        if k in blood:
            out[k][np.hypot(yy - 40, xx - 55) < 6] = 68
    return out


class Made(Dataset):
    """What a loader gives, from memory; an exam that is an error is raised when it is read."""

    name = "made"

    def __init__(self, volumes, labels, groups=None, kind="exams"):
        super().__init__(Path("made"))
        self.info = DatasetInfo("Made", "", "", "", kind, "", ())
        self._volumes, self._labels = volumes, labels
        self._groups = groups

    def groups(self):
        return self._groups

    def patients(self):
        return {name: rows.max(axis=0) for name, rows in self._labels.items()}

    def slice_labels(self, patient):
        return self._labels[patient]

    def subgroup_values(self, patient):
        return {"age_years": 40.0}

    def load(self, patient):
        hu = self._volumes[patient]
        if isinstance(hu, Exception):
            raise hu
        n = len(hu)
        along = np.stack([np.zeros(n), np.zeros(n), 5.0 * np.arange(n)], axis=1)
        geometry = Geometry(
            along,
            np.array([1.0, 0, 0]),
            np.array([0, 1.0, 0]),
            (2.0, 2.0),
            thickness=np.full(n, 5.0),
        )
        labels = self._labels[patient]
        blood = np.where((hu == 68) & (labels[:, 0] == 1)[:, None, None], 2, 0).astype(np.uint8)
        return LabelledExam(
            "made", patient, Exam(hu, geometry, Source("made", "dicom")), labels, blood, (-1024, 3071)
        )


def made(n=6, **more):
    """Exams a, b, ... of which every second one bleeds in two slices."""
    volumes, labels = {}, {}
    for k in range(n):
        bleeds = (5, 6) if k % 2 else ()
        name = chr(ord("a") + k)
        volumes[name], labels[name] = volume(k, bleeds), labels_of(*bleeds)
    volumes.update(more.pop("volumes", {}))
    labels.update(more.pop("labels", {}))
    return Made(volumes, labels, **more)
