"""What was found in a data set, and the figures that its page and its JSON share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import DatasetInfo
from ichor.exploring.duplicates import Duplicate
from ichor.exploring.leakage import Leakage, Sides
from ichor.exploring.survey import HU_LOW, ExamFacts, Survey
from ichor.labels import LABELS
from ichor.preparing.windows import WINDOWS, Window

__all__ = ["Exploration", "co_occurrence", "counts", "measures", "window_shares"]

_MEASURES: tuple[tuple[str, str, Callable[[ExamFacts], float | None]], ...] = (
    ("spacing_mm", "Pixel spacing, mm", lambda e: e.spacing_mm),
    ("step_mm", "Distance between slices, mm", lambda e: e.step_mm),
    ("thickness_mm", "Slice thickness, mm", lambda e: e.subgroup_values.get("thickness_mm", e.thickness_mm)),
    ("tilt_degrees", "Gantry tilt, degrees", lambda e: e.tilt_degrees),
    ("age_years", "Age, years", lambda e: e.subgroup_values.get("age_years")),
)


@dataclass(frozen=True)
class Exploration:
    """Everything that the report shows.

    Attributes
    ----------
    name, info
        Of the data set.
    survey, duplicates
        What was read, and what is there twice.
    split, leakage
        A split that was given, and what it tears apart; None and empty without.
    groups
        What must stay on one side of a split, by patient, as the data set knows it; None where it does not.
    notes
        What the data set itself left out.
    name_of
        What stands for a patient in the report.
    seconds
        That all this took.
    """

    name: str
    info: DatasetInfo
    survey: Survey
    duplicates: list[Duplicate]
    split: Sides | None
    leakage: list[Leakage]
    groups: dict[str, str] | None
    notes: list[str]
    name_of: Callable[[str], str]
    seconds: float

    @property
    def pictures(self) -> bool:
        """Whether every exam is a single picture."""
        return self.info.kind == "pictures"

    @property
    def windows(self) -> dict[str, Window]:
        """Windows that this data can be shown in: of pictures, the one that they are taken to be in."""
        return {"brain": WINDOWS["brain"]} if self.pictures else WINDOWS

    @property
    def things(self) -> str:
        """What the data set is made of, in words."""
        return "pictures" if self.pictures else "exams"

    def unmatched(self) -> tuple[int, int]:
        """Return how many of the split are not in the data set, and how many of the data set not in the split."""
        if self.split is None:
            return 0, 0
        in_split, in_data = set(self.split.sides), set(self.survey.patients)
        return len(in_split - in_data), len(in_data - in_split)


def counts(labels: NDArray[np.float32]) -> dict[str, dict[str, int]]:
    """Count a label's present, absent and unknown.

    Parameters
    ----------
    labels
        ``(n, 6)``, NaN for unknown.
    """
    return {
        label.name: {
            "present": int((labels[:, j] == 1).sum()),
            "absent": int((labels[:, j] == 0).sum()),
            "unknown": int(np.isnan(labels[:, j]).sum()),
        }
        for j, label in enumerate(LABELS)
    }


def co_occurrence(labels: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return ``(5, 5)``: how many have both subtypes; on the diagonal, how many have the one."""
    present = (labels[:, 1:] == 1).astype(np.int64)
    return np.asarray(present.T @ present)


def measures(survey: Survey) -> dict[str, tuple[str, NDArray[np.float64]]]:
    """Return title and known values, one an exam, of each measure."""
    out = {}
    for key, title, value in _MEASURES:
        given = [value(exam) for exam in survey.exams]
        out[key] = (title, np.array([v for v in given if v is not None and np.isfinite(v)], np.float64))
    return out


def window_shares(survey: Survey, windows: Mapping[str, Window] = WINDOWS) -> dict[str, dict[str, Any]]:
    """Return, for each window, the share of pixels it shows black, grey and white."""
    pixels = survey.hu.sum(axis=0)
    hu = np.arange(len(pixels)) + HU_LOW
    total = max(int(pixels.sum()), 1)
    out = {}
    for name, window in windows.items():
        black = float(pixels[hu <= window.low].sum() / total)
        white = float(pixels[hu >= window.high].sum() / total)
        out[name] = {
            "level": window.level,
            "width": window.width,
            "black": round(black, 4),
            "grey": round(1 - black - white, 4),
            "white": round(white, 4),
        }
    return out
