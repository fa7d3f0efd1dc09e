"""Volumes of bleeds of known size, in every geometry, and the mask that comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ichor.detecting.localise import Regions, localise
from ichor.detecting.manifest import Localisation
from ichor.exam import Exam, Geometry, Picture, Source
from ichor.labels import LABEL_NAMES
from ichor.preparing import GridSpec, GridTransform, plan_grid
from ichor.preparing.stacks import picture_geometry

SPEC = GridSpec(rows=320, columns=256, margin=0.06, slab_mm=5.0)
RULE = Localisation(probability=0.5, min_volume_ml=0.1)
BLOOD_HU = 65
LAYOUTS: dict[str, dict[str, Any]] = {
    "even": {},
    "fine": {"spacing": (0.65, 0.65), "shape": (320, 320)},
    "tilted": {"tilt": np.tan(np.radians(18.5))},
    "uneven": {"gaps": np.repeat([4.0, 7.0, 9.0], [14, 8, 3])},
    "uneven and tilted": {"gaps": np.repeat([3.6, 6.0], [16, 12]), "tilt": 0.3},
    "flipped": {"down": (0.0, -1.0, 0.0)},
    "thin": {"gaps": (1.25,) * 107, "spacing": (1.1, 1.1), "shape": (200, 200)},
    "oblong": {"spacing": (1.2, 0.7), "shape": (190, 300)},
}


def ball_logits(transform: GridTransform, centre: NDArray[np.float64], radius: float) -> NDArray[np.float32]:
    """A map of stride 2 that is 0 on the ball's surface, rising inwards, in patient mm."""
    m, rows, columns = transform.n_slices, transform.spec.rows // 2, transform.spec.columns // 2
    index = np.stack(np.meshgrid(np.arange(m), np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    points = transform.grid_to_patient(index * [1, 2, 2] + [0, 0.5, 0.5])
    depth = radius - np.linalg.norm(points - centre, axis=-1)
    return np.clip(depth * 1.5, -12, 12).astype(np.float32)


def six_maps(*balls: tuple[NDArray[np.float32], int]) -> NDArray[np.float32]:
    """Maps of ``any`` and of each ball's subtype."""
    shape = balls[0][0].shape
    maps = np.full((shape[0], 6, *shape[1:]), -12, np.float32)
    for logits, subtype in balls:
        maps[:, 0] = np.maximum(maps[:, 0], logits)
        maps[:, subtype] = np.maximum(maps[:, subtype], logits)
    return maps


def inside_ball(exam: Exam, centre: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    out = np.zeros(exam.volume.shape, bool)
    for k in np.flatnonzero(np.abs(exam.geometry.distances - centre @ exam.geometry.normal) <= radius):
        index = np.stack(np.meshgrid([k], *map(np.arange, exam.volume.shape[1:]), indexing="ij"), axis=-1)[0]
        out[k] = np.linalg.norm(exam.geometry.voxel_to_patient(index) - centre, axis=-1) <= radius
    return out


def slices_of_ball_ml(geometry: Geometry, centre: NDArray[np.float64], radius: float) -> float:
    """Area of the ball's discs at the slices, times what each slice stands for: all that the slices can know."""
    across = geometry.distances - centre @ geometry.normal
    areas = np.pi * np.clip(radius**2 - across**2, 0, None)
    return float((areas * geometry.slice_extents).sum() / 1000)


def bleed(
    exam: Exam, *balls: tuple[Any, float, int], rule: Localisation = RULE
) -> tuple[Regions, NDArray[np.int16]]:
    transform = plan_grid(exam.volume, exam.geometry, SPEC)
    volume = exam.volume.copy()
    for centre, radius, _ in balls:
        volume[inside_ball(exam, np.asarray(centre, float), radius)] = BLOOD_HU
    maps = six_maps(*((ball_logits(transform, np.asarray(c, float), r), k) for c, r, k in balls))
    return localise(maps, volume, transform, rule), volume


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("radius", [11.0, 20.0])
def test_volume_of_a_ball(make_exam: Callable[..., Exam], name: str, radius: float) -> None:
    exam = make_exam(**LAYOUTS[name])
    centre = np.array([22.0, -18.0, 6.0])
    found, _ = bleed(exam, (centre, radius, 2))
    assert len(found.regions) == 1
    region = found.regions[0]
    assert region.volume_ml is not None
    # The arithmetic: what the slices can know, within 5 %. (Thin slices are judged as slabs: within 8 %.)
    by_slices = slices_of_ball_ml(exam.geometry, centre, radius)
    assert region.volume_ml == pytest.approx(by_slices, rel=0.08 if name == "thin" else 0.05)
    # The truth: within one slice's share of the widest disc.
    true = 4 / 3 * np.pi * radius**3 / 1000
    bound = np.pi * radius**2 * exam.geometry.slice_extents.max() / 2 / 1000
    assert abs(region.volume_ml - true) <= bound
    assert found.volume_ml == pytest.approx(region.volume_ml, abs=0.002)


@pytest.mark.parametrize("name", LAYOUTS)
def test_box_and_mask_lie_where_the_ball_is(make_exam: Callable[..., Exam], name: str) -> None:
    exam = make_exam(**LAYOUTS[name])
    centre, radius = np.array([-30.0, 25.0, -4.0]), 15.0
    found, _ = bleed(exam, (centre, radius, 4))
    region = found.regions[0]
    truth = inside_ball(exam, centre, radius)
    overlap = 2 * (truth & (found.mask == 1)).sum() / (truth.sum() + (found.mask > 0).sum())
    assert overlap > 0.93
    assert region.slices == np.flatnonzero((found.mask == 1).any(axis=(1, 2))).tolist()
    assert region.bbox_mm is not None
    pixel = max(*exam.geometry.spacing, 1.4)
    np.testing.assert_allclose(region.bbox_mm[:2], centre[:2] - radius, atol=pixel + radius * 0.06)
    np.testing.assert_allclose(region.bbox_mm[3:5], centre[:2] + radius, atol=pixel + radius * 0.06)
    step = exam.geometry.slice_extents.max()
    assert centre[2] - radius - step <= region.bbox_mm[2] <= centre[2]
    assert centre[2] <= region.bbox_mm[5] <= centre[2] + radius + step
    voxels = np.argwhere(found.mask == 1)
    assert region.bbox_voxels == [*voxels.min(axis=0), *voxels.max(axis=0)]


@pytest.mark.parametrize("unknown", ["positions_known", "orientation_known"])
def test_no_box_in_the_patient_where_the_header_does_not_place_the_slices(
    make_exam: Callable[..., Exam], unknown: str
) -> None:
    exam = make_exam()
    exam = replace(exam, geometry=replace(exam.geometry, **{unknown: False}))
    found, _ = bleed(exam, ((-30.0, 25.0, -4.0), 15.0, 4))
    region = found.regions[0]
    assert region.bbox_mm is None
    assert region.volume_ml is not None and len(region.bbox_voxels) == 6


def test_volume_is_the_masks_own(make_exam: Callable[..., Exam]) -> None:
    exam = make_exam(**LAYOUTS["uneven"])
    found, _ = bleed(exam, ((20.0, 0.0, 10.0), 14.0, 5), ((-35.0, 5.0, -20.0), 9.0, 3))
    geometry = exam.geometry
    for number, region in enumerate(found.regions, start=1):
        per_slice = (found.mask == number).sum(axis=(1, 2)) * geometry.slice_extents
        assert region.volume_ml == pytest.approx(
            per_slice.sum() * np.prod(geometry.spacing) / 1000, abs=0.001
        )


def test_two_bleeds_are_numbered_by_size_and_named_by_their_maps(head_exam: Exam) -> None:
    found, _ = bleed(head_exam, ((-35.0, 0.0, 0.0), 8.0, 3), ((30.0, 0.0, 5.0), 16.0, 5))
    assert [r.label for r in found.regions] == ["subdural", "intraventricular"]
    assert found.mask[inside_ball(head_exam, np.array([30.0, 0, 5]), 8)].tolist().count(1) > 0
    for region in found.regions:
        assert set(region.probabilities) == set(LABEL_NAMES[1:])
        assert sum(region.probabilities.values()) == pytest.approx(1, abs=0.001)
        assert region.probabilities[region.label] > 0.9
    assert found.volume_ml == pytest.approx(sum(r.volume_ml or 0 for r in found.regions), abs=0.002)


def test_bone_and_air_in_the_map_are_no_blood(head_exam: Exam) -> None:
    centre = np.array([20.0, 10.0, 0.0])
    transform = plan_grid(head_exam.volume, head_exam.geometry, SPEC)
    maps = six_maps((ball_logits(transform, centre, 16.0), 1))
    ball = inside_ball(head_exam, centre, 19.0)
    half = ball & (np.arange(256) < 256 / 2 - 0.5 + 20 / 0.9)
    volume = head_exam.volume.copy()
    volume[ball] = BLOOD_HU
    whole = localise(maps, volume, transform, RULE).volume_ml
    for not_blood in (800, -500, 5):
        volume[half] = not_blood
        found = localise(maps, volume, transform, RULE)
        assert whole is not None
        assert found.volume_ml == pytest.approx(whole / 2, rel=0.12)
    volume[ball] = 800
    assert localise(maps, volume, transform, RULE).regions == []


@pytest.mark.parametrize("name", ["even", "uneven and tilted", "oblong"])
def test_a_bleed_goes_on_beyond_a_map_that_marks_its_middle(
    make_exam: Callable[..., Exam], name: str
) -> None:
    exam = make_exam(**LAYOUTS[name])
    centre = np.array([22.0, -18.0, 6.0])
    transform = plan_grid(exam.volume, exam.geometry, SPEC)
    # The map marks a column through the ball: of each slice its middle alone.
    core = ball_logits(transform, centre, 17.0)
    narrow = np.stack(
        [ball_logits(transform, centre + np.array([0, 0, dz]), 10.5) for dz in range(-12, 13, 3)]
    ).max(axis=0)
    maps = six_maps((np.minimum(core, narrow), 2))
    volume = exam.volume.copy()
    volume[inside_ball(exam, centre, 17.0)] = BLOOD_HU
    volumes = [
        localise(maps, volume, transform, RULE.model_copy(update={"reach_mm": mm})).volume_ml
        for mm in (0, 3, 15)
    ]
    true = slices_of_ball_ml(exam.geometry, centre, 17.0)
    assert volumes[0] is not None and volumes[1] is not None
    assert volumes[0] < 0.6 * true
    assert volumes[0] < volumes[1] < 0.9 * true
    assert volumes[2] == pytest.approx(true, rel=0.1)


def test_it_does_not_go_on_along_a_thin_rim_nor_to_what_it_does_not_touch(head_exam: Exam) -> None:
    centre, reaching = np.array([20.0, 0.0, 0.0]), RULE.model_copy(update={"reach_mm": 15.0})
    ball = ((20.0, 0.0, 0.0), 10.0, 2)
    alone, volume = bleed(head_exam, ball, rule=reaching)
    transform = plan_grid(volume, head_exam.geometry, SPEC)
    maps = six_maps((ball_logits(transform, centre, 10.0), 2))
    k, row, column = np.round(head_exam.geometry.patient_to_voxel(centre)).astype(int)
    rim = volume.copy()
    rim[k, row : row + 2, column : column + 30] = BLOOD_HU  # 2 pixels of 0.9 mm
    assert localise(maps, rim, transform, reaching).volume_ml == pytest.approx(alone.volume_ml, rel=0.01)
    apart = volume.copy()
    apart[k, row - 8 : row + 8, column + 14 : column + 22] = BLOOD_HU
    assert localise(maps, apart, transform, reaching).volume_ml == pytest.approx(alone.volume_ml, rel=0.01)


def test_crumbs_are_dropped(head_exam: Exam) -> None:
    crumb = ((0.0, 30.0, 2.5), 2.0, 1)
    kept, _ = bleed(head_exam, crumb, rule=Localisation(min_volume_ml=0.0))
    assert len(kept.regions) == 1
    gone, _ = bleed(head_exam, crumb, rule=Localisation(min_volume_ml=0.5))
    assert gone.regions == []
    assert not gone.mask.any()
    assert gone.volume_ml == 0


def test_a_cold_map_gives_nothing(head_exam: Exam) -> None:
    transform = plan_grid(head_exam.volume, head_exam.geometry, SPEC)
    found = localise(
        np.full((transform.n_slices, 6, 160, 128), -6, np.float32), head_exam.volume, transform, RULE
    )
    assert (found.regions, found.volume_ml) == ([], 0.0)
    assert found.mask.shape == head_exam.volume.shape


def test_a_picture_has_regions_but_no_volume() -> None:
    rows, columns = np.mgrid[:512, :430]
    radius = np.hypot((rows - 256) / 230, (columns - 215) / 190)
    grey = np.where(radius < 0.9, 105, np.where(radius < 1, 255, 0)).astype(np.uint8)
    picture = Picture(grey, Source("p.png", "picture"), (0, 0, *grey.shape), grey.shape)
    volume = (picture.grey[None].astype(np.float32) * 80 / 255).astype(np.int16)
    transform = plan_grid(volume, picture_geometry(), SPEC)
    centre = transform.geometry.voxel_to_patient([0.0, 220.0, 200.0])
    volume[0, 190:250, 170:230] = BLOOD_HU
    found = localise(six_maps((ball_logits(transform, centre, 10.0), 2)), volume, transform, RULE)
    assert found.volume_ml is None
    assert [r.volume_ml for r in found.regions] == [None]
    assert [r.bbox_mm for r in found.regions] == [None]
    assert np.abs(np.argwhere(found.mask[0]).mean(axis=0) - [220, 200]).max() < 1


def test_a_bleed_as_white_as_bone_is_outlined_whole_and_the_skull_is_not() -> None:
    rows, columns = np.mgrid[:512, :430]
    radius = np.hypot((rows - 256) / 230, (columns - 215) / 190)
    volume = np.where(radius < 0.9, 33, np.where(radius < 1, 80, 0)).astype(np.int16)[None]
    transform = plan_grid(volume, picture_geometry(), SPEC)
    bleed = np.hypot(rows - 220, columns - 200) < 40
    volume[0][bleed] = 64
    volume[0][np.hypot(rows - 220, columns - 200) < 32] = 80
    volume[0][205:208, 190:193] = 20  # a hole of noise
    centre = transform.geometry.voxel_to_patient([0.0, 220.0, 200.0])
    ring = np.minimum(ball_logits(transform, centre, 20.0), -ball_logits(transform, centre, 14.0))
    found = localise(six_maps((ring, 2)), volume, transform, RULE)
    mask = found.mask[0] == 1
    assert (mask & bleed).sum() > 0.95 * bleed.sum() and not mask[radius > 0.9].any()


def _warm(
    exam: Exam, centre: NDArray[np.float64], radius: float, warm: float
) -> tuple[GridTransform, NDArray[np.float32]]:
    """A map that is warm (a logit) over a ball and cold elsewhere."""
    transform = plan_grid(exam.volume, exam.geometry, SPEC)
    maps = six_maps((ball_logits(transform, centre, radius), 2))
    return transform, np.where(maps > -1, np.float32(warm), np.float32(-7))


def test_a_region_needs_a_sure_core(head_exam: Exam) -> None:
    centre = np.array([25.0, 0.0, 0.0])
    volume = head_exam.volume.copy()
    volume[inside_ball(head_exam, centre, 12.0)] = BLOOD_HU
    transform, maps = _warm(head_exam, centre, 14.0, -0.7)  # 0.33: above the edge's, below the region's
    assert localise(maps, volume, transform, RULE).regions == []
    _, core = _warm(head_exam, centre, 5.0, 2.0)
    found = localise(np.maximum(maps, core), volume, transform, RULE)
    assert [r.volume_ml for r in found.regions] == [pytest.approx(4 / 3 * np.pi * 12**3 / 1000, rel=0.07)]


def test_density_draws_the_edge(head_exam: Exam) -> None:
    centre = np.array([25.0, 0.0, 0.0])
    transform, maps = _warm(head_exam, centre, 18.0, 3.0)  # a map that reaches 6 mm too far
    true = inside_ball(head_exam, centre, 12.0)
    for blood in (55, 75):
        volume = head_exam.volume.copy()
        volume[true] = blood
        found = localise(maps, volume, transform, RULE).mask > 0
        assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.93
    # As dense as the brain: nothing but the map tells.
    volume = head_exam.volume.copy()
    volume[inside_ball(head_exam, centre, 30.0)] = 36
    found = localise(maps, volume, transform, RULE).mask > 0
    assert (
        2
        * (found & inside_ball(head_exam, centre, 18.0)).sum()
        / (found.sum() + inside_ball(head_exam, centre, 18.0).sum())
        > 0.9
    )


def test_a_bruise_of_the_scalp_is_no_region(head_exam: Exam) -> None:
    centre = np.array([75.0, 0.0, 0.0])
    transform, maps = _warm(head_exam, centre, 16.0, 4.0)
    volume = head_exam.volume.copy()
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    points = head_exam.geometry.voxel_to_patient(index)
    outside = np.sqrt(((points / [72.0, 90.0, 75.0]) ** 2).sum(axis=-1)) > 0.99
    volume[outside & inside_ball(head_exam, centre, 16.0)] = BLOOD_HU
    assert not (localise(maps, volume, transform, RULE).mask[outside] > 0).any()


def test_what_has_no_region_says_why(head_exam: Exam) -> None:
    transform = plan_grid(head_exam.volume, head_exam.geometry, SPEC)
    centre = np.array([25.0, 0.0, 0.0])
    ball = ball_logits(transform, centre, 14.0)
    cold = localise(six_maps((ball - 13, 5)), head_exam.volume, transform, RULE)
    assert "an outline begins at 0.50" in cold.reason
    bone = np.full_like(head_exam.volume, 900)
    assert "dense as blood" in localise(six_maps((ball, 5)), bone, transform, RULE).reason


def test_what_is_as_dense_all_around_is_no_part_of_a_small_mark(head_exam: Exam) -> None:
    centre = np.array([20.0, 0.0, 0.0])
    transform = plan_grid(head_exam.volume, head_exam.geometry, SPEC)
    volume = head_exam.volume.copy()
    volume[inside_ball(head_exam, centre, 18.0)] = BLOOD_HU
    maps = six_maps((ball_logits(transform, centre, 7.0), 2))
    as_marked = localise(maps, volume, transform, RULE).volume_ml
    # Within reach of the mark there is four times as much: a sinus or contrast, rather than the rest of a bleed.
    reaching = localise(maps, volume, transform, RULE.model_copy(update={"reach_mm": 15.0})).volume_ml
    assert as_marked is not None and as_marked > 0.5
    assert reaching == pytest.approx(as_marked)
