"""What a new hospital may expect: each source of the recipe left out of training in turn, and measured.

Usage: python -m benchmarks.accuracy.sources RECIPE --runs DIR [--weights FILE] [--set KEY=VALUE]... [--only SET]...
       [--beside RUN] [--keep RUN]

For each of the recipe's data sets one network is trained on all the others, in DIR/without-SET (a stopped run goes on),
and predicts every patient of the set that it never saw, in HU as the set has them. Prints the areas under the ROC curve
of any hemorrhage and of the subtypes that the set labels, with 95 % intervals over patients, beside those of the kept
run's networks that trained on other patients of the set (``--beside``, by default the default's), and the difference.
No threshold and no calibration is fitted, and no model over the slices. ``--set epochs=32`` trains for less time than
the recipe. ``--keep RUN`` keeps the table in a run's folder (``left-out/sources.json``), set by set, from where
``ichor export`` takes it into the card. A set of one class alone has no area.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.shared.arguments import KEPT_RUNS, parser
from benchmarks.shared.tables import heading, row
from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.evaluating.kept_tables import write_rows
from ichor.evaluating.left_out import LEFT_OUT_FILE, LeftOutFigure, left_out_figures, read_left_out
from ichor.evaluating.prediction_files import read_scores, read_single_scores, write_predictions
from ichor.evaluating.predictions import OutOfFold, joined, read_predictions
from ichor.training.cross_validation import CrossValidation
from ichor.training.fitting import Start, load_model
from ichor.training.hardware import Hardware
from ichor.training.predicting import predict
from ichor.training.recipe import MixedSampling, Recipe, load_recipe
from ichor.training.run_folder import ALL, RunFolder


def main() -> None:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("recipe", help="name of a recipe, or a YAML file")
    arguments.add_argument("--runs", type=Path, required=True, help="where the networks go")
    arguments.add_argument("--weights", type=Path, help="ImageNet weights, a safetensors file")
    arguments.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe: epochs=32"
    )
    arguments.add_argument(
        "--only", action="append", metavar="SET", help="leave out these; by default each in turn"
    )
    arguments.add_argument(
        "--beside", type=Path, default=KEPT_RUNS / "default", help="run that trained on all of them"
    )
    arguments.add_argument("--keep", type=Path, metavar="RUN", help="keep the table in this run's folder")
    arguments.add_argument("--threads", type=int, default=0, help="0: all cores")
    options = arguments.parse_args()
    recipe = load_recipe(options.recipe, settings=options.set)
    hardware = Hardware("cpu", workers=0, threads=options.threads)
    heading("left out", "figure", "AUC (95 % interval)", "of", "trained on it", "change (95 % interval)")
    for source in options.only or (recipe.target, *recipe.extra):
        dataset = open_dataset(source, options.data)
        run = predicted(
            without(recipe, source), dataset, options.data, options.runs, options.weights, hardware
        )
        found = left_out_figures(source, run, recipe.epochs, trained(options.beside, dataset, recipe))
        for one in found:
            print_figure(one)
        if not found:
            row(source, "one class alone", "", f"{len(run.exam_patients)} {run.kind}", "", "")
        if options.keep is not None:  # those of other sets stay
            others = [one for one in read_left_out(options.keep) if one.source != source]
            write_rows(options.keep / LEFT_OUT_FILE, [*others, *found])


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


def predicted(
    recipe: Recipe, dataset: Dataset, data: Path, runs: Path, weights: Path | None, hardware: Hardware
) -> OutOfFold:
    """Train, and predict the set that was left out."""
    folder = RunFolder(runs / f"without-{dataset.name}", recipe)
    CrossValidation(folder, data, Start(weights), hardware, say).train(ALL)
    path = folder.path / dataset.name / "predictions.csv"
    if not path.is_file():
        network = load_model(recipe, folder.weights(ALL))
        path.parent.mkdir(exist_ok=True)
        write_predictions(path, list(predict(network, dataset, sorted(dataset.patients()), recipe)))
    if dataset.info.kind == "pictures":
        scores = read_single_scores(path, recipe.slice_rule.pooled_share)
    else:
        scores = read_scores(path, recipe.family.heads[0])
    return joined(str(path), dataset, scores, dict.fromkeys(scores, 0))


def trained(run: Path, dataset: Dataset, recipe: Recipe) -> OutOfFold | None:
    """Read what networks gave that trained on other patients of a set, by the same rule; None where none did."""
    if dataset.name == recipe.target:
        return read_predictions(run, dataset, recipe.family.heads[0])
    if dataset.name not in recipe.folded:
        return None
    return read_predictions(run / "folded" / dataset.name, dataset, single=recipe.slice_rule)


def print_figure(one: LeftOutFigure) -> None:
    """Print a row."""
    gap = "" if one.change is None else "{:+.3f} ({:+.3f} to {:+.3f})".format(*one.change)
    beside = "" if one.trained is None else f"{one.trained:.3f}"
    row(one.source, one.figure, f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})", one.unit, beside, gap)


def say(doing: str, _: float, /) -> None:
    """Print how far a training is where the table does not go."""
    print(doing, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
