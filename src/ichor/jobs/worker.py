"""The worker: one process that reads uploads and detects, as long as the server that started it lives.

Started as ``python -m ichor.jobs.worker`` with its settings as one line on standard input. Standard input stays
open: when the server ends, however it ends, it closes, and the worker ends too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ichor.detecting import Bundle, detect, load_bundle
from ichor.errors import IchorError, RefusedInput
from ichor.exam import Exam, Picture, hashed_uid
from ichor.findings import Findings
from ichor.jobs.artifacts import LAST_FILE, content_key, keep_images, keep_report
from ichor.jobs.database import Database
from ichor.jobs.logs import log, places, start_logs
from ichor.jobs.queue import LEASE_S, MOST_ATTEMPTS, Gone, Leased, Lost, Queue, short_label
from ichor.jobs.settings import WorkerSettings
from ichor.jobs.storage import Storage, remove
from ichor.jobs.tables import Said
from ichor.reading import read_all
from ichor.reading.limits import Limits
from ichor.reporting.words import refusals

__all__ = ["Worker", "main"]

_IDLE_S = 0.1
_RETRY_S = 2.0
_GAVE_UP = (
    "Found that reading or detecting it ended the worker several times; expected a study that can be assessed; "
    "check the files, or try them with ichor detect."
)


class Worker:
    """Takes jobs until it is told to end.

    Parameters
    ----------
    settings
        Of the server.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.storage = Storage(Path(settings.state))
        self.queue = Queue(Database(settings.database))
        self.limits = Limits.from_environment(**settings.limits)
        self.bundle: Bundle = load_bundle(settings.bundle)
        self.ending = threading.Event()

    @property
    def most_seconds(self) -> float:
        """Wall time after which a job has hung: reading has its own limit, which native code can outstay."""
        return 3 * self.limits.seconds + 120

    def run(self) -> None:
        """Take one job after the other."""
        while not self.ending.is_set():
            try:
                leased = self.queue.lease(self.settings.name)
                if leased is None:
                    self.ending.wait(_IDLE_S)
                    continue
                with self._held(leased):
                    self.do(leased)
            except Lost:
                continue
            except SQLAlchemyError as error:
                # The database is away: the job stays leased, and is taken again when the lease is over.
                log("database_error", error=type(error).__name__)
                self.ending.wait(_RETRY_S)

    @contextlib.contextmanager
    def _held(self, leased: Leased) -> Iterator[None]:
        """Keep the lease while a job is done."""
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(leased, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _renew(self, leased: Leased, done: threading.Event) -> None:
        began = time.monotonic()
        while not done.wait(LEASE_S / 4):
            if time.monotonic() - began > self.most_seconds:
                log("job_hung", job=leased.seq)
                os._exit(1)
            try:
                if not self.queue.renew(leased):
                    return
            except SQLAlchemyError as error:
                log("database_error", error=type(error).__name__)

    def do(self, leased: Leased) -> None:
        """Read a job and assess what it holds; what was finished by an attempt before is passed over.

        Raises
        ------
        Lost
            Where it was deleted meanwhile.
        """
        log("job_taken", job=leased.seq, attempt=leased.attempts)
        self.queue.begin_reading(leased)
        if leased.attempts > MOST_ATTEMPTS:
            self._refuse_rest(leased, "gave_up", _GAVE_UP)
        else:
            try:
                if not self._read(leased):
                    return
            except (Lost, SQLAlchemyError):
                raise
            except (
                Exception
            ) as error:  # whatever it is: the queue goes on, and the study says that it was not assessed
                log("job_failed", job=leased.seq, error=type(error).__name__, at=places(error))
                self._refuse_rest(leased, "failed", _failed(error))
        any_left = self.queue.finish(leased)
        if not (self.settings.keep_originals and any_left):
            remove(self.storage.upload(leased.upload))
        log("job_done", job=leased.seq)

    def _read(self, leased: Leased) -> bool:
        """Assess every result of a job; False where the worker is to end before that is done."""
        folder = self.storage.upload(leased.upload)
        results = (r for name in leased.inputs for r in read_all(folder / name, limits=self.limits))
        for number, result in enumerate(results):
            part = self.queue.open_part(leased, number)
            if part is None:
                continue
            if not part.done:
                self._assess_or_refuse(leased, part.study, result)
            elif self._report_is_missing(part.study) and not isinstance(result, RefusedInput):
                again = detect(result, bundle=self.settings.bundle)
                self._report(part.study, _described(again, self._names(result)["label"]), result)
            if self.ending.is_set():
                return False
        return True

    def _refuse_rest(self, leased: Leased, code: str, message: str) -> None:
        """Refuse every row of a job that is not done."""
        for study in self.queue.open_parts(leased):
            with contextlib.suppress(Gone):
                self.queue.change(leased, study, state="refused", refusal_code=code, refusal_message=message)

    def _assess_or_refuse(self, leased: Leased, study: str, result: Exam | Picture | RefusedInput) -> None:
        """Assess one result; an error in one study is not the end of the others."""
        try:
            self._assess(leased, study, result)
        except Gone:
            log("study_not_wanted", study=study)
        except (Lost, SQLAlchemyError):
            raise
        except Exception as error:
            log("study_failed", study=study, error=type(error).__name__, at=places(error))
            self.queue.change(
                leased, study, state="refused", refusal_code="failed", refusal_message=_failed(error)
            )

    def _assess(self, leased: Leased, study: str, result: Exam | Picture | RefusedInput) -> None:
        began = time.perf_counter()
        if isinstance(result, RefusedInput):
            values: dict[str, Any] = {"refusal_code": result.code, "refusal_message": result.sentence}
            values["warnings_n"] = len(result.notices)
            if result.study_uid:
                uid = hashed_uid(result.study_uid)
                values |= {"study_uid": uid, "label": short_label(uid)}
            self.queue.change(leased, study, state="refused", **values)
            log("study_done", study=study, state="refused", code=result.code)
            return
        values = self._names(result)
        if self.queue.mark_duplicate(leased, study, **values):
            log("study_done", study=study, state="duplicate")
            return
        self.queue.change(leased, study, state="detecting", **values)
        findings = _described(detect(result, bundle=self.settings.bundle), values["label"])
        made = self.storage.new_scratch()
        try:
            display = keep_images(findings, result, made)
            folder = self.storage.publish(made, study)
        finally:
            remove(made)
        said = Said(study=study, findings=findings.to_json(), display=display)
        try:
            self.queue.change(leased, study, said, **_outcome(findings))
        except (Gone, Lost):
            remove(folder)  # deleted while it was assessed
            raise
        seconds = time.perf_counter() - began + result.read_seconds
        log(
            "study_done",
            study=study,
            state="ready" if findings.assessable else "refused",
            s=round(seconds, 2),
        )
        print(f"done {seconds:.3f}", flush=True)
        self._report(study, findings, result)

    def _names(self, image: Exam | Picture) -> dict[str, Any]:
        """Return what a study is known by: what it is, not how it came."""
        study_uid, series_uid = (
            hashed_uid(u) or None for u in (image.source.study_uid, image.source.series_uid)
        )
        key = content_key(image, self.bundle.sha256)
        return {
            "kind": "picture" if isinstance(image, Picture) else "exam",
            "n_slices": image.n_slices,
            "study_uid": study_uid,
            "series_uid": series_uid,
            "content": key,
            "label": short_label(series_uid or key),
        }

    def _report(self, study: str, findings: Findings, image: Exam | Picture) -> None:
        """Write the report once the reader has the study; without it, all else is still there."""
        made = self.storage.new_scratch()
        try:
            keep_report(findings, image, made, self.storage.study(study), self.bundle.card)
        except FileNotFoundError:
            log("report_not_wanted", study=study)  # deleted meanwhile
        except (OSError, ValueError) as error:
            log("report_failed", study=study, error=type(error).__name__, at=places(error))
        finally:
            remove(made)

    def _report_is_missing(self, study: str) -> bool:
        folder = self.storage.study(study)
        return folder.is_dir() and not (folder / LAST_FILE).exists()


def _described(findings: Findings, label: str) -> Findings:
    """Name the input by its label: the place of its files says nothing to a reader, and their names are not told."""
    return findings.model_copy(update={"input": f"study {label}"}).with_mask(findings.mask)


def _outcome(findings: Findings) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": "ready" if findings.assessable else "refused",
        "uncertain": findings.uncertain,
        "volume_ml": findings.volume_ml,
        "warnings_n": len(findings.warnings),
        "probability": findings.probabilities.any,
        "flagged": bool(findings.positive.any),
    }
    if findings.assessable:
        values |= {
            "probabilities": findings.probabilities.model_dump(),
            "positive": findings.positive.model_dump(),
        }
    elif reasons := refusals(findings):
        values |= {"refusal_code": reasons[0].code, "refusal_message": reasons[0].message}
    return values


def _failed(error: Exception) -> str:
    # Texts of libraries may quote values of the input; those of ichor do not.
    why = (
        str(error) if isinstance(error, IchorError) else f"an error of ichor itself ({type(error).__name__})"
    )
    return f"Found {why}; expected to assess it; try the files with ichor detect, and report it."


def main() -> int:
    """Run a worker until its standard input closes or it is asked to end."""
    settings = WorkerSettings(**json.loads(sys.stdin.readline()))
    start_logs("worker")
    os.umask(0o077)
    storage = Storage(Path(settings.state))
    # One at a time: the worker of a server that was killed may still be ending.
    with storage.lock("worker", wait=True):
        storage.clear_scratch()
        # Archives are unpacked here: what a killed worker leaves behind is gone at the next start.
        tempfile.tempdir = str(storage.new_scratch())
        worker = Worker(settings)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: worker.ending.set())
        threading.Thread(target=_end_with_server, daemon=True).start()
        _warm(worker)
        print("ready", flush=True)
        worker.run()
        worker.queue.release(settings.name, uncounted=True)
    return 0


def _end_with_server() -> None:
    # Not through sys.stdin: its lock would be held while the interpreter ends.
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    os._exit(0)


def _warm(worker: Worker) -> None:
    """Open the model before the first study comes."""
    from ichor.detecting.calls import shared_detector

    shared_detector(worker.settings.bundle)


if __name__ == "__main__":
    sys.exit(main())
