"""From one unit to its rows: fetched, read in a disposable process, detected."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ichor
from ichor.bulk.objects import ObjectWriter
from ichor.bulk.opening import open_source
from ichor.bulk.units import Source, Unit
from ichor.detecting import Detection, Detector, Options
from ichor.findings import Findings
from ichor.notices import Notice
from ichor.reading.limits import Limits
from ichor.reading.scratch import ScratchFolder
from ichor.reporting.words import refusals

__all__ = ["Assessor", "Settings", "Task", "common_columns", "failed_row", "place_of"]

_PLAIN = ("kind", "study_uid", "series_uid", "n_slices", "spacing_mm", "uncertain", "volume_ml")
_WHERE_ASSESSED = ("probabilities", "thresholds", "positive", "subtypes", "slices", "regions")
_HOME = Path(ichor.__file__).parent


@dataclass(frozen=True)
class Settings:
    """What every worker is given once.

    Attributes
    ----------
    source
        Address of the source.
    bundle
        Name or path of the model.
    threshold, sensitivity
        As of :class:`~ichor.detecting.Options`.
    limits
        Overrides, by name.
    kinds
        DICOM objects to make.
    objects
        Where they go, see :func:`~ichor.bulk.targets.open_target`; empty where none are made.
    engine
        As of :class:`~ichor.detecting.Detector`.
    """

    source: str
    bundle: str = "default"
    threshold: float | None = None
    sensitivity: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    objects: str = ""
    engine: str = "auto"

    def as_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """Make one of what :meth:`as_json` gave."""
        return cls(**{**data, "kinds": tuple(data["kinds"])})


@dataclass(frozen=True)
class Task:
    """One unit to be assessed.

    Attributes
    ----------
    unit
        Which.
    revision
        Of the rows to be made.
    attempt
        1 the first time.
    """

    unit: Unit
    revision: int = 1
    attempt: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Task:
        """Make one of what :meth:`as_json` gave."""
        return cls(Unit.from_json(data["unit"]), data["revision"], data["attempt"])


class Assessor:
    """Assesses units with one loaded model.

    Parameters
    ----------
    settings
        Of the run.

    Raises
    ------
    BundleError
        Where the model cannot be used.
    UsageError
        Where the source or an option cannot.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limits = Limits.from_environment(**settings.limits)
        self.detector = Detector(settings.bundle, "cpu", settings.engine)
        self.options = Options(threshold=settings.threshold, sensitivity=settings.sensitivity)
        self.detector.check(self.options)
        self.source: Source = open_source(settings.source, limits=self.limits)
        card = self.detector.bundle.card
        self.writer = ObjectWriter(settings.kinds, settings.objects, card, self.limits)

    def rows(self, task: Task) -> list[dict[str, Any]]:
        """Assess a unit.

        Returns
        -------
        list of dict
            One a result, by the columns of :data:`~ichor.bulk.schema.COLUMNS`; an error of the code gives a row
            ``failed``, never an exception.
        """
        began = time.perf_counter()
        rows: list[dict[str, Any]] = []
        try:
            with ScratchFolder() as scratch:
                path = self.source.fetch(task.unit, scratch)
                names = {str(path): task.unit.name, str(scratch): task.unit.name}
                for detection in self._detections(path):
                    row = common_columns(task, len(rows), began) | {"bundle": self.detector.bundle.sha256}
                    stored, noticed = self.writer.write(detection, task.unit, len(rows))
                    row |= {"stored": stored, "engine": self.detector.model.provider}
                    rows.append(row | _found(detection, noticed, names))
        except Exception as error:  # one study's error is not the end of the others
            # Its text may quote values of the file.
            message = f"{type(error).__name__} at {place_of(error)}"
            rows.append(failed_row(task, len(rows), "error", message, self.detector.bundle.sha256, began))
        return rows

    def _detections(self, path: Path) -> Iterator[Detection]:
        return self.detector.detect_all(path, options=self.options, limits=self.limits, isolated=True)


def failed_row(
    task: Task, row: int, code: str, message: str, bundle: str, began: float | None = None
) -> dict[str, Any]:
    """Make the row of a unit, or of the rest of one, that was not assessed because something failed.

    Parameters
    ----------
    task, row
        Which.
    code, message
        Why.
    bundle
        Hash of the model.
    began
        When it was begun, by :func:`time.perf_counter`; None where that is not known.
    """
    empty = dict.fromkeys((*_PLAIN, *_WHERE_ASSESSED, "stored", "engine"))
    found = {"state": "failed", "code": code, "message": message, "notices": [], "quantities": {}}
    common = common_columns(task, row, time.perf_counter() if began is None else began)
    return common | {"bundle": bundle} | empty | found | {"stage_seconds": {}}


def common_columns(task: Task, row: int, began: float) -> dict[str, Any]:
    """Return what rows of every form hold of a task that was begun then, by :func:`time.perf_counter`."""
    unit = task.unit
    return {
        "unit": unit.id,
        "row": row,
        "revision": task.revision,
        "source": unit.fingerprint,
        "input": unit.name,
        "seconds": round(time.perf_counter() - began, 4),
        "bytes": unit.bytes,
        "attempts": task.attempt,
        "worker": f"{platform.node() or 'unnamed'}:{os.getpid()}",
        "time": round(datetime.now(UTC).timestamp() * 1000),
        "version": ichor.__version__,
    }


def _found(detection: Detection, noticed: list[Notice], names: Mapping[str, str]) -> dict[str, Any]:
    """Return what findings say, as columns."""
    findings = _named(detection.findings, names)
    data = findings.to_dict()
    row: dict[str, Any] = {name: data[name] for name in _PLAIN}
    row |= {name: data[name] if findings.assessable else None for name in _WHERE_ASSESSED}
    row |= {"state": "assessed", "code": None, "message": None, "stage_seconds": data["seconds"]}
    if not findings.assessable:
        reason = refusals(findings)[0]
        row |= {"state": "refused", "code": reason.code, "message": reason.message}
    notices = [{"slices": None} | notice for notice in data["warnings"]]
    notices += [{"code": n.code, "message": n.message, "slices": None} for n in noticed]
    return row | {"notices": notices, "quantities": dict(detection.quantities)}


def _named(findings: Findings, names: Mapping[str, str]) -> Findings:
    """Name the input as people know it in every sentence, and not by where it lies in this process."""

    def known(text: str) -> str:
        for path, name in names.items():
            text = text.replace(path, name)
        return text

    warnings = [w.replace(message=known(w.message)) for w in findings.warnings]
    return findings.replace(input=known(findings.input), warnings=warnings)


def place_of(error: BaseException) -> str:
    """Return the last line of ichor's own on the way to an error, else its last line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(_HOME)]
    last = (own or list(frames))[-1:]
    return f"{Path(last[0].filename).name}:{last[0].lineno}" if last else "an unknown place"
