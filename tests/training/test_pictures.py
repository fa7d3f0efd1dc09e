"""The network that measures pictures: its pictures hold what their truth says, fitting goes on exactly, and it ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="of the extra 'train'")

from ichor.detecting.grey_input import INPUT_SIDE, network_input  # noqa: E402
from ichor.training.pictures.fit import fit  # noqa: E402
from ichor.training.pictures.network import OUTPUTS, PictureNet, loss  # noqa: E402
from ichor.training.pictures.others import OtherPictures, load_pictures  # noqa: E402
from ichor.training.pictures.release import release  # noqa: E402
from ichor.training.pictures.rendering import render  # noqa: E402
from ichor.training.pictures.sources import SIDE, HeadSlices  # noqa: E402

LOW, HIGH = 20, 46
"""HU of both halves of the made brain: 33 in the middle."""


@pytest.fixture(scope="module")
def heads() -> HeadSlices:
    """Two heads with a brain of two halves."""
    rows, columns = np.mgrid[-1.5 : 1.5 : SIDE * 1j, -1.5 : 1.5 : SIDE * 1j]
    radius = np.hypot(rows / 0.95, columns / 0.8)
    hu = np.where(radius < 1, 900, -1000)
    hu[radius < 0.9] = np.where(columns < 0, LOW, HIGH)[radius < 0.9]
    planes = np.stack([hu, hu[::-1]]).astype(np.int16)
    return HeadSlices(
        planes,
        np.tile([-1000.0, 2000.0], (2, 1)),
        np.ones(2),
        np.array(["made", "made"]),
        np.array(["a", "b"]),
        np.ones(2, bool),
    )


def test_greys_of_a_rendered_picture_are_what_its_truth_says(heads: HeadSlices) -> None:
    """Over many draws: brain's grey lies where it is said to, and both halves as far apart as the width says."""
    off, ratios = [], []
    for seed in range(120):
        drawn = render(heads.hu[0], (-1000.0, 2000.0), np.random.default_rng(seed), known=True)
        width = 80 * np.exp(drawn.log_width)
        if not drawn.linear or not 60 < width < 400 or not 0.3 < drawn.place < 0.7:
            continue
        rows, columns = (n // 4 for n in drawn.grey.shape)
        core = drawn.grey[rows:-rows, columns:-columns].astype(float) / 255
        low, high = np.percentile(core, [25, 75])
        off.append(((low + high) / 2 - drawn.place) * width)
        ratios.append((high - low) * width / (HIGH - LOW))
    assert len(off) > 20
    assert abs(np.median(off)) < 2
    assert np.median(ratios) == pytest.approx(1.1, abs=0.25)  # noise widens it


def test_inverted_and_curved_pictures_are_labelled(heads: HeadSlices) -> None:
    drawn = [
        render(heads.hu[0], (-1000.0, 2000.0), np.random.default_rng(seed), known=True) for seed in range(200)
    ]
    assert 0.05 < np.mean([not one.linear for one in drawn]) < 0.25


def test_a_picture_keeps_its_proportions_and_mean() -> None:
    grey = np.zeros((200, 100), np.uint8)
    grey[50:150] = 200
    found = network_input(grey)
    assert found.shape == (1, INPUT_SIDE, INPUT_SIDE)
    assert found[0, :, :20].max() == found[0, :, -20:].max() == 0  # beside the picture
    assert found[0, 30:66, 26:70].min() == pytest.approx(200 / 255)
    assert found.mean() == pytest.approx(0.25 * 200 / 255, rel=0.02)


def test_other_pictures_are_drawn_of_every_kind(heads: HeadSlices, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.arange(200 * 150, dtype=np.uint32).reshape(200, 150).astype(np.uint8)).save(
        tmp_path / "a.png"
    )
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    pictures = load_pictures(tmp_path)
    assert [p.shape for p in pictures] == [(200, 150)]
    others = OtherPictures(heads, [heads.hu[0]], pictures)
    rng = np.random.default_rng(0)
    drawn = [others.draw(rng) for _ in range(60)]
    assert all(p.dtype == np.uint8 and min(p.shape) >= 40 for p in drawn)
    assert len({p.tobytes() for p in drawn}) == 60


def test_the_loss_knows_nothing_of_what_is_unknown() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(3, len(OUTPUTS))
    nan = float("nan")
    truth = torch.tensor([[0.5, 0.5, 1, 1, 1], [0.2, 0.4, 0, 1, nan], [nan, nan, nan, 0, nan]])
    other = outputs.clone()
    other[1, :4] += 5  # no window counts where greys follow none
    other[2, [0, 1, 2, 3, 4, 6]] += 5  # nor anything but that it is no head
    other[1, 6] += 5
    assert loss(outputs, truth) == loss(other, truth)
    right, wrong = outputs.clone(), outputs.clone()
    right[:, 5], wrong[:, 5] = torch.tensor([9.0, 9, -9]), torch.tensor([-9.0, -9, 9])
    assert loss(right, truth) < loss(wrong, truth)


def test_fitting_goes_on_as_if_it_was_not_stopped(
    heads: HeadSlices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ichor.training.pictures.fit._EVERY", 1)
    others = OtherPictures(heads, [], [])
    whole = fit(heads, others, tmp_path / "whole.pt", 3)

    class Stopped(Exception):
        pass

    saved = torch.save

    def stopping(kept: dict[str, object], path: Path) -> None:
        saved(kept, path)
        if kept["done"] == 2:
            path.replace(tmp_path / "parts.pt")
            raise Stopped

    monkeypatch.setattr(torch, "save", stopping)
    with pytest.raises(Stopped):
        fit(heads, others, tmp_path / "parts.pt", 3)
    monkeypatch.setattr(torch, "save", saved)
    parts = fit(heads, others, tmp_path / "parts.pt", 3)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_what_is_released_gives_what_was_fitted(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    torch.manual_seed(1)
    network = PictureNet().eval()
    estimator = release(network, tmp_path / "picture", 1.0)
    grey = np.random.default_rng(0).integers(0, 256, (120, 100)).astype(np.uint8)
    with torch.no_grad():
        log_width = float(network(torch.from_numpy(network_input(grey)[None]))[0, 0])
    assert estimator.estimate(grey).width == pytest.approx(80 * np.exp(log_width), rel=0.02)
    assert (tmp_path / "picture" / "estimate.onnx").stat().st_size < 1_000_000
