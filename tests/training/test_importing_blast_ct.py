"""blast-ct: its own DeepMedic with random weights, in the published layout, against the bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnx", reason="needs the extra 'train'")
deepmedic = pytest.importorskip("blast_ct.models.deepmedic", reason="needs the extra 'blast-ct'")

from ichor.cli import run  # noqa: E402
from ichor.detecting import Detector, load_bundle  # noqa: E402
from ichor.errors import BundleError  # noqa: E402
from ichor.exam import Exam  # noqa: E402
from ichor.preparing import prepare  # noqa: E402
from ichor.training.importing.blast_ct import read_blast_ct, weight_files  # noqa: E402
from ichor.training.importing.publication import write_published  # noqa: E402
from ichor.training.importing.weights import hashes  # noqa: E402


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    made = deepmedic.DeepMedic(input_channels=1, num_classes=5)
    for layer in made.modules():  # as after training: no layer passes values through unchanged
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean.uniform_(-0.1, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return made.eval()


def test_the_bundle_computes_what_blast_ct_does(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    for k in (1, 2):
        torch.save(network(k).state_dict(), weights / f"model_{k}.torch_model")
    names = weight_files(weights)
    assert names == ["model_1.torch_model", "model_2.torch_model"]
    # Windows of 15 voxels, which the small exam takes eight of, in place of blast-ct's one of 30.
    published = read_blast_ct(weights, names, window=15)
    home = write_published(published, tmp_path / "bundle", hashes(weights, names))
    manifest = load_bundle(home).manifest
    assert manifest.licence == "Apache-2.0" and not manifest.calibrated
    assert any("Oedema counts as none" in line for line in manifest.limits)

    hu = ndimage.gaussian_filter(np.random.default_rng(0).normal(40, 300, (6, 54, 54)), (0, 3, 3))
    exam = Exam.from_array(hu, spacing=(5.0, 0.5, 0.5))
    detector = Detector(home, device="cpu", engine="onnxruntime")
    prepared = prepare(exam, manifest.preparation)
    found = detector.model.classes(prepared.stack)

    # blast-ct: linear at whole millimetres from the first voxel's centre, -15..100 HU to -1..1, edges repeated.
    shape = tuple(round((n - 1) * mm + 1) for n, mm in zip(hu.shape, (5.0, 0.5, 0.5), strict=True))
    assert prepared.hu.shape == shape
    at = np.meshgrid(
        *(np.arange(n) / mm for n, mm in zip(shape, (5.0, 0.5, 0.5), strict=True)), indexing="ij"
    )
    image = ndimage.map_coordinates(exam.volume.astype(np.float32), at, order=1, mode="nearest")
    image = (2 * image.clip(-15, 100) + 15 - 100) / 115
    room = [(40, 40 + 30 - n) for n in shape]
    window = torch.from_numpy(np.pad(image, room, mode="edge"))[None, None].float()
    with torch.inference_mode():
        shares = sum(torch.softmax(network(k)(window)[0][0], dim=0) for k in (1, 2)) / 2
    expected = shares.numpy()[(slice(None), *(slice(n) for n in shape))]
    assert np.abs(found - np.log(expected)).max() < 1e-3
    np.testing.assert_array_equal(found.argmax(axis=0), expected.argmax(axis=0))

    maps = detector.model.predict(prepared.stack).maps
    bleeding = expected[[1, 2, 4]].sum(axis=0)
    for place, share in ((0, bleeding), (2, expected[1]), (3, expected[4])):
        assert np.abs(maps[:, place] - (np.log(share) - np.log1p(-share))).max() < 2e-3
    assert (maps[:, [1, 4, 5]] == -16).all()


def test_a_file_that_is_not_the_network_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"other": torch.zeros(1)}, tmp_path / "model_1.torch_model")
    with pytest.raises(BundleError, match=r"model_1.torch_model.*lacks the tensor"):
        read_blast_ct(tmp_path, weight_files(tmp_path))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(["bundle", "import", "blast-ct", str(empty), "-o", str(tmp_path / "out")]) == 2
    assert "model_1.torch_model" in capsys.readouterr().err
