"""A bundle of any ONNX graph, calibrated on a made site: what its exams bear, and what they do not."""

import csv
import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'train'")
onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")

import nibabel  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from PIL import Image  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402

from ichor.cli import run  # noqa: E402
from ichor.detecting import Detector, load_bundle  # noqa: E402
from ichor.detecting.bundle import require_calibrated  # noqa: E402
from ichor.errors import UsageError  # noqa: E402
from ichor.reading import read  # noqa: E402

SIDE, SLICES, BLED, WITHOUT = 96, 8, 30, 14
DESCRIPTION = """\
graph: model.onnx
name: own
licence: CC-BY-4.0
authors: A. Author
url: https://example.org/own
kind: slices
size: [64, 64]
windows: [[-1, 40, 80], [0, 40, 80], [1, 40, 80]]
values: [-1, 1]
labels: [intraparenchymal, -]
"""


def save_graph(path):
    """Scores by the share of the middle channel that is nearly white; a second output that is none of ours."""
    nodes = [
        helper.make_node("Gather", ["image", "middle"], ["slice"], axis=1),
        helper.make_node("Sub", ["slice", "grey"], ["over"]),
        helper.make_node("Relu", ["over"], ["white"]),
        helper.make_node("GlobalAveragePool", ["white"], ["share"]),
        helper.make_node("Flatten", ["share"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
    ]
    constants = {
        "middle": np.array([1]),
        "grey": np.array(0.3, np.float32),
        "weights": np.array([[90.0, 1.0]], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 64, 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def head_hu(rng, blood):
    yy, xx = np.mgrid[:SIDE, :SIDE]
    radius = np.hypot((yy - SIDE / 2) / 42, (xx - SIDE / 2) / 34)
    hu = np.where(radius < 0.9, 34, np.where(radius < 1, 900, -1000)) + rng.normal(0, 2, (SLICES, SIDE, SIDE))
    hu[2:4][:, np.hypot(yy - SIDE / 2, xx - SIDE / 2) < blood] = 68
    return hu.astype(np.int16)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Exams of a hospital, a third of the bleeds too small to be told, and the table that lists them."""
    home = tmp_path_factory.mktemp("site")
    rng = np.random.default_rng(0)
    with (home / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "any", "patient"])
        for k in range(BLED + WITHOUT):
            bled = k < BLED
            hu = head_hu(rng, rng.uniform(1, 9) if bled else rng.uniform(0, 3))
            affine = np.diag([2.0, 2.0, 6.0, 1.0])
            volume = nibabel.Nifti1Image(hu.transpose(2, 1, 0)[::-1, ::-1], affine)
            nibabel.save(volume, home / f"{k}.nii")
            rows.writerow([f"{k}.nii", int(bled), f"person-{k // 2}"])
    return home


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    home = tmp_path_factory.mktemp("own")
    (home / "given").mkdir()
    save_graph(home / "given" / "model.onnx")
    (home / "given" / "model.yaml").write_text(DESCRIPTION)
    assert run(["bundle", "import", str(home / "given"), "-o", str(home / "own")]) == 0
    return home / "own"


@pytest.fixture(scope="module")
def calibrated(imported, site, tmp_path_factory):
    output = tmp_path_factory.mktemp("calibrated") / "ours"
    arguments = ["bundle", "calibrate", str(imported), "--data", str(site / "labels.csv"), "-o", str(output)]
    assert run(arguments) == 0
    return output


def test_ten_lines_make_a_bundle_of_any_graph(imported, site, capsys):
    manifest = load_bundle(imported).manifest
    assert not manifest.calibrated and manifest.origin.files.keys() == {"model.onnx", "model.yaml"}
    detector = Detector(imported, device="cpu", engine="onnxruntime")
    found = detector.detect(read(site / "0.nii"))
    scores = found.probabilities.as_array()
    assert found.assessable and found.probabilities.any == found.probabilities.intraparenchymal
    assert (scores[[1, 3, 4, 5]] < 1e-4).all()  # labels that the graph does not know
    with pytest.raises(UsageError, match="not calibrated"):
        require_calibrated(detector.bundle)
    assert run(["detect", str(site / "0.nii"), "--bundle", str(imported)]) == 0
    shown = capsys.readouterr().out
    assert "SCORED, NOT CALLED" in shown and "suspected" not in shown.lower()
    assert (
        run(["detect", str(site / "0.nii"), "--bundle", str(imported), "--threshold", "0.5", "--json"]) == 0
    )
    own = json.loads(capsys.readouterr().out)
    assert own["positive"]["any"] is not None and own["positive"]["subdural"] is None
    assert own["thresholds"] == {**dict.fromkeys(own["thresholds"]), "any": 0.5}


def test_a_site_calibrates_it_and_the_bundle_says_what_its_exams_bear(imported, calibrated, site):
    before, bundle = load_bundle(imported), load_bundle(calibrated)
    manifest = bundle.manifest
    assert manifest.calibrated and manifest.origin == before.manifest.origin
    assert manifest.graphs == before.manifest.graphs and manifest.exam_rule == before.manifest.exam_rule
    # 30 exams that bled can show 90 %, not more.
    assert [point.aim for point in manifest.operating_points.exam] == [0.9]
    limits = " ".join(manifest.limits)
    assert "95% is not offered" in limits and "at least 59" in limits and "at least 299" in limits
    assert "not calibrated" not in limits
    point = manifest.operating_points.exam[0].sensitivity
    assert f"{BLED} positive" in point.unit and point.low < point.value <= point.high
    assert manifest.uncertain_band.positives == BLED and "learn from" in manifest.uncertain_band.guarantee
    low, high = (getattr(manifest.input_profile["slice_step_mm"], end) for end in ("low", "high"))
    assert low < 6 < high
    assert {m.name for m in manifest.measured} >= {"exam AUC, any", "exam calibration error, any"}
    assert "subdural" in manifest.untrusted_labels
    assert "Calibrated here" in (calibrated / "card.md").read_text()

    detector = Detector(calibrated, device="cpu", engine="onnxruntime")
    require_calibrated(detector.bundle)
    probabilities = [
        detector.detect(read(site / f"{k}.nii")).probabilities.any for k in range(BLED + WITHOUT)
    ]
    # Platt's scaling, hardly shrunk, gives the mean that was observed.
    assert np.mean(probabilities) == pytest.approx(BLED / (BLED + WITHOUT), abs=0.03)
    threshold = manifest.thresholds["any"]
    called = np.array(probabilities) >= threshold.probability
    assert (
        called[:BLED].mean() == pytest.approx(threshold.sensitivity, abs=0.02)
        and threshold.sensitivity >= 0.9
    )
    found = detector.detect(read(site / "0.nii"))
    assert found.positive.any is not None and "not_calibrated" not in {w.code for w in found.warnings}


def test_too_few_exams_are_refused_with_how_many_it_takes(imported, site, tmp_path, capsys):
    lines = (site / "labels.csv").read_text().splitlines()
    rows = [lines[0], *(f"{site}/{line}" for line in (*lines[1:10], *lines[-12:]))]
    (tmp_path / "few.csv").write_text("\n".join(rows) + "\n")
    arguments = [
        "bundle",
        "calibrate",
        str(imported),
        "--data",
        str(tmp_path / "few.csv"),
        "-o",
        str(tmp_path / "b"),
    ]
    assert run(arguments) == 2
    complaint = capsys.readouterr().err
    assert (
        "9 exams with hemorrhage and 12 without" in complaint or "expected at least 10 of each" in complaint
    )
    assert not (tmp_path / "b").exists()


WRONG = {
    "a label that is none": ("labels: [intraparenchymal, -]", "labels: [bleed, -]", "labels wrong"),
    "a size it does not take": ("size: [64, 64]", "size: [80, 80]", "fails on an input"),
    "another kind": ("kind: slices", "kind: maps", "output of shape"),
    "another graph": ("graph: model.onnx", "graph: other.onnx", "no such file"),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_description_that_does_not_fit_its_graph_is_refused(tmp_path, capsys, how):
    right, wrong, message = WRONG[how]
    save_graph(tmp_path / "model.onnx")
    (tmp_path / "model.yaml").write_text(DESCRIPTION.replace(right, wrong))
    assert run(["bundle", "import", str(tmp_path), "-o", str(tmp_path / "bundle")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_two_bundles_are_compared_on_the_same_exams(imported, calibrated, site, capsys):
    lines = (site / "labels.csv").read_text().splitlines()
    (site / "some.csv").write_text("\n".join([lines[0], *lines[1:13], *lines[-8:]]) + "\n")
    dataset = f"csv:{site / 'some.csv'}"
    assert (
        run(
            [
                "evaluate",
                "--bundle",
                str(imported),
                "--bundle",
                str(calibrated),
                "--dataset",
                dataset,
                "--json",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert [cost["exams"] for cost in found["costs"]] == [20, 20]
    assert all(
        cost["median"] > 0 and cost["memory_mb"] > 20 and not cost["learned_from"] for cost in found["costs"]
    )
    # One network: calibration of the bundles changes no order.
    (area,) = [d for d in found["differences"] if d["name"] == "exam AUC, any"]
    assert area["interval"]["value"] == 0 and area["better"] == "neither"
    (own,) = [f for f in found["figures"]["Areas, log loss, calibration"] if f["name"] == "exam AUC, any"]
    assert own["interval"]["value"] > 0.8 and own["interval"]["n"] == 20


@pytest.fixture(scope="module")
def few(site):
    """The name of a data set of twelve exams that bled and eight that did not."""
    lines = (site / "labels.csv").read_text().splitlines()
    (site / "few.csv").write_text("\n".join([lines[0], *lines[1:13], *lines[-8:]]) + "\n")
    return f"csv:{site / 'few.csv'}"


def test_combined_bundles_are_measured_by_the_mean_of_their_calibrated_logits(calibrated, few, site):
    from ichor.datasets.registry import open_dataset
    from ichor.detecting import Detector
    from ichor.detecting.combining import CombinedDetector, logits
    from ichor.evaluating.bundle_predictions import predict_dataset

    dataset = open_dataset(few, site)
    one = Detector(calibrated)
    alone = predict_dataset(one, dataset).exams.exam_logits
    both = predict_dataset(CombinedDetector([one, Detector(calibrated)]), dataset).exams.exam_logits
    own = one.bundle.manifest.calibration.exam_probabilities(alone)
    np.testing.assert_allclose(both, logits(own), atol=1e-5)


def test_the_leaderboard_has_base_rates_and_says_what_cannot_be_measured(calibrated, few, site, tmp_path):
    from benchmarks.accuracy.leaderboard import main

    page = tmp_path / "leaderboard.md"
    sets = ["--dataset", few, "--dataset", "nowhere"]
    main(["--bundle", str(calibrated), *sets, "-o", str(page)])
    out = page.read_text()
    assert out.startswith("# Leaderboard\n") and str(site.parent) not in out
    assert "exams: 20, of which 12 bleed (60.0%)" in out
    (line,) = [line for line in out.splitlines() if line.startswith(f"| {calibrated.name} |")]
    assert line.split("|")[-3:-1] == [" 20 ", " 0 "] and " to " in line
    assert f"Not measured: {calibrated.name}. " in out


def test_on_another_source_calls_are_those_of_detection(calibrated, few, site):
    from ichor.datasets.registry import open_dataset
    from ichor.evaluating.other_sources import measure_source

    dataset = open_dataset(few, site)
    found = {row.figure: row for row in measure_source(calibrated, dataset)}
    detector = Detector(calibrated)
    calls = {p: detector.detect(dataset.load(p).exam).positive.any for p in dataset.patients()}
    truth = {p: labels[0] == 1 for p, labels in dataset.patients().items()}
    assert len(set(calls.values())) == 2
    sensitivity = sum(calls[p] for p in truth if truth[p]) / sum(truth.values())
    assert found["exam sensitivity at its own threshold"].value == pytest.approx(sensitivity)
    specificity = sum(not calls[p] for p in truth if not truth[p]) / sum(not t for t in truth.values())
    assert found["exam specificity at its own threshold"].value == pytest.approx(specificity)
    assert found["exam AUC, any hemorrhage"].unit == "20 exams, 12 positive, 10 patients"


def test_pictures_are_measured_as_pictures(calibrated, tmp_path, capsys):
    rng = np.random.default_rng(1)
    folder = tmp_path / "set"
    for name, count, blood in (("hemorrhage", 12, 8.0), ("normal", 12, 0.0)):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            hu = head_hu(rng, blood)[2].astype(float)
            grain, brain = gaussian_filter(rng.normal(size=hu.shape), 6), (hu > 20) & (hu < 50)
            hu[brain] += np.clip(30 * grain / grain.std(), -34, 20)[brain]  # no two are alike
            grey = np.clip(hu * 255 / 80, 0, 255).astype(np.uint8)
            Image.fromarray(grey).resize((384, 384), Image.Resampling.BICUBIC).save(
                folder / name / f"{k}.png"
            )
    noise = rng.integers(0, 256, (384, 384)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "normal" / "none.png")
    (folder / "normal" / "broken.png").write_bytes(b"no picture")
    words = ["--dataset", f"folder:{folder}", "--data", str(tmp_path), "--json"]
    assert run(["evaluate", "--bundle", str(calibrated), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    (area,) = [f for f in found["figures"]["Areas, log loss, calibration"] if f["name"] == "picture AUC, any"]
    assert area["interval"]["value"] > 0.9 and area["interval"]["n"] == 24
    cost = found["costs"][0]
    assert (cost["exams"], cost["left_out"]) == (24, {"not_a_head": 1, "unreadable": 1})
    assert run(["evaluate", "--bundle", str(calibrated), *words[:4]]) == 0
    assert "| 24 | not_a_head 1, unreadable 1 | no |" in capsys.readouterr().out
    assert run(["bundle", "calibrate", str(calibrated), *words[:4], "-o", str(tmp_path / "out")]) == 2
    assert "found pictures; expected exams" in capsys.readouterr().err


def test_what_is_no_head_is_left_out_and_counted(imported, site, tmp_path):
    from ichor.datasets.registry import open_dataset
    from ichor.evaluating.bundle_predictions import predict_dataset

    body = np.full((SIDE, SIDE, SLICES), -1000.0)
    body[8:-8, 20:-20], body[44:52, 60:70] = 34, 900  # a trunk with a vertebra
    body += np.random.default_rng(0).normal(0, 4, body.shape)
    nibabel.save(
        nibabel.Nifti1Image(body.astype(np.int16), np.diag([2.0, 2.0, 6.0, 1.0])), tmp_path / "body.nii"
    )
    places = [site / "0.nii", site / "2.nii", site / f"{BLED}.nii", site / f"{BLED + 2}.nii", "body.nii"]
    lines = [f"{place},{int(k < 2)},person-{k}" for k, place in enumerate(places)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,any,patient", *lines, ""]))
    found = predict_dataset(imported, open_dataset(f"csv:{tmp_path / 'labels.csv'}", tmp_path), folds=2)
    assert found.left_out == {"not_a_head": 1}
    assert len(found.exams.exam_patients) == 4
