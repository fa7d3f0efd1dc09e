"""Which exams are called wrongly, in which order, and what their pictures show."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from ichor.datasets.registry import open_dataset
from ichor.evaluating.failures import failures
from ichor.evaluating.predictions import read_predictions
from ichor.labels import LABEL_NAMES

MISSED, ALARM, WORSE_ALARM = "hemorrhage/3.png", "normal/5.png", "normal/8.png"


@pytest.fixture
def predicted(tmp_path):
    """Pictures in two folders, and a run of two folds that is wrong about three of them."""
    for name, count, grey in (("hemorrhage", 30, 200), ("normal", 14, 90)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for k in range(count):
            rng = np.random.default_rng(grey + k)
            pixels = np.clip(rng.normal(grey, 20, (80, 64)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{k}.png")
    dataset = open_dataset(f"folder:{tmp_path / 'own'}", tmp_path)
    truth = dataset.patients()
    wrong = {n: next(p for p in truth if n.split("/")[1][:-4] in p and n.split("/")[0] in p) for n in
             (MISSED, ALARM, WORSE_ALARM)}  # fmt: skip
    logits = {p: (3.0 if labels[0] else -3.0) for p, labels in truth.items()}
    logits |= {wrong[MISSED]: -4.0, wrong[ALARM]: 4.0, wrong[WORSE_ALARM]: 5.0}
    for fold in range(2):
        (tmp_path / f"fold-{fold}").mkdir()
        with (tmp_path / f"fold-{fold}" / "predictions.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["dataset", "patient", "level", "slice", "mm", *(f"rule_{n}" for n in LABEL_NAMES)]
            )
            for p in sorted(truth)[fold::2]:
                for level, place in (("exam", ""), ("slice", 0)):
                    writer.writerow(["folder", p, level, place, "", logits[p], *[0.0] * 5])
    return dataset, read_predictions(tmp_path, dataset), wrong


def test_what_is_missed_comes_first_then_the_worst_alarms(predicted):
    dataset, run, wrong = predicted
    found = failures(run, dataset)
    assert [f.patient for f in found] == [wrong[n] for n in (MISSED, WORSE_ALARM, ALARM)]
    assert [f.missed for f in found] == [True, False, False]
    assert found[0].probability < 0.5 < found[2].probability <= found[1].probability
    assert [f.positive_slices for f in found] == [1, 0, 0] and {f.n_slices for f in found} == {1}
    assert all(f.marked_ml is None and f.index == 0 for f in found)  # a picture has no millilitres


def test_each_has_its_own_picture(predicted):
    dataset, run, _ = predicted
    bright = [
        np.asarray(Image.open(io.BytesIO(f.picture)).convert("L")).mean() for f in failures(run, dataset)
    ]
    assert bright[0] > 150 > 120 > max(bright[1:])
    assert all(f.data_uri.startswith("data:image/png;base64,") for f in failures(run, dataset))


def test_a_marked_bleed_is_outlined(shared_data, tmp_path):
    dataset = open_dataset("ct-ich", shared_data)
    unseen = next(p for p in dataset.patients() if dataset.slice_labels(p)[:, 0].sum() > 13)
    for fold in range(2):
        (tmp_path / f"fold-{fold}").mkdir()
        with (tmp_path / f"fold-{fold}" / "predictions.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["dataset", "patient", "level", "slice", "mm", *(f"rule_{n}" for n in LABEL_NAMES)]
            )
            for p in sorted(dataset.patients())[fold::2]:
                truth = dataset.slice_labels(p)
                logits = np.full(truth.shape, -9.0) if p == unseen else 6 * truth - 3
                writer.writerow(["ct-ich", p, "exam", "", "", *logits.max(axis=0)])
                for k, row in enumerate(logits):
                    writer.writerow(["ct-ich", p, "slice", k, "", *row])
    found = failures(read_predictions(tmp_path, dataset), dataset)[0]
    assert found.patient == unseen and found.missed and found.subtypes
    blood = dataset.load(unseen).blood
    assert found.index == int(((blood > 0) & (blood < 7)).sum(axis=(1, 2)).argmax()) and found.marked_ml > 0
    colour = np.asarray(Image.open(io.BytesIO(found.picture))).astype(int)
    assert ((colour[..., 0] - colour[..., 2]) > 60).sum() > 10
