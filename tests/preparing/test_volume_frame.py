"""Volumes in voxels of a network: size and place after resampling, whatever way the exam lies."""

from __future__ import annotations

import numpy as np
import pytest

from ichor.exam import Exam, Geometry, Source
from ichor.preparing import Channel, Preparation, prepare
from ichor.preparing.volume_frame import VolumeFrame

WIDE = (Channel(offset=0, level=40, width=400),)


def ball(
    spacing: tuple[float, float, float], shape: tuple[int, int, int], gaps: np.ndarray | None = None
) -> Exam:
    """A ball of 80 HU, 30 mm wide, in water, 10 mm above, behind and to the left of the middle of the stack."""
    n = shape[0]
    z = spacing[0] * np.arange(n) if gaps is None else np.concatenate([[0], np.cumsum(gaps)])
    middle = np.array([z[-1] / 2, (shape[1] - 1) / 2 * spacing[1], (shape[2] - 1) / 2 * spacing[2]])
    places = np.meshgrid(
        z, *(np.arange(m) * s for m, s in zip(shape[1:], spacing[1:], strict=True)), indexing="ij"
    )
    far = sum((p - c - 10) ** 2 for p, c in zip(places, middle, strict=True))
    hu = np.where(far < 15**2, 80, 0).astype(np.int16)
    geometry = Geometry(
        np.stack([0 * z, 0 * z, z], axis=1), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), spacing[1:]
    )
    return Exam(hu, geometry, Source("ball", "array"))


@pytest.mark.parametrize("aligned", ["edges", "centres"])
@pytest.mark.parametrize("axes", ["SPL", "RAS", "IAL"])
def test_a_ball_has_its_size_and_place_there_and_back(aligned: str, axes: str) -> None:
    exam = ball((3.0, 0.9, 0.9), (30, 110, 100))
    frame = VolumeFrame(voxel_mm=(1.5, 1.5, 1.5), axes=axes, order=3, aligned=aligned, clipped="before")
    prepared = prepare(exam, Preparation(frame="volume", volume=frame, channels=WIDE))
    assert prepared.hu.shape == prepared.stack.shape[:1] + prepared.stack.shape[2:]
    inside = prepared.hu > 40
    assert inside.sum() * 1.5**3 == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.03)
    # Where the grid says it lies is where the exam has it.
    at = prepared.transform.grid_to_patient(np.argwhere(inside).mean(axis=0))
    true = exam.geometry.voxel_to_patient(np.argwhere(exam.volume > 40).mean(axis=0))
    np.testing.assert_allclose(at, true, atol=0.3)
    back = prepared.transform.grid_to_native((prepared.hu / 80).astype(np.float32)) > 0.5
    differing = (back != (exam.volume > 40)).sum() / (exam.volume > 40).sum()
    assert differing < 0.08
    # The network's axes run as their letters say, and lead back.
    turned = frame.to_axes(prepared.hu)
    np.testing.assert_array_equal(frame.from_axes(turned), prepared.hu)
    off = np.argwhere(turned > 40).mean(axis=0) * 1.5 - np.array(turned.shape) * 1.5 / 2
    assert [a > 0 for a in off] == [letter in "SPL" for letter in axes]


def test_uneven_and_sliding_slices_are_straightened() -> None:
    gaps = np.where(np.arange(39) % 2, 2.0, 4.0)
    even = prepare(ball((3.0, 1, 1), (40, 100, 100)), preparation := _plain())
    uneven = prepare(ball((3.0, 1, 1), (40, 100, 100), gaps), preparation)
    assert (uneven.hu > 40).sum() == pytest.approx((even.hu > 40).sum(), rel=0.03)

    exam = ball((3.0, 1, 1), (40, 100, 100))
    slide = np.arange(40) * 0.9 - 17.1  # as a gantry tilted by 17 degrees: each slice begins farther back
    moved = np.stack(
        [np.roll(plane, -round(by), axis=0) for plane, by in zip(exam.volume, slide, strict=True)]
    )
    positions = exam.geometry.positions + np.outer(np.round(slide), [0, 1, 0])
    tilted = Exam(
        moved,
        Geometry(positions, exam.geometry.row_direction, exam.geometry.column_direction, (1.0, 1.0)),
        exam.source,
    )
    found = prepare(tilted, preparation)
    assert (found.hu > 40).sum() == pytest.approx((even.hu > 40).sum(), rel=0.03)
    back = found.transform.grid_to_native((found.hu / 80).astype(np.float32)) > 0.5
    assert (back != (moved > 40)).sum() / (moved > 40).sum() < 0.1


def test_thick_slices_are_resampled_in_their_planes_first() -> None:
    frame = VolumeFrame(voxel_mm=(2.5, 2, 2), order=3, order_slices=0, separate_above=3, clipped="before")
    found = prepare(ball((5.0, 1, 1), (24, 90, 90)), Preparation(frame="volume", volume=frame, channels=WIDE))
    assert found.hu.shape == (48, 45, 45)
    np.testing.assert_array_equal(found.hu[0::2], found.hu[1::2])  # the nearest slice, twice


def test_what_does_not_fit_together_is_refused() -> None:
    frame = VolumeFrame(voxel_mm=(1, 1, 1), clipped="before")
    for keys, words in (
        ({"frame": "volume"}, "the key volume"),
        ({"volume": frame}, "the frame 'volume'"),
        ({"frame": "volume", "volume": frame}, "channels of offset 0"),
    ):
        with pytest.raises(ValueError, match=words):
            Preparation(**keys)
    for keys, words in (({"axes": "SPP"}, "one letter each"), ({"voxel_mm": (1, 0, 1)}, "above 0")):
        with pytest.raises(ValueError, match=words):
            VolumeFrame(**{"voxel_mm": (1, 1, 1), **keys})


def _plain() -> Preparation:
    return Preparation(frame="volume", volume=VolumeFrame(voxel_mm=(1.5, 1.5, 1.5)), channels=WIDE)
