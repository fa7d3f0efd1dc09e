"""What the worker does with one result: detect, keep what a reader needs, write the state, then the report."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ichor.detecting import Detector, Options
from ichor.errors import IchorError, RefusedInput
from ichor.exam import Exam, Picture
from ichor.findings import Findings
from ichor.jobs.artifacts import LAST_FILE, content_key, write_report_files, write_viewer_files
from ichor.jobs.bundles import BundleChoice, OpenedBundle
from ichor.jobs.logs import log, places
from ichor.jobs.objects import ResultObjects
from ichor.jobs.offers import offers_of
from ichor.jobs.queue import LeasedJob, LeaseLost, Queue, StudyDeleted
from ichor.jobs.storage import Storage, StorageUnavailable, is_about_storage, remove
from ichor.jobs.tables import StoredFindings
from ichor.notices import CAUTIONS
from ichor.reading.limits import Limits
from ichor.reporting.words import likely_subtypes, refusals
from ichor.uids import hashed_uid

__all__ = ["Assessor", "failure_message"]


class Assessor:
    """Assesses exams and pictures with the model that is chosen.

    Parameters
    ----------
    choice
        The models to choose from.
    queue
        Where states and findings are written.
    storage
        Where files are kept.
    limits
        How much of an input is read.
    """

    def __init__(self, choice: BundleChoice, queue: Queue, storage: Storage, limits: Limits) -> None:
        self.bundles = OpenedBundle(choice)
        self.queue = queue
        self.storage = storage
        self.limits = limits
        self.objects = ResultObjects(storage, self.bundles, limits)

    @property
    def detector(self) -> Detector:
        """The model that is open."""
        return self.bundles.detector

    def settle(self, leased: LeasedJob, study: str, result: Exam | Picture | RefusedInput) -> None:
        """Assess or refuse one result; an error in one study is not the end of the others.

        Parameters
        ----------
        leased
            The job it belongs to.
        study
            Id of its row.
        result
            As it was read.

        Raises
        ------
        LeaseLost
            Where the job is no longer this worker's.
        StorageUnavailable
            Where nothing can be written.
        """
        try:
            if isinstance(result, RefusedInput):
                self._refuse(leased, study, result)
                self.objects.write(leased, study, self.detector.refused(result, Options()), None)
            else:
                self._assess(leased, study, result)
        except StudyDeleted:
            log("study_not_wanted", study=study)
        except (LeaseLost, SQLAlchemyError, StorageUnavailable):
            raise
        except Exception as error:
            log("study_failed", study=study, error=type(error).__name__, at=places(error))
            message = failure_message(error)
            self.queue.change(leased, study, state="refused", refusal_code="failed", refusal_message=message)

    def complete(self, leased: LeasedJob, study: str, result: Exam | Picture | RefusedInput) -> None:
        """Write what a worker that died has left out of a study that is done: its objects, its report."""
        if isinstance(result, RefusedInput):
            self.objects.write(leased, study, self.detector.refused(result, Options()), None)
            return
        folder = self.storage.study(study)
        without_report = folder.is_dir() and not (folder / LAST_FILE).exists()
        if without_report or self.objects.wanted(leased, study):
            self.bundles.of(self._made_by(study))  # another may have been chosen meanwhile
            findings = _with_label(self.detector.detect(result), self.queue.label(study))
            self.objects.write(leased, study, findings, result)
            if without_report:
                self._write_report(study, findings, result)
            self.bundles.follow()

    def _made_by(self, study: str) -> str | None:
        """Return the hash of the bundle that the stored findings of a study come from."""
        with self.queue.database.read() as session:
            stored = session.get(StoredFindings, study)
        if stored is None:
            return None
        bundle = Findings.model_validate_json(stored.findings).bundle
        return None if bundle is None else bundle.sha256

    def _refuse(self, leased: LeasedJob, study: str, refusal: RefusedInput) -> None:
        values: dict[str, Any] = {
            "refusal_code": refusal.code,
            "refusal_message": refusal.sentence,
            "warnings_n": len(refusal.notices),
            "series": self._offers(leased, study, refusal),
        }
        if refusal.study_uid:
            values["study_uid"] = hashed_uid(refusal.study_uid)
        self.queue.change(leased, study, state="refused", **values)
        log("study_done", study=study, state="refused", code=refusal.code)

    def _offers(self, leased: LeasedJob, study: str, refusal: RefusedInput) -> list[dict[str, Any]] | None:
        """Picture the series that may be assessed instead, and put the pictures in their place; None for none."""
        source = self.storage.upload(leased.upload) / leased.input
        made = self._new_scratch()
        try:
            offers = offers_of(source, refusal, self.limits, made)
            if offers:
                self.storage.publish(made, study)
        except OSError as error:
            raise _storage_error(error) from error
        finally:
            _remove_quietly(made)
        return [offer.as_dict() for offer in offers] or None

    def _assess(self, leased: LeasedJob, study: str, image: Exam | Picture) -> None:
        began = time.perf_counter()
        identity = self._identity(image)
        if self.queue.mark_duplicate(leased, study, **identity):
            log("study_done", study=study, state="duplicate")
            if self.objects.wanted(
                leased, study
            ):  # what was assessed for the page goes back to an archive, too
                self.objects.write(leased, study, self.detector.detect(image), image)
            return
        self.queue.change(leased, study, state="detecting", **identity)
        findings = _with_label(self.detector.detect(image), self.queue.label(study))
        self._store(leased, study, findings, image)
        seconds = time.perf_counter() - began + image.read_seconds
        state = "ready" if findings.assessable else "refused"
        log("study_done", study=study, state=state, s=round(seconds, 2))
        print(f"done {seconds:.3f}", flush=True)
        self.objects.write(leased, study, findings, image)
        self._write_report(study, findings, image)

    def _store(self, leased: LeasedJob, study: str, findings: Findings, image: Exam | Picture) -> None:
        """Put the images in their place, then write findings and state in one transaction."""
        made = self._new_scratch()
        try:
            display = write_viewer_files(findings, image, made)
            folder = self.storage.publish(made, study)
        except OSError as error:
            raise _storage_error(error) from error
        finally:
            _remove_quietly(made)
        stored = StoredFindings(study=study, findings=findings.to_json(), display=display)
        try:
            self.queue.change(leased, study, stored, **_outcome(findings))
        except (StudyDeleted, LeaseLost):
            remove(folder)  # deleted while it was assessed
            raise

    def _write_report(self, study: str, findings: Findings, image: Exam | Picture) -> None:
        """Write the report once the reader has the study; without it, all else is still there."""
        made = self._new_scratch()
        try:
            write_report_files(findings, image, made, self.storage.study(study), self.detector.bundle.card)
        except FileNotFoundError:
            log("report_not_wanted", study=study)  # deleted meanwhile
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and is_about_storage(error):
                raise StorageUnavailable from error
            log("report_failed", study=study, error=type(error).__name__, at=places(error))
        finally:
            _remove_quietly(made)

    def _new_scratch(self) -> Path:
        try:
            return self.storage.new_scratch()
        except OSError as error:
            raise _storage_error(error) from error

    def _identity(self, image: Exam | Picture) -> dict[str, Any]:
        """Return what a study is known by: what it is, not how it came."""
        study_uid, series_uid = (
            hashed_uid(u) or None for u in (image.source.study_uid, image.source.series_uid)
        )
        return {
            "kind": "picture" if isinstance(image, Picture) else "exam",
            "n_slices": image.n_slices,
            "study_uid": study_uid,
            "series_uid": series_uid,
            "content": content_key(image, self.detector.bundle.sha256),
        }


def failure_message(error: Exception) -> str:
    """Say that ichor failed. Texts of libraries may quote values of the input; those of ichor do not."""
    why = (
        str(error) if isinstance(error, IchorError) else f"an error of ichor itself ({type(error).__name__})"
    )
    return f"Found {why}; expected to assess it; try the files with ichor detect, and report it."


def _storage_error(error: OSError) -> Exception:
    return StorageUnavailable() if is_about_storage(error) else error


def _remove_quietly(folder: Path) -> None:
    """Remove a folder of scratch; on a disk that takes no changes it stays until the next start."""
    with contextlib.suppress(OSError):
        remove(folder)


def _with_label(findings: Findings, label: str) -> Findings:
    """Name the input by its label: the place of its files means nothing to a reader, and their names are not kept."""
    return findings.replace(input=f"study {label}")


def _outcome(findings: Findings) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": "ready" if findings.assessable else "refused",
        "uncertain": findings.uncertain,
        "volume_ml": findings.volume_ml,
        "warnings_n": len(findings.warnings),
        "cautions": [w.code for w in findings.warnings if w.code in CAUTIONS],
        "probability": findings.probabilities.any,
        "flagged": bool(findings.positive.any),
    }
    if findings.assessable:
        values |= {
            "probabilities": findings.probabilities.model_dump(),
            "positive": findings.positive.model_dump(),
            "subtypes": [
                {"label": one.label.name, "trusted": one.trusted} for one in likely_subtypes(findings)
            ],
        }
    elif reasons := refusals(findings):
        values |= {"refusal_code": reasons[0].code, "refusal_message": reasons[0].message}
    return values
