"""From findings to DICOM objects: which are made of a case, which are not and why."""

from __future__ import annotations

import io
import logging
import os
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ichor.errors import RefusedInput, UsageError
from ichor.exam import Exam, Picture
from ichor.findings import Findings
from ichor.notices import Notice, notice
from ichor.reading.scratch import ScratchFolder
from ichor.reporting.choice import suspicious_slices
from ichor.results.case import Case
from ichor.results.identity import identity_of, is_own_result
from ichor.results.kinds import DEFAULT_KINDS, KINDS, Kind, check_kinds

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from ichor.detecting.bundle import BundleCard
    from ichor.reading.limits import Limits
    from ichor.reading.originals import Originals

__all__ = ["ResultObject", "Results", "check_installed", "make_results"]

_log = logging.getLogger(__name__)

_MISSING = (
    "DICOM results: found no package highdicom; expected the extra 'results'; in the clone, run "
    "pip install '.[results]'"
)


@dataclass(frozen=True)
class ResultObject:
    """One DICOM object.

    Attributes
    ----------
    kind
        What it is.
    sop_uid
        Its SOP instance UID.
    content
        Bytes of its file, Explicit VR Little Endian.
    """

    kind: Kind
    sop_uid: str
    content: bytes

    @property
    def dataset(self) -> Dataset:
        """The object, parsed from :attr:`content`."""
        import pydicom

        return pydicom.dcmread(io.BytesIO(self.content))


@dataclass(frozen=True)
class Results:
    """The DICOM objects of one study, and what was noticed while they were made.

    Attributes
    ----------
    objects
        In the order of :data:`~ichor.results.kinds.KINDS`.
    notices
        Attributes that were repaired (``header_repaired``) and objects that were not made (``result_left_out``).
    """

    objects: tuple[ResultObject, ...] = ()
    notices: tuple[Notice, ...] = ()

    def save(self, folder: Path) -> list[Path]:
        """Write each object to a file named by its kind.

        Parameters
        ----------
        folder
            Made where it does not exist. Results of an earlier run in it are removed, so that none is taken for one of
            this run; nothing is written through a link.

        Returns
        -------
        list of pathlib.Path
            In the order of :attr:`objects`.

        Raises
        ------
        UsageError
            Where the folder is a link or cannot be written to.
        """
        try:
            if folder.is_symlink():
                raise UsageError(
                    f"{folder}: found a link; expected a folder of this run's own; remove it, or give another"
                )
            folder.mkdir(parents=True, exist_ok=True)
            with ScratchFolder(folder) as new:
                for made in self.objects:
                    (new / made.kind.file).write_bytes(made.content)
                for kind in KINDS.values():
                    (folder / kind.file).unlink(missing_ok=True)
                return [(new / o.kind.file).replace(folder / o.kind.file) for o in self.objects]
        except OSError as error:
            raise UsageError(
                f"{folder}: found that it cannot be written to ({error.strerror or type(error).__name__}); "
                "expected a folder with room and permission to write; give another"
            ) from error


def make_results(
    findings: Findings,
    image: Exam | Picture | None,
    path: str | os.PathLike[str],
    kinds: Iterable[str] = DEFAULT_KINDS,
    *,
    card: BundleCard | None = None,
    limits: Limits | None = None,
) -> Results:
    """Make DICOM objects of findings.

    Parameters
    ----------
    findings
        As :meth:`~ichor.detecting.Detector.detect` gave them, with their mask; also of a study that was refused.
    image
        What they were found on; None where it could not be read.
    path
        The input that it was read from. Its headers are read again: an exam carries nothing of the patient.
    kinds
        Of :data:`~ichor.results.kinds.KINDS`; ``dicom`` stands for the default ones.
    card
        Of the model, whose limits the page states.
    limits
        How much of the input is read; by default those of the environment.

    Returns
    -------
    Results
        Without objects where the input is no DICOM or is not there any more; a notice then says so.

    Raises
    ------
    UsageError
        For an unknown kind, or where the extra ``results`` is not installed.
    """
    wanted = check_kinds(kinds)
    if not wanted:
        return Results()
    try:
        originals = _originals(findings, image, path, limits)
    except RefusedInput as refusal:
        text = f"No DICOM results were written: found {refusal.found}; expected {refusal.expected}."
        return Results(notices=(notice("result_left_out", text),))
    check_installed()
    identity = identity_of(findings, originals)
    exam = image if isinstance(image, Exam) else None
    return _made(Case(findings, exam, originals, identity, card), wanted)


def _originals(
    findings: Findings, image: Exam | Picture | None, path: str | os.PathLike[str], limits: Limits | None
) -> Originals:
    from ichor.reading.originals import originals_of_exam, originals_of_study

    if isinstance(image, Exam):
        return originals_of_exam(path, image, limits)
    if image is None and findings.study_uid:
        # Results that lie in the study already must not make another study of it.
        return originals_of_study(path, findings.study_uid, findings.series_uid, limits, is_own_result)
    what = "a picture" if isinstance(image, Picture) else "an input whose study is not known"
    raise RefusedInput(
        findings.input,
        "not_found",
        found=what,
        expected="a DICOM study that the results can join",
        remedy="give the study as DICOM",
    )


def _made(case: Case, wanted: Sequence[str]) -> Results:
    from ichor.reading.dicom.dataset import READ_ERRORS, quiet_pydicom
    from ichor.results.finishing import finished
    from ichor.results.patient import patient_and_study
    from ichor.results.segmentation import segmentation_notices

    reasons = {name: reason for name in wanted if (reason := _reason_against(case, name))}
    possible = [name for name in wanted if name not in reasons]
    if "seg" in possible:
        case = replace(case, segmentation_uid=case.identity.uid("seg"))
    patient = patient_and_study(case.originals.header)
    notices = [*patient.notices, *(segmentation_notices(case) if "seg" in possible else ())]
    for name, reason in reasons.items():
        notices.append(notice("result_left_out", f"No {KINDS[name].words} was written: {reason}."))
    objects = []
    with quiet_pydicom():  # remarks of libraries may quote values of the header
        for name in possible:
            kind, sop_uid = KINDS[name], case.sop_uid(name)
            try:
                content = finished(_dataset(case, name, sop_uid), kind, case.identity, patient)
            except READ_ERRORS as error:  # of the libraries, over what a header holds: the findings go on
                _log.warning("%s could not be made: %s at %s", name, type(error).__name__, _place(error))
                reason = f"the source's headers do not allow it ({type(error).__name__})"
                notices.append(notice("result_left_out", f"No {kind.words} was written: {reason}."))
                continue
            objects.append(ResultObject(kind, sop_uid, content))
    return Results(tuple(objects), tuple(notices))


def _place(error: BaseException) -> str:
    """Name where an error arose, without its text, which may quote a header."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


def _dataset(case: Case, name: str, sop_uid: str) -> Dataset:
    """Make one object; what it takes is loaded when it is made."""
    if name == "seg":
        from ichor.results.segmentation import segmentation

        return segmentation(case, sop_uid)
    if name == "sr":
        from ichor.results.report import report

        return report(case, sop_uid)
    if name == "sr-planar":
        from ichor.results.planar_report import planar_report

        return planar_report(case, sop_uid)
    if name == "ko":
        from ichor.results.key_objects import key_objects

        return key_objects(case, sop_uid)
    if name in ("sc", "pdf"):
        from ichor.results.capture import capture, encapsulated_pdf

        return capture(case, sop_uid) if name == "sc" else encapsulated_pdf(case, sop_uid)
    raise KeyError(name)


def _reason_against(case: Case, name: str) -> str:
    """Say why an object is not made of a case; empty where it is."""
    findings, exam = case.findings, case.image
    if name in ("seg", "sr-planar"):
        if exam is None or not findings.assessable:
            return "the study was not assessed"
        if not case.mask.any():
            return "there is no region"
        if not (exam.geometry.coordinates_known and exam.geometry.spacing_known):
            return "the source does not say where its slices lie, or how large its pixels are"
    if name == "ko":
        if len({instance.study_uid for instance in case.originals.instances}) > 1:
            return "the slices have several study UIDs"
        if not findings.assessable:
            return "the study was not assessed"
        if not suspicious_slices(findings):
            return "no slice reaches the threshold or holds a region"
    return ""


def check_installed() -> None:
    """Check that the extra is there, before time is spent.

    Raises
    ------
    UsageError
        Where it is not.
    """
    from importlib.util import find_spec

    try:
        found = find_spec("highdicom")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise UsageError(_MISSING)
