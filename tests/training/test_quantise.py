"""A map model in 8 bits: much smaller, and hardly another prediction."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnx", reason="needs the extra 'train'")

from ichor.models import MapSpec, build_network  # noqa: E402
from ichor.preparing import Preparation  # noqa: E402
from ichor.training.export import export_graphs  # noqa: E402
from ichor.training.quantise import GraphNetwork, quantise  # noqa: E402
from ichor.training.recipe import Recipe  # noqa: E402

SIDE = 64


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """The graph of a network in fp32 and in 8 bits, and slices that neither saw."""
    folder = tmp_path_factory.mktemp("graphs")
    preparation = Preparation(rows=SIDE, columns=SIDE)
    torch.manual_seed(0)
    spec = MapSpec(kind="map", backbone="tf_efficientnet_lite0", mirrored=True, pretrained=False)
    network = build_network(spec, len(preparation.channels), (SIDE, SIDE)).eval()
    rng = np.random.default_rng(0)
    shape = (len(preparation.channels), SIDE, SIDE)
    stacks = [rng.random((n, *shape), np.float32) for n in (3, 5, 4)]
    recipe = Recipe(name="a", description="b", preparation=preparation, model=spec)
    written, _ = export_graphs(recipe, network, folder, stacks[:2])
    fp32 = folder / written[0].file
    int8 = folder / "int8.onnx"
    quantise(fp32, stacks, int8)
    return fp32, int8, torch.from_numpy(rng.random((6, *shape), np.float32))


def test_it_is_a_third_of_the_size_at_most(graphs):
    fp32, int8, _ = graphs
    assert int8.stat().st_size < fp32.stat().st_size / 3


def test_it_predicts_as_before(graphs):
    fp32, int8, stack = graphs
    before, after = (GraphNetwork(path)(stack) for path in (fp32, int8))
    for a, b in zip(before, after, strict=True):
        assert a.shape == b.shape
        assert np.corrcoef(a.flatten(), b.flatten())[0, 1] > 0.9
        assert not torch.equal(a, b)  # 8 bits leave their mark


def test_a_graph_takes_any_number_of_slices(graphs):
    _, int8, stack = graphs
    network = GraphNetwork(int8)
    whole = network(stack)[1]
    assert torch.allclose(network(stack[2:3])[1], whole[2:3], atol=1e-4)
