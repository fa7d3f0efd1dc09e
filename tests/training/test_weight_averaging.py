"""The mean of networks' weights, with the scale of their logits."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from ichor.errors import UsageError  # noqa: E402
from ichor.models import ClassifierSpec, MapSpec, build_network  # noqa: E402
from ichor.training.recipe import Recipe  # noqa: E402
from ichor.training.weight_averaging import average_weights  # noqa: E402

SIDE, CHANNELS = 64, 3


@pytest.fixture(scope="module")
def networks():
    """Three that began alike and went a little apart."""
    spec = MapSpec(kind="map", backbone="tf_efficientnet_lite0", pretrained=False)
    torch.manual_seed(0)
    first = build_network(spec, CHANNELS, (SIDE, SIDE)).eval()
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        other = build_network(spec, CHANNELS, (SIDE, SIDE)).eval()
        state = {k: v.clone() for k, v in first.state_dict().items()}
        for name, value in other.state_dict().items():
            if value.is_floating_point() and "running" not in name:
                state[name] = 0.97 * state[name] + 0.03 * value
        other.load_state_dict(state)
        found.append(other)
    return found


@pytest.fixture(scope="module")
def stacks():
    rng = np.random.default_rng(0)
    return [rng.random((n, CHANNELS, SIDE, SIDE), np.float32) ** (n / 4) for n in (4, 5, 9)]


def logits(network, stacks):
    with torch.inference_mode():
        _, slices, pooled = network(torch.from_numpy(np.concatenate(stacks)))
    return torch.cat([slices, pooled], dim=1).numpy()


def test_its_logits_have_the_mean_and_the_spread_of_theirs(networks, stacks):
    mixed = logits(average_weights(networks, stacks), stacks)
    together = np.mean([logits(n, stacks) for n in networks], axis=0)
    np.testing.assert_allclose(mixed.mean(0), together.mean(0), atol=1e-3)
    np.testing.assert_allclose(mixed.std(0), together.std(0), rtol=1e-2)


def test_all_but_the_last_layers_is_the_mean(networks, stacks):
    mixed, states = average_weights(networks, stacks).state_dict(), [n.state_dict() for n in networks]
    for name, value in mixed.items():
        if value.is_floating_point() and not name.startswith(("map_head", "pooled_head")):
            torch.testing.assert_close(value, torch.stack([s[name] for s in states]).mean(0))


def test_an_average_of_one_is_that_one(networks, stacks):
    np.testing.assert_allclose(
        logits(average_weights(networks[:1], stacks), stacks), logits(networks[0], stacks), atol=1e-4
    )


def test_what_draws_no_maps_is_refused(stacks):
    spec = ClassifierSpec(kind="classifier", backbone="cnn-8-16", pretrained=False)
    with pytest.raises(UsageError, match="draw no maps"):
        average_weights([build_network(spec, CHANNELS, (SIDE, SIDE))], stacks)
    with pytest.raises(UsageError, match="found no networks"):
        average_weights([], stacks)
    with pytest.raises(ValueError, match="ships 'soup' is for the map model"):
        Recipe.model_validate({"name": "a", "description": "b", "ships": "soup", "model": spec.model_dump()})
