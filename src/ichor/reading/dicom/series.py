"""Choosing, among the series of a study, the axial non-contrast head CT: by rules, each with its reason.

1. A slice is out where it is no CT cross-section: another modality, a localizer, a screen capture, a map.
2. A series whose slices lie in the same places and differ in what made them (kernel, thickness, agent, time) is
   parted into acquisitions (:mod:`ichor.reading.dicom.parts`).
3. Each part gets the points of :data:`RULES` that apply; the one with the most is taken; where points are equal,
   the one acquired first, then the one with more slices.
4. A part that then turns out not to be readable (too few slices, not axial, broken, no Hounsfield units, the
   pixels of an abdomen or a chest) gives way to the next.

Words of the header give points and refuse nothing, but where the pixels show neither. What was taken and what was
not is reported with its reasons in notices.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ichor.reading.dicom.contrast_words import is_no_agent, names_contrast
from ichor.reading.dicom.headers import SliceHeader
from ichor.reading.dicom.parts import Part, slice_normal
from ichor.reading.dicom.tissues import Region
from ichor.reading.dicom.words import names_another_part, names_bone, names_head
from ichor.reading.geometry_notices import AXIAL_COSINE, MIN_SLICES

__all__ = [
    "RULES",
    "Candidate",
    "exclusion",
    "has_contrast",
    "is_bone_kernel",
    "is_hounsfield_capture",
    "is_scout_series",
    "is_without_contrast",
    "names_elsewhere",
    "score",
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
_BONE_KERNEL = re.compile(r"^(BONE|EDGE|LUNG|DETAIL|SHARP|[BHJTU][RVCPN]?[67]\d|FC3\d|FC8\d|Y[A-D]$|[DE]$)")
"""GE by name; Siemens B/H/J 60-79; Canon FC30-39 and FC80-89; Philips D, E, YA-YD."""
_DENSER_HU = 3.0
"""Brain that is denser by this than in another series of the study took up contrast."""
_NOISIER, _LEAST_NOISE_HU = 3.0, 2.0
"""Brain that is noisier by this factor than in another series went through a sharper kernel, or is of thin slices."""
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
    "denser": (-3.0, "denser brain than in another series, as after contrast"),
    "noisier": (-2.0, "much noisier brain than in another series, as through a sharp kernel"),
    "elsewhere": (-4.0, "the header names another part of the body only"),
    "secondary": (-2.0, "stored as a secondary capture"),
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
    """A series, or a part of one, that may be taken.

    Attributes
    ----------
    uid
        Series instance UID.
    part
        Its slices, those that are CT cross-sections.
    rules
        Keys of :data:`RULES` that apply.
    density, noise
        Median HU of the brain in its middle slices, and its noise in HU; None where not measured.
    """

    uid: str
    part: Part
    rules: tuple[str, ...]
    density: float | None = None
    noise: float | None = None

    @property
    def headers(self) -> tuple[SliceHeader, ...]:
        """Slices of the part."""
        return self.part.headers

    @property
    def acquired(self) -> str:
        """When its first slice was acquired; sorts behind all times where unknown."""
        return min((h.acquired for h in self.headers if h.acquired), default="~")

    @property
    def points(self) -> float:
        """Sum over :data:`RULES`."""
        return sum(RULES[rule][0] for rule in self.rules)

    @property
    def reasons(self) -> str:
        """What parts it from the rest of its series, the rules that applied in words, and the points."""
        words = [RULES[rule][1] for rule in self.rules]
        parted = [self.part.difference] if self.part.difference else []
        return f"{', '.join([f'{len(self.headers)} slices', *parted, *words])} ({self.points:g} points)"

    def with_pixels(self, region: Region | None, density: float | None, noise: float | None) -> Candidate:
        """Add what the pixels show; no region where they cannot be decoded."""
        rules = {"head": ("looks",), "elsewhere": ("looks_elsewhere",), "unclear": (), None: ("undecodable",)}
        return replace(self, rules=(*self.rules, *rules[region]), density=density, noise=noise)

    def against(self, others: Sequence[Candidate]) -> Candidate:
        """Add that its brain is denser or much noisier than in one of the others."""
        heads = [c for c in others if "looks" in c.rules]
        densities = [c.density for c in heads if c.density is not None]
        noises = [max(c.noise, _LEAST_NOISE_HU) for c in heads if c.noise is not None]
        denser = self.density is not None and bool(densities) and self.density >= min(densities) + _DENSER_HU
        noisier = self.noise is not None and bool(noises) and self.noise >= _NOISIER * min(noises)
        found = {"denser": denser, "noisier": noisier}
        return replace(self, rules=(*self.rules, *(rule for rule, applies in found.items() if applies)))


def exclusion(header: SliceHeader, *, asked_for: bool = False) -> str | None:
    """Return the code for which a slice is out, or None.

    Parameters
    ----------
    header
        Of the slice.
    asked_for
        Its series is asked for by its UID: a grey secondary capture is then left to what its pixels are.
    """
    kinds = set(header.image_type)
    if header.sop_class.startswith(_SECONDARY_ROOT):
        if not (is_hounsfield_capture(header) or (asked_for and header.samples == 1)):
            return "secondary_capture"
    elif header.sop_class not in _CT_CLASSES or header.modality not in (
        "CT",
        "" if header.sop_class else "CT",
    ):
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


def is_hounsfield_capture(header: SliceHeader) -> bool:
    """Return whether a secondary capture has all that a CT slice has, as research tools write them."""
    placed = (header.position, header.orientation, header.spacing)
    return (
        header.sop_class.startswith(_SECONDARY_ROOT)
        and header.modality == "CT"
        and header.samples == 1
        and header.has_rescale
        and not any(_SCOUT_KINDS.search(kind) for kind in header.image_type)
        and all(value is not None for value in placed)
    )


def is_scout_series(headers: Sequence[SliceHeader]) -> bool:
    """Return whether a few slices are scout views by the name of their series."""
    return len(headers) < MIN_SLICES and bool(_SCOUT_KINDS.search(headers[0].label))


def names_elsewhere(header: SliceHeader) -> bool:
    """Return whether the header names another part of the body, and no head."""
    named = f"{header.body_part} {header.description}"
    return names_another_part(header.body_part or header.description) and not names_head(named)


def has_contrast(header: SliceHeader) -> bool:
    """Return whether the header names a contrast agent or a contrast phase.

    The series' own description goes before those of the study and the protocol, which speak of all series.
    """
    if not is_no_agent(header.contrast):
        return True
    words = (names_contrast(header.label), names_contrast(header.description))
    return next((word for word in words if word is not None), None) == "with"


def is_without_contrast(header: SliceHeader) -> bool:
    """Return whether the header says that no contrast was given."""
    return not has_contrast(header) and names_contrast(header.label) == "without"


def is_bone_kernel(header: SliceHeader) -> bool:
    """Return whether a sharp kernel made the slices, from its name or the series description."""
    named = _BONE_KERNEL.match(header.kernel.split("\\")[0].strip())
    return bool(named) or names_bone(header.label)


def score(uid: str, part: Part) -> Candidate:
    """Give a part of a series the points of its headers.

    Parameters
    ----------
    uid
        Of the series.
    part
        Its slices.
    """
    headers = part.headers
    middle = headers[len(headers) // 2]
    kinds = set(middle.image_type)
    original = {"ORIGINAL", "PRIMARY"} <= kinds and not kinds & _REFORMATTED
    normal = slice_normal(headers)
    applied = {
        "head": names_head(f"{middle.body_part} {middle.description}"),
        "elsewhere": names_elsewhere(middle),
        "original": original,
        "derived": not original,
        "secondary": is_hounsfield_capture(middle),
        "projected": bool(_PROJECTED.search(" ".join((*middle.image_type, middle.label)))),
        "contrast": has_contrast(middle),
        "without": is_without_contrast(middle),
        "bone": is_bone_kernel(middle),
        "oblique": normal is not None and abs(normal[2]) < AXIAL_COSINE,
        "short": len(headers) < MIN_SLICES,
        "coverage": len(headers) >= MIN_SLICES and normal is not None and _coverage(headers, normal) >= 90,
        **_thickness_rules(headers),
    }
    return Candidate(uid, part, tuple(rule for rule, applies in applied.items() if applies))


def _thickness_rules(headers: Sequence[SliceHeader]) -> dict[str, bool]:
    known = [h.thickness for h in headers if h.thickness is not None]
    median = float(np.median(known)) if known else np.inf
    return {"medium": 2.4 <= median <= 6.1, "thin": median < 2.4}


def _coverage(headers: Sequence[SliceHeader], normal: NDArray[np.float64]) -> float:
    along = [float(h.position @ normal) for h in headers if h.position is not None]
    return max(along) - min(along) if along else 0.0
