"""What series an input holds, by their headers alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ichor.errors import RefusedInput
from ichor.reading.dicom.headers import SliceHeader, read_headers
from ichor.reading.inputs import dicom_files
from ichor.reading.limits import Limits

__all__ = ["SeriesOutlook", "series_outlook"]


@dataclass(frozen=True)
class SeriesOutlook:
    """A series with images.

    Attributes
    ----------
    study_uid, uid
        As stored.
    images
        Their number.
    kernel, thickness
        Empty where the header does not say.
    """

    study_uid: str
    uid: str
    images: int
    kernel: str
    thickness: str


def series_outlook(path: Path, limits: Limits) -> list[SeriesOutlook]:
    """List the series with images of everything that a path holds, in the order of their files.

    Raises
    ------
    RefusedInput
        Where the path cannot be opened (any more) or is beyond the limits.
    """
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], SliceHeader] = {}
    with dicom_files(path, limits) as files:
        for file in files:
            try:
                headers = read_headers(file, limits)
            except RefusedInput:  # spoken of when the input was read
                continue
            for header in headers:
                if header.rows and header.series_uid and not header.is_own_result:
                    key = header.study_uid, header.series_uid
                    counts[key] += 1
                    first.setdefault(key, header)
    return [
        SeriesOutlook(
            study_uid=study,
            uid=uid,
            images=counts[study, uid],
            kernel=h.facts.get("kernel", ""),
            thickness=f"{h.thickness:g} mm" if h.thickness else "",
        )
        for (study, uid), h in first.items()
    ]
