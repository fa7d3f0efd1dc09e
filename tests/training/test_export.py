"""From torch to ONNX: the same on any number of slices, refused where it is not, without remarks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")

from ichor.detecting.heat_map import grad_cam  # noqa: E402
from ichor.detecting.sessions import ClassifierModel, open_session  # noqa: E402
from ichor.errors import BundleError  # noqa: E402
from ichor.models import ClassifierSpec, MapSpec, build_network  # noqa: E402
from ichor.preparing import Preparation  # noqa: E402
from ichor.training import export  # noqa: E402
from ichor.training.export import TOLERANCE, export_graphs  # noqa: E402
from ichor.training.recipe import Recipe  # noqa: E402

SMALL = Preparation(rows=64, columns=64)
HEADS = [
    {"kind": "linear"},
    {"kind": "mlp", "units": (12, 8)},
    {"kind": "lstm", "units": (16,)},
    {"kind": "gru", "units": (8, 8), "bidirectional": True, "difference": True},
]


def exams(*counts):
    rng = np.random.default_rng(0)
    return [rng.random((n, 4, 64, 64), dtype=np.float32) for n in counts]


def network(spec):
    """A recipe of a model, and its network."""
    torch.manual_seed(0)
    recipe = Recipe(name="a", description="b", preparation=SMALL, model=spec)
    return recipe, build_network(spec, 4, (64, 64)).eval()


def classifier(head):
    return network(ClassifierSpec(backbone="cnn-8-16", pretrained=False, pooling="avgmax", head=head))


@pytest.mark.parametrize("head", HEADS, ids=lambda h: h["kind"])
def test_classifiers_of_every_head_on_any_number_of_slices(tmp_path, head):
    graphs, difference = export_graphs(*classifier(head), tmp_path, exams(1, 7, 40))
    assert [g.name for g in graphs] == ["features", "head"] and difference < TOLERANCE
    for graph in graphs:
        model = onnx.load(tmp_path / graph.file)
        assert not model.doc_string and not any(n.metadata_props for n in model.graph.node)
    model = ClassifierModel(*(open_session(tmp_path / graph.file) for graph in graphs))
    found = model.predict(exams(7)[0]).grad_cam
    # Of a recurrent head a slice's logit depends on the maps of all slices: no map of one explains it.
    assert (found is None) is (head["kind"] in ("lstm", "gru"))
    assert found is None or found.shape == (7, 16, 16)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_map_model_is_one_graph(tmp_path, mirrored):
    spec = MapSpec(pretrained=False, mirrored=mirrored)
    graphs, difference = export_graphs(*network(spec), tmp_path, exams(1, 3, 7))
    assert [(g.name, g.outputs) for g in graphs] == [
        ("slice", ("map", "slice", "pooled"))
    ] and difference < TOLERANCE


@pytest.mark.parametrize(
    ("pooling", "units"), [("avg", ()), ("avgmax", ()), ("max", (12,)), ("flatten", (16, 12))]
)
def test_the_map_of_grad_cam_is_that_of_a_library(pooling, units):
    """MONAI differentiates the whole network with torch; the graphs have no gradients to ask for."""
    monai = pytest.importorskip("monai.visualize", reason="compares with MONAI's Grad-CAM")
    head = {"kind": "mlp" if units else "linear", "units": units}
    recipe, own = network(ClassifierSpec(backbone="cnn-8-16", pretrained=False, pooling=pooling, head=head))
    (stack,) = exams(5)
    features, of_exam = (graph.module for graph in recipe.family.graphs(own, SMALL))
    with torch.inference_mode():
        given, activations = features(torch.from_numpy(stack))
        _, weights = of_exam(given)
    found = grad_cam(activations.numpy(), weights.numpy())
    library = monai.GradCAM(own, target_layers="backbone.layers")
    expected = (
        library.compute_map(torch.from_numpy(stack).requires_grad_(), class_idx=0).detach().numpy()[:, 0]
    )
    assert found.shape == expected.shape == (5, 16, 16) and (expected > 0).any()
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max(), rtol=1e-3)


def test_graphs_that_differ_are_refused_and_not_kept(tmp_path, monkeypatch):
    """A weight is changed in the file after it was written, as a faulty exporter would."""
    strip = export._strip

    def spoil(path):
        strip(path)
        model = onnx.load(path)
        weight = max(model.graph.initializer, key=lambda t: len(t.raw_data))
        values = np.frombuffer(weight.raw_data, np.float32).copy()
        weight.raw_data = (values + 0.5).tobytes()
        onnx.save(model, path)

    monkeypatch.setattr(export, "_strip", spoil)
    with pytest.raises(BundleError, match=r"differ by .* on 3 slices; expected at most"):
        export_graphs(*classifier({"kind": "linear"}), tmp_path, exams(3))
    assert not list(tmp_path.iterdir())
