"""A made data set and recipes for tests; run as a program it trains on them: ``made.py FOLDER KIND DEVICES``."""

import sys
from pathlib import Path

import numpy as np

from ichor.datasets.store import Store
from ichor.preparing import Preparation
from ichor.training.recipe import Recipe

SMALL = Preparation(rows=96, columns=64)


def made_store(name="made", seed=0, hu_range=(-900.0, 2300.0)):
    """Ten exams of six slices: an ellipse of brain in a ring of bone, in half of them a disk of blood."""
    rng = np.random.default_rng(seed)
    n, exams, rows, columns = 60, 10, 112, 80
    yy, xx = np.mgrid[:rows, :columns]
    radius = np.hypot((yy - rows / 2) / 40, (xx - columns / 2) / 30)
    hu = np.where(radius < 0.9, 35, np.where(radius < 1, 900, -1000)).astype(np.int16)
    hu = np.repeat(hu[None], n, 0) + rng.normal(0, 3, (n, rows, columns)).astype(np.int16)
    blood = np.zeros(hu.shape, np.uint8)
    labels = np.zeros((n, 6), np.float32)
    exam = np.repeat(np.arange(exams), 6)
    for i in np.flatnonzero(exam % 2 == 0):
        disk = np.hypot(yy - rows / 2 - rng.integers(-15, 15), xx - columns / 2 - rng.integers(-10, 10)) < 6
        blood[i][disk] = 2
        hu[i][disk] = 65
        labels[i, [0, 2]] = 1
    distances = 5.0 * (np.arange(n) % 6)
    patients = tuple(f"{name}-{k}" for k in range(exams))
    ranges = np.repeat([hu_range], exams, axis=0)
    return Store(name, hu, blood, labels, distances, exam, patients, ranges, ("measured",) * exams)


def recipe_of(kind, **changes):
    """A small recipe of a kind: map, slices or exams."""
    models = {
        "map": {"kind": "map", "pretrained": False},
        "slices": {"kind": "classifier", "backbone": "cnn-8-16-16", "pretrained": False, "pooling": "avgmax"},
        "exams": {
            "kind": "classifier",
            "backbone": "cnn-8-16-16",
            "pretrained": False,
            "head": {"kind": "lstm", "units": [8], "dropout": 0.2, "recurrent_dropout": 0.2},
        },
    }
    sampling = {"kind": "mixed"} if kind == "map" else {"kind": "plain", "balance": "oversample", "length": 4}
    settings = {
        "name": "small",
        "description": "for a test",
        "preparation": SMALL,
        "border": 8,
        "batch_size": 4,
        "epochs": 4,
        "epoch_steps": 3,
        "checkpoint_steps": 1,
        "average_decay": 0.9,
        "model": models[kind],
        "sampling": sampling,
        "optimiser": {"warmup_steps": 1, "learning_rate": 0.003},
    }
    return Recipe.model_validate(settings | changes)


def sampler_of(recipe, hold_out=()):
    """The sampler of a small recipe, some patients left out."""
    from ichor.training.plain import PlainSampler
    from ichor.training.sampling import MixedSampler

    target = made_store()
    patients = set(target.patients) - set(hold_out)
    if recipe.sampling.kind == "mixed":
        extra = made_store("other", 1, (0.0, 80.0))
        return MixedSampler(recipe, (target, patients), [(extra, set(extra.patients))])
    return PlainSampler(recipe, target, patients)


def main():
    """Train, printing a line a step."""
    from ichor.training.fitting import FitData, Start, fit
    from ichor.training.hardware import Hardware

    folder, kind, devices = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    # Twenty epochs of a step each: every step's loss is a row of the log.
    recipe = (
        recipe_of(kind, epochs=20, epoch_steps=1, average_decay=0.0) if devices else recipe_of(kind, epochs=8)
    )
    if devices:  # each process drops out by itself
        model = recipe.model.model_dump()
        model["head"] |= {"dropout": 0.0, "recurrent_dropout": 0.0}
        recipe = recipe.replaced(model=model)
    sampler = sampler_of(recipe)
    print("ready", flush=True)
    hardware = Hardware("cpu", max(devices, 1), precision="32", workers=0)
    fit(recipe, FitData(sampler), folder, Start(), lambda *_: None, hardware)


if __name__ == "__main__":
    main()
