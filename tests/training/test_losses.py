"""What the network is punished for."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN  # noqa: E402
from ichor.training.losses import map_targets, slice_loss, slice_weights  # noqa: E402

NAN = float("nan")


def test_unknown_pixels_and_labels_do_not_count():
    blood = torch.tensor([[[0, 2], [UNKNOWN, ANY_SUBTYPE]]], dtype=torch.uint8)
    labels = torch.tensor([[1.0, 0, 1, NAN, 0, 0]])
    targets, weights = map_targets(blood, labels)
    assert targets[0, 0].tolist() == [[0, 1], [0, 1]]
    assert weights[0, 0].tolist() == [[1, 1], [0, 1]]
    assert targets[0, 2].tolist() == [[0, 1], [0, 0]]
    assert weights[0, 2].tolist() == [[1, 1], [0, 0]]
    assert weights[0, 3].sum() == 0
    loss = slice_loss(torch.zeros(1, 6), labels)
    assert loss.item() == pytest.approx(np.log(2))


def test_any_counts_twice_and_positives_as_asked():
    labels = torch.tensor([[1.0, 0, NAN, 0, 1, 0]])
    assert slice_weights(labels).tolist() == [[2, 1, 0, 1, 1, 1]]
    factor = torch.tensor([3.0, 5, 5, 5, 7, 5])
    assert slice_weights(labels, factor).tolist() == [[6, 1, 0, 1, 7, 1]]


def test_a_loss_shared_by_processes_adds_up():
    """Each divides by the mean of all weights: the mean over processes is the loss of the whole."""
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 6), (torch.rand(6, 6) > 0.5).float()
    labels[0, 3] = NAN
    whole = slice_loss(logits, labels)
    parts = [(logits[:2], labels[:2]), (logits[2:], labels[2:])]
    mean = sum(slice_weights(y).sum() for _, y in parts) / 2
    shared = sum(slice_loss(x, y, total=mean) for x, y in parts) / 2
    assert float(shared) == pytest.approx(float(whole), rel=1e-6)
