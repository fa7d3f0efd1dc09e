"""A bundle over a labelled data set: every exam or picture by the very path of detection, each patient in one fold."""

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
from ichor.detecting.manifest import Unit
from ichor.detecting.out_of_distribution import quantities
from ichor.detecting.scoring import interpolated, mixed, score
from ichor.errors import RefusedInput, UsageError
from ichor.evaluating.predictions import OutOfFold
from ichor.exam import Picture
from ichor.preparing.stacks import prepare
from ichor.progress import Progress, silent
from ichor.reading import read_all

__all__ = ["BundleRun", "predict_dataset"]

_SEED = 0


@dataclass(frozen=True)
class BundleRun:
    """What a bundle gave for a data set.

    Attributes
    ----------
    exams
        Logits before calibration, of exams and of their slices, or of pictures; of combined bundles, the mean of the
        calibrated ones. The folds are of calibration and thresholds alone: the network is the same in all.
    single
        Logits of slices by themselves, as a single slice gets them; of pictures the same as ``exams``.
    quantities
        Of each exam: see :func:`ichor.detecting.out_of_distribution.quantities`; of pictures none.
    left_out
        How many were not assessed, by the code of the reason.
    seconds
        Of each, reading apart.
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
    """Score every exam, or picture, of a data set.

    Parameters
    ----------
    bundle
        Its name or path (``A+B``: combined), or a detector that has it open.
    dataset
        What cannot be assessed of it is left out, and counted.
    folds
        Into which patients are dealt.
    progress
        Called after each exam or picture.

    Raises
    ------
    UsageError
        Where the data set is too small for the folds, or nothing of it can be assessed.
    """
    detector = bundle if isinstance(bundle, Detector) else open_detector(bundle, engine="onnxruntime")
    split = split_of(dataset, folds, _SEED)
    names = list(dataset.patients())
    found: list[_Scored] = []
    left_out: Counter[str] = Counter()
    pictures = dataset.info.kind == "pictures"
    scored, one_of = (_scored_picture, "picture") if pictures else (_scored, "exam")
    for number, name in enumerate(names, start=1):
        try:
            found.append(scored(detector, dataset, name))
        except RefusedInput as refusal:
            left_out[refusal.code] += 1
        progress(f"{dataset.name}: {one_of} {number} of {len(names)}", number / len(names))
    if not found:
        raise UsageError(
            f"data set {dataset.name}: found no {one_of} that can be assessed "
            f"({', '.join(left_out) or 'it is empty'}); expected some; look at one with ichor detect"
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
            kind=dataset.info.kind,
            groups=split.groups,
        )

    return BundleRun(
        out_of_fold(single=False),
        out_of_fold(single=True),
        () if pictures else tuple(one.quantities for one in found),
        left_out,
        np.array([one.seconds for one in found]),
    )


def _scored(detector: Detector, dataset: Dataset, name: str) -> _Scored:
    labelled = dataset.load(name)
    began = time.perf_counter()
    examined = _assessed(examine(labelled.exam, detector.bundle.manifest.preparation), dataset)
    slices, single, exam = _of_all_parts(detector, examined)
    seconds = time.perf_counter() - began
    measured = quantities(labelled.exam, examined.inspected)
    return _Scored(name, labelled.labels, slices, single, exam, measured, seconds)


def _scored_picture(detector: Detector, dataset: Dataset, name: str) -> _Scored:
    """Score a picture as detection reads it: its file, its window, its head."""
    path = dataset.path(name)
    if path is None:
        raise UsageError(
            f"data set {dataset.name}: found pictures that are no files; expected one file each; convert it to a "
            "folder of pictures"
        )
    subject, *others = read_all(path)
    if isinstance(subject, RefusedInput):
        raise subject
    if others:
        raise RefusedInput(
            dataset.name,
            "picture_several",
            found=f"{1 + len(others)} slices in one picture",
            expected="one, which its labels are of",
            remedy="give each slice a picture of its own",
        )
    began = time.perf_counter()
    examined = _assessed(examine(subject, detector.bundle.manifest.preparation), dataset)
    _, single, _ = _of_all_parts(detector, examined)
    seconds = time.perf_counter() - began
    labels = np.asarray(dataset.patients()[name], np.float32)[None]
    return _Scored(name, labels, single, single, single[0], {}, seconds)


def _assessed(examined: Examined, dataset: Dataset) -> Examined:
    """Return what was examined, where it can be assessed."""
    for one in examined.notices:
        if one.decision == "refuse":
            raise RefusedInput(
                dataset.name,
                one.code,
                found=f"an input that cannot be assessed ({one.message.rstrip('.')})",
                expected="a head",
                remedy="leave it out of the data set",
            )
    return examined


def _of_all_parts(detector: Detector, examined: Examined) -> list[NDArray[np.float64]]:
    """Logits of slices, of slices by themselves and of the exam: of one bundle, or the mean of several."""
    parts = detector.parts if isinstance(detector, CombinedDetector) else (detector,)
    logits = [_logits(part, examined, calibrated=len(parts) > 1) for part in parts]
    return [np.mean(values, axis=0) for values in zip(*logits, strict=True)]


def _logits(
    detector: Detector, examined: Examined, *, calibrated: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Logits of slices, of slices by themselves, and of the exam; calibrated where several are combined."""
    manifest = detector.bundle.manifest
    same = manifest.preparation == examined.preparation
    prepared = examined.prepared
    if not same:
        prepared = replace(prepare(examined.subject, manifest.preparation), reach_mm=prepared.reach_mm)
    prediction = detector.model.predict(prepared.stack, prepared.near_brain)
    distances = prepared.transform.slice_distances
    scores = score(prediction, distances, manifest.scoring_rules, detector.model.stacking)
    by_itself = mixed(prediction.slices, prediction.pooled, manifest.slice_rule.pooled_share)
    single = interpolated(by_itself, distances)
    if not calibrated:
        return scores.native, single, scores.exam
    own = manifest.calibration
    unit: Unit = "picture" if isinstance(examined.subject, Picture) else "slice"
    return (
        logits_of(own.slice_probabilities(scores.native)),
        logits_of(own.single_slice_probabilities(single, unit)),
        logits_of(own.exam_probabilities(scores.exam)),
    )
