"""What a source costs that training lacks: figures of a network that never saw it, in a run's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ichor.errors import UsageError
from ichor.evaluating import metrics as m
from ichor.evaluating.kept_tables import read_rows
from ichor.evaluating.predictions import OutOfFold
from ichor.evaluating.resampling import bootstrap, paired_bootstrap
from ichor.evaluating.source_figures import SourceRow, known_labels

__all__ = ["LEFT_OUT_FILE", "LeftOutFigure", "left_out_figures", "read_left_out"]

LEFT_OUT_FILE = Path("left-out") / "sources.json"
"""In a run's folder."""
_MEASURED_BY = "python -m benchmarks.accuracy.sources"


class LeftOutFigure(SourceRow):
    """An area under the ROC curve on a data set that a training lacked.

    Attributes
    ----------
    epochs
        For how long the network was trained.
    trained
        The same of networks that trained on other patients of the set; None where none did.
    change
        By how much leaving it out exceeds that, on the same draws of patients: value and 95 % interval.
    """

    epochs: int
    trained: float | None = None
    change: tuple[float, float, float] | None = None


def left_out_figures(
    source: str, run: OutOfFold, epochs: int, trained: OutOfFold | None = None
) -> list[LeftOutFigure]:
    """Measure the areas of any hemorrhage and of the subtypes that a set labels.

    Parameters
    ----------
    source
        The data set's name.
    run
        Predictions of a network that never saw it.
    epochs
        For how long that was trained.
    trained
        Those of networks that trained on other patients of it, of the same patients.

    Returns
    -------
    list of LeftOutFigure
        None of a label of which the set has one class alone.

    Raises
    ------
    UsageError
        Where the two are not of the same patients and slices.
    """
    if trained is not None and not np.array_equal(run.patients, trained.patients):
        raise UsageError(
            f"{source}: found {len(run.patients)} slices, and {len(trained.patients)} or those of other patients "
            "beside them; expected the same; name a run that predicted the whole set"
        )
    found = []
    for one in known_labels(run):
        area = bootstrap(m.roc_auc, one.labels, one.logits, one.patients)
        beside = change = None
        if trained is not None:
            logits = trained.exam_logits if one.unit == "exam" else trained.logits
            other = logits[one.where, one.place]
            beside = m.roc_auc(one.labels, other)
            gap, _ = paired_bootstrap(m.roc_auc, one.labels, one.logits, other, one.patients)
            change = (gap.value, gap.low, gap.high)
        found.append(
            LeftOutFigure(
                source=source,
                figure=one.figure,
                value=area.value,
                low=area.low,
                high=area.high,
                unit=f"{area.n} {one.unit}s, {area.positives} positive, {area.patients} patients",
                epochs=epochs,
                trained=beside,
                change=change,
            )
        )
    return found


def read_left_out(folder: Path) -> list[LeftOutFigure]:
    """Read the table of a run's folder; empty where it was not measured.

    Raises
    ------
    UsageError
        Where the file holds something else.
    """
    return read_rows(
        Path(folder) / LEFT_OUT_FILE, LeftOutFigure, what="sources left out", measured_by=_MEASURED_BY
    )
