"""A third family of models, all of it in this module: trained, evaluated, exported, and detected with.

Two of its exams are of thin slices: the model's grid has fewer, and what was evaluated is what detection gives.
"""

import csv
import json
from typing import Literal

import nibabel
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnx", reason="needs the extra 'train'")

import ichor  # noqa: E402
from ichor import detect, read  # noqa: E402
from ichor.cli import run  # noqa: E402
from ichor.cli.demo import demo_exam  # noqa: E402
from ichor.datasets.registry import open_dataset  # noqa: E402
from ichor.detecting import load_bundle  # noqa: E402
from ichor.detecting.scoring import Prediction, top_k_mean  # noqa: E402
from ichor.evaluating.prediction_files import read_scores  # noqa: E402
from ichor.evaluating.predictions import read_predictions  # noqa: E402
from ichor.models import ModelSpec  # noqa: E402
from ichor.training.families import FAMILIES, family_named  # noqa: E402
from ichor.training.families.family import Graph, ModelFamily, StepLoss  # noqa: E402
from ichor.training.hardware import Hardware  # noqa: E402
from ichor.training.recipe import Recipe  # noqa: E402

RECIPE = """
name: brightest
description: the brightest pixels and a linear layer, for a test
n_folds: 2
border: 0
preparation: {rows: 64, columns: 64, channels: [{offset: 0, level: 40, width: 80}, {offset: 0, level: 80, width: 200}]}
model: {kind: brightest, pixels: 20, pretrained: false}
sampling: {kind: plain}
batch_size: 4
epochs: 1
epoch_steps: 2
optimiser: {warmup_steps: 0, learning_rate: 0.5}
"""


class BrightestSpec(ModelSpec):
    kind: Literal["brightest"] = "brightest"
    backbone: str = "none"
    pixels: int = 20

    def build(self, in_channels, size, weights):
        return Brightest(in_channels, self.pixels)


class Brightest(torch.nn.Module):
    def __init__(self, in_channels, pixels):
        super().__init__()
        self.pixels = pixels
        self.head = torch.nn.Linear(in_channels, 6)

    def features(self, stack):
        return stack.flatten(2).topk(self.pixels, dim=2).values.mean(dim=2)

    def forward(self, stack):
        return self.head(self.features(stack))


class FeatureGraph(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, stack):
        return self.network.features(stack)


class BrightestFamily(ModelFamily):
    spec = BrightestSpec

    def losses(self, network, batch, settings):
        logits = network(settings.stack(batch.hu))
        return StepLoss(settings.slice_loss(logits, batch.labels), logits)

    def predict(self, network, stack):
        with torch.inference_mode():
            return Prediction(None, network(torch.from_numpy(stack)).numpy())

    def graphs(self, network, preparation):
        channels = len(preparation.channels)
        stack = torch.zeros(2, channels, preparation.rows, preparation.columns)
        return [
            Graph("features", ("stack",), ("features",), FeatureGraph(network), stack),
            Graph("head", ("features",), ("slice",), network.head, torch.zeros(2, channels)),
        ]


@pytest.fixture(scope="module")
def registered():
    FAMILIES["brightest"] = f"{__name__}:BrightestFamily"
    yield
    del FAMILIES["brightest"]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Eight exams made of the simulated one, every other with a bleed over 8 mm; the first two at 1.25 mm."""
    folder = tmp_path_factory.mktemp("own")
    exam = read(demo_exam())
    volume = exam.volume[:, ::4, ::4].astype(np.float32)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ exam.geometry.affine()
    affine[:, :2] *= 4
    step = float(exam.geometry.slice_step)
    rng = np.random.default_rng(0)
    with (folder / "own.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "patient", "slice", "any", "EDH", "IPH", "IVH", "SAH", "SDH"])
        for number in range(8):
            spacing = 1.25 if number < 2 else step
            places = np.arange(0, (len(volume) - 1) * step, spacing)
            low = np.minimum((places / step).astype(int), len(volume) - 2)
            share = (places / step - low)[:, None, None]
            planes = (
                (1 - share) * volume[low] + share * volume[low + 1] + rng.normal(0, 2, (len(places), 1, 1))
            )
            bleeds = (np.abs(places - places.mean()) < 4) & (number % 2 == 0)
            rows, columns = (n // 2 for n in planes.shape[1:])
            planes[bleeds, rows : rows + 8, columns + 6 : columns + 14] = 75
            own = affine.copy()
            own[:, 2] *= spacing / step
            image = nibabel.Nifti1Image(np.rint(planes).astype(np.int16).transpose(2, 1, 0), own)
            nibabel.save(image, folder / f"{number}.nii.gz")
            for k, bleed in enumerate(bleeds):
                writer.writerow(
                    [f"{number}.nii.gz", f"person {number}", k, int(bleed), 0, int(bleed), 0, 0, 0]
                )
    (folder / "brightest.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def trained(own, registered):
    """The run, by the call that mirrors the command."""
    done = ichor.train(
        str(own / "brightest.yaml"),
        own,
        own / "run",
        dataset=f"csv:{own / 'own.csv'}",
        weights="none",
        hardware=Hardware("cpu", workers=0),
    )
    assert done.folder == own / "run" and done.bundle == own / "run" / "bundle"
    return done.folder


def test_the_bundle_of_a_third_family_detects(own, trained):
    manifest = load_bundle(trained / "bundle").manifest
    assert set(manifest.graphs) == {"features", "head"} and not manifest.locates
    findings = detect(own / "2.nii.gz", bundle=str(trained / "bundle"), device="cpu")
    assert findings.assessable and len(findings.slices) == findings.n_slices


def test_what_was_evaluated_of_thin_slices_is_what_detection_gives(own, trained):
    dataset = open_dataset(f"csv:{own / 'own.csv'}", own)
    oof = read_predictions(trained, dataset)
    thin = [p for p in oof.exam_patients if (oof.patients == p).sum() > 60]
    assert len(thin) == 2
    for patient in thin:
        place = list(oof.exam_patients).index(patient)
        part = f"fold-{oof.exam_folds[place]}"
        assert run(["export", str(trained), "--part", part, "-o", str(own / part)]) == 0
        bundle = load_bundle(own / part)
        findings = detect(dataset.load(patient).exam, bundle=str(own / part), device="cpu")
        expected = bundle.manifest.calibration.exam_probabilities(oof.exam_logits[place])
        expected = np.minimum(expected, expected[0])
        np.testing.assert_allclose(findings.probabilities.as_array(), expected, atol=2e-4)
        scores = read_scores(trained / part / "predictions.csv", "rule")[patient]
        assert len(scores.grid) < len(scores.native) / 3
        np.testing.assert_allclose(scores.exam, top_k_mean(scores.grid, 2), atol=1e-5)


def test_evaluate_as_a_call_and_as_a_command(own, trained, capfd):
    assert run(["evaluate", str(trained), "--data", str(own), "--json"]) == 0
    printed = json.loads(capfd.readouterr().out)
    found = ichor.evaluate(trained, own)
    assert json.loads(json.dumps(found.as_json())) == printed
    assert found.dataset == "csv" and len(found.run.exam_patients) == 8
    with pytest.raises(ichor.UsageError, match="'best': expected rule, map, pooled, sequence"):
        ichor.evaluate(trained, own, head="best")


def test_what_a_family_cannot_do_is_refused(registered):
    assert family_named("brightest").heads == ("rule",)
    for key, value, says in (
        ("sequence", {}, "sequence is for the map model"),
        ("ships", "soup", "ships 'soup' is for the map model"),
        ("sampling", {"kind": "mixed"}, "'mixed' is for the map model"),
        ("cached_features", {"views": 1}, "needs a classifier whose backbone is frozen"),
    ):
        with pytest.raises(ValueError, match=says):
            Recipe.model_validate(
                {"name": "a", "description": "b", "model": {"kind": "brightest"}, key: value}
            )
    with pytest.raises(ValueError, match="expected one of map, classifier, brightest"):
        Recipe.model_validate({"name": "a", "description": "b", "model": {"kind": "other"}})
