"""Does the score of a slice without a bleed show its data set? All exams of phe-sich bleed; most of ct-ich do not.

Usage: python -m benchmarks.accuracy.source_probe RUN [--data DIR] [--cache DIR] [--exams N]

A network may have learned "looks like phe-sich" for "bleeds": then slices of phe-sich without a bleed would score
higher (AUC above 0.5). Every network trained on phe-sich, also on its negative slices. They are therefore compared
with negatives of ct-ich twice: scored out of fold, as measured elsewhere (data that was trained on scores lower,
whatever its source), and scored by a network that trained on them as well, which is the fair comparison. Each fold's
network scores a fifth of phe-sich, and scores are compared less the mean of that network's ct-ich. Slices that the
smoothing along the stack connects to a positive one are left out of both. Uses the bundles that
benchmarks.robustness.acquisition exports to its cache.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.shared.arguments import parser
from benchmarks.shared.fold_bundles import fold_bundle, open_run
from benchmarks.shared.tables import heading, row
from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.detecting.bundle import load_bundle
from ichor.detecting.scoring import score
from ichor.detecting.sessions import open_model
from ichor.evaluating.metrics import bootstrap, roc_auc
from ichor.evaluating.predictions import OutOfFold, read_predictions
from ichor.preparing import prepare
from ichor.training.run_data import RunData

OTHER = "phe-sich"
Scored = tuple[int, str, float]
"""Fold of the network, patient, logit of any."""
_REACH = 2
"""Slices on either side that the rule's smoothing takes in."""


def main() -> None:
    arguments = parser(__doc__, run=True)
    arguments.add_argument("--cache", type=Path, help="RUN/robustness by default")
    arguments.add_argument("--exams", type=int, default=80, help="of phe-sich, the first so many")
    options = arguments.parse_args()
    cache = options.cache or options.run / "robustness"
    cache.mkdir(parents=True, exist_ok=True)
    run = open_run(options.run, options.data)
    target, other = (open_dataset(name, run.root) for name in (run.folder.recipe.target, OTHER))
    oof = read_predictions(run.folder.path, target)
    folds = sorted(set(oof.exam_folds.tolist()))
    own_fold = dict(zip(oof.exam_patients.tolist(), oof.exam_folds.tolist(), strict=True))
    # Each exam of the other source is scored once, by the networks in turn; each of the target by the next fold's.
    patients = sorted(other.patients())[: options.exams]
    theirs = _scored(run, other, {p: folds[k % len(folds)] for k, p in enumerate(patients)}, cache)
    trained = _scored(run, target, {p: folds[(f + 1) % len(folds)] for p, f in own_fold.items()}, cache)
    unseen = _out_of_fold(oof)
    heading("ct-ich was", "slices of ct-ich", "of phe-sich", "AUC of the score for phe-sich", "95 % interval")
    for name, ours in (("not trained on (out of fold)", unseen), ("trained on, as phe-sich was", trained)):
        means = {f: float(np.mean([s for g, _, s in ours if g == f])) for f in folds}
        both = [[(f"{k}/{p}", s - means[f]) for f, p, s in some] for k, some in enumerate((ours, theirs))]
        drawn = np.array([p for some in both for p, _ in some])
        scores = np.array([s for some in both for _, s in some])
        source = np.repeat([0.0, 1.0], [len(some) for some in both])
        i = bootstrap(roc_auc, source, scores, drawn)
        row(name, len(both[0]), len(both[1]), f"{i.value:.3f}", f"{i.low:.3f} to {i.high:.3f}")


def _out_of_fold(oof: OutOfFold) -> list[Scored]:
    found: list[Scored] = []
    for patient in np.unique(oof.patients):
        rows = oof.patients == patient
        clear = _clear(oof.labels[rows, 0])
        fold = int(oof.folds[rows][0])
        found += [(fold, str(patient), float(s)) for s in oof.logits[rows, 0][clear]]
    return found


def _clear(labels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark slices without a bleed, and without one in the slices that the smoothing takes in."""
    return np.asarray(~ndimage.binary_dilation(~(labels == 0), iterations=_REACH))


def _scored(run: RunData, dataset: Dataset, fold_of: dict[str, int], cache: Path) -> list[Scored]:
    """Score the negative slices of exams, each by one fold's network; kept in the cache."""
    path = cache / f"{dataset.name}.csv"
    known: dict[str, list[float]] = {}
    if path.is_file():
        with path.open(newline="") as file:
            for patient, logit in csv.reader(file):
                known.setdefault(patient, []).append(float(logit))
    for patient, fold in fold_of.items():
        if patient in known:
            continue
        bundle = load_bundle(fold_bundle(run, fold, cache))
        item = dataset.load(patient)
        prepared = prepare(item.exam, bundle.manifest.preparation)
        model = open_model(bundle, "cpu")
        distances, rules = prepared.transform.slice_distances, bundle.manifest.scoring_rules
        native = score(model.predict(prepared.stack), distances, rules, model.stacking).native[:, 0]
        known[patient] = native[_clear(item.labels[:, 0])].tolist()
        with path.open("a", newline="") as file:
            csv.writer(file).writerows([patient, f"{s:.5f}"] for s in known[patient])
    return [(fold, p, s) for p, fold in fold_of.items() for s in known.get(p, [])]


if __name__ == "__main__":
    main()
