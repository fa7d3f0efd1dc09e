"""Every code that the results use, with its source: the one place where a code is written down.

``docs/reference/dicom-results.md`` is printed from these tables. Codes of subtypes stand in :mod:`ichor.labels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ichor.labels import LABELS

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

__all__ = [
    "CODES",
    "LABEL_SOURCES",
    "PRIVATE_SCHEME",
    "CodeEntry",
    "code",
    "label_code",
    "notice_code",
    "site_code",
]

PRIVATE_SCHEME = "99ICHOR"
"""Of notice codes (``docs/reference/notices.md``), which no public terminology has."""
_LONGEST_MEANING = 64
_STANDARD = "DICOM PS3.16, as in pydicom's dictionary"
_OMOP = "OMOP vocabulary of SNOMED CT, as printed in public code lists"


@dataclass(frozen=True)
class CodeEntry:
    """A code.

    Attributes
    ----------
    value, scheme, meaning
        As DICOM writes them.
    use
        What it stands for in the results.
    source
        Where the code and its meaning were confirmed.
    """

    value: str
    scheme: str
    meaning: str
    use: str
    source: str


CODES: dict[str, CodeEntry] = {
    "report": CodeEntry("126000", "DCM", "Imaging Measurement Report", "title of the report", _STANDARD),
    "procedure": CodeEntry(
        "303653007", "SCT", "Computed tomography of head", "procedure reported", _STANDARD
    ),
    "imaging": CodeEntry(
        "363679005", "SCT", "Imaging procedure", "procedure reported, where nothing was assessed", _STANDARD
    ),
    "category": CodeEntry(
        "49755003",
        "SCT",
        "Morphologically Abnormal Structure",
        "category of segments and findings",
        _STANDARD,
    ),
    "probability": CodeEntry("122157", "DCM", "Probability", "probability of a label", _STANDARD),
    "threshold": CodeEntry("122411", "DCM", "Threshold Value", "threshold of a label", _STANDARD),
    "volume": CodeEntry("118565006", "SCT", "Volume", "volume of a region or of all", _STANDARD),
    "suspected": CodeEntry("415684004", "SCT", "Suspected", "at or above the threshold", _STANDARD),
    "undetermined": CodeEntry(
        "373068000", "SCT", "Undetermined", "below the threshold, within the uncertain band", _STANDARD
    ),
    "not_detected": CodeEntry(
        "260415000",
        "SCT",
        "Not detected",
        "below the threshold and the uncertain band",
        "SNOMED CT, as in the code lists of the EU's certificates",
    ),
    "summary": CodeEntry("111064", "DCM", "Summary of Detections", "whether detection was done", _STANDARD),
    "not_attempted": CodeEntry(
        "111225", "DCM", "Not Attempted", "an input that cannot be assessed", _STANDARD
    ),
    "finding": CodeEntry("121071", "DCM", "Finding", "a notice on the input", _STANDARD),
    "comment": CodeEntry("121106", "DCM", "Comment", "sentences for a person", _STANDARD),
    "right": CodeEntry("24028007", "SCT", "Right", "side of a region", _STANDARD),
    "left": CodeEntry("7771000", "SCT", "Left", "side of a region", _STANDARD),
    "both": CodeEntry("51440002", "SCT", "Right and left", "a region on both sides", _STANDARD),
    "brain": CodeEntry("12738006", "SCT", "Brain", "site of an intraparenchymal region", _STANDARD),
    "intracranial": CodeEntry(
        "128319008", "SCT", "Intracranial structure", "site of other regions", _STANDARD
    ),
    "ventricle": CodeEntry(
        "35764002", "SCT", "Brain ventricle", "site of an intraventricular region", _STANDARD
    ),
    "algorithm": CodeEntry("123110", "DCM", "Artificial Intelligence", "family of the algorithm", _STANDARD),
    "of_interest": CodeEntry("113000", "DCM", "Of Interest", "title of the key images", _STANDARD),
    "ratio": CodeEntry("1", "UCUM", "no units", "unit of probabilities", _STANDARD),
    "millilitre": CodeEntry("mL", "UCUM", "mL", "unit of volumes", _STANDARD),
}
"""What is no label, by the names that the code uses."""

LABEL_SOURCES: dict[str, str] = {
    "any": _STANDARD,
    "epidural": _OMOP,
    "intraparenchymal": "FHIR value set, expanded by a terminology server; OMOP vocabulary",
    "intraventricular": "the parent concept, with the site below: no code for this subtype could be confirmed",
    "subarachnoid": "FHIR value set, expanded by a terminology server; OMOP vocabulary",
    "subdural": _OMOP,
}
"""Where the codes of :data:`ichor.labels.LABELS` were confirmed."""

_LABELS = {label.name: label for label in LABELS}


def code(name: str) -> Code:
    """Return a code of :data:`CODES` in pydicom's form."""
    from pydicom.sr.coding import Code

    entry = CODES[name]
    return Code(entry.value, entry.scheme, entry.meaning)


def label_code(name: str) -> Code:
    """Return the code of a label: a subtype, or any hemorrhage."""
    from pydicom.sr.coding import Code

    label = _LABELS[name]
    return Code(label.snomed, "SCT", label.snomed_meaning)


def site_code(name: str) -> str:
    """Return the key in :data:`CODES` of where a label's blood lies."""
    return {"intraparenchymal": "brain", "intraventricular": "ventricle"}.get(name, "intracranial")


def notice_code(name: str) -> Code:
    """Return the code of a notice, in the private scheme."""
    from pydicom.sr.coding import Code

    return Code(name, PRIVATE_SCHEME, name.replace("_", " ")[:_LONGEST_MEANING])
