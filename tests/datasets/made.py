"""A made data set that other processes can load, too."""

import os
import time
from pathlib import Path

import numpy as np

from ichor.datasets.labelled import Dataset, DatasetInfo, LabelledExam
from ichor.errors import RefusedInput
from ichor.exam import Exam, Geometry, Source
from ichor.preparing import GridSpec

SPEC = GridSpec(40, 32, 0.06, 5.0)


def exam(seed, n=9, step=5.0):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:64, :64]
    radius = np.hypot((yy - 32) / 28, (xx - 32) / 24)
    plane = np.where(radius < 0.9, 35, np.where(radius < 1, 900, -1000))
    volume = (plane[None] + rng.normal(0, 3, (n, 64, 64))).astype(np.int16)
    positions = np.stack([np.zeros(n), np.zeros(n), step * np.arange(n)], axis=1)
    geometry = Geometry(
        positions, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), (3.0, 3.0), thickness=np.full(n, step)
    )
    return Exam(volume, geometry, Source(f"made/{seed}", "picture"))


class Made(Dataset):
    """Twelve exams, nine slices each. Slow, broken, failing or ending its process where asked."""

    name = "made"
    info = DatasetInfo("made", "", "", "", "exams", "", ())

    def __init__(self, wait=0.0, broken=(), failing="", ending=""):
        super().__init__(Path("made"))
        self.wait, self.broken, self.failing, self.ending = wait, broken, failing, ending

    def patients(self):
        return {f"p{k:02d}": np.array([k % 2, 0, k % 2, 0, 0, 0], np.float32) for k in range(12)}

    def slice_labels(self, patient):
        number = int(patient[1:])
        labels = np.zeros((9, 6), np.float32)
        labels[number % 9, [0, 2]] = number % 2
        return labels

    def load(self, patient):
        time.sleep(self.wait)
        number = int(patient[1:])
        if patient == self.failing:
            raise OSError("disk")
        if patient == self.ending:
            os._exit(9)
        if patient in self.broken:
            raise RefusedInput(
                patient, "unreadable", found="nothing", expected="an exam", remedy="leave it out"
            )
        made = exam(number)
        labels = self.slice_labels(patient)
        blood = np.zeros(made.volume.shape, np.uint8)
        blood[number % 9, 20:30, 20:30] = 2 * (number % 2)
        return LabelledExam(self.name, patient, made, labels, blood, (-1024.0, 3071.0))


def total(store):
    """Read in whatever process this is."""
    return int(store.hu[np.arange(20)].astype(np.int64).sum())
