"""Where are the bleeds, measured: overlap with drawn masks, and the hottest point against boxes; prints tables.

Run from the checkout: ``python benchmarks/accuracy/locating.py RUN DATA [--cache DIR]``, with RUN a finished run of a map
model on ct-ich (``recipe.yaml`` and ``fold-k/weights.safetensors`` with ``predictions.csv``).

Each fold's network is exported to ONNX and run as ``ichor detect`` runs it; ct-ich is judged by the network that
did not see the patient. The other two sets are judged by the network that ships: head-ct-hemorrhage was in no
training; phe-sich was in all of it, so that its figures are no test. With ``--cache`` maps are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ichor.datasets.ct_ich import CtIch
from ichor.datasets.head_ct import HeadCt
from ichor.datasets.labelled import Dataset, LabelledExam
from ichor.datasets.phe_sich import PheSich
from ichor.datasets.splits import split_of
from ichor.detecting.localise import Regions, blood_map, localise
from ichor.detecting.manifest import Localisation
from ichor.detecting.scoring import slice_logits
from ichor.detecting.sessions import MapModel, open_session
from ichor.evaluating import locating as lo
from ichor.evaluating.calibration import called_across_folds, fit_calibration, specific_threshold
from ichor.evaluating.metrics import Interval
from ichor.evaluating.predictions import OutOfFold, read_predictions
from ichor.labels import LABEL_NAMES
from ichor.preparing import GridTransform, plan_grid, prepare
from ichor.training.export import export_graphs
from ichor.training.fitting import load_model
from ichor.training.recipe import Recipe
from ichor.training.run import read_recipe

RULE = Localisation()


@dataclass
class Networks:
    """The networks of a run, each exported once."""

    run: Path
    recipe: Recipe
    cache: Path

    def maps(self, part: str, dataset: Dataset, exam: LabelledExam) -> np.ndarray:
        """Return the map ``(m, 6, h, w)`` that a part's network draws of an exam, from the cache if it is there."""
        home = self._home(part)
        kept = home / f"{dataset.name}-{exam.patient}.npy"
        if not kept.exists():
            prepared = prepare(exam.exam, self.recipe.preparation)
            graph = home / "slice.onnx"
            if not graph.exists():
                network = load_model(self.recipe, self.run / part / "weights.safetensors")
                export_graphs(network, self.recipe.preparation, home, [prepared.stack[:8]])
            np.save(kept, np.asarray(MapModel(open_session(graph)).predict(prepared.stack).maps, np.float16))
        return np.load(kept).astype(np.float32)

    def _home(self, part: str) -> Path:
        what = self.recipe.model_dump_json().encode() + (self.run / part / "weights.safetensors").read_bytes()
        home = self.cache / f"{part}-{hashlib.sha256(what).hexdigest()[:12]}"
        home.mkdir(parents=True, exist_ok=True)
        return home


@dataclass(frozen=True)
class Prediction:
    """An exam with its map and its regions."""

    exam: LabelledExam
    transform: GridTransform
    maps: np.ndarray
    regions: Regions

    @classmethod
    def of(cls, exam: LabelledExam, maps: np.ndarray, recipe: Recipe) -> Prediction:
        """Find the regions."""
        transform = plan_grid(exam.exam.volume, exam.exam.geometry, recipe.preparation.grid)
        return cls(exam, transform, maps, localise(maps, exam.exam.volume, transform, RULE))

    def planes(self, slices: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the map on native slices as it is, and with nothing but what is within the skull and like blood."""
        any_map = np.asarray(1 / (1 + np.exp(-self.maps[:, 0])), np.float32)
        raw = self.transform.grid_to_native(any_map, slices)
        clean = np.zeros_like(raw)
        wanted, kept = blood_map(any_map, self.exam.exam.volume, self.transform, RULE)
        for place, k in enumerate(slices):
            if k in wanted:
                clean[place] = kept[list(wanted).index(k)]
        cold = clean.max(axis=(1, 2)) == 0
        clean[cold] = raw[cold]
        return raw, clean


def region_truths(dataset: CtIch, patient: str, found: Regions) -> Iterator[tuple[dict[str, float], str]]:
    """Yield the probabilities of each region that lies in boxes to 30 % and more, with the subtype of most of these."""
    for number, region in enumerate(found.regions, start=1):
        counts, total = np.zeros(len(LABEL_NAMES) + 1), 0
        for k in region.slices:
            own = found.mask[k] == number
            total += own.sum()
            for subtype, (x0, y0, x1, y1) in dataset.boxes(patient, k):
                counts[subtype] += own[max(0, int(y0)) : int(y1) + 2, max(0, int(x0)) : int(x1) + 2].sum()
        best = int(counts[1 : len(LABEL_NAMES)].argmax()) + 1
        if counts[best] >= 0.3 * total:
            yield region.probabilities, LABEL_NAMES[best]


def row(name: str, interval: Interval, unit: str) -> str:
    """Return a line of the table."""
    who = (
        f"{interval.patients} patients"
        if unit != "pictures"
        else f"{interval.patients} groups of near-duplicates"
    )
    return f"| {name} | {interval.value:.3f} | {interval.low:.3f} to {interval.high:.3f} | {interval.n} {unit}, {who} |"


def ct_ich(networks: Networks, dataset: CtIch, oof: OutOfFold) -> Iterator[str]:
    """Measure out of fold."""
    called = called_across_folds(oof, "slice", specific_threshold)
    parts = dict(zip(oof.patients.tolist(), oof.folds.tolist(), strict=True))
    drawn: list[lo.Overlap] = []
    some: list[tuple[lo.Point, lo.Point, bool, np.ndarray]] = []
    false_ml, in_boxes = [], [0.0, 0.0]
    subtypes: list[tuple[str, dict[str, float], str]] = []
    for patient in dataset.patients():
        exam = dataset.load(patient)
        judged = Prediction.of(exam, networks.maps(f"fold-{parts[patient]}", dataset, exam), networks.recipe)
        mask, labels = judged.regions.mask, exam.labels
        for k in range(len(labels)):
            truth = dataset.hand_mask(patient, k)
            if truth is not None:
                drawn.append(lo.overlap(patient, mask[k] > 0, truth))
        boxes = [[b for _, b in dataset.boxes(patient, k)] for k in range(len(labels))]
        boxed = [k for k, some in enumerate(boxes) if some and labels[k, 0]]
        if not labels[:, 0].any():
            false_ml.append(judged.regions.volume_ml or 0.0)
        if not boxed:
            continue
        subtypes += [(patient, *pair) for pair in region_truths(dataset, patient, judged.regions)]
        detected = called[oof.patients == patient]
        raw, clean = judged.planes(boxed)
        for k, a, b in zip(boxed, raw, clean, strict=True):
            both = [lo.hottest_point(patient, plane, boxes[k]) for plane in (a, b)]
            some.append((both[0], both[1], bool(detected[k]), labels[k]))
            within = np.zeros(mask[k].shape, bool)
            for x0, y0, x1, y1 in boxes[k]:
                within[max(0, int(y0)) : int(y1) + 2, max(0, int(x0)) : int(x1) + 2] = True
            in_boxes[0] += float(((mask[k] > 0) & within).sum())
            in_boxes[1] += float((mask[k] > 0).sum())
    yield row("Dice on hand masks, pooled", lo.pooled_dice(drawn), "slices")
    yield row("Dice on hand masks, mean of slices", lo.mean_dice(drawn), "slices")
    for patient in sorted({o.patient for o in drawn}):
        own = [o for o in drawn if o.patient == patient]
        yield f"| of these, patient {patient}, pooled | {lo.pooled_dice(own).value:.3f} |  | {len(own)} slices |"
    for title, place in (("the raw map's", 0), ("the blood map's", 1)):
        yield row(
            f"{title} hottest point in a box, detected slices",
            lo.pointing_accuracy([p[place] for p in some if p[2]]),
            "slices",
        )
        yield row(
            f"{title} hottest point in a box, all boxed slices",
            lo.pointing_accuracy([p[place] for p in some]),
            "slices",
        )
    for j, label in enumerate(LABEL_NAMES[1:], start=1):
        own = [p[1] for p in some if p[2] and p[3][j] == 1]
        if own:
            yield row(
                f"the same, blood map, detected slices with {label}", lo.pointing_accuracy(own), "slices"
            )
    chance = float(np.mean([p[1].area for p in some]))
    yield f"| share of a slice that boxes cover (a random point's hit) | {chance:.3f} |  | {len(some)} slices |"
    share = in_boxes[0] / max(1.0, in_boxes[1])
    yield f"| outlined pixels of boxed slices that lie in a box | {share:.3f} |  | {len(some)} slices |"
    outlined = np.array(false_ml)
    right = [max(p, key=lambda name: p[name]) == truth for _, p, truth in subtypes]
    top = np.mean([max(p.values()) for _, p, _ in subtypes])
    loss = -np.mean([np.log(max(p[truth], 1e-4)) for _, p, truth in subtypes])
    yield (
        f"| regions in boxes of a known subtype whose most probable subtype is right | {np.mean(right):.3f} |  | "
        f"{len(right)} regions, {len({s[0] for s in subtypes})} patients; mean probability of the first {top:.2f}, "
        f"log loss {loss:.2f} |"
    )
    yield (
        f"| exams without hemorrhage with an outlined region | {np.mean(outlined > 0):.3f} |  | "
        f"{len(outlined)} exams, mean {outlined.mean():.2f} mL, largest {outlined.max():.2f} mL |"
    )


def head_ct(networks: Networks, dataset: HeadCt) -> Iterator[str]:
    """Measure on pictures with coarse masks."""
    groups = split_of(dataset, 5, 1).groups
    found = []
    for patient in dataset.patients():
        if dataset.mask(patient) is None:
            continue
        exam = dataset.load(patient)
        judged = Prediction.of(exam, networks.maps(networks.recipe.ships, dataset, exam), networks.recipe)
        found.append(
            replace(
                lo.overlap(patient, judged.regions.mask[0] > 0, exam.blood[0] > 0),
                patient=groups.get(patient, patient),
            )
        )
    yield row("Dice on coarse masks, pooled", lo.pooled_dice(found), "pictures")
    yield row("Dice on coarse masks, mean of pictures", lo.mean_dice(found), "pictures")
    dice = np.array([f.dice for f in found])
    yield f"| Dice on coarse masks, median of pictures | {np.median(dice):.3f} |  | {len(dice)} pictures |"
    yield f"| pictures where nothing was outlined | {np.mean([f.outlined == 0 for f in found]):.3f} |  | {len(dice)} |"


def phe_sich(networks: Networks, dataset: PheSich, oof: OutOfFold) -> Iterator[str]:
    """Measure on boxes that the network was trained on."""
    recipe = networks.recipe
    calibration = fit_calibration(oof.logits, oof.labels)
    threshold = specific_threshold(oof.labels[:, 0], calibration.probabilities(oof.logits)[:, 0])
    found: list[tuple[lo.Point, lo.Point, bool]] = []
    for patient in dataset.patients():
        exam = dataset.load(patient)
        boxes = [dataset.boxes(patient, k) for k in range(exam.exam.n_slices)]
        boxed = [k for k, some in enumerate(boxes) if some]
        judged = Prediction.of(exam, networks.maps(networks.recipe.ships, dataset, exam), recipe)
        logits = slice_logits(
            judged.maps,
            judged.transform.distances,
            weights=recipe.slice_rule.weights,
            pixels=recipe.slice_rule.pixels,
            max_gap_mm=recipe.preparation.max_gap_mm,
        )
        p = calibration.probabilities(judged.transform.grid_values_to_native(logits))[:, 0]
        raw, clean = judged.planes(boxed)
        for k, a, b in zip(boxed, raw, clean, strict=True):
            both = [lo.hottest_point(patient, plane, boxes[k]) for plane in (a, b)]
            found.append((both[0], both[1], bool(p[k] >= threshold)))
    for title, place in (("the raw map's", 0), ("the blood map's", 1)):
        yield row(
            f"{title} hottest point in a box, detected slices",
            lo.pointing_accuracy([f[place] for f in found if f[2]]),
            "slices",
        )
        yield row(
            f"{title} hottest point in a box, all boxed slices",
            lo.pointing_accuracy([f[place] for f in found]),
            "slices",
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        networks = Networks(chosen.run, read_recipe(chosen.run), chosen.cache or Path(scratch))
        target = CtIch(chosen.data / "ct-ich")
        oof = read_predictions(chosen.run, target)
        tables = {
            "ct-ich, out of fold": lambda: ct_ich(networks, target, oof),
            "head-ct-hemorrhage, never trained on": lambda: head_ct(
                networks, HeadCt(chosen.data / "head-ct-hemorrhage")
            ),
            "phe-sich, trained on: no test": lambda: phe_sich(
                networks, PheSich(chosen.data / "phe-sich"), oof
            ),
        }
        for title, lines in tables.items():
            print(
                f"\n{title}\n\n| figure | value | 95 % interval | n |\n| --- | --- | --- | --- |", flush=True
            )
            for line in lines():
                print(line, flush=True)


if __name__ == "__main__":
    main()
