"""The table of robustness in a run's folder: what scores do where the same exams come in another form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ichor.evaluating.kept_tables import read_rows, write_rows

__all__ = ["ROBUSTNESS_FILE", "RobustnessRow", "read_robustness", "write_robustness"]

ROBUSTNESS_FILE = Path("robustness") / "robustness.json"
"""In a run's folder."""
_MEASURED_BY = "python -m benchmarks.robustness.acquisition"


class RobustnessRow(BaseModel):
    """The figures under one change.

    Attributes
    ----------
    change, how
        Its name, and what was done, in a sentence.
    n, positive, refused
        Exams that were assessed both before and after the change, those of them with hemorrhage, and exams that were
        refused after it.
    exam_auc, slice_auc
        Area under the ROC curve for any hemorrhage, after the change.
    exam_change, slice_change
        Difference to the area before: value, lower and upper end of its 95 % interval.
    moved
        Mean absolute change of the exam's probability.
    flipped
        Exams whose verdict changed.
    noise
        Median ratio of the noise, after to before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    change: str
    how: str
    n: int
    positive: int
    refused: int
    exam_auc: float
    exam_change: tuple[float, float, float]
    slice_auc: float
    slice_change: tuple[float, float, float]
    moved: float
    flipped: int
    noise: float


def write_robustness(path: Path, rows: Sequence[RobustnessRow]) -> None:
    """Write a table as JSON."""
    write_rows(path, rows)


def read_robustness(folder: Path) -> list[RobustnessRow]:
    """Read the table of a run's folder; empty where it was not measured.

    Raises
    ------
    UsageError
        Where the file holds something else.
    """
    return read_rows(
        Path(folder) / ROBUSTNESS_FILE, RobustnessRow, what="robustness", measured_by=_MEASURED_BY
    )
