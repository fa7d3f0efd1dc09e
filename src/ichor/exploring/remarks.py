"""In plain words, what of a data set's figures a person should know before training on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.duplicates import DuplicatePair, groups_of
from ichor.exploring.summary import Exploration
from ichor.exploring.survey import Survey
from ichor.labels import LABELS

__all__ = ["Remark", "remarks"]

_FEW_EXAMS = 10
_FEW_RANGES = 3
_LARGE_GROUP, _LARGE_SHARE = 6, 0.1


@dataclass(frozen=True)
class Remark:
    """A sentence; ``grave`` where results are wrong if it is not heeded."""

    text: str
    grave: bool = False


def remarks(e: Exploration) -> list[Remark]:
    """Return what a person should know, the grave first."""
    survey, things = e.survey, e.things
    out = [*_of_leakage(e), *_of_duplicates(e)]
    n, total = len(survey.exams), len(survey.patients)
    if survey.faults:
        out.append(Remark(f"{len(survey.faults)} of {survey.chosen} {things} cannot be read.", grave=True))
    repeated = [x for x in survey.exams if x.repeated]
    if repeated:
        out.append(Remark(f"{len(repeated)} exams hold a slice more than once, pixel by pixel."))
    mixed = sum(x.out_of_order for x in survey.exams)
    if mixed:
        out.append(
            Remark(
                f"The slices of {_many(mixed, 'exam')} look out of order: the head closes towards the vertex and opens "
                "again. What uses a slice's neighbours is misled.",
                grave=True,
            )
        )
    out += [Remark(f"Left out by the data set: {note}.") for note in e.notes]
    exams = np.stack(list(survey.patients.values()))
    slices = np.concatenate(list(survey.slice_labels.values()))
    out += _of_labels(exams, slices, things)
    known = int(sum(x.spacing_mm is not None for x in survey.exams))
    if known < n:
        out.append(
            Remark(
                f"Pixel spacing is unknown in {n - known} of {n} {things} read: no volumes in ml for these."
            )
        )
    steps = [x.step_mm for x in survey.exams if x.step_mm is not None]
    if steps and max(steps) > 1.5 * min(steps):
        out.append(Remark(f"The distance between slices runs from {min(steps):.2g} to {max(steps):.2g} mm."))
    out += _of_windows(survey, things)
    if survey.chosen < total:
        out.append(
            Remark(
                f"{survey.chosen} of {total} {things} were read, a sample with its share of every subtype."
            )
        )
    return sorted(out, key=lambda r: not r.grave)


def _of_leakage(e: Exploration) -> list[Remark]:
    if e.split is None:
        return []
    out = []
    torn = {kind: sum(leak.kind == kind for leak in e.leakage) for kind in ("patient", "near-duplicates")}
    if any(torn.values()):
        out.append(
            Remark(
                f"The split {e.split.name} has leakage: {_many(torn['patient'], 'patient')} and "
                f"{_many(torn['near-duplicates'], 'group')} of near-duplicates on more than one side. Deal it again.",
                grave=True,
            )
        )
    unknown, absent = e.unmatched()
    if unknown:
        out.append(Remark(f"The split names {unknown} patients that the data set does not have.", grave=True))
    if absent:
        out.append(Remark(f"{absent} {e.things} are not in the split."))
    return out


def _of_duplicates(e: Exploration) -> list[Remark]:
    out = []
    n = {kind: sum(c.kind == kind for c in e.duplicates) for kind in ("equal", "copy", "alike")}
    if n["equal"] + n["copy"]:
        out.append(
            Remark(
                f"{_many(n['equal'] + n['copy'], 'pair')} of {e.things} are the same twice, {n['equal']} pixel by "
                f"pixel: a split must keep them together{_kept_together(e)}.",
                grave=True,
            )
        )
    if n["alike"]:
        more = "more " if n["equal"] + n["copy"] else ""
        out.append(
            Remark(f"{_many(n['alike'], f'{more}pair')} look alike, as neighbouring slices of one head do.")
        )
    names = list(e.survey.patients)
    pairs = [DuplicatePair(c.first, c.second, c.correlation, False, False) for c in e.duplicates]
    largest = Counter(groups_of(names, pairs).values()).most_common(1)[0][1]
    if e.pictures and largest > max(_LARGE_GROUP, _LARGE_SHARE * len(names)):
        out.append(
            Remark(
                f"One group of pictures that look alike, pair by pair, holds {largest}: folds will be uneven."
            )
        )
    differing = sum(c.labels_differ for c in e.duplicates)
    if differing:
        out.append(Remark(f"Labelled differently, though alike: {_many(differing, 'pair')}. Look at them."))
    return out


def _kept_together(e: Exploration) -> str:
    """Say which of the duplicates a split of ichor train keeps together."""
    if e.groups is None:
        return ", as those of ichor train do" if e.pictures else "; ichor train knows only patients"
    same = [(d.first, d.second) for d in e.duplicates if d.kind != "alike"]
    apart = sum(e.groups.get(first, first) != e.groups.get(second, second) for first, second in same)
    if apart:
        return f"; of {apart} the data set does not say that they belong together"
    return ", as the data set's groups do"


def _of_labels(exams: NDArray[np.float32], slices: NDArray[np.float32], things: str) -> list[Remark]:
    out = []
    for labels, what in ((exams, things), (slices, "slices")):
        wrong = int(((labels[:, 0] == 0) & (labels[:, 1:] == 1).any(axis=1)).sum())
        if wrong:
            out.append(
                Remark(f"{wrong} {what} have a subtype but no hemorrhage: the labels are wrong.", grave=True)
            )
        bare = int(((labels[:, 0] == 1) & (labels[:, 1:] == 0).all(axis=1)).sum())
        if bare:
            out.append(Remark(f"{bare} {what} have a hemorrhage but none of the five subtypes."))
        if what == "pictures":
            break  # a picture is its slice
    known = exams[~np.isnan(exams[:, 0]), 0]
    if len(known) and len(set(known.tolist())) == 1:
        side = "with" if known[0] else "without"
        out.append(
            Remark(
                f"All {things} are {side} hemorrhage: together with other data, a network may learn to recognise the "
                "source instead of the bleed.",
                grave=True,
            )
        )
    few = [
        f"{label.display.lower()} {int((exams[:, j] == 1).sum())}"
        for j, label in enumerate(LABELS)
        if 0 < (exams[:, j] == 1).sum() < _FEW_EXAMS
    ]
    if few:
        out.append(
            Remark(
                f"Labels with fewer than {_FEW_EXAMS} {things}: {', '.join(few)}. Their intervals will be wide."
            )
        )
    if np.isnan(exams[exams[:, 0] == 1, 1:]).all(axis=1).any():
        n = int(np.isnan(exams[exams[:, 0] == 1, 1:]).all(axis=1).sum())
        out.append(Remark(f"No subtype is labelled for {n} {things} with hemorrhage."))
    return out


def _of_windows(survey: Survey, things: str) -> list[Remark]:
    out = []
    narrow = sorted({x.hu_range for x in survey.exams if x.hu_range[0] > -500 or x.hu_range[1] < 500})
    for low, high in narrow if len(narrow) <= _FEW_RANGES else ():
        out.append(
            Remark(f"The source is cut to {low:.0f} to {high:.0f} HU: windows beyond that show nothing more.")
        )
    if len(narrow) > _FEW_RANGES:
        widths = [high - low for low, high in narrow]
        out.append(
            Remark(
                f"The {things} are cut to {len(narrow)} different ranges of HU, {min(widths):.0f} to "
                f"{max(widths):.0f} HU wide: windows beyond its own show nothing more of one."
            )
        )
    n = Counter(x.hu_confidence for x in survey.exams)
    if unsure := n["guessed"] + n["unknown"]:
        out.append(
            Remark(
                f"Hounsfield units are not sure in {unsure} of {len(survey.exams)} {things} read: the window is "
                f"guessed in {n['guessed']} and unknown in {n['unknown']}."
            )
        )
    return out


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
