from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ichor.detecting.bundle import Bundle, load_bundle
from ichor.errors import BundleError
from ichor.labels import LABEL_NAMES
from ichor.preparing import Preparation

Edit = Callable[[Callable[[dict[str, Any]], None]], Path]


def test_the_shipped_bundle_loads_and_says_what_it_is() -> None:
    bundle = load_bundle()
    assert isinstance(bundle, Bundle)
    assert bundle.name == "default"
    assert isinstance(bundle.manifest.preparation, Preparation)
    assert bundle.sha256 == hashlib.sha256((bundle.folder / "bundle.json").read_bytes()).hexdigest()
    card = bundle.card
    assert card.sha256 == bundle.sha256
    assert card.trained_on
    assert card.measured
    assert card.limits
    assert "not a medical device" in card.card_text
    assert bundle.thresholds().shape == (6,)


def test_one_shipped_bundle_learned_from_data_under_open_licences_alone() -> None:
    manifest = load_bundle("open").manifest
    assert [source.name for source in manifest.trained_on] == ["ct-ich"]
    assert manifest.trained_on[0].licence.startswith("CC BY")
    assert not manifest.restrictions
    for name in ("default", "fast"):
        assert load_bundle(name).manifest.restrictions


@pytest.mark.parametrize("name", ["default", "fast", "open"])
def test_subtypes_are_called_at_a_stated_specificity(name: str) -> None:
    manifest = load_bundle(name).manifest
    points = manifest.operating_points.subtypes
    assert set(points) == set(LABEL_NAMES[1:])
    for subtype, point in points.items():
        threshold = manifest.thresholds[subtype]
        assert point.probability == threshold.probability
        assert threshold.specificity >= point.aim == 0.95
        assert point.specificity.n > point.among_bleeds.n > 0


def test_a_path_and_a_name_give_the_same(bundle_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_path = load_bundle(bundle_copy)
    assert by_path.sha256 == load_bundle(bundle_copy / "bundle.json").sha256 == load_bundle("default").sha256
    monkeypatch.setenv("ICHOR_BUNDLES", str(bundle_copy.parent))
    assert load_bundle("copy").folder == bundle_copy


def test_a_name_goes_before_a_folder_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "default").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_bundle("default").name == "default"


def test_an_unknown_name_is_told_with_what_there_is() -> None:
    with pytest.raises(BundleError, match=r"nonsense: found no bundle.*\(default.*ICHOR_BUNDLES"):
        load_bundle("nonsense")


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json: found no file"):
        load_bundle(tmp_path)


def test_an_altered_graph_is_refused(bundle_copy: Path) -> None:
    graph = bundle_copy / "slice.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(BundleError, match=r"slice\.onnx: found sha256 .*expected .*altered"):
        load_bundle(bundle_copy)


def test_a_missing_graph_is_refused(bundle_copy: Path) -> None:
    (bundle_copy / "slice.onnx").unlink()
    with pytest.raises(BundleError, match=r"slice\.onnx: found no file"):
        load_bundle(bundle_copy)


@pytest.mark.parametrize(
    "name", ["../slice.onnx", "/etc/hostname", "a/../../slice.onnx", "..\\slice.onnx", "C:slice.onnx", ""]
)
def test_a_graph_outside_the_folder_is_refused(edit_manifest: Edit, name: str) -> None:
    folder = edit_manifest(lambda m: m["graphs"]["slice"].update(file=name))
    with pytest.raises(BundleError, match="leaves the bundle's folder"):
        load_bundle(folder)


def test_a_link_out_of_the_folder_is_refused(bundle_copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    (bundle_copy / "slice.onnx").rename(outside)
    (bundle_copy / "slice.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match="leaves the bundle's folder"):
        load_bundle(bundle_copy)


def _add_required_graph(manifest: dict[str, Any]) -> None:
    manifest["graphs"]["midline"] = manifest["graphs"]["slice"]


def _change(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        at: Any = manifest
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_change("format", to="ichor.bundle/2"), "found format 'ichor.bundle/2'; expected 'ichor.bundle/1'"),
        (_change("labels", to=list(reversed(LABEL_NAMES))), "labels wrong.*in this order"),
        (_add_required_graph, "does not know the required graph 'midline'"),
        (_change("graphs", to={}), "expected the graph 'slice'"),
        (_change("graphs", "slice", "outputs", to=["slice"]), "to give"),
        (_change("graphs", "sequence", "inputs", to=["stack"]), "expected 'sequence' to take"),
        (_change("graphs", "slice", "outputs", to=["map", "slice"]), "'slice' to .* give .*pooled"),
        (_change("calibration", "exam", to=[{"scale": 1, "offset": 0}] * 5), r"calibration\.exam"),
        (_change("calibration", "slice", 0, "scale", to=-1.0), r"calibration\.slice\.0\.scale"),
        (_change("thresholds", to={"any": {"probability": 0.5}}), "one for each"),
        (_change("thresholds", "any", "probability", to=1.5), r"thresholds\.any\.probability"),
        (_change("exam_rule", "kind", to="vote"), r"exam_rule\.kind"),
        (_change("surprise", to=1), "surprise"),
        (_change("slice_rule", to={"weights": [1.0, 1.0]}), r"slice_rule\.weights.*odd"),
        (
            _change("slice_rule", to={"kind": "graph"}),
            "slice_rule: expected the kind for the graphs slice, sequence",
        ),
        (_change("slice_rule", to={"weights": [0.0]}), r"slice_rule\.weights"),
        (_change("slice_rule", to={"pooled_share": 2}), r"slice_rule\.pooled_share"),
    ],
)
def test_a_wrong_manifest_is_refused_by_field(
    edit_manifest: Edit, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        load_bundle(edit_manifest(change))


def test_a_graph_that_may_be_left_out_is_left_out(edit_manifest: Edit) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["graphs"]["midline"] = {
            **manifest["graphs"]["slice"],
            "file": "none.onnx",
            "required": False,
        }

    assert load_bundle(edit_manifest(change)).name == "default"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, pickle.dumps({"format": 1})]
)
def test_what_is_no_manifest_is_refused_and_never_unpickled(bundle_copy: Path, content: bytes) -> None:
    (bundle_copy / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.json: found"):
        load_bundle(bundle_copy)


def test_calibration_is_the_plain_formula() -> None:
    calibration = load_bundle().manifest.calibration
    logits = np.linspace(-9, 9, 60).reshape(10, 6)
    for found, scalings in (
        (calibration.slice_probabilities(logits), calibration.slice),
        (calibration.exam_probabilities(logits), calibration.exam),
    ):
        for j, s in enumerate(scalings):
            np.testing.assert_allclose(found[:, j], 1 / (1 + np.exp(-(s.scale * logits[:, j] + s.offset))))


def test_undefined_figures_are_null_not_nan(edit_manifest: Edit) -> None:
    folder = edit_manifest(_change("thresholds", "epidural", "sensitivity", to=float("nan")))
    assert load_bundle(folder).manifest.thresholds["epidural"].sensitivity is None
