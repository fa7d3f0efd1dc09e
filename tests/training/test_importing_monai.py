"""MONAI bundles: networks of the published architectures with random weights, in the published layout."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnx", reason="needs the extra 'train'")
pytest.importorskip("monai", reason="needs the extra 'monai'")

from ichor.cli import run  # noqa: E402
from ichor.detecting import Detector, load_bundle  # noqa: E402
from ichor.errors import BundleError, UsageError  # noqa: E402
from ichor.exam import Exam  # noqa: E402
from ichor.preparing import prepare  # noqa: E402
from ichor.training.importing.monai_bundle import import_monai  # noqa: E402

NETWORKS = {
    "SegResNet": {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "UNet": {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2], "num_res_units": 1, "norm": "batch"},
    "DynUNet": {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 8], "deep_supervision": True},
}  # fmt: skip
METADATA = {
    "name": "Head bleeds",
    "version": "0.4.2",
    "authors": "A. Author",
    "license": "Apache-2.0",
    "references": ["Author et al., 2024"],
    "eval_metrics": {"mean_dice": 0.81},
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "modality": "CT"}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "IPH", "2": "oedema"}}},
    },
}
ROI = [24, 32, 16]
HU = {"a_min": -20, "a_max": 100, "b_min": -1.0, "b_max": 1.0, "clip": True}


def config(kind: str = "UNet") -> dict[str, object]:
    return {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "roi": ROI,
        "network_def": {"_target_": kind, **NETWORKS[kind]},
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "reader": "$monai.data.ITKReader"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [3.5, 4.0, 4.5], "mode": "bilinear"},
                {"_target_": "ScaleIntensityRanged", "keys": "image", **HU},
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": "@roi",
            "sw_batch_size": 4,
            "overlap": 0.25,
            "mode": "gaussian",
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing"},
            ],
        },
    }


def network(kind: str) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.networks import nets
    torch.manual_seed(0)
    return getattr(nets, kind)(**NETWORKS[kind]).eval()


def bundle(home: Path, kind: str = "UNet") -> Path:
    for name in ("configs", "models"):
        (home / name).mkdir(parents=True)
    (home / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    (home / "configs" / "inference.json").write_text(json.dumps(config(kind)))
    torch.save(network(kind).state_dict(), home / "models" / "model.pt")
    return home


def head() -> Exam:
    """A head of a formula, with a bright ball off its middle."""
    zz, yy, xx = np.mgrid[:16, :100, :90] - np.array([7.5, 49.5, 44.5])[:, None, None, None]
    radius = np.hypot(yy / 42, xx / 34)
    hu = np.where(radius < 0.9, 34, np.where(radius < 1, 900, -1000)).astype(float)
    hu[(zz * 2.5) ** 2 + (yy - 10) ** 2 + (xx + 8) ** 2 < 81] = 70
    return Exam.from_array(hu + np.random.default_rng(0).normal(0, 2, hu.shape), spacing=(5.0, 2.0, 2.0))


def as_monai(exam: Exam, kind: str) -> np.ndarray:
    """Orient, space, scale and score as MONAI does, by MONAI itself: classes in slices, rows, columns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.data import MetaTensor
        from monai.inferers import SlidingWindowInferer
        from monai.transforms import Orientation, ScaleIntensityRange, Spacing

        # As a reader gives it: x to the left, y to the back, z up; in NIfTI's RAS coordinates.
        array = torch.from_numpy(exam.volume.astype(np.float32).transpose(2, 1, 0).copy())[None]
        image = MetaTensor(
            array, affine=torch.diag(torch.tensor([-2.0, -2.0, 5.0, 1.0], dtype=torch.float64))
        )
        image = Spacing((3.5, 4.0, 4.5), mode="bilinear")(Orientation("RAS")(image))
        image = ScaleIntensityRange(**HU)(image).as_tensor()[None].float()
        with torch.inference_mode():
            found = SlidingWindowInferer(ROI, 4, 0.25, mode="gaussian")(image, network(kind))[0].numpy()
    return found[:, ::-1, ::-1].transpose(0, 3, 2, 1)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_bundle_computes_what_monai_does(kind: str, tmp_path: Path) -> None:
    home = tmp_path / "ours"
    assert run(["bundle", "import", str(bundle(tmp_path / "monai", kind)), "-o", str(home)]) == 0
    manifest = load_bundle(home).manifest
    assert not manifest.calibrated
    assert set(manifest.origin.files) == {
        "configs/metadata.json",
        "configs/inference.json",
        "models/model.pt",
    }
    assert [(figure.name, figure.value) for figure in manifest.claimed] == [("mean_dice", 0.81)]

    exam = head()
    detector = Detector(home, device="cpu", engine="onnxruntime")
    prepared = prepare(exam, manifest.preparation)
    expected = as_monai(exam, kind)
    found = detector.model.classes(prepared.stack)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-3
    maps = detector.model.predict(prepared.stack).maps
    rest = np.logaddexp(expected[0], expected[2])
    assert np.abs(maps[:, 2] - (expected[1] - rest)).max() < 2e-3
    np.testing.assert_array_equal(maps[:, 0], maps[:, 2])  # oedema is no hemorrhage
    findings = detector.detect(exam)
    assert findings.probabilities.any is not None and findings.volume_ml is not None


def test_what_is_not_understood_is_refused_and_named(tmp_path: Path) -> None:
    home = bundle(tmp_path / "monai")
    path = home / "configs" / "inference.json"

    def refused(words: str, error: type[Exception] = UsageError, **parts: object) -> None:
        path.write_text(json.dumps(config() | parts))
        with pytest.raises(error, match=words):
            import_monai(home, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        path.write_text(json.dumps(config()))

    def steps(**changed: object) -> dict[str, object]:
        transforms = config()["preprocessing"]["transforms"]
        for name, arguments in changed.items():
            transforms = [t for t in transforms if t["_target_"] != name]
            if arguments:
                transforms.append({"_target_": name, "keys": "image", **arguments})
        return {"_target_": "Compose", "transforms": transforms}

    refused("transform 'CropForegroundd'", preprocessing=steps(CropForegroundd={"source_key": "image"}))
    refused("NormalizeIntensityd", preprocessing=steps(NormalizeIntensityd={"nonzero": True}))
    refused(
        r"ScaleIntensityRanged.clip wrong", preprocessing=steps(ScaleIntensityRanged=HU | {"clip": False})
    )
    refused("expected Orientation", preprocessing=steps(Orientationd=None))
    refused(
        r"Spacingd.scale_extent", preprocessing=steps(Spacingd={"pixdim": [1, 1, 1], "scale_extent": True})
    )
    refused("inferer SimpleInferer", inferer={"_target_": "SimpleInferer"})
    refused("inferer.roi_size", inferer={"_target_": "SlidingWindowInferer", "roi_size": [-1, 32, 32]})
    refused("network os.system", network_def={"_target_": "os.system", "command": "true"})
    refused("network monai.x.UNet", network_def={"_target_": "monai.x.UNet"})
    refused("argument channels", network_def=config()["network_def"] | {"channels": "$[4, 8]"})
    refused("argument widths", network_def=config()["network_def"] | {"widths": 3})
    refused(
        "leads nowhere", BundleError, inferer={"_target_": "SlidingWindowInferer", "roi_size": "@nothing"}
    )
    refused("lead in a circle", BundleError, inferer={"_target_": "@inferer"})
    refused("softmax, sigmoid or argmax", postprocessing={"_target_": "Compose", "transforms": []})

    weights = home / "models" / "model.pt"
    whole = torch.load(weights)
    torch.save({"state_dict": whole | {"extra": torch.zeros(1)}}, weights)
    refused("unknown tensor extra", BundleError)
    torch.save(network("UNet"), weights)
    refused("cannot be read as weights alone", BundleError)
    weights.rename(weights.with_suffix(".ts"))
    refused("holds code besides weights")
    metadata = home / "configs" / "metadata.json"
    metadata.write_text(json.dumps(METADATA | {"network_data_format": {}}))
    refused("names of the classes")
