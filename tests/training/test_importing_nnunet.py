"""nnU-Net v2 exports: a network of the published architecture with random weights, in the published layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
unet = pytest.importorskip(
    "dynamic_network_architectures.architectures.unet", reason="needs the extra 'nnunet'"
)
pytest.importorskip("onnx", reason="needs the extra 'train'")

from ichor.cli import run  # noqa: E402
from ichor.detecting import Detector, load_bundle  # noqa: E402
from ichor.detecting.openvino_session import is_installed  # noqa: E402
from ichor.errors import BundleError, UsageError  # noqa: E402
from ichor.exam import Exam  # noqa: E402
from ichor.preparing import prepare  # noqa: E402
from ichor.training.importing.nnunet import import_nnunet  # noqa: E402

MEAN, STD, LOW, HIGH = 55.0, 20.0, -5.0, 95.0
ARGUMENTS = {
    "n_stages": 3,
    "features_per_stage": [4, 8, 8],
    "conv_op": "torch.nn.modules.conv.Conv2d",
    "kernel_sizes": [[3, 3]] * 3,
    "strides": [[1, 1], [2, 2], [2, 2]],
    "n_conv_per_stage": [1, 1, 1],
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
PLANS = {
    "dataset_name": "Dataset001_Bleeds",
    "plans_name": "nnUNetPlans",
    "transpose_forward": [0, 1, 2],
    "configurations": {
        "2d": {
            "patch_size": [64, 64],
            "spacing": [2.0, 2.0],
            "normalization_schemes": ["CTNormalization"],
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": ARGUMENTS,
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        },
        "3d_fullres": {"patch_size": [32, 64, 64]},
    },
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": MEAN, "std": STD, "percentile_00_5": LOW, "percentile_99_5": HIGH, "max": 300.0}
    },
}
DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "IPH": 1, "oedema": 2, "SDH": 3},
    "name": "Bleeds",
    "file_ending": ".nii.gz",
}


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    arguments = ARGUMENTS | {
        "conv_op": torch.nn.Conv2d,
        "norm_op": torch.nn.InstanceNorm2d,
        "nonlin": torch.nn.LeakyReLU,
    }
    return unet.PlainConvUNet(input_channels=1, num_classes=4, deep_supervision=False, **arguments).eval()


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two folds as nnU-Net leaves them, the log of training with numpy's numbers included."""
    home = tmp_path / "nnUNetTrainer__nnUNetPlans__2d"
    home.mkdir()
    (home / "plans.json").write_text(json.dumps(PLANS))
    (home / "dataset.json").write_text(json.dumps(DATASET))
    for k in range(2):
        (home / f"fold_{k}").mkdir()
        checkpoint = {
            "network_weights": network(k).state_dict(),
            "trainer_name": "nnUNetTrainer",
            "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)]},
            "inference_allowed_mirroring_axes": (0, 1),
        }
        torch.save(checkpoint, home / f"fold_{k}" / "checkpoint_final.pth")
    return home


def head() -> Exam:
    """A head of a formula, 1 mm pixels, with a bright disk 30 mm wide off its middle."""
    yy, xx = np.mgrid[:200, :200] - 99.5
    radius = np.hypot(yy / 84, xx / 68)
    hu = np.where(radius < 0.9, 34, np.where(radius < 1, 900, -1000)) + np.random.default_rng(0).normal(
        0, 2, (8, 200, 200)
    )
    hu[3:5][:, np.hypot(yy - 20, xx + 10) < 15] = 68
    return Exam.from_array(hu, spacing=(6.0, 1.0, 1.0))


def test_the_bundle_computes_what_the_networks_do(export: Path, tmp_path: Path) -> None:
    assert run(["bundle", "import", str(export), "-o", str(tmp_path / "bundle")]) == 0
    manifest = load_bundle(tmp_path / "bundle").manifest
    assert not manifest.calibrated
    assert set(manifest.origin.files) == {
        "plans.json",
        "dataset.json",
        "fold_0/checkpoint_final.pth",
        "fold_1/checkpoint_final.pth",
    }
    # 250 mm of 2 mm pixels, in whole steps of 4.
    assert (manifest.preparation.rows, manifest.preparation.columns) == (128, 128)

    exam = head()
    prepared = prepare(exam, manifest.preparation)
    # Resampled to 2 mm about the middle: the disk has its area, and its place.
    disk = prepared.hu[3] > 60
    disk &= prepared.hu[3] < 80
    rows, columns = np.nonzero(disk)
    assert disk.sum() * 4 == pytest.approx(np.pi * 15**2, rel=0.15)
    assert (rows.mean() - 63.5, columns.mean() - 63.5) == pytest.approx((10, -5), abs=0.5)

    taken = torch.from_numpy(((prepared.hu.clip(LOW, HIGH) - MEAN) / STD).astype(np.float32))[:, None]
    with torch.inference_mode():
        logits = torch.stack([network(k)(taken) for k in range(2)]).mean(dim=0).double()
    p = torch.softmax(logits, dim=1).numpy()
    detector = Detector(tmp_path / "bundle", device="cpu", engine="onnxruntime")
    maps = detector.model.predict(prepared.stack).maps
    assert maps is not None

    def logit(share: np.ndarray) -> np.ndarray:
        return np.log(share) - np.log1p(-share)

    for place, expected in ((0, p[:, 1] + p[:, 3]), (2, p[:, 1]), (5, p[:, 3])):
        assert np.abs(maps[:, place] - logit(expected)).max() < 1e-3
    assert (maps[:, [1, 3, 4]] == -16).all()  # labels that the model does not know

    found = detector.detect(exam)
    assert found.assessable
    assert found.probabilities.any is not None
    assert found.volume_ml is not None
    assert found.positive.any is None
    assert any("does not know: epidural" in line for line in manifest.limits)


class _Evil:
    """What a hostile checkpoint would run when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('ran')",)


def test_what_is_not_as_published_is_refused_and_named(export: Path, tmp_path: Path) -> None:
    path = export / "fold_1" / "checkpoint_final.pth"
    whole = torch.load(path, weights_only=False)

    def refused(error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words):
            import_nnunet(export, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    weights = dict(whole["network_weights"])
    name, value = "decoder.seg_layers.1.bias", whole["network_weights"]["decoder.seg_layers.1.bias"]
    del weights[name]
    torch.save({"network_weights": weights}, path)
    refused(BundleError, f"fold_1/checkpoint_final.pth.*lacks the tensor {name}")
    torch.save({"network_weights": weights | {name: value, "extra": value}}, path)
    refused(BundleError, "has the unknown tensor extra")
    torch.save({"network_weights": weights | {name: value[:2]}}, path)
    refused(BundleError, r"another shape decoder.seg_layers.1.bias \(2,\) in place of \(4,\)")
    torch.save(whole | {"init_args": _Evil()}, path)
    refused(BundleError, "cannot be read as weights alone")
    path.unlink()
    (export / "fold_0" / "checkpoint_final.pth").unlink()
    refused(UsageError, r"found no fold_\*/checkpoint_final.pth")

    def changed(name: str, content: dict[str, object], error: type[Exception], words: str) -> None:
        before = (export / name).read_text()
        (export / name).write_text(json.dumps(json.loads(before) | content))
        refused(error, words)
        (export / name).write_text(before)

    torch.save(whole, path)
    changed(
        "plans.json", {"configurations": {"3d_fullres": {}}}, UsageError, "3d_fullres, and a network of 2d"
    )
    changed("plans.json", {"transpose_forward": [1, 0, 2]}, BundleError, "transpose_forward")
    other = json.loads(json.dumps(PLANS["configurations"]))
    other["2d"]["architecture"]["network_class_name"] = "os.system"
    changed("plans.json", {"configurations": other}, UsageError, "found the network os.system")
    changed("dataset.json", {"labels": {"background": 0, "tumour": 1}}, UsageError, "rename the label")
    changed("dataset.json", {"labels": {"background": 0, "whole": [1, 2]}}, UsageError, "found regions")


VOLUME = ARGUMENTS | {
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
}
PATCH = (6, 32, 40)


def volume_network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    arguments = VOLUME | {
        "conv_op": torch.nn.Conv3d,
        "norm_op": torch.nn.InstanceNorm3d,
        "nonlin": torch.nn.LeakyReLU,
    }
    return unet.PlainConvUNet(input_channels=1, num_classes=4, deep_supervision=False, **arguments).eval()


@pytest.fixture(scope="module")
def volume_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("export") / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    home.mkdir()
    flat = PLANS["configurations"]["2d"]
    full = flat | {
        "patch_size": PATCH,
        "spacing": [4.0, 4.0, 4.0],
        "architecture": flat["architecture"] | {"arch_kwargs": VOLUME},
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    }
    # As nnU-Net writes them: configurations may be built upon each other.
    plans = PLANS | {"configurations": {"base": full, "3d_fullres": {"inherits_from": "base"}, "2d": flat}}
    (home / "plans.json").write_text(json.dumps(plans))
    (home / "dataset.json").write_text(json.dumps(DATASET))
    for k in range(2):
        (home / f"fold_{k}").mkdir()
        checkpoint = {"network_weights": volume_network(k).state_dict(), "trainer_name": "nnUNetTrainer"}
        torch.save(checkpoint, home / f"fold_{k}" / "checkpoint_final.pth")
    return home


def as_nnunet(hu: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Normalise, resample and score as nnU-Net v2 does, by its rules and not by our code: the mean of two folds."""
    data = (hu.clip(LOW, HIGH).astype(np.float32) - MEAN) / STD
    zoomed = []
    for plane in data:  # slices of 6 mm and pixels of 1 mm: in the planes first, then the nearest slice
        factors = [m / n for m, n in zip(shape[1:], plane.shape, strict=True)]
        new = ndimage.zoom(plane, factors, order=3, mode="nearest", grid_mode=True)
        zoomed.append(new.clip(plane.min(), plane.max()))
    at = (np.arange(shape[0]) + 0.5) * len(data) / shape[0] - 0.5
    volume = np.stack(zoomed)[np.clip(np.floor(at + 0.5), 0, len(data) - 1).astype(int)]
    delta = np.zeros(PATCH)
    delta[tuple(n // 2 for n in PATCH)] = 1
    weight = ndimage.gaussian_filter(delta, [n / 8 for n in PATCH], mode="constant")
    weight = np.maximum(weight / weight.max(), 2**-24 / 10)  # of half precision, tenfold: none is 0
    room = [
        (max(0, p - n) // 2, max(0, p - n) - max(0, p - n) // 2)
        for n, p in zip(volume.shape, PATCH, strict=True)
    ]
    padded = np.pad(volume, room)
    starts = []
    for n, size in zip(padded.shape, PATCH, strict=True):
        count = int(np.ceil((n - size) / (size / 2))) + 1
        starts.append([round((n - size) / max(1, count - 1) * k) for k in range(count)])
    total, covered = np.zeros((4, *padded.shape)), np.zeros(padded.shape)
    networks = [volume_network(k) for k in range(2)]
    for i in starts[0]:
        for j in starts[1]:
            for k in starts[2]:
                place = tuple(slice(a, a + size) for a, size in zip((i, j, k), PATCH, strict=True))
                taken = torch.from_numpy(padded[place])[None, None].float()
                with torch.inference_mode():
                    found = sum(network(taken)[0].double() for network in networks) / 2
                total[(slice(None), *place)] += found.numpy() * weight
                covered[place] += weight
    inner = tuple(slice(a, a + n) for (a, _), n in zip(room, volume.shape, strict=True))
    return (total / covered)[(slice(None), *inner)]


def test_a_network_of_volumes_computes_what_nnunet_does(volume_export: Path, tmp_path: Path) -> None:
    home = tmp_path / "bundle"
    assert run(["bundle", "import", str(volume_export), "-o", str(home)]) == 0
    manifest = load_bundle(home).manifest
    assert manifest.used_graphs == ("window", "labels")
    assert manifest.locates and not manifest.calibrated
    assert any("--disable_tta" in line for line in manifest.limits)

    exam = head()
    detector = Detector(home, device="cpu", engine="onnxruntime")
    prepared = prepare(exam, manifest.preparation)
    assert prepared.hu.shape == (12, 50, 50)
    expected = as_nnunet(exam.volume, prepared.hu.shape)
    found = detector.model.classes(prepared.stack)
    assert np.abs(found - expected).max() < 1e-3

    p = torch.softmax(torch.from_numpy(expected), dim=0).numpy()
    maps = detector.model.predict(prepared.stack).maps
    for place, share in ((0, p[1] + p[3]), (2, p[1]), (5, p[3])):
        assert np.abs(maps[:, place] - (np.log(share) - np.log1p(-share))).max() < 2e-3
    assert (maps[:, [1, 3, 4]] == -16).all()

    findings = detector.detect(exam)
    assert findings.assessable and len(findings.slices) == 8
    assert findings.probabilities.any is not None and findings.volume_ml is not None
    assert findings.positive.any is None

    if is_installed():
        other = Detector(home, engine="openvino")
        assert other.model.provider.startswith("OpenVINO") and other.model.provider.endswith("fp32")
        assert np.abs(other.model.classes(prepared.stack) - expected).max() < 1e-3
    assert Detector(home, engine="onnxruntime").model.provider == "CPUExecutionProvider"


def test_a_configuration_that_needs_another_first_is_refused(volume_export: Path, tmp_path: Path) -> None:
    for ending, words in (("3d_cascade_fullres", "a network of 3d_cascade_fullres"), ("", "an unknown one")):
        other = tmp_path / (f"Trainer__Plans__{ending}" if ending else "model")
        other.mkdir()
        for name in ("plans.json", "dataset.json"):
            (other / name).write_bytes((volume_export / name).read_bytes())
        with pytest.raises(UsageError, match=words):
            import_nnunet(other, tmp_path / "out")
    plans = json.loads((volume_export / "plans.json").read_text())
    plans["configurations"]["base"]["resampling_fn_data"] = "resample_torch_simple"
    named = tmp_path / "Trainer__Plans__3d_fullres"
    named.mkdir()
    (named / "plans.json").write_text(json.dumps(plans))
    (named / "dataset.json").write_bytes((volume_export / "dataset.json").read_bytes())
    with pytest.raises(BundleError, match="resampling_fn_data"):
        import_nnunet(named, tmp_path / "out")
