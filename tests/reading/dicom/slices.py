"""Headers of slices without files: a head of 22 slices, 5 mm apart, and what a test changes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ichor.reading.dicom.headers import SliceHeader
from ichor.reading.files import InputFile

AXIAL = np.array([1.0, 0, 0, 0, 1, 0])
CORNER = np.array([-95.0, -95.0])

_PLAIN = SliceHeader(
    file=InputFile(Path("none"), "none"),
    frame=None,
    n_frames=1,
    study_uid="1.2",
    series_uid="1.2.3",
    sop_uid="",
    sop_class="1.2.840.10008.5.1.4.1.1.2",
    frame_of_reference="",
    patient="p",
    modality="CT",
    image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
    body_part="HEAD",
    label="HEAD",
    description="HEAD",
    kernel="H31S",
    contrast="",
    acquisition="",
    acquired="",
    voltage=None,
    position=None,
    orientation=AXIAL,
    spacing=np.array([1.0, 1.0]),
    thickness=5.0,
    step=None,
    location=None,
    number=None,
    has_rescale=True,
    rows=191,
    columns=191,
    samples=1,
    bits_allocated=16,
    bits_stored=12,
    photometric="MONOCHROME2",
    transfer_syntax="",
    lossy=False,
    facts={},
)


def head(n: int = 22, step: float = 5.0, *, first: int = 1, base: float = 0.0, **changes: Any) -> list:
    """Slices towards the vertex; ``sop_uid`` and ``number`` count from ``first``."""
    return [
        replace(
            _PLAIN,
            **{
                "sop_uid": str(first + k),
                "number": first + k,
                "position": np.array([*CORNER, base + k * step]),
                "thickness": step,
                **changes,
            },
        )
        for k in range(n)
    ]


def each(headers: list, **changes: Any) -> list:
    """The same slices with other attributes; a callable gets the slice's index."""
    return [
        replace(h, **{name: value(k) if callable(value) else value for name, value in changes.items()})
        for k, h in enumerate(headers)
    ]


def uids(headers: Any) -> list[int]:
    """The slices, by the numbers in their UIDs."""
    return [int(h.sop_uid) for h in headers]
