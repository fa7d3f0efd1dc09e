"""Where are the bleeds, measured: overlap with drawn masks, and the map's maximum against boxes.

Usage: python -m benchmarks.accuracy.locating RUN [--data DIR] [--cache DIR] [--exams N] [--reach MM]

RUN is a finished run of a map model on ct-ich, with its weights. Each fold's network is exported to ONNX and run as
``ichor detect`` runs it; an exam of ct-ich is predicted by the network that did not see the patient. The other two
sets are predicted by the network that ships: head-ct-hemorrhage was in no training; where phe-sich was in it, its
figures are no test. With ``--cache`` maps are kept.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared import tables
from benchmarks.shared.arguments import parser
from ichor.datasets.ct_ich import CtIch
from ichor.datasets.head_ct import HeadCt
from ichor.datasets.labelled import Dataset, LabelledExam
from ichor.datasets.phe_sich import PheSich
from ichor.datasets.splits import split_of
from ichor.detecting.localise import Regions, blood_map, localise
from ichor.detecting.manifest import Localisation, scaled_probabilities
from ichor.detecting.rules import ExamRule, ScoringRules
from ichor.detecting.scoring import Prediction, score
from ichor.detecting.sessions import MapModel, open_session
from ichor.evaluating import locating as lo
from ichor.evaluating.calibration import called_across_folds, fit_calibration, specific_threshold
from ichor.evaluating.metrics import Interval
from ichor.evaluating.predictions import OutOfFold, read_predictions
from ichor.labels import LABEL_NAMES
from ichor.preparing import GridTransform, plan_grid, prepare
from ichor.training.describing import OUTLINES
from ichor.training.export import export_graphs
from ichor.training.fitting import load_model
from ichor.training.recipe import Recipe
from ichor.training.run_folder import read_recipe

RULE = OUTLINES.model_copy(update={"subtypes": "maps"})  # by shape: benchmarks.accuracy.region_subtypes
REACH = f"how far outlines go on beyond the map's edge; {RULE.reach_mm:g} ships, 0 is the edge alone"
Floats = NDArray[np.float32]


@dataclass
class Networks:
    """The networks of a run, each exported once."""

    run: Path
    recipe: Recipe
    cache: Path
    rule: Localisation = RULE

    def maps(self, part: str, dataset: Dataset, exam: LabelledExam) -> Floats:
        """Return the map ``(m, 6, h, w)`` that a part's network draws of an exam, from the cache if it is there."""
        home = self._home(part)
        kept = home / f"{dataset.name}-{exam.patient}.npy"
        if not kept.exists():
            prepared = prepare(exam.exam, self.recipe.preparation)
            graph = home / "slice.onnx"
            if not graph.exists():
                network = load_model(self.recipe, self.run / part / "weights.safetensors")
                export_graphs(self.recipe, network, home, [prepared.stack[:8]])
            np.save(kept, np.asarray(MapModel(open_session(graph)).predict(prepared.stack).maps, np.float16))
        return np.asarray(np.load(kept), np.float32)

    def _home(self, part: str) -> Path:
        what = self.recipe.model_dump_json().encode() + (self.run / part / "weights.safetensors").read_bytes()
        home = self.cache / f"{part}-{hashlib.sha256(what).hexdigest()[:12]}"
        home.mkdir(parents=True, exist_ok=True)
        return home


@dataclass(frozen=True)
class Located:
    """An exam with its map and its regions."""

    exam: LabelledExam
    transform: GridTransform
    maps: Floats
    rule: Localisation
    regions: Regions

    @classmethod
    def of(cls, exam: LabelledExam, maps: Floats, networks: Networks) -> Located:
        """Find the regions."""
        transform = plan_grid(exam.exam.volume, exam.exam.geometry, networks.recipe.preparation.grid)
        regions = localise(maps, exam.exam.volume, transform, networks.rule)
        return cls(exam, transform, maps, networks.rule, regions)

    def planes(self, slices: list[int]) -> tuple[Floats, Floats]:
        """Return the map on native slices as it is, and masked to what is within the skull and as dense as blood."""
        any_map = np.asarray(1 / (1 + np.exp(-self.maps[:, 0])), np.float32)
        raw = self.transform.grid_to_native(any_map, slices)
        clean = np.zeros_like(raw)
        which, kept = blood_map(any_map, self.exam.exam.volume, self.transform, self.rule)
        for place, k in enumerate(slices):
            if k in which:
                clean[place] = kept[list(which).index(k)]
        empty = clean.max(axis=(1, 2)) == 0
        clean[empty] = raw[empty]
        return raw, clean


def region_truths(
    dataset: CtIch, patient: str, found: Regions
) -> Iterator[tuple[int, dict[str, float], str]]:
    """Yield number, probabilities and true subtype of each region that lies in boxes to 30 % and more: that of most."""
    for number, region in enumerate(found.regions, start=1):
        counts, total = np.zeros(len(LABEL_NAMES) + 1), 0
        for k in region.slices:
            own = found.mask[k] == number
            total += own.sum()
            for subtype, (x0, y0, x1, y1) in dataset.boxes(patient, k):
                counts[subtype] += own[max(0, int(y0)) : int(y1) + 2, max(0, int(x0)) : int(x1) + 2].sum()
        best = int(counts[1 : len(LABEL_NAMES)].argmax()) + 1
        if counts[best] >= 0.3 * total:
            yield number, region.probabilities, LABEL_NAMES[best]


def row(name: str, interval: Interval, unit: str) -> None:
    """Print a figure."""
    drawn = "groups of near-duplicates" if unit == "pictures" else "patients"
    ends = f"{interval.low:.3f} to {interval.high:.3f}"
    tables.row(name, f"{interval.value:.3f}", ends, f"{interval.n} {unit}, {interval.patients} {drawn}")


@dataclass(frozen=True)
class Pointed:
    """One slice with boxes: the maximum of the raw map and of the blood map."""

    raw: lo.Point
    blood: lo.Point
    detected: bool
    labels: Floats


@dataclass
class CtIchFound:
    """What was found on ct-ich, gathered over its exams."""

    drawn: list[lo.Overlap] = field(default_factory=list)
    pointed: list[Pointed] = field(default_factory=list)
    false_ml: list[float] = field(default_factory=list)
    """Outlined volume of each exam without hemorrhage."""
    subtypes: list[tuple[str, dict[str, float], str]] = field(default_factory=list)
    """Patient, a region's probabilities, and its subtype by the boxes."""
    pixels_in_boxes: int = 0
    pixels: int = 0
    """Outlined in slices with boxes."""


def ct_ich(networks: Networks, dataset: CtIch, oof: OutOfFold, exams: int | None) -> None:
    """Measure out of fold."""
    called = called_across_folds(oof, "slice", specific_threshold)
    parts = dict(zip(oof.patients.tolist(), oof.folds.tolist(), strict=True))
    found = CtIchFound()
    for patient in list(dataset.patients())[:exams]:
        exam = dataset.load(patient)
        maps = networks.maps(f"fold-{parts[patient]}", dataset, exam)
        located = Located.of(exam, maps, networks)
        compare_exam(found, dataset, located, called[oof.patients == patient])
    print_overlaps(found)
    print_points([(p.raw, p.blood, p.detected) for p in found.pointed])
    print_subtypes_and_false_regions(found)


def compare_exam(found: CtIchFound, dataset: CtIch, located: Located, detected: NDArray[np.generic]) -> None:
    """Compare one exam's regions with its boxes and hand masks; ``detected`` ``(n,)`` are its positive slices."""
    patient, mask, labels = located.exam.patient, located.regions.mask, located.exam.labels
    for k in range(len(labels)):
        truth = dataset.hand_mask(patient, k)
        if truth is not None:
            found.drawn.append(lo.overlap(patient, mask[k] > 0, truth))
    boxes = [[b for _, b in dataset.boxes(patient, k)] for k in range(len(labels))]
    boxed = [k for k, some in enumerate(boxes) if some and labels[k, 0]]
    if not labels[:, 0].any():
        found.false_ml.append(located.regions.volume_ml or 0.0)
    if not boxed:
        return
    found.subtypes += [
        (patient, p, truth) for _, p, truth in region_truths(dataset, patient, located.regions)
    ]
    raw, clean = located.planes(boxed)
    for k, a, b in zip(boxed, raw, clean, strict=True):
        points = [lo.peak_point(patient, plane, boxes[k]) for plane in (a, b)]
        found.pointed.append(Pointed(points[0], points[1], bool(detected[k]), labels[k]))
        within = np.zeros(mask[k].shape, bool)
        for x0, y0, x1, y1 in boxes[k]:
            within[max(0, int(y0)) : int(y1) + 2, max(0, int(x0)) : int(x1) + 2] = True
        found.pixels_in_boxes += int(((mask[k] > 0) & within).sum())
        found.pixels += int((mask[k] > 0).sum())


def print_overlaps(found: CtIchFound) -> None:
    """Print Dice on the hand masks."""
    if not found.drawn:
        return
    row("Dice on hand masks, pooled", lo.pooled_dice(found.drawn), "slices")
    row("Dice on hand masks, mean of slices", lo.mean_dice(found.drawn), "slices")
    for patient in sorted({o.patient for o in found.drawn}):
        own = [o for o in found.drawn if o.patient == patient]
        name = f"of these, patient {patient}, pooled"
        tables.row(name, f"{lo.pooled_dice(own).value:.3f}", None, f"{len(own)} slices")


def print_points(points: list[tuple[lo.Point, lo.Point, bool]]) -> None:
    """Print how often the maximum of a map lies in a box: of the raw map, then of the blood map."""
    for place, title in enumerate(("the raw map's", "the blood map's")):
        for which, some in (("detected", [p for p in points if p[2]]), ("all boxed", points)):
            if some:
                found = [(raw, blood)[place] for raw, blood, _ in some]
                row(f"{title} maximum in a box, {which} slices", lo.pointing_accuracy(found), "slices")


def print_subtypes_and_false_regions(found: CtIchFound) -> None:
    """Print the rest of ct-ich's table."""
    for j, label in enumerate(LABEL_NAMES[1:], start=1):
        own = [p.blood for p in found.pointed if p.detected and p.labels[j] == 1]
        if own:
            row(f"the same, blood map, detected slices with {label}", lo.pointing_accuracy(own), "slices")
    slices = f"{len(found.pointed)} slices"
    if found.pointed:
        chance = float(np.mean([p.blood.area for p in found.pointed]))
        tables.row("share of a slice that boxes cover (a random point's hit)", f"{chance:.3f}", None, slices)
        share = found.pixels_in_boxes / max(1, found.pixels)
        tables.row("outlined pixels of boxed slices that lie in a box", f"{share:.3f}", None, slices)
    if found.subtypes:
        right = [max(p, key=lambda name: p[name]) == truth for _, p, truth in found.subtypes]
        top = np.mean([max(p.values()) for _, p, _ in found.subtypes])
        loss = -np.mean([np.log(max(p[truth], 1e-4)) for _, p, truth in found.subtypes])
        n = f"{len(right)} regions, {len({s[0] for s in found.subtypes})} patients; "
        n += f"mean probability of the first {top:.2f}, log loss {loss:.2f}"
        name = "regions in boxes of a known subtype whose most probable subtype is right"
        tables.row(name, f"{np.mean(right):.3f}", None, n)
    if found.false_ml:
        outlined = np.array(found.false_ml)
        n = f"{len(outlined)} exams, mean {outlined.mean():.2f} mL, largest {outlined.max():.2f} mL"
        name = "exams without hemorrhage with an outlined region"
        tables.row(name, f"{np.mean(outlined > 0):.3f}", None, n)


def head_ct(networks: Networks, dataset: HeadCt, exams: int | None) -> None:
    """Measure on pictures with coarse masks."""
    groups = split_of(dataset, 5, 1).groups
    found = []
    for patient in [p for p in dataset.patients() if dataset.mask(p) is not None][:exams]:
        exam = dataset.load(patient)
        if exam.blood is None:
            raise SystemExit(f"{dataset.name}: found no mask of a picture; expected one")
        located = Located.of(exam, networks.maps(networks.recipe.ships, dataset, exam), networks)
        one = lo.overlap(patient, located.regions.mask[0] > 0, exam.blood[0] > 0)
        found.append(replace(one, patient=groups.get(patient, patient)))
    row("Dice on coarse masks, pooled", lo.pooled_dice(found), "pictures")
    row("Dice on coarse masks, mean of pictures", lo.mean_dice(found), "pictures")
    n, median = f"{len(found)} pictures", float(np.median([f.dice for f in found]))
    tables.row("Dice on coarse masks, median of pictures", f"{median:.3f}", None, n)
    empty = float(np.mean([f.outlined == 0 for f in found]))
    tables.row("pictures where nothing was outlined", f"{empty:.3f}", None, n)


def phe_sich(networks: Networks, dataset: PheSich, oof: OutOfFold, exams: int | None) -> None:
    """Measure on boxes that the network was trained on."""
    recipe = networks.recipe
    rules = ScoringRules(recipe.slice_rule, ExamRule(), recipe.preparation.max_gap_mm)
    calibration = fit_calibration(oof.logits, oof.labels)
    threshold = specific_threshold(oof.labels[:, 0], scaled_probabilities(oof.logits, calibration)[:, 0])
    found: list[tuple[lo.Point, lo.Point, bool]] = []
    for patient in list(dataset.patients())[:exams]:
        exam = dataset.load(patient)
        boxes = [dataset.boxes(patient, k) for k in range(exam.exam.n_slices)]
        boxed = [k for k, some in enumerate(boxes) if some]
        located = Located.of(exam, networks.maps(recipe.ships, dataset, exam), networks)
        maps = located.maps
        scores = score(Prediction(maps, maps.max(axis=(2, 3))), located.transform.slice_distances, rules)
        p = scaled_probabilities(scores.native, calibration)[:, 0]
        raw, clean = located.planes(boxed)
        for k, a, b in zip(boxed, raw, clean, strict=True):
            points = [lo.peak_point(patient, plane, boxes[k]) for plane in (a, b)]
            found.append((points[0], points[1], bool(p[k] >= threshold)))
    print_points(found)


def main() -> None:
    arguments = parser(__doc__, run=True)
    arguments.add_argument("--cache", type=Path, help="maps and graphs are kept here")
    arguments.add_argument("--exams", type=int, help="of each data set, the first so many")
    arguments.add_argument("--reach", type=float, default=RULE.reach_mm, metavar="MM", help=REACH)
    options = arguments.parse_args()
    rule = RULE.model_copy(update={"reach_mm": options.reach})
    with tempfile.TemporaryDirectory() as scratch:
        networks = Networks(options.run, read_recipe(options.run), options.cache or Path(scratch), rule)
        data, exams = options.data, options.exams
        target = CtIch(data / "ct-ich")
        oof = read_predictions(options.run, target)
        head("ct-ich, out of fold")
        ct_ich(networks, target, oof, exams)
        head("head-ct-hemorrhage, never trained on")
        head_ct(networks, HeadCt(data / "head-ct-hemorrhage"), exams)
        seen = "phe-sich" in (networks.recipe.target, *networks.recipe.extra)
        head(f"phe-sich, {'trained on: no test' if seen else 'never trained on'}")
        phe_sich(networks, PheSich(data / "phe-sich"), oof, exams)


def head(title: str) -> None:
    """Print the head of a table."""
    print(f"\n{title}\n")
    tables.heading("figure", "value", "95 % interval", "n")


if __name__ == "__main__":
    main()
