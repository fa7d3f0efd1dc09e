"""Sorting and stacking of slices, from their headers alone."""

from __future__ import annotations

import numpy as np
import pytest

from ichor.errors import RefusedInput
from ichor.reading.dicom.stack import same_direction, same_matrix, stack_slices

from .slices import CORNER, each, head, uids

SHUFFLED = np.random.default_rng(0).permutation(22)


def stack(headers, *, single=False):
    return stack_slices(headers, "input", single=single)


def refused(headers, **options) -> RefusedInput:
    with pytest.raises(RefusedInput) as caught:
        stack(headers, **options)
    assert caught.value.source == "input"
    return caught.value


def codes(result) -> list[str]:
    return [n.code for n in result.notices]


def tilted(degrees: float, n: int = 22, step: float = 5.0) -> list:
    """Planes turned about the patient's x axis, whose corners still go straight up: gantry tilt."""
    angle = np.radians(degrees)
    orientation = np.array([1, 0, 0, 0, np.cos(angle), np.sin(angle)])
    return each(head(n, step), orientation=orientation)


# -- sorting -------------------------------------------------------------------------------------------


def test_slices_are_sorted_towards_the_vertex_whatever_their_order_and_numbers():
    slices = each(head(), number=lambda k: 99 - k)
    result = stack([slices[k] for k in SHUFFLED])
    assert uids(result.headers) == list(range(1, 23))
    assert np.allclose(result.geometry.distances, 5.0 * np.arange(22))
    assert codes(result) == []
    assert result.geometry.positions_known and result.geometry.orientation_known


def test_feet_first_slices_are_sorted_by_the_patient_not_by_the_table():
    # Turned by 180 degrees about the y axis: rows run to the right, the normal of rows and columns points down.
    result = stack(each(head(), orientation=np.array([-1.0, 0, 0, 0, 1, 0])))
    assert uids(result.headers) == list(range(1, 23))
    assert codes(result) == ["orientation_flipped"]


def test_sorting_follows_the_normal_of_tilted_slices():
    slices = tilted(20)
    result = stack([slices[k] for k in SHUFFLED])
    assert uids(result.headers) == list(range(1, 23))
    assert result.geometry.gaps == pytest.approx(5 * np.cos(np.radians(20)))


# -- tilt and direction --------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0.0, 0.4])
def test_a_tilt_within_rounding_is_none(degrees):
    assert codes(stack(tilted(degrees))) == []


@pytest.mark.parametrize("degrees", [0.6, -18.5, 30.0])
def test_tilt_is_told_in_degrees(degrees):
    result = stack(tilted(degrees))
    assert codes(result) == ["gantry_tilt"]
    assert f" {abs(degrees):.1f} degrees" in result.notices[0].message
    assert result.geometry.tilt_degrees == pytest.approx(abs(degrees))


@pytest.mark.parametrize("degrees", [12, 44])
def test_oblique_slices_that_follow_their_normal_are_not_sheared(degrees):
    slices = tilted(degrees)
    normal = np.cross(slices[0].orientation[:3], slices[0].orientation[3:])
    result = stack(each(slices, position=lambda k: np.array([*CORNER, 0]) + 5.0 * k * normal))
    assert codes(result) == ["oblique"]
    assert np.allclose(result.geometry.gaps, 5.0)


def test_slices_more_than_45_degrees_from_axial_are_refused_with_what_was_noticed_before():
    slices = tilted(60)
    odd = each(head(2, first=50), rows=64)
    result = refused(slices + odd)
    assert (result.code, codes(result)) == ("orientation_not_axial", ["mixed_size"])
    assert "60 degrees" in result.found


def test_slices_of_another_direction_are_left_out():
    other = each(head(4, first=50), orientation=np.array([1.0, 0, 0, 0, 0, -1]))
    result = stack(other + head())
    assert uids(result.headers) == list(range(1, 23))
    assert result.notices[0].code == "mixed_orientation"
    assert result.notices[0].message.startswith("4 of 26 slices")


@pytest.mark.parametrize(("lacking", "kept"), [(3, 19), (11, 11)])
def test_where_few_lack_an_orientation_they_are_left_out(lacking, kept):
    result = stack(each(head(), orientation=lambda k: None if k < lacking else head()[0].orientation))
    assert len(result.headers) == kept
    assert result.notices[0].code == "orientation_missing" and "left out" in result.notices[0].message
    assert result.geometry.orientation_known


def test_where_most_lack_an_orientation_that_of_the_others_is_assumed():
    given = np.array([-1.0, 0, 0, 0, -1, 0])
    result = stack(each(head(), orientation=lambda k: given if k == 4 else None))
    assert len(result.headers) == 22
    assert np.array_equal(result.geometry.row_direction, given[:3])
    assert result.geometry.orientation_known and "that of the others" in result.notices[0].message


def test_where_all_lack_an_orientation_no_side_is_claimed():
    result = stack(each(head(), orientation=None))
    assert codes(result) == ["orientation_missing"]
    assert not result.geometry.orientation_known and not result.geometry.coordinates_known
    assert "left and right are not known" in result.notices[0].message


# -- gaps and thickness --------------------------------------------------------------------------------


def test_missing_slices_are_counted_and_placed():
    slices = head()
    result = stack(slices[:6] + slices[8:15] + slices[16:])
    assert codes(result) == ["spacing_uneven", "slices_missing"]
    missing = result.notices[1]
    assert missing.slices == (5, 12) and missing.message.startswith("About 3 slices seem")


def test_a_gap_that_is_no_multiple_of_the_step_is_uneven_and_no_hole():
    slices = each(head(), position=lambda k: np.array([*CORNER, 5.0 * k + (2.0 if k > 10 else 0.0)]))
    result = stack(slices)
    assert codes(result) == ["spacing_uneven"]
    assert result.notices[0].slices == (10,)
    assert "5.00 to 7.00 mm" in result.notices[0].message


def test_positions_rounded_to_a_tenth_are_even():
    step = 4.84
    slices = each(head(step=step), position=lambda k: np.array([*CORNER, round(step * k, 1)]))
    assert codes(stack(slices)) == []


def test_a_thin_base_and_a_thick_vertex_are_no_missing_slices():
    low, high = head(9, 3.0), head(10, 6.0, first=20, base=28.5)
    result = stack(high + low)
    assert uids(result.headers) == [*range(1, 10), *range(20, 30)]
    assert set(codes(result)) == {"spacing_uneven", "thickness_mixed"}
    assert sorted(set(result.geometry.thickness)) == [3.0, 6.0]
    assert "from 3 to 6 mm" in next(n.message for n in result.notices if n.code == "thickness_mixed")


@pytest.mark.parametrize(
    ("step", "thickness", "told"), [(7.0, 7.0, []), (8.0, 3.0, [8]), (5.0, 10.0, [10]), (8.0, None, [8])]
)
def test_thick_slices_are_told(step, thickness, told):
    result = stack(each(head(n=14, step=step), thickness=thickness))
    thick = [n.message for n in result.notices if n.code == "slices_thick"]
    assert thick == [f"The slices are {mm:.1f} mm thick or apart." for mm in told]


def test_an_unknown_thickness_stays_unknown():
    result = stack(each(head(), thickness=lambda k: None if k < 3 else 5.0))
    assert np.isnan(result.geometry.thickness[:3]).all() and (result.geometry.thickness[3:] == 5).all()
    assert codes(result) == []


# -- duplicates ----------------------------------------------------------------------------------------


def test_of_duplicates_the_first_by_number_is_kept():
    again = head(3, first=101, base=20.0)
    for order in (head() + again, again + head()):
        result = stack(order)
        assert uids(result.headers) == list(range(1, 23))
        assert codes(result) == ["positions_duplicate"]
        assert result.notices[0].slices == (4, 5, 6)
        assert result.notices[0].message.startswith("3 slices lie")


def test_positions_that_differ_by_rounding_are_duplicates_and_those_that_differ_by_more_are_not():
    near = each(head(1, first=50), position=np.array([*CORNER, 10.04]))
    assert codes(stack(head() + near)) == ["positions_duplicate"]
    thin = head(120, 0.5)
    assert len(stack(thin).headers) == 120


def test_only_duplicates_are_one_slice():
    same = each(head(6), position=np.array([*CORNER, 3.0]))
    result = refused(same)
    assert (result.code, result.found) == ("too_few_slices", "one slice")
    assert codes(result) == ["positions_duplicate"]


# -- missing positions ---------------------------------------------------------------------------------


def test_a_few_slices_without_a_position_are_left_out():
    result = stack(each(head(), position=lambda k: None if k == 3 else np.array([*CORNER, 5.0 * k])))
    assert uids(result.headers) == [1, 2, 3, *range(5, 23)]
    assert codes(result) == ["position_missing", "spacing_uneven", "slices_missing"]
    assert result.geometry.positions_known


def test_without_positions_slice_locations_give_order_and_distances():
    slices = each(head(), position=None, number=lambda k: 50 - k, location=lambda k: -70 + 6.5 * k)
    result = stack([slices[k] for k in SHUFFLED])
    assert uids(result.headers) == list(range(1, 23))
    assert np.allclose(result.geometry.gaps, 6.5)
    assert result.geometry.spacing_known and not result.geometry.positions_known
    assert "slice location" in result.notices[0].message


@pytest.mark.parametrize(
    ("thickness", "stated", "step", "known"),
    [(4.0, None, 4.0, True), (4.0, 2.0, 2.0, True), (None, 2.0, 2.0, True), (None, None, 5.0, False)],
)
def test_without_locations_numbers_give_the_order(thickness, stated, step, known):
    slices = each(head(), position=None, thickness=thickness, step=stated)
    result = stack([slices[k] for k in SHUFFLED])
    assert uids(result.headers) == list(range(1, 23))
    assert np.allclose(result.geometry.gaps, step)
    assert result.geometry.spacing_known is known
    assert "instance number" in result.notices[0].message


@pytest.mark.parametrize("locations", [lambda k: 3.0, lambda k: None if k == 2 else 5.0 * k])
def test_locations_that_do_not_tell_all_slices_apart_are_not_used(locations):
    result = stack(each(head(), position=None, location=locations))
    assert "instance number" in result.notices[0].message


@pytest.mark.parametrize("number", [lambda k: 1, lambda k: None if k == 2 else k])
def test_without_anything_that_orders_the_series_is_refused(number):
    slices = each(head(), position=None, number=number)
    result = refused([*slices, *each(head(2, first=70), rows=64)])
    assert (result.code, codes(result)) == ("order_unknown", ["mixed_size"])


def test_without_positions_the_middle_of_the_slices_is_the_patients():
    geometry = stack(each(head(), position=None, spacing=np.array([0.5, 0.4]))).geometry
    corners = geometry.voxel_to_patient([[0, 0, 0], [0, 190, 190], [21, 0, 190]])
    assert corners[0, :2] == pytest.approx(-corners[1, :2])
    assert corners[2, 0] == pytest.approx(38.0)
    assert not geometry.coordinates_known


# -- sizes and amounts ---------------------------------------------------------------------------------


def test_the_larger_of_two_sizes_is_kept():
    other = each(head(4, first=50), rows=64, columns=64)
    result = stack(other + head())
    assert uids(result.headers) == list(range(1, 23))
    assert codes(result) == ["mixed_size"]


@pytest.mark.parametrize(
    ("spacing", "same"), [((1.001, 1.001), True), ((1.01, 1.0), False), ((1.0, 0.98), False)]
)
def test_pixel_spacing_counts_for_the_size(spacing, same):
    one, other = head(1)[0], each(head(1), spacing=np.array(spacing))[0]
    assert same_matrix(one, other) is same
    assert not same_matrix(one, each([one], spacing=None)[0])
    assert same_matrix(*each([one, other], spacing=None))


def test_directions_are_the_same_to_within_a_degree():
    one, near, far = tilted(10)[0], tilted(10.9)[0], tilted(11.5)[0]
    assert same_direction(one, near) and not same_direction(one, far)
    none = each([one], orientation=None)[0]
    assert same_direction(none, none) and not same_direction(one, none)


def test_no_pixel_spacing_no_scale():
    result = stack(each(head(), spacing=None))
    assert codes(result) == ["spacing_missing"]
    assert not result.geometry.spacing_known


@pytest.mark.parametrize(("n", "step"), [(4, 20.0), (8, 4.0), (1, 5.0)])
def test_too_few_slices_or_too_little_of_the_head(n, step):
    assert refused(head(n, step)).code == "too_few_slices"


def test_the_least_that_is_an_exam():
    assert len(stack(head(5, 10.0)).headers) == 5
    assert len(stack(head(8, 5.0)).headers) == 8


def test_a_single_slice_by_name_is_an_exam_of_its_own():
    result = stack(head(1), single=True)
    assert codes(result) == ["single_slice"]
    assert refused(head(2), single=True).code == "too_few_slices"
    bare = stack(each(head(1), position=None), single=True)
    assert codes(bare) == ["position_missing", "single_slice"]
    assert not bare.geometry.positions_known
