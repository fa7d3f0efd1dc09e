"""``ichor bundle calibrate``: a bundle's probabilities, thresholds and reference ranges from a site's own exams.

The network stays as it is. What is fitted is fitted on all exams and measured across folds by patient; what the exams
are too few to bear is left out, and the bundle states how many it would take.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ichor.datasets.labelled import Dataset
from ichor.detecting import Detector
from ichor.detecting.bundle import Bundle
from ichor.detecting.manifest import Manifest, OperatingPoint, ReferenceRange
from ichor.detecting.out_of_distribution import QUANTITIES, reference_ranges
from ichor.errors import UsageError
from ichor.evaluating.bundle_predictions import BundleRun, predict_dataset
from ichor.evaluating.out_of_fold import SENSITIVITIES
from ichor.progress import Progress, silent
from ichor.training.bundle_folder import new_bundle, write_texts
from ichor.training.describing import Measurements, reliability_of
from ichor.training.importing.publication import card_of

__all__ = ["LEAST_EXAMS", "Calibrated", "calibrate", "exams_needed"]

LEAST_EXAMS = 10
"""Exams with hemorrhage, and without, below which nothing is fitted."""
_LEAST_FOR_RANGES = 20
"""Exams below which no reference ranges are given: their ends are those of the few."""
_CONFIDENCE = 0.95
_GUARANTEE = (
    "Within each class at most {alpha:.0%} of exams lack their right answer, for exams that are exchangeable with the "
    "{positives} that bled and {negatives} that did not on which the band was fitted, and which the network did not "
    "learn from."
)


@dataclass(frozen=True)
class Calibrated:
    """What became of a bundle.

    Attributes
    ----------
    folder
        The new bundle.
    remarks
        What the exams do not bear, and how many it would take; and what was left out.
    """

    folder: Path
    remarks: tuple[str, ...]


def exams_needed(sensitivity: float) -> int:
    """Return how many exams with hemorrhage a sensitivity takes to be shown at all, were none of them missed.

    With fewer, even a model that misses none has a lower limit (one-sided, 95 %) below it.
    """
    return math.ceil(math.log(1 - _CONFIDENCE) / math.log(sensitivity))


def calibrate(
    bundle: Path | str,
    dataset: Dataset,
    output: Path,
    *,
    name: str | None = None,
    progress: Progress = silent,
) -> Calibrated:
    """Calibrate a bundle on a data set, and write it anew.

    Parameters
    ----------
    bundle
        Calibrated or not.
    dataset
        Labelled exams, none of which the model learned from.
    output
        Folder of the new bundle.
    name
        Of the new bundle; the old one's with ``-calibrated`` by default.
    progress
        Called after each exam.

    Raises
    ------
    UsageError
        Where the exams are too few, or the model learned from them.
    """
    detector = Detector(bundle, engine="onnxruntime")  # what figures are measured with
    old = detector.bundle
    if dataset.name in {source.name for source in old.manifest.trained_on}:
        raise UsageError(
            f"data set {dataset.name}: found that the model {old.name!r} learned from it; expected other exams: on "
            "those it learned from, it is surer than on new ones; calibrate on exams that it never saw"
        )
    _enough(dataset)
    run = predict_dataset(detector, dataset, progress=progress)
    manifest, remarks = _calibrated(old, run, dataset.name, name or f"{old.name}-calibrated")
    with new_bundle(output) as new:
        for graph in manifest.used_graphs:
            (new / manifest.graphs[graph].file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(old.graph(graph), new / manifest.graphs[graph].file)
        write_texts(new, manifest, card_of(manifest))
    return Calibrated(output, remarks)


def _enough(dataset: Dataset) -> None:
    """Refuse before hours of computing what cannot be fitted."""
    if dataset.info.kind != "exams":
        raise UsageError(
            f"data set {dataset.name}: found pictures; expected exams, which a bundle is calibrated on"
        )
    truth = np.array([labels[0] for labels in dataset.patients().values()])
    bled, not_bled = int((truth == 1).sum()), int((truth == 0).sum())
    if min(bled, not_bled) < LEAST_EXAMS:
        raise UsageError(
            f"data set {dataset.name}: found {bled} exams with hemorrhage and {not_bled} without; expected at least "
            f"{LEAST_EXAMS} of each: with fewer, no probability and no threshold can be fitted, let alone measured; "
            "label more exams"
        )


def _calibrated(old: Bundle, run: BundleRun, dataset: str, name: str) -> tuple[Manifest, tuple[str, ...]]:
    before = old.manifest
    fitted = reliability_of(Measurements(run.exams, run.single))
    truth = run.exams.exam_labels[:, 0]
    bled, not_bled = int((truth == 1).sum()), int((truth == 0).sum())
    if min(bled, not_bled) < LEAST_EXAMS:
        raise UsageError(
            f"data set {dataset}: found {bled} exams with hemorrhage and {not_bled} without that can be assessed; "
            f"expected at least {LEAST_EXAMS} of each; see with ichor detect why others cannot be"
        )
    points, remarks = _borne(fitted["operating_points"].exam, bled)
    fitted["operating_points"] = fitted["operating_points"].model_copy(
        update={"exam": points, "picture": before.operating_points.picture}
    )
    slices = run.exams.labels[~np.isnan(run.exams.labels[:, 0]), 0]
    if not 0 < slices.sum() < len(slices):
        remarks.append(
            "Slices are not labelled: their probabilities are those of exams, and none is called alone."
        )
        of_exams = fitted["calibration"].exam
        fitted["calibration"] = fitted["calibration"].model_copy(
            update={"slice": of_exams, "single_slice": of_exams}
        )
    # What was fitted on pictures stays: nothing here has measured them anew.
    fitted["calibration"] = fitted["calibration"].model_copy(update={"picture": before.calibration.picture})
    fitted["picture_thresholds"] = before.picture_thresholds
    band = fitted["uncertain_band"]
    if band is not None:
        text = _GUARANTEE.format(alpha=band.alpha, positives=band.positives, negatives=band.negatives)
        fitted["uncertain_band"] = band.model_copy(update={"guarantee": text})
    for key in ("thresholds", "slice_thresholds"):
        fitted[key] = {
            label: one.model_copy(
                update={"chosen_for": one.chosen_for.replace("out-of-fold ", "calibration ")}
            )
            for label, one in fitted[key].items()
        }
    fitted["input_profile"] = _ranges(run, remarks)
    if run.left_out:
        which = ", ".join(f"{count} {code}" for code, count in sorted(run.left_out.items()))
        remarks.append(f"Exams that could not be assessed were left out: {which}.")
    kept = [line for line in before.limits if "not calibrated" not in line]
    source = f"Calibrated on {bled + not_bled} exams of {dataset}, {bled} with hemorrhage: its figures hold for such."
    content = before.model_dump(by_alias=True) | {
        "name": name,
        "version": f"{before.version}+{old.sha256[:8]}",
        "limits": (*kept, source, *remarks),
    }
    return Manifest.model_validate(content | {k: _plain(v) for k, v in fitted.items()}), tuple(remarks)


def _plain(value: Any) -> Any:
    return value.model_dump(by_alias=True) if hasattr(value, "model_dump") else value


def _borne(points: tuple[OperatingPoint, ...], bled: int) -> tuple[tuple[OperatingPoint, ...], list[str]]:
    """Keep the operating points that so many exams can show; say of the others how many it takes."""
    remarks = [
        f"A sensitivity of {aim:.0%} is not offered: {bled} exams with hemorrhage cannot show it, it takes at least "
        f"{exams_needed(aim)}."
        for aim in SENSITIVITIES
        if bled < exams_needed(aim)
    ]
    return tuple(point for point in points if bled >= exams_needed(point.aim)), remarks


def _ranges(run: BundleRun, remarks: list[str]) -> dict[str, ReferenceRange]:
    n = len(run.quantities)
    if n < _LEAST_FOR_RANGES:
        remarks.append(
            f"No reference ranges: {n} exams do not show what is usual, it takes at least {_LEAST_FOR_RANGES}."
        )
        return {}
    values = {key: [found[key] for found in run.quantities if key in found] for key in QUANTITIES}
    return {
        key: ReferenceRange(low=round(low, 4), high=round(high, 4))
        for key, (low, high) in reference_ranges(values).items()
    }
