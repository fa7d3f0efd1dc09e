"""Rows as a table of predictions, as ``ichor evaluate`` reads any system's."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from ichor.bulk.output import Output
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES

__all__ = ["patient_of", "write_predictions"]

_MOST_NAMED = 3


def patient_of(place: str, patients: Collection[str]) -> str | None:
    """Find the patient that an input is of: a folder or file in its path that has this name, the innermost one.

    Parameters
    ----------
    place
        ``input`` of a row.
    patients
        Names in the data set.
    """
    for part in reversed(PurePosixPath(place.partition(" + ")[0]).parts):
        while part:
            if part in patients:
                return part
            shorter = PurePosixPath(part).stem
            part = "" if shorter == part else shorter
    return None


def write_predictions(output: Output, patients: Collection[str], path: Path) -> int:
    """Write a CSV with a row for each exam and each of its slices.

    Parameters
    ----------
    output
        Of a run over the images of a data set.
    patients
        Names in the data set; each must be in the path of its input, as a folder or as the file's name.
    path
        To be written.

    Returns
    -------
    int
        Rows that were left out, as they were not assessed.

    Raises
    ------
    UsageError
        Where an input is of no patient of the data set, or two are of the same.
    """
    unknown: list[str] = []
    given: dict[str, str] = {}
    left_out = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("patient", "level", "slice", *LABEL_NAMES))
        for row in output.rows(("input", "state", "probabilities", "slices")):
            if row["state"] != "assessed":
                left_out += 1
                continue
            patient = patient_of(row["input"], patients)
            if patient is None:
                unknown.append(row["input"])
                continue
            if patient in given:
                raise UsageError(
                    f"{output.folder}: found {given[patient]} and {row['input']} of one patient of the data set; "
                    "expected one study a patient; give the folder that holds one of each to ichor bulk"
                )
            given[patient] = row["input"]
            writer.writerow((patient, "exam", "", *(row["probabilities"][n] for n in LABEL_NAMES)))
            for one in row["slices"]:
                values = (one["probabilities"][n] for n in LABEL_NAMES)
                writer.writerow((patient, "slice", one["index"], *values))
    if unknown or not given:
        named = ", ".join(unknown[:_MOST_NAMED]) or "no assessed row"
        raise UsageError(
            f"{output.folder}: found {len(unknown)} inputs that are of no patient of the data set ({named}); expected "
            "each in a folder or file named by its patient; check --dataset"
        )
    return left_out
