"""What makes results the same results: UIDs, date and equipment that follow from the study and the model alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ichor
from ichor.findings import Findings
from ichor.results.kinds import KINDS
from ichor.uids import hashed_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from ichor.reading.originals import Instance, Originals

__all__ = ["MANUFACTURER", "Identity", "Moment", "identity_of", "is_own_result"]

MANUFACTURER = "ichor"  # that of ichor.reading.dicom.headers.OWN_MAKER, which is slower to load
_FORM = "ichor results 1"
"""Counted up when the same findings give other objects: an archive must not get two of one UID."""
_DATES = (
    ("ContentDate", "ContentTime"),
    ("AcquisitionDate", "AcquisitionTime"),
    ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)


@dataclass(frozen=True)
class Moment:
    """The date and time that results carry: those of the images.

    Not those of the day on which they were made: the same study must give the same bytes.
    """

    date: str = "19700101"
    time: str = "000000"

    @property
    def both(self) -> str:
        """As DICOM's DT."""
        return self.date + self.time


@dataclass(frozen=True)
class Identity:
    """Of one study, assessed by one model.

    Attributes
    ----------
    study_uid, series_uid
        As stored: the results join this study; the series is what was assessed.
    moment
        Date and time of the results.
    bundle_name, bundle_version, bundle_sha256
        The model.
    key
        Hash of all that the results follow from.
    """

    study_uid: str
    series_uid: str
    moment: Moment
    bundle_name: str
    bundle_version: str
    bundle_sha256: str
    key: str

    def uid(self, *parts: object) -> str:
        """Return the UID of something, by its name among these results."""
        return hashed_uid("|".join([self.key, *map(str, parts)]))

    @property
    def software_versions(self) -> list[str]:
        """As DICOM's SoftwareVersions."""
        return [f"ichor {ichor.__version__}", f"model {self.bundle_name} {self.bundle_version}"[:64]]


def identity_of(findings: Findings, originals: Originals) -> Identity:
    """Return what the results of these findings are known by.

    Parameters
    ----------
    findings
        The verdict depends on the thresholds, which are part of the identity.
    originals
        What was assessed.
    """
    instances, header = originals.instances, originals.header
    bundle = findings.bundle
    name, version, sha256 = (bundle.name, bundle.version, bundle.sha256) if bundle else ("", "", "")
    study_uid = str(header.StudyInstanceUID).strip("\0 ")
    own = [i for i in instances if i.study_uid == study_uid] or list(instances)
    thresholds = repr([round(float(t), 6) for t in findings.thresholds.as_array()])
    parts = [_FORM, ichor.__version__, study_uid, *_places(instances), sha256, thresholds]
    key = hashlib.sha256("|".join(parts).encode()).hexdigest()
    return Identity(study_uid, own[0].series_uid, _moment(header), name, version, sha256, key)


def is_own_result(data: Dataset) -> bool:
    """Tell whether a DICOM object is one that ichor made: it needs no assessment when it comes back.

    Parameters
    ----------
    data
        With SOPClassUID, Manufacturer and ManufacturerModelName, where it has them.
    """
    classes = {kind.sop_class for kind in KINDS.values()}
    maker = (str(data.get(name, "")).strip() for name in ("Manufacturer", "ManufacturerModelName"))
    return str(data.get("SOPClassUID", "")) in classes and list(maker) == [MANUFACTURER, MANUFACTURER]


def _places(instances: Sequence[Instance]) -> list[str]:
    return [f"{i.series_uid}/{i.sop_uid}/{i.frame or 0}" for i in instances]


def _moment(header: Dataset) -> Moment:
    for date, time in _DATES:
        day, hour = _digits(header, date, 8), _digits(header, time, 6)
        if len(day) == 8 and _is_date(day):
            return Moment(day, hour if re.fullmatch(r"([01]\d|2[0-3])[0-5]\d[0-5]\d", hour) else "000000")
    return Moment()


def _is_date(day: str) -> bool:
    import datetime

    try:
        datetime.datetime.strptime(day, "%Y%m%d")
    except ValueError:
        return False
    return day >= "1900"


def _digits(header: Dataset, keyword: str, n: int) -> str:
    from ichor.reading.dicom.elements import Elements

    text: Any = Elements(header).text(keyword)
    return text[:n] if text[:n].isdigit() else ""
