"""A loaded model: what the command, the worker and the calls of the package detect with."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.assembling import (
    Options,
    Outcome,
    calibrated,
    findings_of,
    findings_of_refusal,
    unit_of,
)
from ichor.detecting.brain_reach import BRAIN_REACH_MM
from ichor.detecting.bundle import Bundle, load_bundle
from ichor.detecting.examining import examine
from ichor.detecting.heat_map import heat_map, lacks_outline
from ichor.detecting.localise import Regions, localise
from ichor.detecting.manifest import Unit
from ichor.detecting.out_of_distribution import outside_ranges, quantities
from ichor.detecting.scoring import score, sigmoid
from ichor.detecting.sessions import MapModel, Model, open_model
from ichor.errors import RefusedInput
from ichor.exam import Exam, Picture
from ichor.findings import Findings, Seconds
from ichor.notices import Notice, notice
from ichor.preparing.stacks import Prepared, picture_volume
from ichor.progress import Progress, silent
from ichor.reading.memory import Readable, is_path, name_of

if TYPE_CHECKING:
    from ichor.reading.limits import Limits

__all__ = ["Detection", "Detector", "Options", "Probabilities"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detection:
    """One result.

    Attributes
    ----------
    findings
        What was found, or why nothing could be.
    exam
        What was assessed; None where it could not be read.
    path
        The input that was given; None where there was none.
    quantities
        What the out-of-distribution check measured, by key of
        :data:`~ichor.detecting.out_of_distribution.QUANTITIES`; empty where it measured nothing.
    """

    findings: Findings
    exam: Exam | Picture | None
    path: Path | None = None
    quantities: Mapping[str, float] = field(default_factory=dict)


class Probabilities(NamedTuple):
    """What a model gives for one exam or picture.

    Attributes
    ----------
    slices
        ``(n, 6)`` of the native slices.
    exam
        ``(6,)``.
    regions
        None of a model that draws no map.
    any_map
        ``(m, h, w)`` logits of ``any`` on the model's grid; None of a model that draws no map.
    grad_cam
        ``(m, h, w)``: see :class:`~ichor.detecting.scoring.Prediction`.
    """

    slices: NDArray[np.float64]
    exam: NDArray[np.float64]
    regions: Regions | None
    any_map: NDArray[np.float32] | None
    grad_cam: NDArray[np.float32] | None = None


class Detector:
    """A bundle, loaded and verified once, its sessions open on a device.

    One detector may be used by several threads at once; each call gives what it would give alone.

    Parameters
    ----------
    bundle
        Name or path of the bundle, see :func:`~ichor.detecting.bundle.load_bundle`.
    device
        ``auto`` (CUDA if ONNX Runtime has it, else CPU), ``cpu`` or ``cuda``.
    engine
        ``auto``, ``onnxruntime`` or ``openvino``, see :func:`~ichor.detecting.sessions.open_model`.

    Attributes
    ----------
    bundle : Bundle
        What was loaded.
    model : Model
        Its open graphs.

    Raises
    ------
    BundleError
        Where the bundle is missing, incomplete, altered, or of a format that this ichor does not read.
    UsageError
        For an unknown device or engine, or one that this machine has not.
    """

    def __init__(
        self, bundle: str | os.PathLike[str] = "default", device: str = "auto", engine: str = "auto"
    ) -> None:
        began = time.perf_counter()
        # Hashes are checked as the graphs are opened, on the very bytes that are opened.
        self.bundle: Bundle = load_bundle(bundle, verify=False)
        self.model: Model = open_model(self.bundle, device, engine)
        _log.info(
            "bundle %s %s (sha256 %.12s) is open on %s after %.2f s",
            self.bundle.name,
            self.bundle.version,
            self.bundle.sha256,
            self.model.provider,
            time.perf_counter() - began,
        )

    def detect(self, subject: Exam | Picture, options: Options | None = None) -> Findings:
        """Detect hemorrhage in one exam or picture.

        Parameters
        ----------
        subject
            What :func:`ichor.read` gave.
        options
            By default the bundle's thresholds, and hashed UIDs.

        Returns
        -------
        Findings
            A subject that cannot be assessed gives ``assessable`` False and the reason in ``warnings``.

        Raises
        ------
        BundleError
            Where the graphs give something else than the manifest says.
        UsageError
            Where the bundle has no operating point for the sensitivity asked for.
        """
        return self.assess(subject, options).findings

    def assess(self, subject: Exam | Picture, options: Options | None = None) -> Detection:
        """Detect as :meth:`detect` does, and give what was measured of the subject besides the findings."""
        options = options or Options()
        self.check(options)
        began = time.perf_counter()
        examined = examine(subject, self.bundle.manifest.preparation)
        subject, prepared, refused = examined.subject, examined.prepared, examined.refused
        profiled = bool(self.bundle.manifest.input_profile) and not refused
        measured = quantities(subject, examined.inspected) if profiled else {}
        own = self._notices(measured, refused=refused)
        own += [] if refused else self._not_run(prepared)
        notices = [*subject.notices, *examined.notices, *own]
        prepared_at = time.perf_counter()
        outcome = None if refused else self._outcome(subject, prepared)
        seconds = Seconds(
            read=round(subject.read_seconds, 4),
            prepare=round(prepared_at - began, 4),
            detect=None if refused else round(time.perf_counter() - prepared_at, 4),
        )
        _log.info(
            "%d slices: read in %.2f s, prepared in %.2f s, %s",
            subject.n_slices,
            seconds.read or 0,
            seconds.prepare or 0,
            "refused" if refused else f"detected in {seconds.detect or 0:.2f} s",
        )
        _log.debug("noticed: %s", ", ".join(n.code for n in notices) or "nothing")
        findings = findings_of(subject, outcome, notices, self.bundle, options, seconds)
        if outcome is not None and lacks_outline(findings) and (warmth := outcome.warmth) is not None:
            findings = findings.with_heat(heat_map(warmth, prepared.transform))
        return Detection(findings, subject, quantities=measured)

    def detect_all(
        self,
        *inputs: Readable,
        options: Options | None = None,
        series: str | None = None,
        limits: Limits | None = None,
        isolated: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[Detection]:
        """Detect hemorrhage in everything that some paths hold.

        Parameters
        ----------
        *inputs
            Folders, files, zips; files opened in binary mode; lists of pydicom's data sets.
        options
            As for :meth:`detect`.
        series
            Series instance UID (as stored, or hashed) to take instead of the one that the rules choose.
        limits
            How much of an input is read; by default those of the environment.
        isolated
            Read in a process of its own, see :func:`ichor.read`.
        progress
            Called with what is being done and the share of the present input that is done.

        Yields
        ------
        Detection
            One an exam, picture, or input that could not be read, in the order of the inputs.
        """
        from ichor.reading import read_all

        options = options or Options()
        self.check(options)  # wrong options must not cost the reading of a study first
        report = progress or silent
        for number, source in enumerate(inputs, start=1):
            _log.info("input %d of %d", number, len(inputs))  # not its name, which may be the patient's
            path = Path(source) if is_path(source) else None
            name = path.name if path else name_of(source)
            report(f"reading {name}", 0.0)
            results = read_all(source, series=series, limits=limits, isolated=isolated)
            for result in options.as_asked(results, name_of(source), limits):
                if isinstance(result, RefusedInput):
                    _log.info("refused: %s", result.code)
                    yield Detection(findings_of_refusal(result, self.bundle, options), None, path)
                    continue
                report(f"detecting {name}", 0.5)
                yield replace(self.assess(result, options), path=path)
                report(f"reading {name}", 1.0)

    def refused(self, refusal: RefusedInput, options: Options | None = None) -> Findings:
        """Return the findings of an input that could not be read."""
        return findings_of_refusal(refusal, self.bundle, options or Options())

    def check(self, options: Options) -> None:
        """Refuse options that this bundle cannot serve.

        Raises
        ------
        UsageError
            Where the bundle has no operating point for the sensitivity.
        """
        for unit in get_args(Unit):
            options.thresholds(self.bundle, unit)

    def _notices(self, measured: Mapping[str, float], *, refused: bool) -> list[Notice]:
        """Return what the bundle makes of a subject of which this was measured."""
        manifest = self.bundle.manifest
        notices = []
        if not manifest.locates:
            text = f"The model {self.bundle.name} says whether, not where."
            notices.append(notice("model_does_not_locate", text))
        if self.model.provider.startswith("OpenVINO") and not refused:
            text = f"Computed by {self.model.provider}; the model's figures were measured in ONNX Runtime."
            notices.append(notice("other_engine", text))
        if not manifest.calibrated and not refused:
            text = (
                f"The model {self.bundle.name} is not calibrated: its scores are no probabilities, and it calls "
                "nothing. ichor bundle calibrate does that on exams of your own."
            )
            notices.append(notice("not_calibrated", text))
        if measured and manifest.input_profile:
            profile = {name: (cut.low, cut.high) for name, cut in manifest.input_profile.items()}
            notices += outside_ranges(measured, profile)
        return notices

    def _not_run(self, prepared: Prepared) -> list[Notice]:
        """Return what is to be noticed of slices that the network is not run on."""
        far = ~prepared.near_brain
        if not far.any() or not isinstance(self.model, MapModel):
            return []
        at = np.flatnonzero((prepared.transform.to_native_weights[:, far] > 0.5).any(axis=1)).tolist()
        text = (
            f"{len(at)} slices lie more than {BRAIN_REACH_MM:.0f} mm from any that shows brain (neck, or above the "
            "head): they were not assessed, and stand with the lowest scores of those that were."
        )
        return [notice("far_from_brain", text, at)]

    def _outcome(self, subject: Exam | Picture, prepared: Prepared) -> Outcome:
        found = self._probabilities(subject, prepared)
        # Rounded before the verdict: what is shown and what is decided must not contradict each other.
        return Outcome(
            np.round(found.slices, 4), np.round(found.exam, 4), found.regions, found.any_map, found.grad_cam
        )

    def _probabilities(self, subject: Exam | Picture, prepared: Prepared) -> Probabilities:
        manifest = self.bundle.manifest
        prediction = self.model.predict(prepared.stack, prepared.near_brain)
        regions = None
        if prediction.maps is not None:
            volume = picture_volume(subject) if isinstance(subject, Picture) else subject.volume
            rule, of_exam = manifest.localisation, isinstance(subject, Exam)
            regions = localise(prediction.maps, volume, prepared.transform, rule, subtypes=of_exam)
        distances = prepared.transform.slice_distances
        scores = score(prediction, distances, manifest.scoring_rules, self.model.stacking)
        slices, exam = (
            calibrated(scores, manifest.calibration, unit_of(subject))
            if manifest.calibrated
            else (sigmoid(scores.native), sigmoid(scores.exam))
        )
        any_map = None if prediction.maps is None else prediction.maps[:, 0]
        return Probabilities(slices, exam, regions, any_map, prediction.grad_cam)
