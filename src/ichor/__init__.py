"""ichor finds intracranial hemorrhage on non-contrast head CT. Research software, not a medical device.

>>> import ichor
>>> findings = ichor.detect("study/")  # doctest: +SKIP
>>> findings.probabilities.any  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ichor.detecting import Detection, Detector, Options, PictureStack, detect, detect_all
    from ichor.errors import IchorError, RefusedInput, UsageError
    from ichor.evaluating.calls import evaluate
    from ichor.exam import Exam, Picture
    from ichor.findings import Findings
    from ichor.reading import read, read_all
    from ichor.reading.limits import Limits
    from ichor.training.calls import train

# ONNX Runtime sends telemetry, and writes a device id to the user's cache, unless this stands before it is imported.
# Every entrance (package, command, worker, reader) imports this module first; what they start inherits it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# The client of the model hub, of the extra for training, says which library asks for weights, unless told not to.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # who uses the package decides where logs go

__version__ = "0.1.0"
__all__ = [
    "Detection",
    "Detector",
    "Exam",
    "Findings",
    "IchorError",
    "Limits",
    "Options",
    "Picture",
    "PictureStack",
    "RefusedInput",
    "UsageError",
    "__version__",
    "detect",
    "detect_all",
    "evaluate",
    "read",
    "read_all",
    "train",
]

_HOMES = {
    "Detection": "ichor.detecting",
    "Detector": "ichor.detecting",
    "Options": "ichor.detecting",
    "PictureStack": "ichor.detecting",
    "detect": "ichor.detecting",
    "detect_all": "ichor.detecting",
    "IchorError": "ichor.errors",
    "RefusedInput": "ichor.errors",
    "UsageError": "ichor.errors",
    "Exam": "ichor.exam",
    "Picture": "ichor.exam",
    "Findings": "ichor.findings",
    "read": "ichor.reading",
    "read_all": "ichor.reading",
    "Limits": "ichor.reading.limits",
    "evaluate": "ichor.evaluating.calls",
    "train": "ichor.training.calls",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: ``import ichor`` alone costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ichor' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
