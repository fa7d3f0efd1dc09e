"""Bundles over one data set, side by side: the same exams, paired differences, time and memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ichor.datasets.registry import open_dataset
from ichor.detecting import load_bundle
from ichor.detecting.combining import bundle_parts
from ichor.errors import UsageError
from ichor.evaluating import out_of_fold
from ichor.evaluating.bundle_predictions import BundleRun, predict_dataset
from ichor.evaluating.compare import compare
from ichor.evaluating.groups import group_figures, groups_of
from ichor.evaluating.page import Evaluation
from ichor.memory import peak_memory_mb
from ichor.progress import Progress, silent

__all__ = ["Cost", "evaluate_bundles"]


@dataclass(frozen=True)
class Cost:
    """What a bundle took.

    Attributes
    ----------
    name
        Of the bundle.
    first, median
        Seconds of the first exam or picture, and of the median one; reading apart.
    memory_mb
        Most memory of the process, which read the exams as well; None where the system does not tell it.
    exams
        How many were assessed.
    left_out
        How many were not, by the code of the refusal (:mod:`ichor.notices`).
    learned_from
        Whether the bundle names this data set among those that it learned from: its figures are then too good.
    """

    name: str
    first: float
    median: float
    memory_mb: float | None
    exams: int
    left_out: Mapping[str, int]
    learned_from: bool


def evaluate_bundles(
    bundles: Sequence[str], dataset: str, data: Path, *, groups: bool = False, progress: Progress = silent
) -> tuple[Evaluation, list[Cost]]:
    """Run one or two bundles over a data set, each in a process of its own, and compare them.

    Parameters
    ----------
    bundles
        Names or paths; ``A+B`` combines bundles.
    dataset, data
        See :func:`ichor.datasets.registry.open_dataset`.
    groups
        Measure subgroups too; reads every exam again.
    progress
        Called with what is being done and the share that is done.

    Returns
    -------
    evaluation, costs
        Figures of the first, its differences to the second, pair by pair; and what each took.

    Raises
    ------
    UsageError
        Where there are more than two, or no exam that all can assess.
    """
    if not 1 <= len(bundles) <= 2:
        raise UsageError(f"--bundle: found {len(bundles)} bundles; expected one, or two to compare")
    target = open_dataset(dataset, data)
    runs: list[BundleRun] = []
    costs = []
    for number, name in enumerate(bundles):
        progress(f"running bundle {number + 1} of {len(bundles)} over {target.name}", number / len(bundles))
        # A process for each, so that the memory of one is not counted with the other.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            run, memory = pool.submit(_run, name, dataset, data).result()
        runs.append(run)
        parts = [load_bundle(part, verify=False) for part in bundle_parts(name)]
        learned = target.name in {source.name for part in parts for source in part.manifest.trained_on}
        first, median = float(run.seconds[0]), float(np.median(run.seconds))
        costs.append(Cost(name, first, median, memory, len(run.seconds), dict(run.left_out), learned))
    both = set.intersection(*({str(p) for p in run.exams.exam_patients} for run in runs))
    if not both:
        raise UsageError(f"data set {dataset}: found none that every bundle can assess; expected some")
    kept = [run.exams.of(sorted(both)) for run in runs]
    tables = {
        "Areas, log loss, calibration": out_of_fold.figures(kept[0]),
        "Operating points": out_of_fold.operating_points(kept[0]),
    }
    if groups:
        tables["Subgroups"] = list(group_figures(kept[0], groups_of(target)))
    names = ["+".join(Path(part).name for part in bundle_parts(name)) for name in bundles]
    evaluation = Evaluation(
        names[0],
        target.name,
        replace(kept[0], pooling="the bundle's own rule"),
        tables,
        compare(kept[0], kept[1]) if len(kept) > 1 else [],
        names[1] if len(names) > 1 else "",
        None,
        [],
    )
    return evaluation, costs


def _run(bundle: str, dataset: str, data: Path) -> tuple[BundleRun, float | None]:
    found = predict_dataset(bundle, open_dataset(dataset, data))
    return found, peak_memory_mb()
