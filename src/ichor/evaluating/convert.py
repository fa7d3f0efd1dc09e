"""``python -m ichor.evaluating.convert RUN ... --data DATA``: exam rows for predictions of an older ichor.

Older files hold native slices alone. An exam's row can be added where the model's grid has the exam's own slices: then
its logit is the mean of the top slices, as it was. For thinner slices it cannot be recovered; those files are refused.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.detecting.rules import ExamRule
from ichor.detecting.scoring import Scores, top_k_mean
from ichor.errors import UsageError
from ichor.evaluating.prediction_files import prediction_rows, write_predictions
from ichor.evaluating.predictions import dataset_of
from ichor.labels import LABEL_NAMES
from ichor.preparing import Preparation, plan_grid
from ichor.preparing.grid import SliceDistances

__all__ = ["convert", "grid_is_native", "main"]

Check = Callable[[str], bool]


def grid_is_native(dataset: Dataset, preparation: Preparation) -> Check:
    """Return a check of whether, for a patient, the grid has the very slices of the exam; each is read once."""
    known: dict[str, bool] = {}

    def check(patient: str) -> bool:
        if patient not in known:
            if len(dataset.slice_labels(patient)) < 2:
                known[patient] = True
            else:
                exam = dataset.load(patient).exam
                distances = plan_grid(exam.volume, exam.geometry, preparation.grid).slice_distances
                known[patient] = np.array_equal(distances.grid, distances.native)
        return known[patient]

    return check


def convert(run: Path, check: Check, exam_rule: ExamRule) -> list[Path]:
    """Add the exam rows to the predictions of a run.

    Parameters
    ----------
    run
        Folder of the run; files that have the rows are left as they are.
    check
        See :func:`grid_is_native`.
    exam_rule
        By which the run's exams were pooled.

    Returns
    -------
    list of pathlib.Path
        The files that were written.

    Raises
    ------
    UsageError
        Where an exam has other slices on the grid; nothing of that file is changed.
    """
    written = []
    for path in sorted(run.rglob("predictions.csv")):
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            lines = list(reader)
        if "level" in columns:
            continue
        heads = [name.removesuffix("_any") for name in columns if name.endswith("_any")]
        by_exam: dict[tuple[str, str], list[dict[str, str]]] = {}
        for line in lines:
            by_exam.setdefault((line["dataset"], line["patient"]), []).append(line)
        other = sum(not check(patient) for _, patient in by_exam)
        if other:
            raise UsageError(
                f"{path}: found {other} exams whose slices are thinner than those of the model's grid; expected slices "
                "as thick: the logit of such an exam cannot be found from its slices; remove the file and predict "
                "again: ichor train"
            )
        rows: list[dict[str, object]] = []
        for (dataset, patient), slices in by_exam.items():
            scores = {}
            for head in heads:
                values = np.array([[float(row[f"{head}_{n}"]) for n in LABEL_NAMES] for row in slices])
                scores[head] = Scores(values, values, values, top_k_mean(values, exam_rule.slices))
            places = np.arange(len(slices), dtype=np.float64)
            rows += prediction_rows(dataset, patient, scores, SliceDistances(places, places))
        write_predictions(path, rows)
        written.append(path)
    return written


def main() -> None:
    """Convert the runs that are named."""
    import yaml

    parser = argparse.ArgumentParser(prog="python -m ichor.evaluating.convert", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder with one sub-folder a data set"
    )
    options = parser.parse_args()
    checks: dict[tuple[str, str], Check] = {}
    for run in options.runs:
        name = dataset_of(run)
        recipe = run / "recipe.yaml"
        kept = yaml.safe_load(recipe.read_text()) if recipe.is_file() else {}
        preparation = Preparation.model_validate(kept.get("preparation", {}))
        key = name, preparation.grid.__repr__()
        if key not in checks:
            checks[key] = grid_is_native(open_dataset(name, options.data), preparation)
        for path in convert(run, checks[key], ExamRule.model_validate(kept.get("exam_rule", {}))):
            print(path)


if __name__ == "__main__":
    try:
        main()
    except UsageError as error:
        raise SystemExit(f"error: {error}") from None
