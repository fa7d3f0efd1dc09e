"""Values of DICOM elements, taken without trusting their form: one parser for every number, text and group.

Archives hold decimal commas, units, blanks, texts under the wrong value representation, and functional groups
in objects that should have none. What cannot be a value is taken as absent, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from ichor.reading.dicom.dataset import READ_ERRORS

__all__ = ["FUNCTIONAL_GROUPS", "Elements", "items", "parse_number", "parse_numbers"]

_LARGEST = 1e6
"""Of measures and HU; counts may be larger, so that limits see them."""
_LONGEST = 4096
"""Characters of a text that may hold numbers."""
_NUMBER = r"[-+]?(?:\d+(?:[.,]\d+)*[.,]?|[.,]\d+)(?:[eEdD][-+]?\d+)?"
_WHOLE = re.compile(rf"({_NUMBER})\s*([^\W\d_]{{1,8}}|[%°])?")
_ANY = re.compile(_NUMBER)
_UNITS = {"m": 1000.0, "cm": 10.0, "um": 0.001, "µm": 0.001, "μm": 0.001}
"""Units of length other than the millimetre; any other unit (mm, kV, HU, ms) leaves the number as it is."""
_CLEANED = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "\u00a0": " ", **dict.fromkeys("\0\t\r\n\"'[](){}", " ")}
)
_MACROS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "FrameContentSequence",
    "CTImageFrameTypeSequence",
    "CTReconstructionSequence",
    "CTXRayDetailsSequence",
    "ContrastBolusUsageSequence",
    "FrameAnatomySequence",
)
FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", *_MACROS)
"""Sequences that may hold an attribute of a frame."""


class Elements:
    """The elements that hold for one frame of an object, or for the whole of a plain one.

    An attribute is looked for in the frame's functional groups, then in the shared ones, then in the data set
    itself, wherever these sequences stand; the first usable value is taken, attribute by attribute.

    Parameters
    ----------
    data
        The object.
    frame
        0-based.
    """

    def __init__(self, data: Dataset, frame: int = 0) -> None:
        self._data = data
        per_frame = items(data, "PerFrameFunctionalGroupsSequence")
        shared = items(data, "SharedFunctionalGroupsSequence")
        groups = [*per_frame[frame : frame + 1], *shared[:1]]
        self._groups = [holder for group in groups for holder in _holders(group)]
        self._own = _holders(data)

    def text(self, keyword: str) -> str:
        """Value as text without blanks around; several values joined by backslashes; empty where absent."""
        return next((found for h in self._all() if (found := _text(h, keyword))), "")

    def number(self, keyword: str, *, zero: bool = True) -> float | None:
        """First value as a finite number; None where absent, not usable, or 0 unless ``zero``."""
        for holder in self._all():
            for found in _parsed(holder, keyword)[:1]:
                if found is not None and (zero or found) and abs(found) < _LARGEST:
                    return found
        return None

    def integer(self, keyword: str) -> int | None:
        """First value as a whole number; None where absent or no whole number."""
        parsed = (found for holder in self._all() for found in _parsed(holder, keyword)[:1])
        first = next((found for found in parsed if found is not None), None)
        return int(first) if first is not None and first == int(first) else None

    def numbers(self, keyword: str, n: int, *, groups_only: bool = False) -> NDArray[np.float64] | None:
        """``(n,)`` finite values; None where absent, not usable, or of another number.

        ``groups_only`` looks in functional groups alone.
        """
        for holder in self._groups if groups_only else self._all():
            value = _value(holder, keyword)
            found = parse_numbers(value, n) if value is not None else None
            if found is not None and np.abs(found).max() < _LARGEST:
                return found
        return None

    def meanings(self, keyword: str) -> str:
        """Code meanings of a sequence, joined by blanks."""
        for holder in self._all():
            found = " ".join(t for item in items(holder, keyword) if (t := _text(item, "CodeMeaning")))
            if found:
                return found
        return ""

    def _all(self) -> list[Dataset]:
        return [*self._groups, *self._own]


def items(data: Dataset, keyword: str) -> Sequence[Dataset]:
    """Items of a sequence; none where it is absent or no sequence."""
    try:
        found: Any = data.get(keyword)
    except READ_ERRORS:
        return []
    return found if found is not None and not isinstance(found, str | bytes | int | float) else []


def parse_number(text: str) -> float | None:
    """Read one number as people and programs write it.

    A comma is the decimal point (``-1000,0000``); where both stand, the last one is. A unit may follow
    (``5 mm``, ``0.5cm``, ``120kV``).

    Returns
    -------
    float or None
        None for anything else, and for what is not finite.
    """
    match = _WHOLE.fullmatch(re.sub(r"^([-+])\s+", r"\1", text.translate(_CLEANED).strip()))
    if match is None:
        return None
    digits, unit = match[1].replace("d", "e").replace("D", "e"), match[2] or ""
    decimal = max(digits.rfind("."), digits.rfind(","))
    if decimal >= 0:
        separators = [c for c in digits if c in ".,"]
        if len(separators) > 1 and len(set(separators)) == 1:  # 1.024.000: thousands, and no decimals
            decimal = len(digits)
        whole = digits[:decimal].replace(".", "").replace(",", "")
        digits = whole + ("." + digits[decimal + 1 :] if decimal < len(digits) else "")
    value = float(digits) * _UNITS.get(unit, 1.0)
    return value if np.isfinite(value) else None


def parse_numbers(value: Any, n: int) -> NDArray[np.float64] | None:
    """Read ``n`` numbers: values of their own, or a text that parts them by backslashes, blanks or other signs.

    Returns
    -------
    numpy.ndarray or None
        ``(n,)``; None where there are not exactly ``n`` usable ones.
    """
    parts = _values(value)
    while len(parts) > n and isinstance(parts[-1], str) and not parts[-1].strip(" \0"):
        parts = parts[:-1]
    found = [_number_of(part) for part in parts]
    if len(parts) != n and len(parts) == 1 and isinstance(parts[0], str):
        text = parts[0].translate(_CLEANED)
        for split in (re.split(r"[\s;/]+|,\s+", text.strip()), text.split(","), _ANY.findall(text)):
            if len(split) == n and None not in (tried := [_number_of(part) for part in split]):
                found = tried
                break
    if len(found) != n or None in found:
        return None
    return np.array(found, dtype=np.float64)


def _holders(group: Dataset) -> list[Dataset]:
    """Return a functional group's macros, then the group itself."""
    return [*(item for macro in _MACROS if macro in group for item in items(group, macro)[:1]), group]


def _value(data: Dataset, keyword: str) -> Any:
    """Value as stored: text where it is stored as text, whatever pydicom would make of it."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in data:
        return None
    try:
        element: Any = data.get_item(tag)
        if isinstance(element, RawDataElement):
            vr = dictionary_VR(tag) if element.VR in (None, "UN") else element.VR
            if isinstance(element.value, bytes) and vr in (
                "DS",
                "IS",
                "UT",
                "LO",
                "SH",
                "ST",
                "LT",
                "CS",
                "UC",
            ):
                return element.value[:_LONGEST].decode("latin-1")
        return data[tag].value
    except READ_ERRORS:
        return None


def _values(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        return value[:_LONGEST].split("\\")
    return list(value) if hasattr(value, "__iter__") else [value]


def _number_of(part: Any) -> float | None:
    if isinstance(part, str | bytes):
        return parse_number(part if isinstance(part, str) else part.decode("latin-1"))
    try:
        value = float(part)
    except READ_ERRORS:
        return None
    return value if np.isfinite(value) else None


def _parsed(data: Dataset, keyword: str) -> list[float | None]:
    """Every value that is not empty, as a number or None."""
    parts = _values(_value(data, keyword))
    return [_number_of(part) for part in parts if not (isinstance(part, str) and not part.strip(" \0"))]


def _text(data: Dataset, keyword: str) -> str:
    try:
        value: Any = data.get(keyword)
    except READ_ERRORS:
        return ""
    if value is None:
        return ""
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return _mended(str(value)).strip("\0 ")
    return "\\".join(_mended(str(v)) for v in value)


def _mended(text: str) -> str:
    """Undo UTF-8 that was read as Latin-1, since the header does not name its character set."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
