"""Look a data set through: what it holds, what is there twice, and what a split of it tears apart."""

from __future__ import annotations

import time

from ichor.datasets.labelled import Dataset
from ichor.exploring.duplicates import find_duplicates
from ichor.exploring.leakage import Sides, find_leakage
from ichor.exploring.summary import Exploration
from ichor.exploring.survey import survey
from ichor.progress import Progress, silent

__all__ = ["explore"]


def explore(
    dataset: Dataset,
    *,
    most: int | None = None,
    split: Sides | None = None,
    show_names: bool = False,
    progress: Progress = silent,
) -> Exploration:
    """Read a data set and find what a person should know before training on it.

    Parameters
    ----------
    dataset
        What to read.
    most
        Exams (or pictures) to read; None for 300 (or 3000).
    split
        Searched for leakage.
    show_names
        Whether a user's own files are called by their names, which may name a person, instead of by numbers.
    progress
        Called with what is being done, and how much of it (0 to 1).

    Raises
    ------
    UsageError
        Where not one exam can be read.
    """
    since = time.monotonic()
    found = survey(dataset, most, progress)
    progress("looking for duplicates", 1.0)
    duplicates = find_duplicates(found, dataset.info.kind == "pictures")
    numbers = {name: f"no. {k}" for k, name in enumerate(found.patients, start=1)}
    hidden = dataset.info.private and not show_names
    return Exploration(
        dataset.name,
        dataset.info,
        found,
        duplicates,
        split,
        find_leakage(split, dataset, found, duplicates) if split else [],
        dataset.groups(),
        list(dataset.notes),
        (lambda name: numbers.get(name, "not in the data set")) if hidden else str,
        time.monotonic() - since,
    )
