"""The figures of a data set, and in plain words what of them a person should know before training on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.duplicates import DuplicatePair, groups_of
from ichor.datasets.labelled import DatasetInfo
from ichor.exploring.duplicates import Copy, Leak, Sides
from ichor.exploring.survey import HU_LOW, SIDES, ExamFacts, Gathered
from ichor.labels import LABELS
from ichor.preparing.windows import WINDOWS, Window

__all__ = ["Exploration", "Remark", "co_occurrence", "counts", "measures", "remarks", "window_shares"]

_FEW_EXAMS = 10
_LARGE_GROUP, _LARGE_SHARE = 6, 0.1
_MEASURES: tuple[tuple[str, str, Callable[[ExamFacts], float | None]], ...] = (
    ("spacing_mm", "Pixel spacing, mm", lambda e: e.spacing_mm),
    ("step_mm", "Distance between slices, mm", lambda e: e.step_mm),
    ("thickness_mm", "Slice thickness, mm", lambda e: e.traits.get("thickness_mm", e.thickness_mm)),
    ("tilt_degrees", "Gantry tilt, degrees", lambda e: e.tilt_degrees),
    ("age_years", "Age, years", lambda e: e.traits.get("age_years")),
)


@dataclass(frozen=True)
class Remark:
    """A sentence; ``grave`` where results are wrong if it is not heeded."""

    text: str
    grave: bool = False


@dataclass(frozen=True)
class Exploration:
    """Everything that the report tells.

    Attributes
    ----------
    name, info
        Of the data set.
    found, copies
        What was gathered, and what is there twice.
    split, leaks
        A split that was given, and what is wrong with it; None and empty without.
    notes
        What the data set itself left out.
    named
        What stands for a patient in the report.
    seconds
        That all this took.
    """

    name: str
    info: DatasetInfo
    found: Gathered
    copies: list[Copy]
    split: Sides | None
    leaks: list[Leak]
    notes: list[str]
    named: Callable[[str], str]
    seconds: float

    @property
    def pictures(self) -> bool:
        """Whether every exam is a lone picture."""
        return self.info.kind == "pictures"

    @property
    def windows(self) -> dict[str, Window]:
        """Windows that this data can be shown in: of pictures, the one that they are taken to be in."""
        return {"brain": WINDOWS["brain"]} if self.pictures else WINDOWS

    @property
    def things(self) -> str:
        """What the data set is made of, in words."""
        return "pictures" if self.pictures else "exams"

    def as_json(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        found, named = self.found, self.named
        exams = np.stack(list(found.patients.values()))
        slices = np.concatenate(list(found.slice_labels.values()))
        return {
            "dataset": self.name,
            "kind": self.info.kind,
            "exams": len(exams),
            "exams_read": len(found.exams),
            "sampled": found.chosen < len(exams),
            "exams_with_counted_slices": len(found.slice_labels),
            "slices": len(slices),
            "remarks": [{"text": r.text, "grave": r.grave} for r in remarks(self)],
            "labels_of_exams": counts(exams),
            "labels_of_slices": counts(slices),
            "co_occurrence_of_exams": co_occurrence(exams).tolist(),
            "co_occurrence_of_slices": co_occurrence(slices).tolist(),
            "slices_per_exam": [
                {"exam": named(e.patient), "slices": len(e.labels), **_by_side(e.labels)} for e in found.exams
            ],
            "measures": {
                key: _spread(values, len(found.exams)) for key, (_, values) in measures(found).items()
            },
            "rows_and_columns": _shapes(found),
            "windows": window_shares(found, self.windows),
            "unreadable": [{"exam": named(f.patient), "why": f.why} for f in found.faults],
            "slices_repeated_within_an_exam": {
                named(e.patient): e.repeated for e in found.exams if e.repeated
            },
            "out_of_order": [named(e.patient) for e in found.exams if e.out_of_order],
            "left_out_by_the_data_set": self.notes,
            "copies": [
                {
                    "first": named(c.first),
                    "second": named(c.second),
                    "kind": c.kind,
                    "correlation": round(c.correlation, 4),
                    "slices": c.slices,
                    "form": c.form,
                    "labels_differ": c.labels_differ,
                }
                for c in self.copies
            ],
            "split": self._split_json(),
            "seconds": round(self.seconds, 1),
        }

    def side_table(self) -> list[dict[str, Any]]:
        """Return exams and positives of each side of the split."""
        if self.split is None:
            return []
        rows = []
        for side in self.split.names:
            here = [n for n, sides in self.split.sides.items() if side in sides and n in self.found.patients]
            labels = (
                np.stack([self.found.patients[n] for n in here]) if here else np.empty((0, 6), np.float32)
            )
            rows.append(
                {"side": side, "exams": len(here), "positive": [int(n) for n in (labels == 1).sum(axis=0)]}
            )
        return rows

    def strangers(self) -> tuple[int, int]:
        """How many of the split are not in the data set, and how many of the data set not in the split."""
        if self.split is None:
            return 0, 0
        named, here = set(self.split.sides), set(self.found.patients)
        return len(named - here), len(here - named)

    def _split_json(self) -> dict[str, Any] | None:
        if self.split is None:
            return None
        unknown, absent = self.strangers()
        return {
            "name": self.split.name,
            "sides": self.side_table(),
            "not_in_data_set": unknown,
            "not_in_split": absent,
            "leaks": [
                {"what": k.what, "members": [self.named(m) for m in k.members], "sides": list(k.sides)}
                for k in self.leaks
            ],
        }


def counts(labels: NDArray[np.float32]) -> dict[str, dict[str, int]]:
    """Count a label's present, absent and unknown.

    Parameters
    ----------
    labels
        ``(n, 6)``, NaN for unknown.
    """
    return {
        label.name: {
            "present": int((labels[:, j] == 1).sum()),
            "absent": int((labels[:, j] == 0).sum()),
            "unknown": int(np.isnan(labels[:, j]).sum()),
        }
        for j, label in enumerate(LABELS)
    }


def co_occurrence(labels: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return ``(5, 5)``: how many have both subtypes; on the diagonal, how many have the one."""
    present = (labels[:, 1:] == 1).astype(np.int64)
    return np.asarray(present.T @ present)


def measures(found: Gathered) -> dict[str, tuple[str, NDArray[np.float64]]]:
    """Return title and known values, one an exam, of each measure."""
    out = {}
    for key, title, value in _MEASURES:
        given = [value(exam) for exam in found.exams]
        out[key] = (title, np.array([v for v in given if v is not None and np.isfinite(v)], np.float64))
    return out


def window_shares(found: Gathered, windows: Mapping[str, Window] = WINDOWS) -> dict[str, dict[str, Any]]:
    """Return, for each window, the share of pixels it shows black, grey and white."""
    pixels = found.hu.sum(axis=0)
    hu = np.arange(len(pixels)) + HU_LOW
    total = max(int(pixels.sum()), 1)
    out = {}
    for name, window in windows.items():
        black = float(pixels[hu <= window.low].sum() / total)
        white = float(pixels[hu >= window.high].sum() / total)
        out[name] = {
            "level": window.level,
            "width": window.width,
            "black": round(black, 4),
            "grey": round(1 - black - white, 4),
            "white": round(white, 4),
        }
    return out


def remarks(e: Exploration) -> list[Remark]:
    """Say what a person should know, the grave first."""
    found, things = e.found, e.things
    out = [*_of_leaks(e), *_of_copies(e)]
    n, total = len(found.exams), len(found.patients)
    if found.faults:
        out.append(Remark(f"{len(found.faults)} of {found.chosen} {things} cannot be read.", grave=True))
    repeated = [x for x in found.exams if x.repeated]
    if repeated:
        out.append(Remark(f"{len(repeated)} exams hold a slice more than once, pixel by pixel."))
    mixed = sum(x.out_of_order for x in found.exams)
    if mixed:
        out.append(
            Remark(
                f"The slices of {_many(mixed, 'exam')} look out of order: the head closes towards the vertex and opens "
                "again. What uses a slice's neighbours is misled.",
                grave=True,
            )
        )
    out += [Remark(f"Left out by the data set: {note}.") for note in e.notes]
    exams = np.stack(list(found.patients.values()))
    slices = np.concatenate(list(found.slice_labels.values()))
    out += _of_labels(exams, slices, things)
    known = int(sum(x.spacing_mm is not None for x in found.exams))
    if known < n:
        out.append(
            Remark(
                f"Pixel spacing is unknown in {n - known} of {n} {things} read: no volumes in ml for these."
            )
        )
    steps = [x.step_mm for x in found.exams if x.step_mm is not None]
    if steps and max(steps) > 1.5 * min(steps):
        out.append(Remark(f"The distance between slices runs from {min(steps):.2g} to {max(steps):.2g} mm."))
    narrow = {x.hu_range for x in found.exams if x.hu_range[0] > -500 or x.hu_range[1] < 500}
    for low, high in sorted(narrow):
        out.append(
            Remark(f"The source is cut to {low:.0f} to {high:.0f} HU: windows beyond that show nothing more.")
        )
    if found.chosen < total:
        out.append(
            Remark(f"{found.chosen} of {total} {things} were read, a sample with its share of every subtype.")
        )
    return sorted(out, key=lambda r: not r.grave)


def _of_leaks(e: Exploration) -> list[Remark]:
    if e.split is None:
        return []
    out = []
    torn = {what: sum(leak.what == what for leak in e.leaks) for what in ("patient", "near-duplicates")}
    if any(torn.values()):
        out.append(
            Remark(
                f"The split {e.split.name} leaks: {_many(torn['patient'], 'patient')} and "
                f"{_many(torn['near-duplicates'], 'group')} of near-duplicates on more than one side. Deal it again.",
                grave=True,
            )
        )
    unknown, absent = e.strangers()
    if unknown:
        out.append(Remark(f"The split names {unknown} patients that the data set does not have.", grave=True))
    if absent:
        out.append(Remark(f"{absent} {e.things} are not in the split."))
    return out


def _of_copies(e: Exploration) -> list[Remark]:
    out = []
    n = {kind: sum(c.kind == kind for c in e.copies) for kind in ("equal", "copy", "alike")}
    if n["equal"] + n["copy"]:
        out.append(
            Remark(
                f"{_many(n['equal'] + n['copy'], 'pair')} of {e.things} are the same twice, {n['equal']} pixel by "
                "pixel: a split must keep them together"
                f"{', as those of ichor train do' if e.pictures else '; ichor train knows only patients'}.",
                grave=True,
            )
        )
    if n["alike"]:
        out.append(
            Remark(f"{_many(n['alike'], 'more pair')} look alike, as neighbouring slices of one head do.")
        )
    names = list(e.found.patients)
    pairs = [DuplicatePair(c.first, c.second, c.correlation, False, False) for c in e.copies]
    largest = Counter(groups_of(names, pairs).values()).most_common(1)[0][1]
    if e.pictures and largest > max(_LARGE_GROUP, _LARGE_SHARE * len(names)):
        out.append(
            Remark(
                f"One group of pictures that look alike, pair by pair, holds {largest}: folds will be uneven."
            )
        )
    differing = sum(c.labels_differ for c in e.copies)
    if differing:
        out.append(Remark(f"Labelled differently, though alike: {_many(differing, 'pair')}. Look at them."))
    return out


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
                f"All {things} are {side} hemorrhage: together with other data, a network may learn to tell the "
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
        out.append(Remark(f"No subtype is told for {n} {things} with hemorrhage."))
    return out


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _by_side(labels: NDArray[np.float32]) -> dict[str, int]:
    side = np.where(np.isnan(labels[:, 0]), 2, labels[:, 0] > 0)
    return {name: int((side == k).sum()) for k, name in enumerate(SIDES)}


def _spread(values: NDArray[np.float64], n: int) -> dict[str, Any]:
    if not len(values):
        return {"known": 0, "of": n}
    low, median, high = (round(float(v), 3) for v in np.quantile(values, (0, 0.5, 1)))
    return {"known": len(values), "of": n, "least": low, "median": median, "most": high}


def _shapes(found: Gathered) -> dict[str, int]:
    out: dict[str, int] = {}
    for exam in found.exams:
        name = f"{exam.shape[0]} x {exam.shape[1]}"
        out[name] = out.get(name, 0) + 1
    return dict(sorted(out.items(), key=lambda item: -item[1]))
