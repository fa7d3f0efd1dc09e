"""From a table of one's own exams to a bundle that detects, by commands only."""

import csv
import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from ichor.cli import run

RECIPE = """
name: own
description: a small network for a test
n_folds: 2
preparation: {rows: 64, columns: 64, channels: [{offset: 0, level: 40, width: 80}]}
model:
  kind: classifier
  backbone: cnn-8-16
  pretrained: false
  pooling: avgmax
  head: {kind: lstm, units: [8]}
sampling: {kind: plain, balance: oversample, length: 40, epoch_images: 4}
batch_size: 2
epochs: 2
optimiser: {warmup_steps: 1}
"""


@pytest.fixture(scope="module")
def own(shared_data, tmp_path_factory):
    """Two exams that bled and four that did not, as NIfTI with a table, slices labelled."""
    from ichor.datasets.ct_ich import CtIch

    folder = tmp_path_factory.mktemp("own")
    dataset = CtIch(shared_data / "ct-ich")
    labels = dataset.patients()
    chosen = [p for p in labels if labels[p][0]][:2] + [p for p in labels if not labels[p][0]][:4]
    with (folder / "own.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "patient", "slice", "any", "EDH", "IPH", "IVH", "SAH", "SDH"])
        for number, patient in enumerate(chosen):
            exam = dataset.load(patient).exam
            affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ exam.geometry.affine()
            nibabel.save(
                nibabel.Nifti1Image(exam.volume.transpose(2, 1, 0), affine), folder / f"{number}.nii.gz"
            )
            for k, row in enumerate(dataset.slice_labels(patient)):
                writer.writerow([f"{number}.nii.gz", f"person {number}", k, *map(int, row)])
    (folder / "own.yaml").write_text(RECIPE)
    return folder


def test_train_evaluate_export_detect(own, capfd):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    home, dataset = own / "run", f"csv:{own / 'own.csv'}"
    train = ["train", str(own / "own.yaml"), "--dataset", dataset, "-o", str(home), "--weights", "none"]
    done = subprocess.run(
        [sys.executable, "-m", "ichor.cli", *train, "--workers", "0"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(home / "bundle")
    assert "preparing csv" in done.stderr and "person" not in done.stderr
    for part in ("fold-0", "fold-1", "all"):
        assert json.loads((home / part / "run.json").read_text())["epochs"] == 2
    split = json.loads((home / "split.json").read_text())
    assert sorted(split["folds"].values()) == [0, 0, 0, 1, 1, 1]

    assert run(["evaluate", str(home), "-o", str(own / "page"), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    names = [f["name"] for rows in found["figures"].values() for f in rows]
    assert "exam AUC, any" in names and "slice weighted log loss" in names
    assert "<svg" in (own / "page" / "evaluation.html").read_text()

    assert run(["export", str(home), "--part", "fold-1", "-o", str(own / "other")]) == 0
    assert capfd.readouterr().out.strip() == str(own / "other")
    card = (own / "other" / "card.md").read_text()
    assert "draws no map" in card and "from random weights" in card

    command = [
        "detect",
        str(own / "0.nii.gz"),
        "--bundle",
        str(own / "other"),
        "--json",
        "-o",
        str(own / "out"),
    ]
    assert run([*command, "--write", "html,csv,nifti"]) == 0
    out, err = capfd.readouterr()
    findings = json.loads(out)
    assert findings["assessable"] and findings["regions"] == [] and findings["volume_ml"] is None
    assert "model_does_not_locate" in [w["code"] for w in findings["warnings"]]
    assert "this model says whether, not where" in err

    assert run([*train, "--set", "epochs=3"]) == 2
    assert "found another recipe than the one asked for" in capfd.readouterr().err


MAPPED = """
name: mapped
description: a small network that draws maps, for a test
n_folds: 2
border: 0
preparation: {rows: 64, columns: 64}
model: {kind: map, pretrained: false, mirrored: true}
sampling: {kind: plain}
batch_size: 4
epochs: 1
epoch_steps: 1
optimiser: {warmup_steps: 0}
ships: soup
sequence: {networks: 2, steps: 20}
"""


@pytest.fixture(scope="module")
def mapped(own):
    """A finished run of a map model whose slices are weighed together."""
    pytest.importorskip("torch", reason="needs the extra 'train'")
    (own / "mapped.yaml").write_text(MAPPED)
    dataset = f"csv:{own / 'own.csv'}"
    train = [
        "train",
        str(own / "mapped.yaml"),
        "--dataset",
        dataset,
        "-o",
        str(own / "mapped"),
        "--weights",
        "none",
    ]
    assert run([*train, "--workers", "0"]) == 0
    return own / "mapped"


@pytest.mark.parametrize("int8", [False, True], ids=["fp32", "int8"])
def test_what_is_measured_out_of_fold_is_what_detection_says(own, mapped, int8, capfd):
    """A held-out exam, through the bundle of its fold: the very probabilities that were measured."""
    from ichor.datasets.registry import open_dataset
    from ichor.detecting import detect, load_bundle
    from ichor.evaluating.predictions import read_predictions

    home = own / f"fold-0-{int8}"
    assert (
        run(["export", str(mapped), "--part", "fold-0", "-o", str(home), *(["--int8"] if int8 else [])]) == 0
    )
    bundle = load_bundle(home)
    assert set(bundle.manifest.graphs) == {"slice", "sequence"}
    dataset = open_dataset(f"csv:{own / 'own.csv'}", own)
    measured = read_predictions(mapped / "int8" if int8 else mapped, dataset)
    patient = measured.exam_patients[measured.exam_folds == 0][0]
    findings = detect(dataset.load(patient).exam, bundle=str(home), device="cpu")
    found = np.array([s.probabilities.as_array() for s in findings.slices])
    expected = bundle.manifest.calibration.slice_probabilities(measured.logits[measured.patients == patient])
    np.testing.assert_allclose(found, np.minimum(expected, expected[:, :1]), atol=2e-3)
    ruled = read_predictions(mapped / "int8" if int8 else mapped, dataset, "rule")
    assert not np.allclose(ruled.logits, measured.logits, atol=0.1)


def test_the_card_and_evaluate_speak_of_what_ships(own, mapped, capfd):
    card = (mapped / "bundle" / "card.md").read_text()
    assert "2 small LSTM networks over the slices" in card and "of its mirror image" in card
    aucs = {}
    for head in ([], ["--head", "sequence"], ["--head", "rule"]):
        assert run(["evaluate", str(mapped), *head, "--json"]) == 0
        rows = json.loads(capfd.readouterr().out)["figures"]["Areas, log loss, calibration"]
        aucs[" ".join(head)] = next(f["interval"]["value"] for f in rows if f["name"] == "slice AUC, any")
    assert aucs[""] == aucs["--head sequence"] != aucs["--head rule"]


def test_a_run_starts_from_what_another_ships(own, mapped, tmp_path, capfd):
    from safetensors.numpy import load_file

    still = MAPPED.replace("{warmup_steps: 0}", "{warmup_steps: 0, learning_rate: 1.0e-12, weight_decay: 0}")
    (tmp_path / "further.yaml").write_text(still.replace("sequence: {networks: 2, steps: 20}", ""))
    train = [
        "train",
        str(tmp_path / "further.yaml"),
        "--dataset",
        f"csv:{own / 'own.csv'}",
        "--weights",
        "none",
    ]
    train += ["--workers", "0", "--parts", "fold-0", "--start-from", str(mapped)]
    assert run([*train, "-o", str(tmp_path / "run")]) == 0
    before = load_file(mapped / "soup" / "weights.safetensors")
    after = load_file(tmp_path / "run" / "fold-0" / "weights.safetensors")
    learnt = [name for name in after if name.endswith("weight")]
    assert len(learnt) > 50 and all(np.allclose(before[name], after[name], atol=1e-5) for name in learnt)
    (mapped / "soup" / "weights.safetensors").rename(tmp_path / "kept")
    assert run([*train, "-o", str(tmp_path / "other")]) == 2
    assert "expected the weights that this run ships; train them: --parts soup" in capfd.readouterr().err
    (tmp_path / "kept").rename(mapped / "soup" / "weights.safetensors")
    train[-1] = str(tmp_path / "none.safetensors")
    assert run([*train, "-o", str(tmp_path / "third")]) == 2
    assert "none.safetensors: found nothing there; expected the folder of a run" in capfd.readouterr().err


def test_parts_and_settings_that_are_not(own, capfd):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    common = ["train", str(own / "own.yaml"), "--dataset", f"csv:{own / 'own.csv'}", "-o", str(own / "x")]
    for more, says in (
        (["--parts", "fold-9"], "found none of this name; expected one of fold-0, fold-1, all"),
        (["--set", "epoch=3"], "did you mean 'epochs'"),
        (["--weights", "nowhere.safetensors"], "found no file; expected hub, none, or a safetensors file"),
        (["--nodes", "2"], "found 3 parts; expected one"),
        (["--precision", "16", "--weights", "none"], "precision '16': expected auto, 32 or bf16"),
    ):
        assert run([*common, *more]) == 2
        assert says in capfd.readouterr().err
    assert run(["train", "--list"]) == 0
    assert "ko-xception-lstm: " in capfd.readouterr().out


def test_two_processes_by_the_command(own):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    home = own / "two"
    arguments = ["train", str(own / "own.yaml"), "--dataset", f"csv:{own / 'own.csv'}", "-o", str(home)]
    arguments += [
        "--weights",
        "none",
        "--accelerator",
        "cpu",
        "--devices",
        "2",
        "--parts",
        "folds",
        "--workers",
        "0",
    ]
    done = subprocess.run([sys.executable, "-m", "ichor.cli", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(p.parent.name for p in home.glob("*/predictions.csv")) == ["fold-0", "fold-1"]


def test_a_recipe_starts_from_its_warm_up(tmp_path, capfd, monkeypatch):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from PIL import Image
    from safetensors.numpy import load_file

    rng = np.random.default_rng(0)
    for place in ("first", "second"):
        for name in ("hemorrhage", "normal"):
            (tmp_path / place / name).mkdir(parents=True)
            for k in range(4):
                grey = rng.integers(0, 255, (80, 64), np.uint8)
                Image.fromarray(grey).save(tmp_path / place / name / f"{k}.png")
    linear = RECIPE.replace("head: {kind: lstm, units: [8]}", "head: {kind: linear}").replace(
        "epochs: 2", "epochs: 1"
    )
    sets = [f"folder:{tmp_path / place}" for place in ("first", "second")]
    (tmp_path / "first.yaml").write_text(f"{linear}target: {sets[0]}\n")
    second = linear.replace("{warmup_steps: 1}", "{warmup_steps: 0, learning_rate: 1.0e-12, weight_decay: 0}")
    (tmp_path / "second.yaml").write_text(f"{second}target: {sets[1]}\nwarm_up: {tmp_path / 'first.yaml'}\n")
    home = tmp_path / "run"
    command = ["train", str(tmp_path / "second.yaml"), "-o", str(home), "--weights", "none", "--workers", "0"]
    assert run([*command, "--parts", "fold-0"]) == 0
    before = load_file(tmp_path / "run-warm-up" / "all" / "weights.safetensors")
    after = load_file(home / "fold-0" / "weights.safetensors")
    learnt = [name for name in after if name.endswith("weight")]
    assert learnt
    for name in learnt:
        np.testing.assert_allclose(after[name], before[name], atol=1e-6)
    capfd.readouterr()

    assert run([*command, "--parts", "folds", "--dataset", sets[0], "-o", str(tmp_path / "other")]) == 2
    assert "expected one on other data" in capfd.readouterr().err
    assert not (tmp_path / "other" / "fold-0").exists()


FOLDED = """
extra: [rsna-slices]
folded: [rsna-slices]
pictures: [rsna-slices]
sampling: {kind: mixed, weights: {rsna-slices: 2}}
augmentation: {other_window: 0.3, window_error: 0.1, window_error_hu: 3}
"""


@pytest.fixture(scope="module")
def folded(own, shared_data, tmp_path_factory):
    """A finished run that learned from single slices, too, and held each of them back once."""
    pytest.importorskip("torch", reason="needs the extra 'train'")
    root = tmp_path_factory.mktemp("some")
    source, some = shared_data / "rsna-slices", root / "rsna-slices"
    with (source / "slices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with_blood, without = ([r for r in rows if r["hemorrhage"] == value][:24] for value in "10")
    (some / "images").mkdir(parents=True)
    with (some / "slices.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        for row in with_blood + without:
            table.writerow(row)
            (some / row["file"]).write_bytes((source / row["file"]).read_bytes())
    recipe = MAPPED.replace("sampling: {kind: plain}\n", "").replace("name: mapped", "name: folded") + FOLDED
    (root / "folded.yaml").write_text(recipe)
    train = ["train", str(root / "folded.yaml"), "--dataset", f"csv:{own / 'own.csv'}", "--data", str(root)]
    assert run([*train, "-o", str(root / "run"), "--weights", "none", "--workers", "0"]) == 0
    return root


def test_single_slices_are_held_back_in_turn_and_pictures_have_thresholds_of_their_own(folded, own, capfd):
    from ichor.datasets.registry import open_dataset
    from ichor.detecting import detect, load_bundle
    from ichor.evaluating.predictions import read_predictions
    from ichor.training.picture_calibration import read_pictures
    from ichor.training.run_data import RunData
    from ichor.training.run_folder import RunFolder

    dataset = open_dataset("rsna-slices", folded)
    data = RunData(RunFolder.open(folded / "run"), folded)
    parts = [data.held_out_of("rsna-slices", part) for part in ("fold-0", "fold-1")]
    assert not parts[0] & parts[1] and parts[0] | parts[1] == set(dataset.patients())
    by_window = read_predictions(folded / "run" / "folded" / "rsna-slices", dataset, "map")
    assert len(by_window.exam_patients) == 48 and set(by_window.exam_folds) == {0, 1}

    pictures = read_pictures(data)
    assert len(pictures.sources) + pictures.refused["rsna-slices"] == 48
    bundle = load_bundle(folded / "run" / "bundle")
    manifest = bundle.manifest
    assert manifest.picture_thresholds["any"].chosen_for.startswith(
        "the highest mean accuracy on rsna-slices"
    )
    assert manifest.calibration.picture != manifest.calibration.single_slice
    assert any(f.name == "picture accuracy, rsna-slices" for f in manifest.measured)
    assert (
        "non-commercial use" in manifest.restrictions[0] and "Who may use these weights" in bundle.card_text
    )
    assert run(["info", "--bundle", str(folded / "run" / "bundle")]) == 0
    assert "Learned from rsna-slices, which is for non-commercial use" in capfd.readouterr().out

    home = folded / "of-fold-0"
    assert (
        run(["export", str(folded / "run"), "--data", str(folded), "--part", "fold-0", "-o", str(home)]) == 0
    )
    of_fold = load_bundle(home)
    run_of = pictures.predictions
    place = int(np.flatnonzero(run_of.folds == 0)[0])
    name = str(run_of.patients[place]).removeprefix("rsna-slices/")
    findings = detect(dataset.path(name), bundle=str(home), device="cpu")
    expected = of_fold.manifest.calibration.single_slice_probabilities(run_of.logits[place], "picture")
    np.testing.assert_allclose(
        findings.probabilities.as_array(), np.minimum(expected, expected[:1]), atol=2e-3
    )
    assert findings.thresholds.any == pytest.approx(of_fold.thresholds(unit="picture")[0], abs=1e-4)
