"""Exams and pictures that a data set holds twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ichor.datasets.duplicates import ALIKE, SAME, DuplicatePair, duplicate_pairs
from ichor.exploring.survey import Survey

__all__ = ["Duplicate", "find_duplicates"]

_EXAM_BITS = 8
_EXAM_SAME = 0.97
"""Slices of different heads, cut to the head, correlate up to 0.955 in CT-ICH; one stored anew, above this."""
_EXAM_LEAST_SLICES = 3


@dataclass(frozen=True)
class Duplicate:
    """Two exams, or two pictures, that are one.

    Attributes
    ----------
    first, second
        Their pseudonyms.
    kind
        ``equal`` pixel by pixel; ``copy``: the same image, resized, mirrored or windowed anew; ``alike``: perhaps
        neighbouring slices of one head.
    correlation
        Of the best pair of slices.
    slices
        How many slices of the first have a duplicate in the second.
    best
        The slice of either that is shown.
    form
        How one lies against the other: empty, or mirrored, turned.
    labels_differ
        Whether their labels contradict each other.
    """

    first: str
    second: str
    kind: Literal["equal", "copy", "alike"]
    correlation: float
    slices: int
    best: tuple[int, int]
    form: str
    labels_differ: bool


def find_duplicates(survey: Survey, pictures: bool) -> list[Duplicate]:
    """Find pictures, or exams, that are there twice; the surest first.

    Parameters
    ----------
    survey
        What was read.
    pictures
        Whether each exam is a single picture: then those that are merely alike are reported, too.
    """
    keys = {f"{k:06d}": key for k, key in enumerate(survey.compared)}
    greys = {name: survey.compared[key] for name, key in keys.items()}
    exams = {name: key[0] for name, key in keys.items()}
    if pictures:
        pairs = duplicate_pairs(greys, ALIKE)
    else:
        pairs = duplicate_pairs(greys, _EXAM_SAME, bits=_EXAM_BITS, apart=exams)
    pairs_of: dict[tuple[str, str], list[DuplicatePair]] = {}
    for pair in pairs:
        pairs_of.setdefault((exams[pair.first], exams[pair.second]), []).append(pair)
    out = []
    for (first, second), matches in pairs_of.items():
        equal = {p.first for p in matches if survey.digests[keys[p.first]] == survey.digests[keys[p.second]]}
        matched = len({p.first for p in matches})
        if not pictures and not equal and matched < _EXAM_LEAST_SLICES:
            continue  # smooth slices near the vertex look alike by chance
        best = max(matches, key=lambda p: (p.first in equal and p.exact, p.correlation))
        kind: Literal["equal", "copy", "alike"] = (
            "equal" if equal else "copy" if best.correlation >= SAME else "alike"
        )
        a, b = survey.patients[first], survey.patients[second]
        out.append(
            Duplicate(
                first,
                second,
                kind,
                best.correlation,
                matched,
                (keys[best.first][1], keys[best.second][1]),
                _form(best),
                bool(np.any((a != b) & np.isfinite(a) & np.isfinite(b))),
            )
        )
    order = {"equal": 0, "copy": 1, "alike": 2}
    return sorted(out, key=lambda c: (order[c.kind], -c.correlation))


def _form(pair: DuplicatePair) -> str:
    words = ["mirrored"] * pair.mirrored + [f"turned by {pair.turned}°"] * bool(pair.turned)
    return ", ".join(words)
