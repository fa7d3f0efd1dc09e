"""From scores and regions to findings: each object is built once, whole, and says nothing that was not decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.picture_stack import PictureStack, stacked
from ichor.detecting.scoring import sigmoid
from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture
from ichor.findings import (
    BundleReference,
    Findings,
    FindingsWarning,
    LabelFlags,
    LabelValues,
    PictureWindow,
    Seconds,
    SliceFindings,
    SubtypeFindings,
)
from ichor.labels import LABEL_NAMES, SUBTYPE_NAMES
from ichor.notices import Notice, notice
from ichor.reading.limits import Limits
from ichor.uids import hashed_uid

if TYPE_CHECKING:
    from ichor.detecting.bundle import Bundle
    from ichor.detecting.localise import Regions
    from ichor.detecting.manifest import Calibration, UncertainBand, Unit
    from ichor.detecting.scoring import Scores

__all__ = ["Options", "Outcome", "calibrated", "findings_of", "findings_of_refusal", "unit_of"]

_OUT_OF_DISTRIBUTION = ("unlike_training", "contrast")
"""Notices of an exam that none of the measured ones was like."""
_GRAD_CAM = (
    "The heat map is Grad-CAM, not an outline: it shows which coarse parts of a slice spoke for a hemorrhage in the "
    "network, not where blood is, and was not measured against outlines."
)
_MOST_LIKELY = 2
"""Subtypes that are named: more say no more than that there is blood."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to detect with a given model.

    Attributes
    ----------
    threshold
        Probability from which ``any`` is called, instead of the bundle's.
    sensitivity
        Aim of one of the bundle's operating points (0.9, 0.95, 0.99), whose threshold is taken for ``any``.
    original_uids
        Give UIDs as stored instead of hashed.
    stack
        Take the pictures of each folder of an input as slices of one exam, which lie so; by default each is assessed
        alone.

    Raises
    ------
    UsageError
        Where a threshold is no probability, or both it and a sensitivity are given.
    """

    threshold: float | None = None
    sensitivity: float | None = None
    original_uids: bool = False
    stack: PictureStack | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and self.sensitivity is not None:
            raise UsageError("found both a threshold and a sensitivity; expected one of them; leave one out")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise UsageError(f"threshold: found {self.threshold:g}; expected a probability between 0 and 1")

    def thresholds(self, bundle: Bundle, unit: Unit) -> NDArray[np.float64]:
        """``(6,)`` probabilities from which on a label is positive.

        Raises
        ------
        UsageError
            Where the bundle has no operating point for the sensitivity.
        """
        found = bundle.thresholds(unit=unit, sensitivity=self.sensitivity)
        if self.threshold is not None:
            found[0] = self.threshold
        return found

    def as_asked(
        self,
        results: Iterator[Exam | Picture | RefusedInput],
        name: str,
        limits: Limits | None = None,
    ) -> Iterator[Exam | Picture | RefusedInput]:
        """Give the results of reading one input, its pictures put together where :attr:`stack` asks for that.

        Parameters
        ----------
        results
            Of :func:`ichor.reading.read_all`.
        name
            The input, as its results name it.
        limits
            How large an exam may be; by default those of the environment.
        """
        if self.stack is None:
            return results
        voxels = (limits or Limits.from_environment()).voxels
        return stacked(results, name, self.stack, voxels)


@dataclass(frozen=True)
class Outcome:
    """What the model gave for an exam that can be assessed.

    Attributes
    ----------
    slices
        ``(n, 6)`` probabilities of the native slices, rounded as they are shown.
    exam
        ``(6,)`` probabilities, rounded likewise.
    regions
        Bleeds; None of a model that draws no map.
    any_map
        ``(m, h, w)`` logits of the map of any hemorrhage; None of a model that draws no map.
    grad_cam
        ``(m, h, w)``, 0 or more; None of a model that draws a map, or gives none.
    """

    slices: NDArray[np.float64]
    exam: NDArray[np.float64]
    regions: Regions | None
    any_map: NDArray[np.float32] | None = None
    grad_cam: NDArray[np.float32] | None = None

    @property
    def warmth(self) -> NDArray[np.float32] | None:
        """``(m, h, w)``, 0 or more: what a heat map is made of; None where there is nothing."""
        return self.grad_cam if self.any_map is None else np.asarray(sigmoid(self.any_map), np.float32)


def unit_of(subject: Exam | Picture) -> Unit:
    """Return what the verdict on a subject is on."""
    if isinstance(subject, Picture):
        return "picture"
    return "slice" if subject.n_slices == 1 else "exam"


def calibrated(
    scores: Scores, calibration: Calibration, unit: Unit
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Calibrated probabilities of native slices ``(n, 6)`` and of the exam ``(6,)``.

    No subtype is more probable than a hemorrhage at all: where it came out so, it is lowered to ``any``.
    """
    native = scores.native
    if unit != "exam":  # nothing could be smoothed
        single = calibration.single_slice_probabilities(native, unit)
        both = single, single[0]
    else:
        both = calibration.slice_probabilities(native), calibration.exam_probabilities(scores.exam)
    for p in both:
        p[..., 1:] = np.minimum(p[..., 1:], p[..., :1])
    return both


def findings_of(
    subject: Exam | Picture,
    outcome: Outcome | None,
    notices: Sequence[Notice],
    bundle: Bundle,
    options: Options,
    seconds: Seconds,
) -> Findings:
    """Put together what is known of one exam or picture.

    Parameters
    ----------
    subject
        What was read.
    outcome
        What the model gave; None where the subject cannot be assessed.
    notices
        All that was noticed.
    bundle
        The model.
    options
        How thresholds and UIDs are given.
    seconds
        What each stage took.

    Returns
    -------
    Findings
        With the mask where there is one.
    """
    spacing = None
    if isinstance(subject, Exam) and subject.geometry.spacing_known:
        rows, columns = subject.geometry.spacing
        spacing = [round(float(v), 4) for v in (subject.geometry.slice_step, rows, columns)]
    unit = unit_of(subject)
    exam = thresholds = np.full(len(LABEL_NAMES), np.nan)
    if outcome is not None:
        exam, thresholds = outcome.exam, options.thresholds(bundle, unit)
    band = None if unit != "exam" or outcome is None else bundle.manifest.uncertain_band
    regions = outcome.regions if outcome else None
    positive = _flags(exam, thresholds) if outcome else LabelFlags()
    if positive.any and regions and not regions.regions:
        notices = [*notices, notice("nothing_outlined", f"Nothing is outlined: {regions.reason}.")]
    outlined = bool(regions and regions.regions)
    if positive.any and not outlined and outcome and outcome.any_map is None and outcome.grad_cam is not None:
        notices = [*notices, notice("grad_cam", _GRAD_CAM)]
    findings = Findings(
        input=subject.source.input,
        kind="picture" if isinstance(subject, Picture) else "exam",
        study_uid=_uid(subject.source.study_uid, options),
        series_uid=_uid(subject.source.series_uid, options),
        n_slices=subject.n_slices,
        spacing_mm=spacing,
        window=_window(subject),
        probabilities=LabelValues.of(exam) if outcome else LabelValues(),
        thresholds=_limits(thresholds) if outcome else LabelValues(),
        positive=positive,
        subtypes=_subtypes(exam, positive, bundle) if outcome and bundle.manifest.calibrated else [],
        uncertain=band.holds(float(exam[0])) if band else None,
        uncertainty=_uncertainty(float(exam[0]), band, notices) if band else None,
        slices=_slice_findings(subject, outcome.slices, options) if outcome else [],
        regions=regions.regions if regions else [],
        volume_ml=regions.volume_ml if regions else None,
        assessable=outcome is not None,
        warnings=_warnings(notices),
        bundle=_reference(bundle),
        seconds=seconds,
    )
    return findings.with_mask(regions.mask) if regions else findings


def findings_of_refusal(refusal: RefusedInput, bundle: Bundle, options: Options) -> Findings:
    """Put together what is known of an input that could not be read."""
    own = FindingsWarning(code=refusal.code, message=refusal.sentence)
    return Findings(
        input=refusal.source,
        kind=None,
        study_uid=_uid(refusal.study_uid, options),
        series_uid=_uid(refusal.series_uid, options),
        n_slices=0,
        assessable=False,
        warnings=[own, *_warnings(refusal.notices)],
        bundle=_reference(bundle),
    )


def _window(subject: Exam | Picture) -> PictureWindow | None:
    if isinstance(subject, Exam) or subject.window is None:
        return None
    w = subject.window
    return PictureWindow(level=w.level, width=w.width, source=w.source, error_hu=w.error_hu)


def _limits(thresholds: NDArray[np.float64]) -> LabelValues:
    rounded = zip(LABEL_NAMES, np.round(thresholds, 4), strict=True)
    return LabelValues(**{name: None if np.isnan(t) else float(t) for name, t in rounded})


def _flags(exam: NDArray[np.float64], thresholds: NDArray[np.float64]) -> LabelFlags:
    flags = {
        # From 1 upwards means never, also where a probability is rounded up to it.
        n: None if np.isnan(t) else bool(p >= t and t < 1)
        for n, p, t in zip(LABEL_NAMES, exam, thresholds, strict=True)
    }
    if flags["any"] is False:
        flags = dict.fromkeys(flags, False)  # no subtype of a hemorrhage that is not called
    return LabelFlags(**flags)


def _subtypes(exam: NDArray[np.float64], positive: LabelFlags, bundle: Bundle) -> list[SubtypeFindings]:
    """Say which subtypes to name, and which of them the model was hardly measured on."""
    untrusted = bundle.manifest.untrusted_labels
    p = dict(zip(LABEL_NAMES, exam, strict=True))
    called = sorted((name for name in SUBTYPE_NAMES if getattr(positive, name)), key=lambda name: -p[name])
    return [
        SubtypeFindings(
            label=name,
            likely=name in called[:_MOST_LIKELY],
            trusted=name not in untrusted,
            reason=untrusted.get(name),
        )
        for name in SUBTYPE_NAMES
    ]


def _uncertainty(p: float, band: UncertainBand, notices: Sequence[Notice]) -> str:
    """Say whether a probability lies where neither answer can be left out."""
    level, span = f"{1 - band.alpha:.0%}", f"{band.low:.2f} and {band.high:.2f}"
    if band.holds(p):
        sentence = (
            f"Uncertain: between {span} neither hemorrhage nor its absence can be left out at the {level} level, as "
            f"measured on {band.positives} exams with and {band.negatives} without."
        )
    else:
        side = "above" if p > band.high else "below"
        sentence = f"Outside of the uncertain band (between {span}, {level} level): {side} it."
    if any(n.code in _OUT_OF_DISTRIBUTION for n in notices):
        sentence += " The band was measured on exams unlike this one: its level does not hold here."
    return sentence


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


def _warnings(notices: Sequence[Notice]) -> list[FindingsWarning]:
    return [
        FindingsWarning(code=n.code, message=n.message, slices=None if n.slices is None else list(n.slices))
        for n in notices
    ]


def _reference(bundle: Bundle) -> BundleReference:
    return BundleReference(name=bundle.name, version=bundle.version, sha256=bundle.sha256)
