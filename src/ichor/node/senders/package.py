"""What is delivered of one study, and what a sender may answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ichor.findings import Findings
from ichor.jobs.tables import Study

__all__ = ["Committing", "NotDelivered", "Package", "conclusion", "status_word"]

_NEVER_EXCLUDES = "A negative result excludes nothing."
_RESEARCH = "Research use, not a medical device."


class NotDelivered(Exception):
    """A delivery that failed, and is tried again.

    Parameters
    ----------
    reason
        A word of ours, for the journal and the metrics.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Committing:
    """Objects that were sent, and of which an archive has yet to say that it keeps them."""

    transaction: str
    instances: tuple[str, ...]


@dataclass(frozen=True)
class Package:
    """One study's results.

    Attributes
    ----------
    id
        Of the delivery: the same at every try, so that a receiver knows it again.
    study
        Row of the worklist; None for what is forwarded.
    findings
        None where the study could not be read.
    identity
        Values of the source's header by keyword.
    series
        ``uid`` and ``instances`` of each series that was assessed.
    folder
        Of the DICOM files.
    made
        Seconds since 1970 when the study was assessed.
    """

    id: str
    study: Study | None
    findings: Findings | None
    identity: dict[str, str]
    series: tuple[dict[str, Any], ...]
    folder: Path
    made: float
    files: tuple[Path, ...] = field(default=())


def status_word(package: Package) -> str:
    """Return what was found in one word: ``suspected``, ``not_detected``, ``uncertain`` or ``not_assessed``."""
    findings = package.findings
    if findings is None or not findings.assessable:
        return "not_assessed"
    if findings.uncertain:
        return "uncertain"
    return "suspected" if findings.positive.any else "not_detected"


def conclusion(package: Package) -> str:
    """Return the result in sentences, as they stand in a report."""
    findings, study = package.findings, package.study
    words = {
        "suspected": "Suspected intracranial hemorrhage.",
        "uncertain": "Undetermined: neither hemorrhage nor its absence can be left out.",
        "not_detected": f"No hemorrhage detected. {_NEVER_EXCLUDES}",
        "not_assessed": "Not assessed.",
    }
    out = [words[status_word(package)]]
    if findings is None or not findings.assessable:
        reason = study.refusal_message if study is not None else None
        out += [reason] if reason else []
    elif findings.probabilities.any is not None:
        out.append(
            f"Probability {findings.probabilities.any:.2f}, threshold {findings.thresholds.any:.2f}."
            if findings.thresholds.any is not None
            else f"Probability {findings.probabilities.any:.2f}."
        )
        if findings.volume_ml:
            out.append(f"Outlined volume {findings.volume_ml:.1f} mL.")
    out.append(_RESEARCH)
    return " ".join(out)
