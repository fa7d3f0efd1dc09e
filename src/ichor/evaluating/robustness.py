"""The table of robustness in a run's folder: what scores do where the same exams come in another form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ichor.errors import UsageError

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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.model_dump() for row in rows], indent=1) + "\n", encoding="utf-8")


def read_robustness(folder: Path) -> list[RobustnessRow]:
    """Read the table of a run's folder; empty where it was not measured.

    Raises
    ------
    UsageError
        Where the file holds something else.
    """
    path = Path(folder) / ROBUSTNESS_FILE
    if not path.is_file():
        return []
    try:
        return [RobustnessRow.model_validate(row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, ValidationError) as error:
        raise UsageError(
            f"{path}: found no table of robustness ({type(error).__name__}); expected what {_MEASURED_BY} wrote; "
            "remove the file, or measure again"
        ) from None
