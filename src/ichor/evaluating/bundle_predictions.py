"""A bundle over a labelled data set: every exam by the very path of detection, each patient in one fold."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.labelled import Dataset
from ichor.datasets.splits import split_of
from ichor.detecting import Detector
from ichor.detecting.combining import CombinedDetector, open_detector
from ichor.detecting.combining import logits as logits_of
from ichor.detecting.examining import Examined, examine
from ichor.detecting.out_of_distribution import quantities
from ichor.detecting.scoring import interpolated, mixed, score
from ichor.errors import RefusedInput, UsageError
from ichor.evaluating.predictions import OutOfFold
from ichor.exam import Exam
from ichor.preparing.stacks import prepare
from ichor.progress import Progress, silent

__all__ = ["BundleRun", "predict_dataset"]

_SEED = 0


@dataclass(frozen=True)
class BundleRun:
    """What a bundle gave for a data set.

    Attributes
    ----------
    exams
        Logits before calibration, of exams and of their slices; of combined bundles, the mean of the calibrated ones.
        The folds are of calibration and thresholds alone: the network is the same in all.
    single
        Logits of slices by themselves, as a single slice gets them.
    quantities
        Of each exam: see :func:`ichor.detecting.out_of_distribution.quantities`.
    left_out
        How many exams were not assessed, by the code of the reason.
    seconds
        Of each exam, reading apart.
    """

    exams: OutOfFold
    single: OutOfFold
    quantities: tuple[Mapping[str, float], ...]
    left_out: Mapping[str, int]
    seconds: NDArray[np.float64]


@dataclass(frozen=True)
class _Scored:
    patient: str
    labels: NDArray[np.float32]
    slices: NDArray[np.float64]
    single: NDArray[np.float64]
    exam: NDArray[np.float64]
    quantities: Mapping[str, float]
    seconds: float


def predict_dataset(
    bundle: str | os.PathLike[str] | Detector,
    dataset: Dataset,
    folds: int = 5,
    progress: Progress = silent,
) -> BundleRun:
    """Score every exam of a data set.

    Parameters
    ----------
    bundle
        Its name or path (``A+B``: combined), or a detector that has it open.
    dataset
        Of exams; one that cannot be assessed is left out, and counted.
    folds
        Into which patients are dealt.
    progress
        Called after each exam.

    Raises
    ------
    UsageError
        Where the data set is of pictures, too small for the folds, or no exam of it can be assessed.
    """
    if dataset.info.kind != "exams":
        raise UsageError(
            f"data set {dataset.name}: found pictures; expected exams: a bundle is measured and calibrated on those"
        )
    detector = bundle if isinstance(bundle, Detector) else open_detector(bundle, engine="onnxruntime")
    split = split_of(dataset, folds, _SEED)
    names = list(dataset.patients())
    found: list[_Scored] = []
    left_out: Counter[str] = Counter()
    for number, name in enumerate(names, start=1):
        try:
            found.append(_scored(detector, dataset, name))
        except RefusedInput as refusal:
            left_out[refusal.code] += 1
        progress(f"{dataset.name}: exam {number} of {len(names)}", number / len(names))
    if not found:
        raise UsageError(
            f"data set {dataset.name}: found no exam that can be assessed ({', '.join(left_out) or 'it is empty'}); "
            "expected some; look at one with ichor detect"
        )
    exam_labels = dataset.patients()

    def out_of_fold(single: bool) -> OutOfFold:
        slices = [one.single if single else one.slices for one in found]
        counts = [len(values) for values in slices]
        own = [one.patient for one in found]
        return OutOfFold(
            patients=np.repeat(own, counts),
            folds=np.repeat([split.folds[name] for name in own], counts),
            logits=np.concatenate(slices),
            labels=np.concatenate([one.labels for one in found]),
            exam_patients=np.array(own),
            exam_folds=np.array([split.folds[name] for name in own]),
            exam_logits=np.stack([one.exam for one in found]),
            exam_labels=np.stack([exam_labels[name] for name in own]),
            groups=split.groups,
        )

    return BundleRun(
        out_of_fold(single=False),
        out_of_fold(single=True),
        tuple(one.quantities for one in found),
        left_out,
        np.array([one.seconds for one in found]),
    )


def _scored(detector: Detector, dataset: Dataset, name: str) -> _Scored:
    labelled = dataset.load(name)
    manifest = detector.bundle.manifest
    began = time.perf_counter()
    examined = examine(labelled.exam, manifest.preparation)
    for one in examined.notices:
        if one.decision == "refuse":
            raise RefusedInput(
                dataset.name,
                one.code,
                found=f"an exam that cannot be assessed ({one.message.rstrip('.')})",
                expected="a head",
                remedy="leave it out of the data set",
            )
    parts = detector.parts if isinstance(detector, CombinedDetector) else (detector,)
    logits = [_logits(part, labelled.exam, examined, calibrated=len(parts) > 1) for part in parts]
    seconds = time.perf_counter() - began
    slices, single, exam = (np.mean(values, axis=0) for values in zip(*logits, strict=True))
    measured = quantities(labelled.exam, examined.inspected)
    return _Scored(name, labelled.labels, slices, single, exam, measured, seconds)


def _logits(
    detector: Detector, exam: Exam, examined: Examined, *, calibrated: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Logits of slices, of slices by themselves, and of the exam; calibrated where several are combined."""
    manifest = detector.bundle.manifest
    same = manifest.preparation == examined.preparation
    prepared = examined.prepared
    if not same:
        prepared = replace(prepare(exam, manifest.preparation), reach_mm=prepared.reach_mm)
    prediction = detector.model.predict(prepared.stack, prepared.near_brain)
    distances = prepared.transform.slice_distances
    scores = score(prediction, distances, manifest.scoring_rules, detector.model.stacking)
    alone = mixed(prediction.slices, prediction.pooled, manifest.slice_rule.pooled_share)
    single = interpolated(alone, distances)
    if not calibrated:
        return scores.native, single, scores.exam
    own = manifest.calibration
    return (
        logits_of(own.slice_probabilities(scores.native)),
        logits_of(own.single_slice_probabilities(single)),
        logits_of(own.exam_probabilities(scores.exam)),
    )
