"""Choosing, among the series of a study, the axial non-contrast head CT: by stated rules, each with its reason.

A slice is out where it is no CT image, a localizer, or a secondary capture. A series is out where its header
names another part of the body only. Of the rest, the one with the most points is taken; points and
reasons are those of :data:`RULES`, and ``docs/explanation/choosing-the-series.md`` says why.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichor.reading.headers import SliceHeader

__all__ = ["RULES", "Candidate", "exclusion", "head_share", "is_bone_kernel", "names_contrast", "score", "series_exclusion"]

_CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
    "",
}
_SECONDARY_ROOT = "1.2.840.10008.5.1.4.1.1.7"
_HEAD = re.compile(r"\b(HEAD|BRAIN|SKULL|CRANI\w*|KOPF|SCHAEDEL|SCH.DEL|CEREBR\w*|CRANEO|CABE[CZ]A|TETE|CCT|STROKE|NEURO)")
_ELSEWHERE = re.compile(
    r"\b(CHEST|THORA\w*|LUNG|ABDOM\w*|PELVI\w*|SPINE|CSPINE|LSPINE|TSPINE|NECK|CERVICAL|LUMBAR|KNEE|HIP|LEG|FOOT|"
    r"ANKLE|SHOULDER|ARM|HAND|WRIST|ELBOW|HEART|CARDIAC|CORONAR\w*|LIVER|KIDNEY|COLON|EXTREMITY)"
)
_CONTRAST = re.compile(r"(CONTRAST|\bCTA\b|ANGIO|\bKM\b|\+ ?C\b|C\+|\bPOST\b|PERFUSION|\bIV\b|VENOUS|ARTERIAL)")
_WITHOUT = re.compile(r"(WITHOUT|W/O|\bWO\b|NON[- ]?|NO |\bNC)[ -]*(IV )?(CONTRAST|C\b|CE\b)|PLAIN|NATIV|NONCON")
_BONE = re.compile(r"(BONE|KNOCHEN|\bOS\b|SHARP|EDGE|LUNG|DETAIL)")
_BONE_KERNEL = re.compile(r"^(BONE\w*|EDGE|LUNG|DETAIL|[BHU]R?[67]\d.*|FC3\d|FC8\d|Y[BCD]|[DE]$)")

RULES = {
    "head": (4.0, "the header names the head"),
    "original": (2.0, "original axial slices"),
    "derived": (-2.0, "derived or reformatted"),
    "contrast": (-4.0, "contrast"),
    "bone": (-3.0, "bone kernel"),
    "coverage": (2.0, "covers the whole head"),
    "thickness": (1.0, "2.5 to 6 mm slices"),
    "thin": (0.5, "thinner than 2.5 mm"),
    "oblique": (-3.0, "not axial"),
    "short": (-5.0, "few slices"),
    "looks": (4.0, "the pixels look like a head"),
    "looks_not": (-6.0, "the pixels do not look like a head"),
}
"""Points and reasons."""


@dataclass(frozen=True)
class Candidate:
    """A series that may be taken.

    Attributes
    ----------
    uid
        Series instance UID.
    headers
        Its slices, those that are CT cross-sections.
    points
        Sum over :data:`RULES`.
    reasons
        Which rules applied, in words.
    """

    uid: str
    headers: tuple[SliceHeader, ...]
    points: float
    reasons: tuple[str, ...]


def exclusion(header: SliceHeader) -> str | None:
    """Return the code for which a slice is out, or None."""
    if header.sop_class.startswith(_SECONDARY_ROOT):
        return "secondary_capture"
    if header.modality != "CT" or header.sop_class not in _CT_CLASSES:
        return "modality_not_ct"
    kinds = set(header.image_type)
    if "LOCALIZER" in kinds or "SCOUT" in kinds or any("SURVIEW" in k or "TOPOGRAM" in k for k in kinds):
        return "localizer"
    if not header.rows or not header.columns:
        return "modality_not_ct"
    if header.samples != 1 or "SCREEN SAVE" in kinds:
        return "secondary_capture"
    if {"PERFUSION", "RCBF", "RCBV", "MTT", "TTP", "TMAX"} & kinds:
        return "no_hounsfield"
    return None


def series_exclusion(headers: Sequence[SliceHeader]) -> str | None:
    """Return the code for which a whole series is out by its header, or None."""
    part, words = headers[0].body_part, headers[0].description
    named = part or words
    if _ELSEWHERE.search(named) and not _HEAD.search(f"{part} {words}"):
        return "body_part_not_head"
    return None


def names_contrast(header: SliceHeader) -> bool:
    """Tell whether the header names a contrast agent or a contrast phase."""
    agent = header.contrast not in ("", "NONE", "NO", "N")
    words = header.description
    return agent or (bool(_CONTRAST.search(words)) and not _WITHOUT.search(words))


def is_bone_kernel(header: SliceHeader) -> bool:
    """Tell whether a sharp kernel made the slices, from its name or the series description."""
    return bool(_BONE_KERNEL.match(header.kernel.split("\\")[0])) or bool(_BONE.search(header.description))


def head_share(hu: NDArray[np.int16]) -> bool:
    """Tell whether one middle slice has the mixture of a head: much brain, a shell of bone, little fat or lung."""
    tissue = hu > -300
    n = int(tissue.sum())
    if n < 0.02 * hu.size:
        return False
    brain = np.count_nonzero((hu > 5) & (hu < 80)) / n
    bone = np.count_nonzero(hu > 250) / n
    fat = np.count_nonzero((hu > -150) & (hu < -40)) / n
    return bool(brain > 0.35 and 0.04 < bone < 0.45 and fat < 0.25)


def score(uid: str, headers: Sequence[SliceHeader], looks: bool | None) -> Candidate:
    """Give a series its points.

    Parameters
    ----------
    uid, headers
        Of the series.
    looks
        What :func:`head_share` says of its middle slice; None where nobody looked.
    """
    first = headers[len(headers) // 2]
    applied = []
    if _HEAD.search(f"{first.body_part} {first.description}"):
        applied.append("head")
    applied.append("original" if {"ORIGINAL", "PRIMARY"} <= set(first.image_type) else "derived")
    if names_contrast(first):
        applied.append("contrast")
    if is_bone_kernel(first):
        applied.append("bone")
    if first.orientation is not None and abs(np.cross(first.orientation[:3], first.orientation[3:])[2]) < 0.7:
        applied.append("oblique")
    coverage = _coverage(headers)
    if len(headers) < 5:
        applied.append("short")
    elif coverage is None or coverage >= 90:
        applied.append("coverage")
    if first.thickness is not None:
        applied += ["thickness"] if 2.4 <= first.thickness <= 6.1 else ["thin"] if first.thickness < 2.4 else []
    if looks is not None:
        applied.append("looks" if looks else "looks_not")
    return Candidate(
        uid, tuple(headers), sum(RULES[a][0] for a in applied), tuple(RULES[a][1] for a in applied)
    )


def _coverage(headers: Sequence[SliceHeader]) -> float | None:
    orientation = Counter(tuple(h.orientation) for h in headers if h.orientation is not None)
    if not orientation or any(h.position is None for h in headers):
        return None
    common = np.array(orientation.most_common(1)[0][0])
    normal = np.cross(common[:3], common[3:])
    along = [float(h.position @ normal) for h in headers if h.position is not None]
    return max(along) - min(along)
