"""``ichor export``: which runs become a bundle, what it says of a model, and what stays where one does not."""

import csv
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnx", reason="needs the extra 'train'")

import yaml  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from ichor.cli import run  # noqa: E402
from ichor.datasets.registry import open_dataset  # noqa: E402
from ichor.detecting import load_bundle  # noqa: E402
from ichor.labels import LABEL_NAMES  # noqa: E402
from ichor.models import build_network  # noqa: E402
from ichor.training.recipe import Recipe  # noqa: E402

FOLDS = ("fold-0", "fold-1")


@pytest.fixture
def made(tmp_path):
    """A run on pictures sorted in two folders, as training leaves it: weights, and logits that tell them apart."""
    rng = np.random.default_rng(0)
    for name, count in (("hemorrhage", 12), ("normal", 20)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for k in range(count):
            grey = rng.integers(0, 255, (80, 64), np.uint8)
            Image.fromarray(grey).save(tmp_path / "own" / name / f"{k}.png")
    recipe = Recipe.model_validate(
        {
            "name": "own",
            "description": "small",
            "target": f"folder:{tmp_path / 'own'}",
            "n_folds": len(FOLDS),
            "preparation": {"rows": 64, "columns": 64},
            "model": {
                "kind": "classifier",
                "backbone": "cnn-8-16",
                "pretrained": False,
                "head": {"kind": "gru", "units": (8,), "bidirectional": True},
            },
            "sampling": {"kind": "plain", "length": 1},
        }
    )
    home = tmp_path / "run"
    home.mkdir()
    (home / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    torch.manual_seed(0)
    network = build_network(recipe.model, len(recipe.preparation.channels), (64, 64))
    patients = open_dataset(recipe.target, tmp_path).patients()
    for number, part in enumerate((*FOLDS, "all")):
        (home / part).mkdir()
        save_file(network.state_dict(), home / part / "weights.safetensors")
        if part == "all":
            continue
        with (home / part / "predictions.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["dataset", "patient", "level", "slice", "mm", *(f"rule_{n}" for n in LABEL_NAMES)]
            )
            for patient in sorted(patients)[number :: len(FOLDS)]:
                logit = 2 * patients[patient][0] - 1 + rng.normal()
                logits = [logit, *rng.normal(3, 1, 5)]
                writer.writerow(["folder", patient, "exam", "", "", *logits])
                writer.writerow(["folder", patient, "slice", 0, "", *logits])
    return home


def test_8_bits_are_for_models_that_draw_maps(made, capfd):
    assert run(["export", str(made), "--data", str(made.parent), "--int8"]) == 2
    assert "draws no map" in capfd.readouterr().err
    assert not (made / "int8").exists()


def test_a_binary_model_of_pictures_says_what_it_is(made, capfd):
    assert run(["export", str(made), "--data", str(made.parent)]) == 0
    assert capfd.readouterr().out.strip() == str(made / "bundle")
    bundle = load_bundle(made / "bundle")
    manifest = bundle.manifest
    assert not manifest.locates and set(manifest.graphs) == {"features", "head"}
    assert set(manifest.untrusted_labels) == set(LABEL_NAMES[1:])
    # Whatever the network says of a subtype, it is hardly probable and never called.
    logits = np.full((1, 6), 30.0)
    for p in (
        manifest.calibration.single_slice_probabilities(logits),
        manifest.calibration.exam_probabilities(logits),
    ):
        assert p[0, 0] > 0.9 and (p[0, 1:] < 0.001).all()
    assert all(bundle.thresholds(unit=unit)[1:].min() == 1 for unit in ("exam", "slice", "picture"))
    limits = " ".join(manifest.limits)
    assert "Measured on 32 pictures of folder" in limits and "of a whole exam was not" in limits
    assert "Volumes" not in limits and "66" not in limits
    assert (
        "group of near-duplicate pictures" in bundle.card_text
        and "trained on all pictures" in bundle.card_text
    )
    assert "12 of 32 pictures" in bundle.card_text
    assert "all its patients" not in bundle.card_text and str(made) not in bundle.card_text


def test_the_part_is_told(made):
    assert (
        run(["export", str(made), "--data", str(made.parent), "--part", "fold-1", "-o", str(made / "b")]) == 0
    )
    text = load_bundle(made / "b").card_text
    assert "that of fold-1: one of the 2 that were measured" in text and "trained on all" not in text


@pytest.mark.parametrize(
    ("gone", "more", "says"),
    [
        ("fold-0/predictions.csv", (), "found no predictions.csv of fold-0; expected all 2 folds"),
        ("all/weights.safetensors", (), "expected the weights of part 'all'; train it"),
        ("recipe.yaml", (), "expected the folder of a run"),
        (
            None,
            ("--part", "fold-9"),
            "part 'fold-9': found none of this name; expected one of fold-0, fold-1, all",
        ),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_written(made, capfd, gone, more, says):
    if gone:
        (made / gone).unlink()
    assert run(["export", str(made), "--data", str(made.parent), *more]) == 2
    assert says in capfd.readouterr().err
    assert not (made / "bundle").exists()


def test_a_run_that_was_measured_on_one_class_is_refused(made, capfd):
    """Without exams that bled there is nothing to choose a threshold by."""
    table, recipe = made.parent / "own.csv", yaml.safe_load((made / "recipe.yaml").read_text())
    pictures = sorted((made.parent / "own").glob("*/*.png"))
    rows = [[p.relative_to(made.parent).as_posix(), 0] for p in pictures]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "any"], *rows])
    (made / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"target": f"csv:{table}"}))
    names = sorted(open_dataset(f"csv:{table}", made.parent).patients())
    for number, part in enumerate(FOLDS):
        lines = (made / part / "predictions.csv").read_text().splitlines()
        named = [line.split(",") for line in lines[1:]]
        own = [n for n in names[number::2] for _ in ("exam", "slice")]
        told = [",".join([row[0], n, *row[2:]]) for row, n in zip(named, own, strict=True)]
        (made / part / "predictions.csv").write_text("\n".join([lines[0], *told]) + "\n")
    assert run(["export", str(made), "--data", str(made.parent)]) == 2
    assert (
        "found predictions of 0 exams with and 32 without hemorrhage; expected both" in capfd.readouterr().err
    )
    assert not (made / "bundle").exists()


def test_a_bundle_that_was_there_stays_where_a_new_one_fails(made, capfd, monkeypatch):
    command = ["export", str(made), "--data", str(made.parent)]
    assert run(command) == 0
    before = {p.name: p.read_bytes() for p in (made / "bundle").iterdir()}
    from ichor.training import export

    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    assert run(command) == 2
    assert "between torch and ONNX Runtime on" in capfd.readouterr().err
    assert {p.name: p.read_bytes() for p in (made / "bundle").iterdir()} == before
    assert json.loads(before["bundle.json"])["slice_rule"]["kind"] == "graph"
    assert not list(made.glob(".ichor-*"))
