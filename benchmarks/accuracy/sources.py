"""What a new hospital may expect: each source of the recipe left out of training in turn, and measured.

Usage: python -m benchmarks.accuracy.sources RECIPE --runs DIR [--data DIR] [--weights FILE]

For each of the recipe's data sets one network is trained on all the others, in DIR/without-SET (a stopped run goes on),
and predicts every patient of the set that it never saw, in HU as the set has them. Prints the areas under the ROC curve
of slices and of exams, of any hemorrhage and of the subtypes that the set labels, with 95 % intervals over patients,
and the share of slices that bleed. No threshold and no calibration is fitted. Last, the mean over the sources.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import figure, heading, row
from ichor.datasets.registry import open_dataset
from ichor.evaluating import metrics as m
from ichor.evaluating.metrics import bootstrap
from ichor.evaluating.prediction_files import read_scores, write_predictions
from ichor.evaluating.predictions import OutOfFold, joined
from ichor.labels import LABELS
from ichor.training.cross_validation import CrossValidation
from ichor.training.fitting import Start, load_model
from ichor.training.predicting import predict
from ichor.training.recipe import MixedSampling, Recipe, load_recipe
from ichor.training.run_folder import ALL, RunFolder


def main() -> None:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("recipe", help="name of a recipe, or a YAML file")
    arguments.add_argument("--runs", type=Path, required=True, help="where the networks go")
    arguments.add_argument("--weights", type=Path, help="ImageNet weights, a safetensors file")
    options = arguments.parse_args()
    recipe = load_recipe(options.recipe)
    heading("left out", "figure", "AUC", "of", "share that bleeds")
    areas = []
    for source in (recipe.target, *recipe.extra):
        run = predicted(without(recipe, source), source, options.data, options.runs, options.weights)
        areas += print_areas(source, run)
    row("mean over sources", "slice, any", f"{np.mean(areas):.3f}", f"{len(areas)} sources", "")


def without(recipe: Recipe, source: str) -> Recipe:
    """Return a recipe that trains on all sets but one; where that is the target, the next set takes its place."""
    others = [name for name in (recipe.target, *recipe.extra) if name != source]
    sampling = recipe.sampling
    if isinstance(sampling, MixedSampling):
        weights = {name: weight for name, weight in sampling.weights.items() if name in others[1:]}
        sampling = sampling.replaced(weights=weights)
    return recipe.replaced(
        name=f"{recipe.name}-without-{source}",
        target=others[0],
        extra=tuple(others[1:]),
        folded=(),
        pictures=(),
        sampling=sampling,
        ships=ALL,
        sequence=None,
    )


def predicted(recipe: Recipe, source: str, data: Path, runs: Path, weights: Path | None) -> OutOfFold:
    """Train, and predict the set that was left out."""
    folder = RunFolder(runs / f"without-{source}", recipe)
    CrossValidation(folder, data, Start(weights)).train(ALL)
    dataset = open_dataset(source, data)
    path = folder.path / source / "predictions.csv"
    if not path.is_file():
        network = load_model(recipe, folder.weights(ALL))
        path.parent.mkdir(exist_ok=True)
        write_predictions(path, list(predict(network, dataset, sorted(dataset.patients()), recipe)))
    scores = read_scores(path, recipe.family.heads[0])
    return joined(str(path), dataset, scores, dict.fromkeys(scores, 0))


def print_areas(source: str, run: OutOfFold) -> list[float]:
    """Print the areas of one set, and return that of slices and any hemorrhage, if the set has both kinds."""
    found = []
    for unit, logits, labels, patients in (
        ("slice", run.logits, run.labels, run.patients),
        ("exam", run.exam_logits, run.exam_labels, run.exam_patients),
    ):
        if unit == "exam" and run.kind == "pictures":
            continue
        for place, label in enumerate(LABELS):
            known = ~np.isnan(labels[:, place])
            y = labels[known, place]
            if not 0 < y.sum() < len(y):
                if place == 0:
                    row(source, f"{unit}, any", "one class alone", f"{len(y)} {unit}s", f"{y.mean():.3f}")
                continue
            area = bootstrap(m.roc_auc, y, logits[known, place], run.drawn(patients)[known])
            of = f"{len(y)} {unit}s of {area.patients} patients or groups"
            row(source, f"{unit}, {label.display.lower()}", figure(area), of, f"{y.mean():.3f}")
            if unit == "slice" and place == 0:
                found.append(area.value)
    return found


if __name__ == "__main__":
    main()
