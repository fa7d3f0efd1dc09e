"""``ichor.evaluate``: a model measured out of fold, in one call, as the command does. Needs the extra ``evaluate``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ichor.errors import UsageError
from ichor.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from ichor.datasets.labelled import Dataset
    from ichor.evaluating.out_of_fold import Figure
    from ichor.evaluating.page import Evaluation
    from ichor.evaluating.predictions import OutOfFold

__all__ = ["HEADS", "evaluate"]

HEADS = ("rule", "map", "pooled", "sequence")
"""What of a run's predictions may be measured."""
Place = str | os.PathLike[str]


def evaluate(
    predictions: Place,
    data: Place = "data",
    *,
    dataset: str | None = None,
    head: str | None = None,
    against: Place | None = None,
    groups: bool = False,
    failures: bool = False,
    clip: float = 1e-15,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a model on patients that it did not train on.

    Parameters
    ----------
    predictions
        Folder of a run, or any system's CSV (see :func:`ichor.evaluating.tables.read_table`).
    data
        Folder with one sub-folder a data set.
    dataset
        What was predicted; a run says it itself.
    head
        One of :data:`HEADS`, instead of what ships.
    against
        Another run or CSV on the same data, to compare with.
    groups
        Measure subgroups too; reads every exam.
    failures
        Find every exam that is called wrongly, with a picture.
    clip
        For the log loss, probabilities are kept this far from 0 and 1.
    progress
        Called with what is being done and the share that is done.

    Returns
    -------
    Evaluation
        Figures with their 95 % intervals over patients; :func:`ichor.evaluating.page.write_page` makes a page of it.

    Raises
    ------
    UsageError
        Where the extra is missing, or the predictions are not of the data set's patients.
    """
    try:
        from ichor.evaluating import out_of_fold
        from ichor.evaluating.compare import compare
        from ichor.evaluating.failures import failures as failures_of
        from ichor.evaluating.groups import group_figures, groups_of
        from ichor.evaluating.page import Evaluation
        from ichor.evaluating.predictions import dataset_of
    except ImportError as error:
        raise UsageError(
            f"evaluating: found no {error.name}; expected the extra 'evaluate'; "
            "run pip install -e '.[evaluate]' in the clone"
        ) from error
    from ichor.datasets.registry import open_dataset

    if head not in (None, *HEADS):
        raise UsageError(f"--head {head!r}: expected {', '.join(HEADS)}")
    if not 0 < clip < 0.5:
        raise UsageError(f"--clip: found {clip:g}; expected more than 0, under 0.5")
    path = Path(predictions)
    target = open_dataset(dataset or dataset_of(path), Path(data))
    run = _read(path, target, head)
    makers: dict[str, Callable[[], list[Figure]]] = {
        "Areas, log loss, calibration": lambda: out_of_fold.figures(run, clip),
        "Verdicts": lambda: out_of_fold.accuracy_figures(run),
        "Operating points": lambda: out_of_fold.operating_points(run),
        "Subtypes": lambda: out_of_fold.subtype_figures(run),
    }
    if groups:
        makers["Subgroups"] = lambda: list(group_figures(run, groups_of(target)))
    tables = {}
    for number, (title, make) in enumerate(makers.items(), start=1):
        progress(f"measuring: {title.lower()}", number / (len(makers) + 2))
        tables[title] = make()
    progress("comparing" if against else "finishing", 0.9)
    return Evaluation(
        path.stem if path.is_file() else path.resolve().name,
        target.name,
        run,
        tables,
        compare(run, _read(Path(against), target, head)) if against else [],
        Path(against).stem if against else "",
        path if path.is_dir() else None,
        failures_of(run, target) if failures else [],
    )


def _read(path: Path, dataset: Dataset, head: str | None) -> OutOfFold:
    from ichor.evaluating.predictions import read_predictions
    from ichor.evaluating.tables import read_table

    if path.is_file():
        return read_table(path, dataset)
    if not path.is_dir():
        raise UsageError(f"{path}: found neither a run's folder nor a CSV; expected one; check the path")
    return read_predictions(path, dataset, head)
