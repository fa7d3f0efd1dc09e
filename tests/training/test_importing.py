"""``ichor bundle import``: networks of the published architecture, saved as published, through the whole pipeline."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnx", reason="needs the extra 'train'")

import timm  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import ichor  # noqa: E402
from ichor.cli import run  # noqa: E402
from ichor.detecting import Detector, load_bundle  # noqa: E402
from ichor.exam import Exam, Geometry, Source  # noqa: E402
from ichor.labels import LABEL_NAMES  # noqa: E402
from ichor.preparing import prepare  # noqa: E402

LABELS = ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any"]
WINDOWS = ((40, 80), (80, 200), (600, 2800))
SIDE, LONGEST, ABOVE = 64, 8, 160
SLICE_BLEND = [0.75, 0.75, 0.75, 0.75, 0.75, 1.0]
SERIES_BLEND = [0.5, 0.25, 0.5, 1.0, 0.5, 0.5]
OPEN_WEIGHTS = os.environ.get("ICHOR_OPEN_WEIGHTS", "")


def _normed(name, channels):
    shapes = {f"{name}.{k}": (channels,) for k in ("weight", "bias", "running_mean", "running_var")}
    return shapes | {f"{name}.num_batches_tracked": ()}


def _separable(name, before, after):
    return {f"{name}.0.weight": (before, 1, 3, 3), f"{name}.1.weight": (after, before, 1, 1)}


def decoder_shapes():
    """Names and shapes of a fold's tensors, from the publication's source."""
    aspp = "decoder.aspp.0"
    shapes = {f"{aspp}.convs.0.0.weight": (256, 512, 1, 1), **_normed(f"{aspp}.convs.0.1", 256)}
    for k in range(1, 5):
        shapes |= _separable(f"{aspp}.convs.{k}.0", 512, 256) | _normed(f"{aspp}.convs.{k}.1", 256)
    shapes |= {f"{aspp}.convs.5.1.weight": (256, 512, 1, 1), **_normed(f"{aspp}.convs.5.2", 256)}
    shapes |= {f"{aspp}.project.0.weight": (256, 6 * 256, 1, 1), **_normed(f"{aspp}.project.1", 256)}
    shapes |= _separable("decoder.aspp.1", 256, 256) | _normed("decoder.aspp.2", 256)
    shapes |= {"decoder.block1.0.weight": (48, 64, 1, 1), **_normed("decoder.block1.1", 48)}
    shapes |= _separable("decoder.block2.0", 304, 256) | _normed("decoder.block2.1", 256)
    return shapes | {"segmentation_head.conv.weight": (6, 256, 3, 3), "segmentation_head.conv.bias": (6,)}


def sequence_shapes():
    """Names and shapes of the sequence head's tensors."""
    shapes = {f"{n}.{k}": (512,) for n in ("input_norm", "projection_norm") for k in ("weight", "bias")}
    shapes |= {"projection.weight": (512, 512), "projection.bias": (512,)}
    for layer, taken in ((0, 513), (1, 512)):
        for way in ("", "_reverse"):
            shapes |= {
                f"sequence.weight_ih_l{layer}{way}": (768, taken),
                f"sequence.weight_hh_l{layer}{way}": (768, 256),
                f"sequence.bias_ih_l{layer}{way}": (768,),
                f"sequence.bias_hh_l{layer}{way}": (768,),
            }
    shapes |= {"slice_head.weight": (6, 512), "slice_head.bias": (6,)}
    for pool in ("sequence_pool", "mil_pool"):
        shapes |= {f"{pool}.classifier_weight": (6, 512), f"{pool}.classifier_bias": (6,)}
        shapes |= {f"{pool}.attention.0.weight": (128, 512), f"{pool}.attention.0.bias": (128,)}
        shapes |= {f"{pool}.attention.2.weight": (6, 128), f"{pool}.attention.2.bias": (6,)}
    return shapes


def random_tensors(shapes, generator):
    made = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            made[name] = torch.tensor(1)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            made[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            fan = int(np.prod(shape[1:])) if len(shape) > 1 else 16
            made[name] = torch.randn(shape, generator=generator) * fan**-0.5
    return made


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The publication's folder with random weights, for slices of 64 pixels."""
    home = tmp_path_factory.mktemp("published")
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    backbone = timm.create_model(
        "maxvit_tiny_tf_512", num_classes=0, global_pool="", in_chans=9, img_size=(SIDE, SIDE)
    )
    encoder = {f"backbone.{k}": v.contiguous() for k, v in backbone.state_dict().items()}
    encoder |= {"linear.weight": torch.randn(6, 512, generator=generator) / 8, "linear.bias": torch.zeros(6)}
    for name in ("classifier", "sequence", "segmentation"):
        (home / name).mkdir()
    save_file(encoder, home / "classifier" / "model.safetensors")
    save_file(random_tensors(sequence_shapes(), generator), home / "sequence" / "model.safetensors")
    for k in range(5):
        save_file(random_tensors(decoder_shapes(), generator), home / "segmentation" / f"fold{k}.safetensors")
    config = {
        "model_type": "ct_head_hemorrhage_detection",
        "architecture": {
            "slice_classifier": "maxvit_tiny_tf_512.in1k",
            "segmentation_decoder": "DeepLabV3Plus",
            "segmentation_folds": 5,
        },
        "input": {
            "height": SIDE,
            "width": SIDE,
            "large_image_resize_threshold": ABOVE,
            "adjacent_slices": 3,
            "channel_order": "slice-major",
            "windows": [{"name": "w", "center": level, "width": width} for level, width in WINDOWS],
            "normalization": {"input_min": 0.0, "input_max": 1.0, "output_min": -1.0, "output_max": 1.0},
        },
        "labels": LABELS,
        "pooled_feature_dimension": 512,
        "slice_blend_alphas": SLICE_BLEND,
        "series_blend_alphas": SERIES_BLEND,
        "series_baseline_aggregation": "max_probability",
        "training_max_sequence_length": LONGEST,
        "long_series_inference_default": "resample",
        "source_code_revision": "abc1234",
    }
    (home / "config.json").write_text(json.dumps(config))
    return home


@pytest.fixture(scope="module")
def imported(published, tmp_path_factory):
    bundle = tmp_path_factory.mktemp("bundles") / "ipan"
    arguments = ["bundle", "import", "ipan", str(published), "-o", str(bundle), "--revision", "0123abcd"]
    assert run(arguments) == 0
    return bundle


def head(side, slices):
    """A ring of bone around brain with grain, ``side`` pixels wide."""
    rng = np.random.default_rng(1)
    yy, xx = np.mgrid[:side, : side - 3]
    radius = np.hypot((yy - side / 2) / (0.44 * side), (xx - side / 2) / (0.36 * side))
    hu = np.where(radius < 0.9, 34, np.where(radius < 1, 900, -1000)) + rng.normal(
        0, 3, (slices, *radius.shape)
    )
    hu[slices // 2 :][:, np.hypot(yy - side / 2, xx - 0.6 * side) < side / 12] = 65
    positions = np.stack([np.zeros(slices), np.zeros(slices), 6.0 * np.arange(slices)], axis=1)
    mm = 200 / side
    geometry = Geometry(positions, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), (mm, mm))
    return Exam(hu.astype(np.int16), geometry, Source("head", "nifti"))


def reference_input(volume):
    """The publication's own preparation: crop or pad (or average) each slice, window, stack neighbours, pad with 0."""
    windowed = []
    for plane in volume.astype(np.float32):
        if max(plane.shape) > ABOVE:
            for _ in range(2):  # each pixel so often, and then as many for one
                plane = np.repeat(plane.T, SIDE, axis=0).reshape(SIDE, plane.shape[1], -1).mean(axis=1)
        top, left = (max((n - SIDE) // 2, 0) for n in plane.shape)
        plane = plane[top : top + SIDE, left : left + SIDE]
        shown = np.stack([np.clip((plane - c + w / 2) / w, 0, 1) for c, w in WINDOWS])
        lack = [SIDE - n for n in plane.shape]
        windowed.append(np.pad(shown, [(0, 0), *((n // 2, n - n // 2) for n in lack)]))
    nothing = np.zeros_like(windowed[0])
    around = [nothing, *windowed, nothing]
    return np.stack([np.concatenate(around[k : k + 3]) for k in range(len(volume))])


def reference(home, volume):
    """Slice logits, series logits and maps as the publication computes them, in its order of labels."""
    load = {p.parent.name + p.stem: load_file(p) for p in home.glob("*/*.safetensors")}
    weights = load["classifiermodel"]
    backbone = timm.create_model(
        "maxvit_tiny_tf_512", num_classes=0, global_pool="", in_chans=9, img_size=(SIDE, SIDE)
    ).eval()
    backbone.load_state_dict({k[9:]: v for k, v in weights.items() if k.startswith("backbone.")})
    pyramid = timm.create_model(
        "maxvit_tiny_tf_512", features_only=True, in_chans=9, img_size=(SIDE, SIDE)
    ).eval()
    pyramid.load_state_dict(
        {k.replace("stages.", "stages_"): v for k, v in backbone.state_dict().items() if "head" not in k}
    )
    with torch.inference_mode():
        x = torch.from_numpy(reference_input(volume)) * 2 - 1
        pooled = backbone(x).mean((2, 3))
        base = F.linear(pooled, weights["linear.weight"], weights["linear.bias"])
        maps = pyramid(x)
        masks = torch.stack([decoded(load[f"segmentationfold{k}"], maps).sigmoid() for k in range(5)]).mean(0)
        context, series = contextual(load["sequencemodel"], pooled)
    share, exam_share = torch.tensor(SLICE_BLEND), torch.tensor(SERIES_BLEND)
    highest = base.double().sigmoid().amax(0).clamp(1e-6, 1 - 1e-6).logit()
    return (1 - share) * base + share * context, (1 - exam_share) * highest + exam_share * series, masks


def decoded(w, maps):
    def norm(name, x):
        kept = (w[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(x, *kept))

    def separable(name, x, rate=1):
        deep = F.conv2d(x, w[f"{name}.0.weight"], padding=rate, dilation=rate, groups=x.shape[1])
        return F.conv2d(deep, w[f"{name}.1.weight"])

    coarse, fine = maps[-1], maps[1]
    p = "decoder.aspp.0"
    parts = [norm(f"{p}.convs.0.1", F.conv2d(coarse, w[f"{p}.convs.0.0.weight"]))]
    for k, rate in enumerate((6, 12, 18, 24), start=1):
        parts.append(norm(f"{p}.convs.{k}.1", separable(f"{p}.convs.{k}.0", coarse, rate)))
    whole = norm(f"{p}.convs.5.2", F.conv2d(coarse.mean((2, 3), keepdim=True), w[f"{p}.convs.5.1.weight"]))
    parts.append(F.interpolate(whole, size=coarse.shape[2:], mode="bilinear"))
    joined = norm(f"{p}.project.1", F.conv2d(torch.cat(parts, 1), w[f"{p}.project.0.weight"]))
    seen = norm("decoder.aspp.2", separable("decoder.aspp.1", joined))
    near = norm("decoder.block1.1", F.conv2d(fine, w["decoder.block1.0.weight"]))
    seen = F.interpolate(seen, size=near.shape[2:], mode="bilinear")
    fused = norm("decoder.block2.1", separable("decoder.block2.0", torch.cat([seen, near], 1)))
    return F.conv2d(fused, w["segmentation_head.conv.weight"], w["segmentation_head.conv.bias"], padding=1)


def contextual(w, pooled):
    n = len(pooled)
    taken = np.arange(n) if n <= LONGEST else np.rint(np.linspace(0, n - 1, LONGEST)).astype(int)
    x = F.layer_norm(pooled[taken], (512,), w["input_norm.weight"], w["input_norm.bias"])
    x = F.gelu(F.linear(x, w["projection.weight"], w["projection.bias"]))
    x = F.layer_norm(x, (512,), w["projection_norm.weight"], w["projection_norm.bias"])
    gru = torch.nn.GRU(513, 256, 2, batch_first=True, bidirectional=True)
    gru.load_state_dict({k[9:]: v for k, v in w.items() if k.startswith("sequence.")})
    place = torch.from_numpy(taken / max(n - 1, 1)).float()[:, None]
    sequence = gru(torch.cat([x, place], 1)[None])[0]
    logits = F.linear(sequence[0], w["slice_head.weight"], w["slice_head.bias"])
    nearest = [int(np.abs(taken - k).argmin()) for k in range(n)]
    score = F.linear(
        sequence, w["sequence_pool.attention.0.weight"], w["sequence_pool.attention.0.bias"]
    ).tanh()
    score = F.linear(score, w["sequence_pool.attention.2.weight"], w["sequence_pool.attention.2.bias"])
    mixed = torch.einsum("btc,bth->bch", score.softmax(1), sequence)
    series = torch.einsum("bch,ch->bc", mixed, w["sequence_pool.classifier_weight"])
    return logits[nearest], series[0] + w["sequence_pool.classifier_bias"]


@pytest.mark.parametrize(
    ("side", "slices"), [(96, 6), (200, 11)], ids=["cropped", "averaged, longer than the sequence head takes"]
)
def test_the_bundle_computes_what_was_published(published, imported, side, slices):
    exam = head(side, slices)
    detector = Detector(imported, device="cpu", engine="onnxruntime")
    prepared = prepare(exam, detector.bundle.manifest.preparation)
    np.testing.assert_allclose(prepared.stack, reference_input(exam.volume), atol=1e-4)
    found = detector.model.predict(prepared.stack)
    slice_logits, series_logits, masks = reference(published, exam.volume)
    order = [LABELS.index(name) for name in LABEL_NAMES]
    np.testing.assert_allclose(found.slices, slice_logits[:, order], atol=1e-3)
    np.testing.assert_allclose(found.exam, series_logits[order], atol=1e-3)
    shown = 1 / (1 + np.exp(-found.maps.astype(np.float64)))
    np.testing.assert_allclose(shown, masks[:, order], atol=1e-3)
    assert np.ptp(slice_logits.numpy(), axis=0).min() > 5e-3  # slices are told apart: their order was tested

    findings = detector.detect(exam)
    assert findings.assessable, findings.warnings
    scores = findings.probabilities.as_array()
    np.testing.assert_allclose(scores, series_logits[order].sigmoid(), atol=1e-3)
    by_slice = np.array([s.probabilities.as_array() for s in findings.slices])
    np.testing.assert_allclose(by_slice, slice_logits[:, order].sigmoid(), atol=1e-3)
    assert findings.positive.any is None and findings.thresholds.any is None
    assert findings.volume_ml is None
    assert "not_calibrated" in {w.code for w in findings.warnings}


def test_the_bundle_says_where_it_comes_from_and_what_is_claimed(published, imported):
    manifest = load_bundle(imported).manifest
    assert manifest.origin.revision == "0123abcd" and manifest.licence == "MIT"
    name = "sequence/model.safetensors"
    assert manifest.origin.files[name] == hashlib.sha256((published / name).read_bytes()).hexdigest()
    card = (imported / "card.md").read_text()
    assert (
        "Not calibrated" in card
        and "None of it was measured here" in card
        and manifest.origin.files[name] in card
    )
    assert manifest.measured == () and {m.name for m in manifest.claimed} >= {
        "exam AUC, any",
        "slice AUC, any",
    }


SPOILED = {
    "a missing tensor": ("sequence/model.safetensors", "lacks the tensor slice_head.bias"),
    "an unknown tensor": ("segmentation/fold3.safetensors", "unknown tensor decoder.more"),
    "another shape": ("sequence/model.safetensors", "slice_head.weight (5, 512) in place of (6, 512)"),
    "no safetensors": ("classifier/model.safetensors", "cannot be read as safetensors"),
    "no file": ("segmentation/fold4.safetensors", "no such file"),
    "another configuration": ("config.json", "input.adjacent_slices"),
    "another hash": ("config.json", "checksums.json"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_is_not_as_published_is_refused_and_named(published, tmp_path, capsys, how):
    name, message = SPOILED[how]
    folder = tmp_path / "published"
    for path in published.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(published)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(published)).hardlink_to(path)
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if how in ("a missing tensor", "an unknown tensor", "another shape"):
        (folder / name).write_bytes(content)
        tensors = load_file(folder / name)
        if how == "a missing tensor":
            del tensors["slice_head.bias"]
        elif how == "an unknown tensor":
            tensors["decoder.more"] = torch.zeros(1)
        else:
            tensors["slice_head.weight"] = torch.zeros(5, 512)
        save_file(tensors, folder / name)
    elif how == "no safetensors":
        (folder / name).write_bytes(b"\x80\x04" + content[:100])
    elif how == "another configuration":
        (folder / name).write_text(content.decode().replace('"adjacent_slices": 3', '"adjacent_slices": 5'))
    elif how == "another hash":
        (folder / name).write_bytes(content)
        (folder / "checksums.json").write_text(json.dumps([{"path": name, "sha256": "0" * 64}]))
    assert run(["bundle", "import", "ipan", str(folder), "-o", str(tmp_path / "bundle")]) == 2
    complaint = capsys.readouterr().err
    assert message in complaint and name in complaint
    assert not (tmp_path / "bundle").exists()


def test_without_a_connection_one_sentence_says_where_to_put_the_files(tmp_path, capsys, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert run(["bundle", "import", "ipan", "-o", str(tmp_path / "bundle")]) == 2
    complaint = capsys.readouterr().err.strip()
    assert "\n" not in complaint and "Traceback" not in complaint
    assert "segmentation/fold4.safetensors" in complaint and "ichor bundle import ipan FOLDER" in complaint


@pytest.mark.skipif(
    not OPEN_WEIGHTS, reason="the real weights: set ICHOR_OPEN_WEIGHTS to a folder with ipan/ in it"
)
def test_the_real_weights_become_a_bundle_that_detects(tmp_path):
    folder = Path(OPEN_WEIGHTS) / "ipan"
    assert run(["bundle", "import", "ipan", str(folder), "-o", str(tmp_path / "ipan")]) == 0
    demo = Path(ichor.__file__).parent / "demo"
    (found,) = Detector(tmp_path / "ipan", engine="onnxruntime").detect_all(demo / "demo.zip")
    assert found.findings.assessable and found.findings.probabilities.any > 0.5
