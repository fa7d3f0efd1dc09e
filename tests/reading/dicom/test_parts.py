"""Which slices under one series UID belong together, from their headers alone."""

from __future__ import annotations

import numpy as np
import pytest

from ichor.reading.dicom.parts import parts_of

from .slices import CORNER, each, head, uids


def mixed(*stacks):
    """All slices in an order that no file name would give."""
    every = [h for stack in stacks for h in stack]
    return [every[k] for k in np.random.default_rng(7).permutation(len(every))]


def sets(parts) -> list[set[int]]:
    return sorted((set(uids(p.headers)) for p in parts), key=min)


def expected(*stacks) -> list[set[int]]:
    return sorted((set(uids(s)) for s in stacks), key=min)


DIFFERENCES = {
    "kernel": {"kernel": "H70H"},
    "image type": {"image_type": ("DERIVED", "SECONDARY", "MPR")},
    "agent": {"contrast": "IOMERON"},
    "voltage": {"voltage": 80.0},
    "description": {"description": "HEAD BONE"},
    "series number": {"series_number": "3"},
    "thickness": {"thickness": 2.5},
    "acquisition": {"acquisition": "2"},
    "time": {"acquired": "20200101120500"},
}


@pytest.mark.parametrize(
    "offset", [0.0, 2.5, 1.0], ids=["same places", "half way between", "a little beside"]
)
@pytest.mark.parametrize("changes", DIFFERENCES.values(), ids=DIFFERENCES)
def test_two_stacks_in_one_place_are_parted_by_what_made_them(changes, offset):
    one = each(head(), voltage=120.0, acquisition="1", acquired="20200101120000")
    other = each(
        head(first=101, base=offset),
        **{"voltage": 120.0, "acquisition": "1", "acquired": "20200101120000", **changes},
    )
    parts = parts_of(mixed(one, other))
    assert sets(parts) == expected(one, other)
    assert len({p.difference for p in parts}) == 2


def test_thin_bone_and_thick_soft_slices():
    thin = each(head(106, 1.0, first=200), kernel="H70H")
    soft = head()
    parts = parts_of(mixed(thin, soft))
    assert sets(parts) == expected(soft, thin)
    assert {p.difference for p in parts} == {"kernel h70h", "kernel h31s"}


def test_a_part_of_the_head_scanned_again_is_parted():
    again = each(head(6, first=101, base=40.0), acquisition="2", acquired="20200101121000")
    assert sets(parts_of(mixed(head(), again))) == expected(head(), again)


@pytest.mark.parametrize("changes", DIFFERENCES.values(), ids=DIFFERENCES)
def test_what_follows_one_after_the_other_stays_whole(changes):
    base, vertex = head(9, 3.0), each(head(10, 6.0, first=20, base=28.5), **changes)
    (part,) = parts_of(mixed(base, vertex))
    assert len(part.headers) == 19 and part.difference == ""


def test_rotations_with_numbers_of_their_own_stay_whole():
    slices = each(head(24), acquisition=lambda k: str(k // 4), acquired=lambda k: f"2020010112{k // 4:02d}00")
    assert len(parts_of(mixed(slices))) == 1
    alone = each(head(24), acquisition=lambda k: str(k), acquired=lambda k: f"2020010112{k:02d}00")
    assert len(parts_of(mixed(alone))) == 1


def test_two_scans_of_rotations_are_two():
    first = each(
        head(24), acquisition=lambda k: str(1 + k // 4), acquired=lambda k: f"2020010112{k // 4:02d}00"
    )
    second = each(
        head(24, first=101),
        acquisition=lambda k: str(7 + k // 4),
        acquired=lambda k: f"2020010112{30 + k // 4:02d}00",
    )
    assert sets(parts_of(mixed(first, second))) == expected(first, second)


def test_two_scans_whose_slices_all_have_their_own_time_are_two():
    first = each(head(), acquired=lambda k: f"202001011200{k:02d}")
    second = each(head(first=101, base=2.0), acquired=lambda k: f"202001011203{k:02d}")
    assert sets(parts_of(mixed(first, second))) == expected(first, second)


def test_interleaved_rotations_stay_whole():
    every = head(24)
    slices = each(every, acquisition=lambda k: str(1 + k % 2), acquired=lambda k: f"2020010112{k % 2:02d}00")
    assert len(parts_of(mixed(slices))) == 1


def test_slices_numbered_twice_over_the_head_are_two_stacks():
    one, other = head(), head(first=101, base=2.5)
    parts = parts_of(mixed(one, other))
    assert sets(parts) == expected(one, other)
    assert {p.difference for p in parts} == {"pass 1 over the head", "pass 2 over the head"}


def test_interleaved_numbers_of_one_scan_stay_whole():
    every = head(24)
    slices = each(every, number=lambda k: 1 + k // 2 + 12 * (k % 2))
    assert len(parts_of(mixed(slices))) == 1


@pytest.mark.parametrize("number", [lambda k: 30 - k, lambda k: k, lambda k: None])
def test_one_stack_stays_whole_however_it_is_numbered(number):
    assert len(parts_of(mixed(each(head(), number=number)))) == 1


def test_a_few_slices_that_lie_double_are_left_to_stacking():
    assert len(parts_of(mixed(head(), head(3, first=101, base=20.0)))) == 1


def test_copies_of_a_whole_series_are_left_to_stacking():
    copies = each(head(first=101), number=lambda k: 1 + k)
    assert len(parts_of(mixed(head(), copies))) == 1


def test_a_reformat_and_another_field_of_view_are_parted_and_strays_are_not():
    axial = head()
    coronal = each(head(30, 3.0, first=101), orientation=np.array([1.0, 0, 0, 0, 0, -1]))
    zoomed = each(head(first=201), spacing=np.array([0.5, 0.5]))
    stray = each(head(3, first=301), rows=64)
    parts = parts_of(mixed(axial, coronal, zoomed, stray))
    without = [s - set(uids(stray)) for s in sets(parts)]
    assert sorted((s for s in without if s), key=min) == expected(axial, coronal, zoomed)


def test_soft_and_bone_of_a_thin_base_and_a_thick_vertex_are_two():
    base, vertex = head(9, 3.0), head(10, 6.0, first=20, base=28.5)
    soft = base + vertex
    bone = each(head(9, 3.0, first=101) + head(10, 6.0, first=120, base=28.5), kernel="H60S")
    assert sets(parts_of(mixed(soft, bone))) == expected(soft, bone)


def test_pre_and_post_contrast_with_two_kernels_each_are_four():
    stacks = [
        each(head(first=100 * k), kernel=kernel, acquisition=number)
        for k, (kernel, number) in enumerate(
            [("H31S", "1"), ("H60S", "1"), ("H31S", "2"), ("H60S", "2")], start=1
        )
    ]
    assert sets(parts_of(mixed(*stacks))) == expected(*stacks)


def test_without_positions_locations_tell_what_overlaps_and_without_both_two_kernels_are_two():
    soft, bone = head(), each(head(first=101), kernel="H60S")
    located = [each(s, position=None, location=lambda k: 5.0 * k) for s in (soft, bone)]
    assert sets(parts_of(mixed(*located))) == expected(soft, bone)
    bare = [each(s, position=None) for s in (soft, bone)]
    assert sets(parts_of(mixed(*bare))) == expected(soft, bone)
    numbered = each(head(24), position=None, acquisition=lambda k: str(k // 4))
    assert len(parts_of(mixed(numbered))) == 1


def test_a_slice_without_a_position_stays_with_its_stack():
    slices = each(head(), position=lambda k: None if k == 5 else np.array([*CORNER, 5.0 * k]))
    bone = each(head(first=101), kernel="H60S")
    assert sets(parts_of(mixed(slices, bone))) == expected(slices, bone)
