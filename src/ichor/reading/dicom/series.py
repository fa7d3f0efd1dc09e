"""Choosing, among the series of a study, the axial non-contrast head CT: by rules, each with its reason.

1. A slice is out where it is no CT cross-section: another modality, a localizer, a screen capture, a map.
2. A series is out where its header names another part of the body and no head (``--series`` overrules this).
3. Each remaining series gets the points of :data:`RULES` that apply; the one with the most is taken, the one
   with more slices where points are equal.
4. A series that then turns out not to be readable (too few slices, not axial, broken, no Hounsfield units,
   the pixels of an abdomen or a chest) gives way to the next.

What was taken and what was not is told with its reasons in notices.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichor.reading.dicom.headers import SliceHeader
from ichor.reading.dicom.tissues import Region
from ichor.reading.geometry_notices import AXIAL_COSINE, MIN_SLICES

__all__ = [
    "RULES",
    "Candidate",
    "exclusion",
    "is_bone_kernel",
    "names_contrast",
    "score",
    "series_exclusion",
    "split_by_kernel",
]

_CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
    "",
}
_SECONDARY_ROOT = "1.2.840.10008.5.1.4.1.1.7"
_SCOUT_KINDS = re.compile(r"LOCALI[SZ]ER|SCOUT|SURVIEW|TOPOGRAM|SCANOGRAM")
_SCREEN_KINDS = {"SCREEN SAVE", "DOSE_INFO", "PATIENT_INFO", "RESULTS"}
_MAPS = {"PERFUSION", "RCBF", "RCBV", "CBF", "CBV", "MTT", "TTP", "TMAX", "VRT", "FLUOROSCOPY", "MATERIAL"}
"""Image types whose values are no Hounsfield units, or no cross-sections."""
_HEAD = re.compile(
    r"HEAD|BRAIN|SKULL|CRANI|KOPF|SCH(AE|Ä)DEL|CEREBR|CRANEO|CABE[CZ]A|\bT(E|Ê)TE\b|\bCCT\b|STROKE|NEURO"
)
_ELSEWHERE = re.compile(
    r"CHEST|THORA|\bLUNGS?\b|ABDOM|PELVI|SPINE|\bNECK\b|CERVICAL|LUMBAR|\bKNEE|\bHIPS?\b|\bLEGS?\b|\bFOOT\b|ANKLE|"
    r"SHOULDER|\bARMS?\b|\bHANDS?\b|WRIST|ELBOW|\bHEART\b|CARDIAC|CORONAR|"
    r"LIVER|KIDNEY|COLON|EXTREMIT|WHOLE ?BODY"
)
_CONTRAST = re.compile(
    r"CONTRAST|\bCE\b|\bCTA\b|ANGIO|\bCOW\b|[+&] ?(C|KM)\b|\bC ?\+|\b(MIT|M\.?) ?KM\b|\bW/? ?C\b|\bWITH C\b|"
    r"PERFUSION|\bPOST[- ]?(C\b|CON|KM|GAD|INJ|IV)|\d ?(CC|ML)[ /]*S(EC)?\b|VENOUS|\bVENOGR|ARTERIAL|\bPORTAL"
)
_WITHOUT = re.compile(
    r"(\bW/?O\b|WITHOUT|\bNON?\b|\bNON|\bOHNE|\bSANS|\bSIN)[- ./_]*(IV )?"
    r"(CONTRAST\w*|CON\b|CE\b|KM\b|C\b|INJ\w*)|"
    r"\bPLAIN\b|\bNATIV|\bNCCT\b|\bNECT\b|PRE[- ]?CON"
)
_NO_AGENT = {"", "NONE", "NO", "N", "0", "NO CONTRAST", "WITHOUT", "NO CONTRAST AGENT"}
_BONE_WORDS = re.compile(r"\bBONE|KNOCHEN|\bSHARP\b|\bEDGE\b")
_BONE_KERNEL = re.compile(r"^(BONE|EDGE|LUNG|DETAIL|SHARP|[BHJTU][RVCPN]?[67]\d|FC3\d|FC8\d|Y[A-D]$|[DE]$)")
"""GE by name; Siemens B/H/J 60-79; Canon FC30-39 and FC80-89; Philips D, E, YA-YD."""
_REFORMATTED = {"MPR", "CSA MPR", "REFORMATTED", "CSAPARALLEL", "PARALLEL", "AVERAGE"}
_PROJECTED = re.compile(
    r"\bMIP\b|MAX_IP|MAXIMUM|MINIP|MIN_IP|\b3D\b|VOLREN|VOLUME RENDER|SUBTRACT|BONE ?REMOV"
)

RULES: dict[str, tuple[float, str]] = {
    "head": (4.0, "the header names the head"),
    "original": (2.0, "original axial slices"),
    "derived": (-1.0, "derived or reformatted"),
    "projected": (-8.0, "a projection or subtraction"),
    "contrast": (-5.0, "contrast named"),
    "without": (1.0, "named as without contrast"),
    "bone": (-3.0, "sharp kernel"),
    "coverage": (2.0, "covers 90 mm or more"),
    "medium": (1.5, "slices of 2.5 to 6 mm, as in training"),
    "thin": (0.5, "thinner than 2.5 mm"),
    "oblique": (-10.0, "not axial"),
    "short": (-10.0, "too few slices"),
    "looks": (4.0, "the middle slices look like a head"),
    "undecodable": (-10.0, "the middle slices cannot be decoded"),
    "looks_elsewhere": (-10.0, "the middle slices look like another part of the body"),
}
"""Points and reasons. The signs matter more than the figures: contrast or a sharp kernel is taken only where
nothing better is there, and nothing makes up for slices that are not axial or too few."""


@dataclass(frozen=True)
class Candidate:
    """A series that may be taken.

    Attributes
    ----------
    uid
        Series instance UID.
    headers
        Its slices, those that are CT cross-sections.
    rules
        Keys of :data:`RULES` that apply.
    """

    uid: str
    headers: tuple[SliceHeader, ...]
    rules: tuple[str, ...]

    @property
    def points(self) -> float:
        """Sum over :data:`RULES`."""
        return sum(RULES[rule][0] for rule in self.rules)

    @property
    def reasons(self) -> str:
        """The rules that applied, in words, and the points."""
        words = ", ".join(RULES[rule][1] for rule in self.rules)
        return f"{len(self.headers)} slices, {words} ({self.points:g} points)"

    def with_region(self, region: Region | None) -> Candidate:
        """Add what the pixels show; None where they cannot be decoded."""
        rules = {"head": ("looks",), "elsewhere": ("looks_elsewhere",), "unclear": (), None: ("undecodable",)}
        return Candidate(self.uid, self.headers, (*self.rules, *rules[region]))


def exclusion(header: SliceHeader) -> str | None:
    """Return the code for which a slice is out, or None."""
    kinds = set(header.image_type)
    if header.sop_class.startswith(_SECONDARY_ROOT):
        return "secondary_capture"
    if header.sop_class not in _CT_CLASSES or header.modality not in ("CT", "" if header.sop_class else "CT"):
        return "modality_not_ct"
    if any(_SCOUT_KINDS.search(kind) for kind in kinds):
        return "localizer"
    if not header.rows or not header.columns:
        return "modality_not_ct"
    if header.samples != 1 or kinds & _SCREEN_KINDS:
        return "secondary_capture"
    if kinds & _MAPS:
        return "no_hounsfield"
    return None


def series_exclusion(headers: Sequence[SliceHeader]) -> str | None:
    """Return the code for which a whole series is out by its header, or None."""
    part, words = headers[0].body_part, headers[0].description
    if _ELSEWHERE.search(part or words) and not _HEAD.search(f"{part} {words}"):
        return "body_part_not_head"
    if _SCOUT_KINDS.search(headers[0].label) and len(headers) < MIN_SLICES:
        return "localizer"
    return None


def names_contrast(header: SliceHeader) -> bool:
    """Tell whether the header names a contrast agent or a contrast phase.

    The series' own description goes before those of the study and the protocol, which speak of all series.
    """
    if header.contrast not in _NO_AGENT:
        return True
    for words in (header.label, header.description):
        if _WITHOUT.search(words):
            return False
        if _CONTRAST.search(words):
            return True
    return False


def is_bone_kernel(header: SliceHeader) -> bool:
    """Tell whether a sharp kernel made the slices, from its name or the series description."""
    return bool(_BONE_KERNEL.match(header.kernel.split("\\")[0].strip())) or bool(
        _BONE_WORDS.search(header.label)
    )


def split_by_kernel(headers: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Part a series that holds the same positions several times, once a kernel; leave any other whole."""
    kernels: dict[str, list[SliceHeader]] = {}
    for header in headers:
        kernels.setdefault(header.kernel, []).append(header)
    places = Counter(tuple(np.round(h.position, 1)) for h in headers if h.position is not None)
    shared = sum(1 for n in places.values() if n > 1)
    return list(kernels.values()) if len(kernels) > 1 and 2 * shared >= len(places) > 0 else [list(headers)]


def score(uid: str, headers: Sequence[SliceHeader]) -> Candidate:
    """Give a series the points of its headers.

    Parameters
    ----------
    uid, headers
        Of the series.
    """
    first = headers[len(headers) // 2]
    applied = []
    kinds = set(first.image_type)
    if _HEAD.search(f"{first.body_part} {first.description}"):
        applied.append("head")
    applied.append("original" if {"ORIGINAL", "PRIMARY"} <= kinds and not kinds & _REFORMATTED else "derived")
    if _PROJECTED.search(" ".join((*first.image_type, first.label))):
        applied.append("projected")
    if names_contrast(first):
        applied.append("contrast")
    elif _WITHOUT.search(first.label):
        applied.append("without")
    if is_bone_kernel(first):
        applied.append("bone")
    normal = _normal(headers)
    if normal is not None and abs(normal[2]) < AXIAL_COSINE:
        applied.append("oblique")
    if len(headers) < MIN_SLICES:
        applied.append("short")
    elif normal is not None and _coverage(headers, normal) >= 90:
        applied.append("coverage")
    thickness = [h.thickness for h in headers if h.thickness is not None]
    if thickness:
        applied += (
            ["medium"]
            if 2.4 <= np.median(thickness) <= 6.1
            else ["thin"]
            if np.median(thickness) < 2.4
            else []
        )
    return Candidate(uid, tuple(headers), tuple(applied))


def _normal(headers: Sequence[SliceHeader]) -> NDArray[np.float64] | None:
    counts = Counter(tuple(h.orientation) for h in headers if h.orientation is not None)
    if not counts:
        return None
    common = np.array(counts.most_common(1)[0][0])
    return np.cross(common[:3], common[3:])


def _coverage(headers: Sequence[SliceHeader], normal: NDArray[np.float64]) -> float:
    along = [float(h.position @ normal) for h in headers if h.position is not None]
    return max(along) - min(along) if along else 0.0
