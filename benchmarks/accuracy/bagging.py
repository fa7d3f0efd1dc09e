"""One network of all patients, or of the folds' mean weights, against the folds together, on pictures that none saw.

Usage: python benchmarks/accuracy/bagging.py RUN [DATA]

RUN is a finished run of a map model. Head-CT-hemorrhage is judged by each fold's network, by the mean of their logits,
and by the parts ``all`` and ``soup`` where they are there, without the mirror image and with it; intervals draw groups
of near-duplicates.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import split_of
from ichor.evaluating.metrics import paired_bootstrap, roc_auc
from ichor.preparing import prepare
from ichor.training.fitting import load_model
from ichor.training.recipe import Recipe
from ichor.training.run import ALL, SOUP, read_recipe

TOGETHER = "folds together"
Judge = Callable[[NDArray[np.float32]], list[float]]


def judge_of(recipe: Recipe, weights: Path) -> Judge:
    """Open a network: the logits of any hemorrhage of a picture, without its mirror image and with it."""
    network = load_model(recipe, weights)

    def judged(stack: NDArray[np.float32]) -> list[float]:
        logits = []
        for mirrored in (False, True):
            network.mirrored = mirrored
            with torch.inference_mode():
                logits.append(float(network(torch.from_numpy(stack))[1][0, 0]))
        return logits

    return judged


def main(run: Path, data: Path) -> None:
    recipe, dataset = read_recipe(run), open_dataset("head-ct-hemorrhage", data)
    folds = [f"fold-{k}" for k in range(recipe.n_folds)]
    weights = {part: run / part / "weights.safetensors" for part in (*folds, ALL, SOUP)}
    judges = {part: judge_of(recipe, path) for part, path in weights.items() if path.is_file()}
    groups = split_of(dataset, recipe.n_folds, recipe.seed).groups
    truth: list[float] = []
    who: list[str] = []
    scores: dict[str, list[list[float]]] = {part: [] for part in judges}
    for patient, labels in dataset.patients().items():
        stack = prepare(dataset.load(patient).exam, recipe.preparation).stack
        truth.append(float(labels[0]))
        who.append(groups.get(patient, patient))
        for part, judge in judges.items():
            scores[part].append(judge(stack))
    logits = {part: np.array(v) for part, v in scores.items()}
    logits[TOGETHER] = np.mean([logits[f] for f in folds], axis=0)
    y, drawn = np.array(truth), np.array(who)
    base = logits[TOGETHER][:, 0]
    print(f"{len(y)} pictures, {int(y.sum())} positive, {len(set(who))} groups of near-duplicates\n")
    print("| judged by | AUC | less that of the folds together | mirrored too: AUC | less the same |")
    print("|---|---|---|---|---|")
    for part, found in logits.items():
        cells = []
        for p in found.T:
            lost, _ = paired_bootstrap(roc_auc, y, p, base, drawn)
            cells += [f"{roc_auc(y, p):.3f}", f"{lost.value:+.3f} ({lost.low:+.3f} to {lost.high:+.3f})"]
        print(f"| {part} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path("../shared/data"))
