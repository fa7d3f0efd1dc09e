"""Detection: what a path, an exam or a picture says, in one call; the command mirrors it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.bundle import Bundle, load_bundle
from ichor.detecting.localise import Regions, localise
from ichor.detecting.manifest import UncertainBand
from ichor.detecting.out_of_distribution import traits, unlike
from ichor.detecting.quality import assess
from ichor.detecting.scoring import Prediction, score
from ichor.detecting.sessions import ClassifierEngine, Engine, open_engine
from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture, hashed_uid
from ichor.findings import (
    BundleReference,
    Findings,
    FindingsWarning,
    LabelFlags,
    LabelValues,
    Seconds,
    SliceFindings,
)
from ichor.labels import LABEL_NAMES
from ichor.notices import Notice, notice
from ichor.preparing.stacks import Prepared, prepare
from ichor.preparing.windows import from_grey

if TYPE_CHECKING:
    from ichor.reading.limits import Limits

__all__ = ["Detection", "Options", "detect", "detect_all"]

Progress = Callable[[str, float], None]
_UNLIKE = ("unlike_training", "contrast")
"""Notices of an exam that none of the measured ones was like."""


@dataclass(frozen=True)
class Detection:
    """One result: the findings, and the exam or picture they are of (None where it could not be read)."""

    findings: Findings
    exam: Exam | Picture | None


@dataclass(frozen=True)
class Options:
    """How to detect.

    Attributes
    ----------
    bundle
        Name or path of the model.
    device
        ``auto``, ``cpu`` or ``cuda``.
    threshold
        Probability from which ``any`` is called, instead of the bundle's.
    sensitivity
        Aim of one of the bundle's operating points (0.9, 0.95, 0.99), whose threshold is taken for ``any``.
    original_uids
        Give UIDs as stored instead of hashed.
    """

    bundle: str = "default"
    device: str = "auto"
    threshold: float | None = None
    original_uids: bool = False
    sensitivity: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and self.sensitivity is not None:
            raise UsageError("found both a threshold and a sensitivity; expected one of them; leave one out")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise UsageError(f"threshold: found {self.threshold:g}; expected a probability between 0 and 1")


def detect(
    subject: str | os.PathLike[str] | Exam | Picture,
    *,
    series: str | None = None,
    bundle: str = "default",
    device: str = "auto",
    limits: Limits | None = None,
    threshold: float | None = None,
    sensitivity: float | None = None,
    original_uids: bool = False,
) -> Findings:
    """Detect hemorrhage in one exam or picture.

    Parameters
    ----------
    subject
        A path that holds one exam or picture, or what :func:`ichor.read` gave.
    series
        Series instance UID (as stored, or hashed) to take instead of the one that the rules choose.
    bundle, device, threshold, sensitivity, original_uids
        See :class:`Options`.
    limits
        How much of an input is read; by default those of the environment.

    Returns
    -------
    Findings
        An input that cannot be assessed gives ``assessable`` False and the reason in ``warnings``.

    Raises
    ------
    UsageError
        Where the path holds several exams: :func:`detect_all` gives each.
    """
    options = Options(bundle, device, threshold, original_uids, sensitivity)
    if isinstance(subject, Exam | Picture):
        return _detect_one(subject, options, load_bundle(bundle))
    found: Findings | None = None
    for result in detect_all(
        subject,
        series=series,
        bundle=bundle,
        device=device,
        limits=limits,
        threshold=threshold,
        sensitivity=sensitivity,
        original_uids=original_uids,
    ):
        if found is not None:
            raise UsageError(f"{subject}: found several exams; expected one; use ichor.detect_all for all")
        found = result.findings
    if found is None:
        raise UsageError(f"{subject}: found no exam; expected one")
    return found


def detect_all(
    *inputs: str | os.PathLike[str],
    series: str | None = None,
    bundle: str = "default",
    device: str = "auto",
    limits: Limits | None = None,
    threshold: float | None = None,
    sensitivity: float | None = None,
    original_uids: bool = False,
    progress: Progress | None = None,
) -> Iterator[Detection]:
    """Detect hemorrhage in everything that some paths hold.

    Parameters
    ----------
    *inputs
        Folders, files, zips.
    series, bundle, device, limits, threshold, sensitivity, original_uids
        As in :func:`detect`.
    progress
        Called with what is being done and the share of the present input that is done.

    Yields
    ------
    Detection
        One an exam, picture, or input that could not be read, in the order of the inputs.
    """
    from ichor.reading import read_all

    options = Options(bundle, device, threshold, original_uids, sensitivity)
    loaded = load_bundle(bundle)  # a wrong bundle must not cost the reading of a study first
    for lone in (False, True):  # nor an operating point that it does not have
        loaded.thresholds(lone=lone, sensitivity=sensitivity)
    tell = progress or (lambda *_: None)
    for one in inputs:
        name = Path(one).name
        tell(f"reading {name}", 0.0)
        for result in read_all(one, series=series, limits=limits):
            if isinstance(result, RefusedInput):
                yield Detection(_refused(result, loaded), None)
                continue
            tell(f"detecting {name}", 0.5)
            yield Detection(_detect_one(result, options, loaded), result)
            tell(f"reading {name}", 1.0)


def _detect_one(subject: Exam | Picture, options: Options, bundle: Bundle) -> Findings:
    began = time.perf_counter()
    prepared = prepare(subject, bundle.manifest.preparation)
    quality = assess(subject, prepared)
    notices = [*subject.notices, *quality]
    if not bundle.manifest.locates:
        notices.append(notice("model_does_not_locate", f"The model {bundle.name} says whether, not where."))
    if bundle.manifest.input_profile and not any(n.decision == "refuse" for n in quality):
        profile = {name: (cut.low, cut.high) for name, cut in bundle.manifest.input_profile.items()}
        notices += unlike(traits(subject, prepared), profile)
    seconds = Seconds(read=round(subject.read_seconds, 4), prepare=round(time.perf_counter() - began, 4))
    findings = _described(subject, options, bundle, notices)
    if any(n.decision == "refuse" for n in quality):
        return findings.model_copy(update={"seconds": seconds})
    began = time.perf_counter()
    engine = open_engine(bundle, options.device)
    judged = engine.run(prepared.stack)
    regions = None if judged.maps is None else _regions(subject, judged.maps, prepared, bundle)
    # Rounded before the verdict: what is shown and what is decided must not contradict each other.
    slices, exam = (np.round(p, 4) for p in _probabilities(engine, judged, prepared, bundle))
    lone = subject.n_slices == 1
    thresholds = bundle.thresholds(lone=lone, sensitivity=options.sensitivity)
    if options.threshold is not None:
        thresholds[0] = options.threshold
    flags = {n: bool(p >= t) for n, p, t in zip(LABEL_NAMES, exam, thresholds, strict=True)}
    if not flags["any"]:
        flags = dict.fromkeys(flags, False)  # no subtype of a hemorrhage that is not called
    seconds = seconds.model_copy(update={"detect": round(time.perf_counter() - began, 4)})
    findings = findings.model_copy(
        update={
            "assessable": True,
            "probabilities": LabelValues.of(exam),
            "thresholds": LabelValues.of(np.round(thresholds, 4)),
            "positive": LabelFlags(**flags),
            **_uncertainty(float(exam[0]), None if lone else bundle.manifest.uncertain_band, notices),
            "slices": _slice_findings(subject, slices, options),
            "regions": regions.regions if regions else [],
            "volume_ml": regions.volume_ml if regions else None,
            "seconds": seconds,
        }
    )
    return findings.with_mask(regions.mask) if regions else findings


def _probabilities(
    engine: Engine | ClassifierEngine, judged: Prediction, prepared: Prepared, bundle: Bundle
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Calibrated probabilities of native slices ``(n, 6)`` and of the exam ``(6,)``.

    No subtype is more probable than a hemorrhage at all: where it came out so, it is lowered to ``any``.
    """
    manifest = bundle.manifest
    stacking = engine.together if isinstance(engine, Engine) and engine.sequence is not None else None
    scores = score(judged, prepared.transform.slice_distances, manifest.scoring_rules, stacking)
    native, exam = scores.native, scores.exam
    calibration = manifest.calibration
    if len(native) == 1:  # one slice is judged as a slice, and nothing could be smoothed
        lone = calibration.lone_probabilities(native)
        both = lone, lone[0]
    else:
        both = calibration.slice_probabilities(native), calibration.exam_probabilities(exam)
    for p in both:
        p[..., 1:] = np.minimum(p[..., 1:], p[..., :1])
    return both


def _uncertainty(p: float, band: UncertainBand | None, notices: list[Notice]) -> dict[str, bool | str | None]:
    """Say whether a probability lies where neither answer can be left out."""
    if band is None:
        return {"uncertain": None, "uncertainty": None}
    level, span = f"{1 - band.alpha:.0%}", f"{band.low:.2f} and {band.high:.2f}"
    if band.holds(p):
        said = (
            f"Uncertain: between {span} neither hemorrhage nor its absence can be left out at the {level} level, as "
            f"measured on {band.positives} exams with and {band.negatives} without."
        )
    else:
        side = "above" if p > band.high else "below"
        said = f"Outside of the uncertain band (between {span}, {level} level): {side} it."
    if any(n.code in _UNLIKE for n in notices):
        said += " The band was measured on exams unlike this one: its level does not hold here."
    return {"uncertain": band.holds(p), "uncertainty": said}


def _regions(
    subject: Exam | Picture, maps: NDArray[np.float32], prepared: Prepared, bundle: Bundle
) -> Regions:
    volume = from_grey(subject.grey)[None] if isinstance(subject, Picture) else subject.volume
    return localise(maps, volume, prepared.transform, bundle.manifest.localisation)


def _slice_findings(
    subject: Exam | Picture, probabilities: NDArray[np.float64], options: Options
) -> list[SliceFindings]:
    uids = subject.source.sop_instance_uids
    known = isinstance(subject, Exam) and subject.geometry.positions_known
    positions = subject.geometry.distances if isinstance(subject, Exam) else [0.0]
    return [
        SliceFindings(
            index=k,
            position_mm=round(float(positions[k]), 3) if known else None,
            sop_instance_uid=_uid(uids[k], options) if uids else None,
            probabilities=LabelValues.of(row),
        )
        for k, row in enumerate(probabilities)
    ]


def _uid(uid: str, options: Options) -> str | None:
    if not uid:
        return None
    return uid if options.original_uids else hashed_uid(uid)


def _warnings(notices: list[Notice]) -> list[FindingsWarning]:
    return [
        FindingsWarning(code=n.code, message=n.message, slices=None if n.slices is None else list(n.slices))
        for n in notices
    ]


def _described(subject: Exam | Picture, options: Options, bundle: Bundle, notices: list[Notice]) -> Findings:
    """Tell what was read, before anything is judged."""
    spacing = None
    if isinstance(subject, Exam) and subject.geometry.spacing_known:
        rows, columns = subject.geometry.spacing
        spacing = [round(float(v), 4) for v in (subject.geometry.slice_step, rows, columns)]
    return Findings(
        input=subject.source.input,
        kind="picture" if isinstance(subject, Picture) else "exam",
        study_uid=_uid(subject.source.study_uid, options),
        series_uid=_uid(subject.source.series_uid, options),
        n_slices=subject.n_slices,
        spacing_mm=spacing,
        assessable=False,
        warnings=_warnings(notices),
        bundle=BundleReference(name=bundle.name, version=bundle.version, sha256=bundle.sha256),
    )


def _refused(refusal: RefusedInput, bundle: Bundle) -> Findings:
    """Tell of an input that could not be read."""
    own = FindingsWarning(code=refusal.code, message=refusal.sentence)
    return Findings(
        input=refusal.source,
        kind=None,
        n_slices=0,
        assessable=False,
        warnings=[own, *_warnings(list(refusal.notices))],
        bundle=BundleReference(name=bundle.name, version=bundle.version, sha256=bundle.sha256),
    )
