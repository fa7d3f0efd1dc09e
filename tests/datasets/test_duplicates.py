"""Copies that are turned, and slices of one exam, which are no copies of each other."""

import numpy as np
import pytest

pytest.importorskip("imagehash", reason="needs the extra 'train'")

from ichor.datasets.duplicates import duplicate_pairs


def picture(seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:150, :150]
    grey = np.where(np.hypot((yy - 75) / 70, (xx - 75) / 58) < 1, 120.0, 0.0)
    for _ in range(25):
        y, x, r = rng.integers(35, 115), rng.integers(40, 110), rng.integers(6, 18)
        grey[np.hypot(yy - y, xx - x) < r] += rng.integers(-110, 130)
    return np.clip(grey, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_copy_is_found_and_its_turn_is_told(turns, mirrored):
    first = picture(0)
    second = np.rot90(first[:, ::-1] if mirrored else first, turns).copy()
    (pair,) = duplicate_pairs({"a": first, "b": second, "c": picture(1)})
    assert (pair.first, pair.second, pair.exact, pair.mirrored) == ("a", "b", False, mirrored)
    # Turning back: a mirror image is turned back by turning it on.
    assert pair.turned == (90 * turns if mirrored else 360 - 90 * turns)
    assert pair.correlation > 0.99


def test_slices_of_one_exam_are_not_compared():
    first = picture(0)
    pictures = {"x/1": first, "x/2": first, "y/1": first}
    exam = {name: name[0] for name in pictures}
    pairs = {(p.first, p.second): p for p in duplicate_pairs(pictures, apart=exam)}
    assert set(pairs) == {("x/1", "y/1"), ("x/2", "y/1")}
    assert all(p.exact and p.correlation == 1 for p in pairs.values())
    assert len(duplicate_pairs(pictures)) == 3


def test_fewer_bits_propose_fewer_pairs():
    rng = np.random.default_rng(3)
    first = picture(0)
    second = np.clip(first + rng.normal(0, 25, first.shape), 0, 255).astype(np.uint8)
    # Not a hash alike by chance: noise moves some bits.
    assert len(duplicate_pairs({"a": first, "b": second}, 0.5)) == 1
    assert duplicate_pairs({"a": first, "b": picture(1)}, -1.0, bits=0) == []


def test_a_blank_picture_is_like_nothing():
    assert duplicate_pairs({"a": np.zeros((50, 50), np.uint8), "b": picture(0)}, 0.0) == []
