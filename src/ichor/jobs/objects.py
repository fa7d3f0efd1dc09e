"""DICOM objects of a result, made by the worker while it still has the study, for uploads that ask for them.

They name the patient: they lie apart from what the page hands out, and go when whoever asked has delivered them.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from ichor.exam import Exam, Picture
from ichor.findings import Findings
from ichor.jobs.bundles import OpenedBundle
from ichor.jobs.logs import log, places
from ichor.jobs.queue import LeasedJob
from ichor.jobs.storage import Storage, StorageUnavailable, is_about_storage, remove, settle
from ichor.reading.limits import Limits
from ichor.results import make_results

__all__ = ["FAILED_FILE", "ResultObjects", "ResultsRequest"]

_REQUEST = "results.json"
FAILED_FILE = "failed"
"""Lies in the folder of a result of which no objects could be made."""


@dataclass(frozen=True)
class ResultsRequest:
    """That objects are wanted of what an upload holds, beside its files.

    Attributes
    ----------
    kinds
        Of :data:`ichor.results.KINDS`; none where only the other outputs are delivered.
    """

    kinds: tuple[str, ...]

    def write(self, upload: Path) -> None:
        """Put the request into an upload's folder, before the upload is queued."""
        path = upload / _REQUEST
        path.write_text(json.dumps({"kinds": list(self.kinds)}), encoding="utf-8")
        settle(path)
        settle(upload)

    @classmethod
    def read(cls, upload: Path) -> ResultsRequest | None:
        """Return the request of an upload; None where there is none."""
        try:
            return cls(tuple(json.loads((upload / _REQUEST).read_text(encoding="utf-8"))["kinds"]))
        except FileNotFoundError:
            return None


class ResultObjects:
    """Makes the objects of results.

    Parameters
    ----------
    storage
        Where they go: ``results``, by upload and study.
    bundles
        The open one is that which the findings come from.
    limits
        How much of the input is read once more, for its headers.
    """

    def __init__(self, storage: Storage, bundles: OpenedBundle, limits: Limits) -> None:
        self.storage = storage
        self.bundles = bundles
        self.limits = limits

    def wanted(self, leased: LeasedJob, study: str) -> bool:
        """Tell whether objects of a result are asked for, and not there yet."""
        asked = ResultsRequest.read(self.storage.upload(leased.upload))
        return asked is not None and bool(asked.kinds) and not self._folder(leased, study).exists()

    def write(self, leased: LeasedJob, study: str, findings: Findings, image: Exam | Picture | None) -> None:
        """Make them, where they are wanted; an object that cannot be made is no reason to lose the result.

        Raises
        ------
        StorageUnavailable
            Where nothing can be written.
        """
        if not self.wanted(leased, study):
            return
        asked = ResultsRequest.read(self.storage.upload(leased.upload))
        kinds = asked.kinds if asked is not None else ()
        source = self.storage.upload(leased.upload) / leased.input
        made: Path | None = None
        try:
            made = self.storage.new_scratch()
            self._make(made, findings, image, source, kinds)
            self._publish(made, leased, study)
        except OSError as error:
            if is_about_storage(error):
                raise StorageUnavailable from error
            raise
        finally:
            if made is not None:
                with contextlib.suppress(OSError):
                    remove(made)

    def give_up(self, leased: LeasedJob, study: str) -> None:
        """Say that they cannot be made, where they are wanted: making them ended the worker again and again.

        Raises
        ------
        StorageUnavailable
            Where nothing can be written.
        """
        if not self.wanted(leased, study):
            return
        log("objects_failed", error="gave_up", study=study)
        try:
            made = self.storage.new_scratch()
            (made / FAILED_FILE).touch()
            self._publish(made, leased, study)
        except OSError as error:
            if is_about_storage(error):
                raise StorageUnavailable from error
            raise

    def _make(
        self,
        made: Path,
        findings: Findings,
        image: Exam | Picture | None,
        source: Path,
        kinds: tuple[str, ...],
    ) -> None:
        try:
            card = self.bundles.detector.bundle.card
            results = make_results(findings, image, source, kinds, card=card, limits=self.limits)
            results.save(made)
            log("objects_made", objects=len(results.objects), notices=[n.code for n in results.notices])
        except OSError:
            raise
        except (
            Exception
        ) as error:  # a header that a library cannot take: said, counted, and the rest goes out
            log("objects_failed", error=type(error).__name__, at=places(error))
            (made / FAILED_FILE).touch()

    def _publish(self, made: Path, leased: LeasedJob, study: str) -> None:
        for path in (*made.iterdir(), made):
            settle(path)
        target = self._folder(leased, study)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        made.rename(target)
        settle(target.parent)

    def _folder(self, leased: LeasedJob, study: str) -> Path:
        return self.storage.results / leased.upload / study
