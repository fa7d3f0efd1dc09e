"""One network of all patients, or with the folds' averaged weights, against the ensemble of the folds, on new pictures.

Usage: python -m benchmarks.accuracy.bagging RUN [--data DIR] [--every N]

RUN is a finished run of a map model. Head-CT-hemorrhage, which none of them saw, is predicted by each fold's network,
by the mean of their logits, and by the parts ``all`` and ``soup`` (averaged weights) where they are there, without the
mirror image and with it. Intervals draw groups of near-duplicates.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import change, heading, row
from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import split_of
from ichor.evaluating.metrics import paired_bootstrap, roc_auc
from ichor.preparing import prepare
from ichor.training.fitting import load_model
from ichor.training.recipe import Recipe
from ichor.training.run_folder import ALL, AVERAGED, read_recipe

ENSEMBLE = "the folds' mean logits"
Predictor = Callable[[NDArray[np.float32]], list[float]]
"""From a prepared picture to the logits of any hemorrhage, without its mirror image and with it."""


def main() -> None:
    arguments = parser(__doc__, run=True)
    arguments.add_argument("--every", type=int, default=1, help="take every Nth picture")
    options = arguments.parse_args()
    recipe, dataset = read_recipe(options.run), open_dataset("head-ct-hemorrhage", options.data)
    folds = [f"fold-{k}" for k in range(recipe.n_folds)]
    weights = {part: options.run / part / "weights.safetensors" for part in (*folds, ALL, AVERAGED)}
    if missing := [part for part in folds if not weights[part].is_file()]:
        raise SystemExit(
            f"{options.run}: found no weights of {', '.join(missing)}; expected those of every fold"
        )
    predictors = {part: opened(recipe, path) for part, path in weights.items() if path.is_file()}
    groups = split_of(dataset, recipe.n_folds, recipe.seed).groups
    truth: list[float] = []
    drawn: list[str] = []
    scores: dict[str, list[list[float]]] = {part: [] for part in predictors}
    for patient, labels in list(dataset.patients().items())[:: options.every]:
        stack = prepare(dataset.load(patient).exam, recipe.preparation).stack
        truth.append(float(labels[0]))
        drawn.append(groups.get(patient, patient))
        for part, predictor in predictors.items():
            scores[part].append(predictor(stack))
    logits = {part: np.array(v) for part, v in scores.items()}
    logits[ENSEMBLE] = np.mean([logits[f] for f in folds], axis=0)
    y, patients = np.array(truth), np.array(drawn)
    base = logits[ENSEMBLE][:, 0]
    print(f"{len(y)} pictures, {int(y.sum())} positive, {len(set(drawn))} groups of near-duplicates\n")
    heading("predicted by", "AUC", f"less that of {ENSEMBLE}", "with the mirror image: AUC", "less the same")
    for part, found in logits.items():
        cells = []
        for p in found.T:
            difference, _ = paired_bootstrap(roc_auc, y, p, base, patients)
            cells += [f"{roc_auc(y, p):.3f}", change(difference)]
        row(part, *cells)


def opened(recipe: Recipe, weights: Path) -> Predictor:
    """Load a network."""
    network = load_model(recipe, weights)

    def predictor(stack: NDArray[np.float32]) -> list[float]:
        logits = []
        for mirrored in (False, True):
            network.mirrored = mirrored  # type: ignore[assignment]  # a plain attribute, which nn.Module hides
            with torch.inference_mode():
                logits.append(float(network(torch.from_numpy(stack))[1][0, 0]))
        return logits

    return predictor


if __name__ == "__main__":
    main()
