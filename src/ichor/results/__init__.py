"""Results as DICOM objects that go back to the archive: segmentation, structured report, capture, key images, PDF.

Needs the extra ``results`` (highdicom), which is loaded when the first object is made.
"""

from __future__ import annotations

from ichor.results.identity import is_own_result
from ichor.results.kinds import DEFAULT_KINDS, KINDS, check_kinds
from ichor.results.making import ResultObject, Results, check_installed, make_results

__all__ = [
    "DEFAULT_KINDS",
    "KINDS",
    "ResultObject",
    "Results",
    "check_installed",
    "check_kinds",
    "is_own_result",
    "make_results",
]
