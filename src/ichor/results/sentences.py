"""What the report and the page say in words: plain ASCII, which every character set of DICOM holds."""

from __future__ import annotations

import unicodedata

from ichor.labels import SUBTYPES
from ichor.reporting.choice import suspicious_slices
from ichor.reporting.words import (
    number_ranges,
    probability,
    refusals,
    subtype_words,
    threshold_origin,
    verdict,
    volume,
)
from ichor.results.case import Case
from ichor.results.sides import Side

__all__ = [
    "LIMITS",
    "NOTHING_ASSESSED",
    "ascii_text",
    "call",
    "conclusion",
    "inputs_notices",
    "model_sentence",
    "side_words",
]

LIMITS = (
    "Research software, not a medical device: every image is to be read by a physician.",
    "A negative result excludes nothing: bleeds are missed, small and isodense ones most of all.",
)
"""Stand in every report."""

NOTHING_ASSESSED = "Nothing is said of hemorrhage: neither that there is one, nor that there is none."
"""Stands where an input could not be assessed."""

_SIGNS = str.maketrans(
    {
        "\u2013": "-",
        "\u2014": "-",
        "\u2212": "-",
        "\u2192": "->",
        "\u00d7": "x",
        "\u2264": "<=",
        "\u2265": ">=",
    }
    | {
        "\u00b0": " degrees",
        "\u2019": "'",
        "\u2018": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2026": "...",
        "\u00b1": "+/-",
    }
)


def ascii_text(text: str) -> str:
    """Write a text in ASCII: signs by their like, letters without their marks, anything else as ``?``."""
    plain = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    return letters.encode("ascii", "replace").decode("ascii")


def call(case: Case) -> str:
    """Return what a study comes to: ``suspected``, ``undetermined``, ``not_detected``, or ``not_attempted``."""
    findings = case.findings
    if not findings.assessable or findings.probabilities.any is None:
        return "not_attempted"
    if findings.positive.any:
        return "suspected"
    return "undetermined" if findings.uncertain or findings.positive.any is None else "not_detected"


def conclusion(case: Case) -> list[str]:
    """Say in sentences what was found, by what threshold, and how sure that is."""
    findings = case.findings
    first = verdict(findings)
    out = [f"{first.headline}{', uncertain' if findings.uncertain else ''}. {first.sentence}"]
    if findings.assessable:
        out.append(threshold_origin(findings, case.card))
        out.append(findings.uncertainty or "")
        out.append(_subtypes(case))
        out.append(_regions(case))
        out.append(_slices(case))
    return [ascii_text(sentence) for sentence in out if sentence]


def inputs_notices(case: Case) -> list[str]:
    """Say what was noticed of the input; the reasons of a refusal stand in the conclusion."""
    reasons = refusals(case.findings)
    shown = [w for w in case.notices if w not in reasons]
    return [ascii_text(f"Noticed of the input: {w.message} [{w.code}]") for w in shown]


def model_sentence(case: Case) -> str:
    """Name the model and its hash."""
    identity = case.identity
    return f"Model {identity.bundle_name} {identity.bundle_version}, sha256 {identity.bundle_sha256}."


def side_words(side: Side | None) -> str:
    """Name a side; empty where it is not known."""
    return {"left": "left", "right": "right", "both": "left and right", None: ""}[side]


def _subtypes(case: Case) -> str:
    values = case.findings.probabilities
    named = [
        f"{s.display.lower()} {probability(p)}"
        for s in SUBTYPES
        if (p := getattr(values, s.name)) is not None
    ]
    if not named:
        return ""
    doubted = [s.display.lower() for s in SUBTYPES if case.card and s.name in case.card.untrusted_labels]
    text = f"Probabilities of subtypes: {', '.join(named)}."
    if case.findings.positive.any and case.findings.subtypes:
        text = f"Likely type: {subtype_words(case.findings)}. {text}"
    if doubted:
        text += f" Not to be relied on, for want of measured cases: {', '.join(doubted)}."
    return text


def _regions(case: Case) -> str:
    findings = case.findings
    n = len(findings.regions)
    if not n:
        return "No region was outlined."
    total = f", {volume(findings.volume_ml)} in all" if findings.volume_ml is not None else ""
    return f"{n} {'region' if n == 1 else 'regions'} of suspected blood{total}."


def _slices(case: Case) -> str:
    found = suspicious_slices(case.findings)
    if not found:
        return ""
    n = case.findings.n_slices
    return f"Suspicious slices, counted from the base of the skull: {number_ranges(found)} of {n}."
