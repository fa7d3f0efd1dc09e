"""Heads over the slices of an exam, weighed with the rule."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")

from safetensors.torch import save_file  # noqa: E402

from ichor.errors import BundleError, UsageError  # noqa: E402
from ichor.evaluating.metrics import roc_auc  # noqa: E402
from ichor.models import ClassifierSpec  # noqa: E402
from ichor.training import export  # noqa: E402
from ichor.training.export import TOLERANCE, export_together  # noqa: E402
from ichor.training.recipe import Recipe, SequenceRecipe  # noqa: E402
from ichor.training.stacking import judged, learn, load_together  # noqa: E402

SMALL = SequenceRecipe(networks=2, steps=120)


def made(seed, exams=24):
    """Exams whose bleeds last for four slices, and opinions in which a single noisy slice looks the same."""
    rng = np.random.default_rng(seed)
    opinions, labels = [], []
    for number in range(exams):
        n = int(rng.integers(14, 24))
        y = np.zeros((n, 6), np.float32)
        if number % 2:
            first = int(rng.integers(2, n - 6))
            y[first : first + 4, [0, 2]] = 1
        alone = np.zeros((n, 1))
        alone[rng.choice(n, 3, replace=False)] = 3.0
        signal = 3.0 * y[:, :1] + alone * (1 - y[:, :1])
        opinions.append(signal + rng.normal(size=(n, 18)))
        labels.append(y)
    return opinions, labels


@pytest.fixture(scope="module")
def learnt():
    return learn(*made(0), SMALL, seed=3)


def test_it_learns_what_lasts_from_slice_to_slice(learnt):
    opinions, labels = made(1)
    with torch.inference_mode():
        found = np.concatenate([learnt(torch.from_numpy(o).float()).numpy()[:, 0] for o in opinions])
    truth = np.concatenate(labels)[:, 0]
    ruled = np.concatenate(opinions)[:, 0]
    assert roc_auc(truth, found) > roc_auc(truth, ruled) + 0.03


def test_every_opinion_has_its_share(learnt):
    """The formula, from the parts: each opinion divided by its spread on what was learnt from."""
    opinions, _ = made(0)
    seen = [(torch.from_numpy(o).float()[:, 6:] - learnt.mean) / learnt.spread for o in opinions]
    with torch.inference_mode():
        heads = [torch.cat([head(x) for x in seen]).numpy() for head in learnt.heads]
        found = torch.cat([learnt(torch.from_numpy(o).float()) for o in opinions]).numpy()
    together = np.mean([h / h.std(axis=0, ddof=1) for h in heads], axis=0)
    every = np.concatenate(opinions)
    parts = [(0.5, every[:, :6]), (0.25, every[:, 12:]), (0.25, together)]
    expected = sum(share * part / part.std(axis=0, ddof=1) for share, part in parts)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(learnt.mean, np.concatenate(opinions)[:, 6:].mean(axis=0), atol=1e-4)


def test_the_same_seed_learns_the_same_and_leaves_others_draws_alone(learnt):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = learn(*made(0), SMALL, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    for name, value in learnt.state_dict().items():
        torch.testing.assert_close(value, again.state_dict()[name])
    other = learn(*made(0), SMALL, seed=4)
    assert not torch.equal(other.heads[0].out.weight, learnt.heads[0].out.weight)


def test_a_fold_is_judged_by_what_did_not_see_it(learnt, tmp_path):
    path = tmp_path / "weights.safetensors"
    other = learn(*made(7), SMALL, seed=1)
    state = {
        f"{part}.{k}": v
        for part, t in (("fold-0", learnt), ("fold-1", other))
        for k, v in t.state_dict().items()
    }
    save_file(state, path)
    both = {part: load_together(path, part, SMALL) for part in ("fold-0", "fold-1")}
    opinions = dict(zip("ab", made(2, exams=2)[0], strict=True))
    found = dict(judged(both, opinions, {"a": "fold-1", "b": "fold-0"}))
    with torch.inference_mode():
        np.testing.assert_allclose(found["a"], other(torch.from_numpy(opinions["a"]).float()), atol=1e-6)
        np.testing.assert_allclose(found["b"], learnt(torch.from_numpy(opinions["b"]).float()), atol=1e-6)
    with pytest.raises(UsageError, match="found no weights of 'fold-2' that fit"):
        load_together(path, "fold-2", SMALL)
    with pytest.raises(UsageError, match="found no weights of 'fold-0' that fit"):
        load_together(path, "fold-0", SMALL.model_copy(update={"networks": 3}))
    with pytest.raises(UsageError, match=r"found no file; .*--parts sequence"):
        load_together(tmp_path / "none", "all", SMALL)


def test_its_graph_takes_exams_of_any_length(learnt, tmp_path, monkeypatch):
    exams = [o.astype(np.float32) for o in made(3)[0]] + [np.ones((2, 18), np.float32)]
    graphs, difference = export_together(learnt, tmp_path, exams)
    assert [(g.name, g.inputs, g.outputs) for g in graphs] == [("sequence", ["opinions"], ["slice"])]
    assert difference < TOLERANCE
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(BundleError, match=r"sequence\.onnx: found logits that differ"):
        export_together(learnt, tmp_path, exams)
    assert not list(tmp_path.iterdir())


def test_it_is_for_models_that_draw_maps():
    spec = ClassifierSpec(kind="classifier", backbone="cnn-8-16", pretrained=False)
    with pytest.raises(ValueError, match="sequence is for the map model"):
        Recipe.model_validate({"name": "a", "description": "b", "sequence": {}, "model": spec.model_dump()})
    with pytest.raises(ValueError, match="expected at most 1 together"):
        SequenceRecipe(rule_share=0.8, pooled_share=0.3)
