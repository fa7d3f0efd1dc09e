"""What a new hospital may expect of a bundle: sources that it never saw, by its own calibration and thresholds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ichor.datasets.labelled import Dataset
from ichor.detecting import Detector
from ichor.detecting.combining import bundle_parts
from ichor.detecting.manifest import Manifest
from ichor.errors import UsageError
from ichor.evaluating import metrics as m
from ichor.evaluating.bundle_predictions import predict_dataset
from ichor.evaluating.kept_tables import read_rows
from ichor.evaluating.metrics import bootstrap
from ichor.evaluating.predictions import OutOfFold
from ichor.evaluating.source_figures import SourceRow, known_labels
from ichor.progress import Progress, silent

__all__ = ["OTHER_SOURCES_FILE", "SourceFigure", "measure_source", "read_sources"]

OTHER_SOURCES_FILE = Path("other-sources") / "sources.json"
"""In a run's folder."""
_MEASURED_BY = "python -m benchmarks.accuracy.other_sources"


class SourceFigure(SourceRow):
    """A figure on a data set that the bundle did not learn from.

    Attributes
    ----------
    left_out
        Exams or pictures that were refused, and are not counted.
    """

    left_out: int


def measure_source(
    bundle: str | os.PathLike[str], dataset: Dataset, progress: Progress = silent
) -> list[SourceFigure]:
    """Measure a bundle on a data set, by the very path of detection; nothing is fitted to it.

    Parameters
    ----------
    bundle
        Its name or path.
    dataset
        One that it did not learn from.
    progress
        Called after each exam or picture.

    Returns
    -------
    list of SourceFigure
        Areas under the ROC curve of any hemorrhage and of the subtypes that the set labels, and the sensitivity and
        specificity of the bundle's calls at its own thresholds.

    Raises
    ------
    UsageError
        Where these are several bundles, the bundle learned from it, or nothing of it can be assessed.
    """
    if len(bundle_parts(bundle)) > 1:
        raise UsageError(
            f"bundle {bundle}: found several; expected one, whose own calibration is measured; give each by itself, or "
            "compare combinations with ichor evaluate --bundle"
        )
    detector = Detector(bundle, engine="onnxruntime")
    manifest = detector.bundle.manifest
    if dataset.name in {source.name for source in manifest.trained_on}:
        raise UsageError(
            f"bundle {manifest.name}: found that it learned from {dataset.name}; expected a set that it "
            "never saw; its figures out of fold are in its card"
        )
    run = predict_dataset(detector, dataset, folds=2, progress=progress)  # nothing is fitted across folds
    left_out = sum(run.left_out.values())
    return [
        SourceFigure(
            source=dataset.name,
            figure=name,
            value=found.value,
            low=found.low,
            high=found.high,
            unit=f"{found.n} {of}, {found.positives} positive, {found.patients} patients",
            left_out=left_out,
        )
        for name, of, found in _figures(run.exams, manifest)
        if np.isfinite(found.value)
    ]


def read_sources(folder: Path) -> list[SourceFigure]:
    """Read the table of a run's folder; empty where it was not measured.

    Raises
    ------
    UsageError
        Where the file holds something else.
    """
    return read_rows(
        Path(folder) / OTHER_SOURCES_FILE, SourceFigure, what="other sources", measured_by=_MEASURED_BY
    )


def _figures(run: OutOfFold, manifest: Manifest) -> Iterator[tuple[str, str, m.Interval]]:
    """Give each figure by its name and unit."""
    own = manifest.calibration
    if run.kind == "pictures":
        thresholds = manifest.picture_thresholds or manifest.slice_thresholds
        p = own.single_slice_probabilities(run.logits, "picture")
        called = (p[:, 0] >= thresholds["any"].probability).astype(np.float64)
        verdicts = ("picture", run.labels[:, 0], called, run.drawn(run.patients))
    else:
        p = own.exam_probabilities(run.exam_logits)
        called = (p[:, 0] >= manifest.thresholds["any"].probability).astype(np.float64)
        verdicts = ("exam", run.exam_labels[:, 0], called, run.drawn(run.exam_patients))
    for one in known_labels(run):
        yield one.figure, f"{one.unit}s", bootstrap(m.roc_auc, one.labels, one.logits, one.patients)
    unit, truth, calls, patients = verdicts
    known = ~np.isnan(truth)
    for name, statistic in (("sensitivity", m.sensitivity), ("specificity", m.specificity)):
        found = bootstrap(statistic, truth[known], calls[known], patients[known])
        yield f"{unit} {name} at its own threshold", f"{unit}s", found
