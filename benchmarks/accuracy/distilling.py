"""Does a teacher help on exams whose labels are hidden? A small trial, out of fold, beside the same run without one.

Usage: python -m benchmarks.accuracy.distilling --runs DIR [--weights FILE] [--data DIR] [--steps N] [--folds N]
       [--size ROWS COLUMNS] [--teacher BUNDLE|RUN]

Three runs of the default recipe at a small size, in DIR (a stopped run goes on), on the same folds of CT-ICH: by its
labels alone; the same, and what a teacher gives for PHE-SICH, whose labels are hidden; and, as what could be had at
most, the same with these labels. The teacher is the first of the runs, fold by fold: nothing that is measured saw a
patient's labels, and the teacher saw none of PHE-SICH. Prints areas under the ROC curve of slices and of exams by the
slice rule, and paired differences; intervals are 95 %, over patients.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import change, figure, heading, row
from ichor.datasets.registry import open_dataset
from ichor.evaluating.metrics import bootstrap, paired_bootstrap, roc_auc
from ichor.evaluating.predictions import OutOfFold, read_predictions
from ichor.training.cross_validation import CrossValidation
from ichor.training.fitting import Start
from ichor.training.hardware import Hardware
from ichor.training.recipe import DistilRecipe, MixedSampling, Recipe, load_recipe
from ichor.training.run_folder import RunFolder

TARGET, HIDDEN = "ct-ich", "phe-sich"
LABELS, TAUGHT, MOST = "labels alone", "and a teacher on hidden labels", "and these labels"


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    options = parser(__doc__)
    options.add_argument("--runs", type=Path, required=True, help="where the runs go")
    options.add_argument(
        "--weights", type=Path, help="ImageNet weights, a safetensors file; else random ones"
    )
    options.add_argument("--steps", type=int, default=100, help="batches of 16 a network")
    options.add_argument("--folds", type=int, default=2)
    options.add_argument("--size", type=int, nargs=2, default=(128, 96), help="rows and columns of the grid")
    options.add_argument("--teacher", help="in place of the first run")
    asked = options.parse_args(arguments)
    torch.set_num_threads(1)
    small = small_recipe(asked.steps, asked.folds, (asked.size[0], asked.size[1]))
    teacher = asked.teacher or str(asked.runs / "labels")
    recipes = {
        LABELS: ("labels", small),
        TAUGHT: ("taught", small.replaced(distil=DistilRecipe(teacher=teacher, unlabelled=HIDDEN))),
        MOST: ("more-labels", small.replaced(extra=(HIDDEN,))),
    }
    target = open_dataset(TARGET, asked.data)
    first: OutOfFold | None = None
    heading("run", "AUC of slices", "less the first", "AUC of exams", "less the first")
    for name, (folder, recipe) in recipes.items():
        run = RunFolder(asked.runs / folder, recipe)
        training = CrossValidation(
            run, asked.data, Start(asked.weights), Hardware("cpu", precision="32", workers=0), _progress
        )
        for part in run.folds:
            training.train(part)
        found = read_predictions(run.path, target, "rule")
        first = first or found
        row(name, *_cells(found, first, "slice"), *_cells(found, first, "exam"))


def small_recipe(steps: int, folds: int, size: tuple[int, int]) -> Recipe:
    """Return the default recipe on its target alone, smaller and shorter."""
    recipe = load_recipe("default", TARGET)
    sampling = recipe.sampling
    if isinstance(sampling, MixedSampling):
        sampling = sampling.replaced(weights={})
    epoch_steps = min(steps, 20)
    preparation = recipe.preparation.model_copy(update={"rows": size[0], "columns": size[1]})
    return recipe.replaced(
        name="distilling",
        extra=(),
        folded=(),
        pictures=(),
        n_folds=folds,
        preparation=preparation,
        border=8,
        model=recipe.model.model_dump() | {"mirrored": False},
        sampling=sampling,
        epochs=max(1, steps // epoch_steps),
        epoch_steps=epoch_steps,
        small_epochs=0,
        average_decay=0.95,
        validate_epochs=1000,
        ships="all",
        sequence=None,
        warm_up=None,
    )


def _cells(found: OutOfFold, first: OutOfFold, level: str) -> tuple[str, str | None]:
    """Return the area of a run, and by how much it exceeds that of the first."""
    if level == "slice":
        labels, of_both, patients = found.labels, (found.logits, first.logits), found.patients
    else:
        labels, of_both, patients = (
            found.exam_labels,
            (found.exam_logits, first.exam_logits),
            found.exam_patients,
        )
    truth, drawn = labels[:, 0], found.drawn(patients)
    own, others = (logits[:, 0] for logits in of_both)
    area = figure(bootstrap(roc_auc, truth, own, drawn))
    if found is first:
        return area, None
    return area, change(paired_bootstrap(roc_auc, truth, own, others, drawn)[0])


def _progress(doing: str, done: float, /) -> None:
    print(doing, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
