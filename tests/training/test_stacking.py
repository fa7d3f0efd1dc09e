"""Heads over the slices of an exam, stacked with the rule."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")

from safetensors.torch import save_file  # noqa: E402

from ichor.detecting.rules import ExamRule  # noqa: E402
from ichor.errors import BundleError, UsageError  # noqa: E402
from ichor.evaluating.metrics import roc_auc  # noqa: E402
from ichor.models import ClassifierSpec  # noqa: E402
from ichor.preparing.grid import SliceDistances  # noqa: E402
from ichor.training import export  # noqa: E402
from ichor.training.export import TOLERANCE, export_stacker  # noqa: E402
from ichor.training.recipe import Recipe, SequenceRecipe  # noqa: E402
from ichor.training.stacking import StackingInputs, fit_stacker, load_stacker, predict_stacked  # noqa: E402

SMALL = SequenceRecipe(networks=2, steps=120)


def made(seed, exams=24):
    """Exams whose bleeds last for four slices, and logits in which a single noisy slice looks the same."""
    rng = np.random.default_rng(seed)
    logits, labels = [], []
    for number in range(exams):
        n = int(rng.integers(14, 24))
        y = np.zeros((n, 6), np.float32)
        if number % 2:
            first = int(rng.integers(2, n - 6))
            y[first : first + 4, [0, 2]] = 1
        alone = np.zeros((n, 1))
        alone[rng.choice(n, 3, replace=False)] = 3.0
        signal = 3.0 * y[:, :1] + alone * (1 - y[:, :1])
        logits.append(signal + rng.normal(size=(n, 18)))
        labels.append(y)
    return logits, labels


def own_slices(logits):
    """Inputs of an exam whose slices are those of the grid."""
    places = 5.0 * np.arange(len(logits))
    return StackingInputs(logits, SliceDistances(places, places))


@pytest.fixture(scope="module")
def fitted():
    return fit_stacker(*made(0), SMALL, seed=3)


def test_it_learns_what_lasts_from_slice_to_slice(fitted):
    logits, labels = made(1)
    with torch.inference_mode():
        found = np.concatenate([fitted(torch.from_numpy(o).float()).numpy()[:, 0] for o in logits])
    truth = np.concatenate(labels)[:, 0]
    ruled = np.concatenate(logits)[:, 0]
    assert roc_auc(truth, found) > roc_auc(truth, ruled) + 0.03


def test_every_input_has_its_share(fitted):
    """The formula, from the parts: each input divided by its spread on what was fitted."""
    logits, _ = made(0)
    seen = [(torch.from_numpy(o).float()[:, 6:] - fitted.mean) / fitted.spread for o in logits]
    with torch.inference_mode():
        heads = [torch.cat([head(x) for x in seen]).numpy() for head in fitted.heads]
        found = torch.cat([fitted(torch.from_numpy(o).float()) for o in logits]).numpy()
    together = np.mean([h / h.std(axis=0, ddof=1) for h in heads], axis=0)
    every = np.concatenate(logits)
    parts = [(0.5, every[:, :6]), (0.25, every[:, 12:]), (0.25, together)]
    expected = sum(share * part / part.std(axis=0, ddof=1) for share, part in parts)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(fitted.mean, np.concatenate(logits)[:, 6:].mean(axis=0), atol=1e-4)


def test_the_same_seed_learns_the_same_and_leaves_others_draws_alone(fitted):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = fit_stacker(*made(0), SMALL, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    for name, value in fitted.state_dict().items():
        torch.testing.assert_close(value, again.state_dict()[name])
    other = fit_stacker(*made(0), SMALL, seed=4)
    assert not torch.equal(other.heads[0].out.weight, fitted.heads[0].out.weight)


def test_a_fold_is_predicted_by_what_did_not_see_it(fitted, tmp_path):
    path = tmp_path / "weights.safetensors"
    other = fit_stacker(*made(7), SMALL, seed=1)
    state = {
        f"{part}.{k}": v
        for part, t in (("fold-0", fitted), ("fold-1", other))
        for k, v in t.state_dict().items()
    }
    save_file(state, path)
    both = {part: load_stacker(path, part, SMALL) for part in ("fold-0", "fold-1")}
    logits = dict(zip("ab", made(2, exams=2)[0], strict=True))
    inputs = {name: own_slices(values) for name, values in logits.items()}
    found = dict(predict_stacked(both, inputs, {"a": "fold-1", "b": "fold-0"}, ExamRule()))
    with torch.inference_mode():
        expected = {
            "a": other(torch.from_numpy(logits["a"]).float()),
            "b": fitted(torch.from_numpy(logits["b"]).float()),
        }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].grid, values, atol=1e-6)
        np.testing.assert_array_equal(found[name].native, found[name].grid)
        top = np.sort(values.numpy(), axis=0)[-2:].mean(axis=0)
        np.testing.assert_allclose(found[name].exam, top, atol=1e-6)
    with pytest.raises(UsageError, match="found no weights of 'fold-2' that fit"):
        load_stacker(path, "fold-2", SMALL)
    with pytest.raises(UsageError, match="found no weights of 'fold-0' that fit"):
        load_stacker(path, "fold-0", SMALL.replaced(networks=3))
    with pytest.raises(UsageError, match=r"found no file; .*--parts sequence"):
        load_stacker(tmp_path / "none", "all", SMALL)


def test_its_graph_takes_exams_of_any_length(fitted, tmp_path, monkeypatch):
    exams = [o.astype(np.float32) for o in made(3)[0]] + [np.ones((2, 18), np.float32)]
    graphs, difference = export_stacker(fitted, tmp_path, exams)
    assert [(g.name, g.inputs, g.outputs) for g in graphs] == [("sequence", ("opinions",), ("slice",))]
    assert difference < TOLERANCE
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(BundleError, match=r"sequence\.onnx: found logits that differ"):
        export_stacker(fitted, tmp_path, exams)
    assert not list(tmp_path.iterdir())


def test_it_is_for_models_that_draw_maps():
    spec = ClassifierSpec(kind="classifier", backbone="cnn-8-16", pretrained=False)
    with pytest.raises(ValueError, match="sequence is for the map model"):
        Recipe.model_validate({"name": "a", "description": "b", "sequence": {}, "model": spec.model_dump()})
    with pytest.raises(ValueError, match="expected at most 1 together"):
        SequenceRecipe(rule_share=0.8, pooled_share=0.3)
