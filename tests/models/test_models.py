"""Networks: what goes in and out, what keeps still, what a sequence is."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from ichor.models import ClassifierSpec, MapSpec, build_network  # noqa: E402
from ichor.models.heads import build_head, neighbour_differences  # noqa: E402
from ichor.models.specs import HeadSpec  # noqa: E402

HEADS = [
    {"kind": "linear"},
    {"kind": "mlp", "units": (8, 8), "dropout": 0.1},
    {"kind": "lstm", "units": (8,), "dropout": 0.3, "recurrent_dropout": 0.2},
    {"kind": "gru", "units": (8,)},
    {"kind": "lstm", "units": (8,), "bidirectional": True},
    {"kind": "gru", "units": (8, 4), "bidirectional": True, "difference": True},
    {"kind": "mlp", "units": (8,), "difference": True},
]


@pytest.mark.parametrize("head", HEADS, ids=lambda h: "-".join(map(str, h.values())))
def test_every_head_judges_slices_and_padded_exams_alike(head):
    torch.manual_seed(0)
    built = build_head(5, HeadSpec(**head)).eval()
    features = torch.randn(7, 5)
    alone = built(features)
    assert alone.shape == (7, 6)
    if head["kind"] in ("lstm", "gru") and not head.get("bidirectional") and not head.get("difference"):
        padded = torch.cat([features, torch.zeros(3, 5)])[None]
        assert torch.allclose(built.padded(padded)[0, :7], alone, atol=1e-6)
    built.train()
    loss = built.padded(torch.randn(2, 7, 5)).sum()
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in built.parameters())


def test_a_recurrent_head_depends_on_order_and_a_linear_one_does_not():
    torch.manual_seed(0)
    features = torch.randn(6, 5)
    for head, ordered in ((HeadSpec(kind="linear"), False), (HeadSpec(kind="lstm", units=(8,)), True)):
        built = build_head(5, head).eval()
        assert built.sequential == ordered == head.sequential
        assert torch.allclose(built(features).flip(0), built(features.flip(0)), atol=1e-6) != ordered


def test_recurrent_dropout_changes_training_only():
    torch.manual_seed(0)
    built = build_head(5, HeadSpec(kind="lstm", units=(16,), recurrent_dropout=0.5))
    x = torch.randn(1, 9, 5)
    assert not torch.allclose(built.padded(x), built.padded(x))
    built.eval()
    assert torch.equal(built.padded(x), built.padded(x))


def test_differences_to_neighbours():
    x = torch.tensor([[[1.0], [4.0], [9.0]]])
    assert neighbour_differences(x).tolist() == [[[1, 0, -3], [4, 3, -5], [9, 5, 0]]]


@pytest.mark.parametrize(
    "backbone",
    ["resnet18", "vgg16", "densenet201", "resnet50", "legacy_xception", "inception_v3", "cnn-8-16"],
)
def test_every_backbone_of_the_papers_builds(backbone):
    spec = ClassifierSpec(backbone=backbone, pretrained=False, frozen=("",))
    network = build_network(spec, 3, (96, 96)).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, 3, 96, 96)).shape == (2, 6)
    assert not any(p.requires_grad for p in network.backbone.parameters())
    assert all(p.requires_grad for p in network.head.parameters())


def test_frozen_layers_keep_still_and_their_norms_too():
    spec = ClassifierSpec(backbone="resnet18", pretrained=False, frozen=("conv1", "bn1", "layer1."))
    network = build_network(spec, 3, (64, 64)).train()
    before = network.backbone.bn1.running_mean.clone(), network.backbone.layer4[0].bn1.running_mean.clone()
    network(torch.rand(4, 3, 64, 64)).sum().backward()
    assert torch.equal(network.backbone.bn1.running_mean, before[0])
    assert not torch.equal(network.backbone.layer4[0].bn1.running_mean, before[1])
    assert network.backbone.layer1[0].conv1.weight.grad is None
    assert network.backbone.layer4[0].conv1.weight.grad is not None


def test_the_map_model_gives_maps_and_two_opinions():
    network = build_network(MapSpec(pretrained=False), 4, (96, 64)).eval()
    with torch.inference_mode():
        maps, hottest, pooled = network(torch.rand(2, 4, 96, 64))
    assert (maps.shape, hottest.shape, pooled.shape) == ((2, 6, 48, 32), (2, 6), (2, 6))


def test_a_mirrored_slice_gets_the_mirrored_map_where_both_are_judged():
    torch.manual_seed(0)
    plain = build_network(MapSpec(pretrained=False), 4, (64, 64)).eval()
    both = build_network(MapSpec(pretrained=False, mirrored=True), 4, (64, 64)).eval()
    both.load_state_dict(plain.state_dict())
    stack = torch.rand(3, 4, 64, 64)
    with torch.inference_mode():
        here, there, again = both(stack), both(stack.flip(-1)), plain(stack)
    assert torch.allclose(here[0], there[0].flip(-1), atol=1e-5)
    assert torch.allclose(here[1], there[1], atol=1e-5) and torch.allclose(here[2], there[2], atol=1e-5)
    assert not torch.allclose(here[0], again[0], atol=1e-3)
    assert torch.equal(both.train()._both_heads(stack)[0], both(stack)[0])  # training sees a slice once


def test_input_is_scaled_as_the_weights_expect():
    spec = ClassifierSpec(backbone="cnn-8", pretrained=False, normalisation="caffe")
    network = build_network(spec, 3, (32, 32))
    scaled = (torch.full((1, 3, 1, 1), 1.0) - network.mean) / network.std
    assert scaled.flatten().tolist() == pytest.approx([255 - 103.939, 255 - 116.779, 255 - 123.68], abs=1e-3)
