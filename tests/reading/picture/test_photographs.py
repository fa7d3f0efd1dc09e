"""Photographs of a screen or a film: flattened by their four sides, evened in their light, slice by slice."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ichor.errors import RefusedInput
from ichor.exam import Picture
from ichor.reading.context import ReadContext
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits
from ichor.reading.picture.files import read_pictures
from ichor.reading.picture.flattening import Plane, apply_homography, find_plane, flatten, homography
from ichor.reading.picture.illumination import even_illumination, has_haze, remove_tint, tint_gains

from ..phantoms import codes
from .test_files import GREY

sys.path.insert(0, str(Path(__file__).parents[3]))
from benchmarks.shared import camera


def results(
    tmp_path: Path, image: Image.Image | np.ndarray, name: str = "p.png"
) -> list[Picture | RefusedInput]:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(tmp_path / name)
    return list(read_pictures(InputFile(tmp_path / name, name), ReadContext.begin(name, Limits())))


def only(tmp_path: Path, image: Image.Image | np.ndarray) -> Picture:
    (result,) = results(tmp_path, image)
    assert isinstance(result, Picture)
    return result


# -- geometry --------------------------------------------------------------------------------------------------


def board(corners: np.ndarray, *, dark: bool) -> np.ndarray:
    """A photograph of 640 x 480 of a plain board with known corners, drawn four times finer, then blurred."""
    from PIL import ImageDraw

    ground, thing = (200, 30) if dark else (40, 215)
    image = Image.new("L", (2560, 1920), ground)
    ImageDraw.Draw(image).polygon([tuple(4 * c + 1.5) for c in corners], fill=thing)
    small = np.asarray(image.resize((640, 480), Image.Resampling.BOX), float)
    return np.clip(small + np.random.default_rng(3).normal(0, 4, small.shape), 0, 255).astype(np.uint8)


SLANTED = (
    np.array([[80.0, 60], [560, 95], [530, 430], [60, 400]]),
    np.array([[120.0, 40], [520, 40], [600, 440], [40, 440]]),  # leaning back
    np.array([[90.0, 30], [470, 90], [470, 380], [90, 450]]),  # from the side
)


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("corners", SLANTED, ids=["turned", "leaning", "aside"])
def test_corners_are_found_within_a_pixel(corners, dark):
    plane = find_plane(board(corners, dark=dark))
    assert plane is not None and plane.slanted
    assert np.abs(plane.corners - corners).max() < 1.0


def test_an_upright_board_is_not_slanted():
    plane = find_plane(board(np.array([[80.0, 60], [560, 60], [560, 400], [80, 400]]), dark=True))
    assert plane is not None and not plane.slanted


@pytest.mark.parametrize("side", range(4))
def test_a_side_beyond_the_photograph_is_parallel_to_the_one_opposite(side):
    """Three sides are seen: flattened, right angles are nearly that, the focal length being a usual one."""
    corners = SLANTED[0].copy()
    axis, way = (1, -1) if side == 0 else (0, 1) if side == 1 else (1, 1) if side == 2 else (0, -1)
    corners[[side, (side + 1) % 4], axis] += way * 130
    plane = find_plane(board(corners, dark=True))
    assert plane is not None and plane.slanted
    back = apply_homography(np.linalg.inv(plane.matrix), corners)
    along = np.roll(back, -1, axis=0) - back
    angles = np.degrees(np.arctan2(along[:, 1], along[:, 0])) - [0, 90, 180, -90]
    assert np.abs((angles + 180) % 360 - 180).max() < 4


@pytest.mark.parametrize("tilt", [8.0, 20.0])
def test_proportions_are_those_of_the_screen(tilt):
    """A screen of 16 to 10 comes out as 16 to 10, whichever way it leans."""
    for seed in range(4):
        strength = camera.Strength(tilt, 5, 0, 0, 0, 0, 0, 0.3, 1, 0, (95, 96))
        scene = camera.Scene(np.full((500, 800, 3), 20, np.uint8), ())
        taken = camera.photograph(scene, strength, seed, size=(960, 720))
        grey = np.asarray(Image.fromarray(taken.image).convert("L"))
        plane = find_plane(grey)
        assert plane is not None
        # The bezel is part of what is found: 28 pixels on each side.
        assert plane.shape[1] / plane.shape[0] == pytest.approx(856 / 556, rel=0.06)


def test_a_homography_carries_its_own_corners():
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    matrix = homography(square, SLANTED[1])
    assert np.allclose(apply_homography(matrix, square), SLANTED[1])
    assert np.allclose(apply_homography(np.linalg.inv(matrix), SLANTED[1]), square)


def test_flattening_undoes_a_known_homography():
    """A pattern seen from the side comes back where it was, to half a pixel."""
    y, x = np.mgrid[:300, :400]
    pattern = np.where((x // 40 + y // 50) % 2, 200, 50).astype(np.uint8)
    corners = np.array([[60.0, 50], [560, 90], [520, 420], [40, 380]])
    back = camera.homography(corners, np.array([[0.0, 0], [399, 0], [399, 299], [0, 299]]))
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    back = half @ back @ np.linalg.inv(half)
    seen = np.asarray(
        Image.fromarray(pattern).transform(
            (640, 480),
            Image.Transform.PERSPECTIVE,
            tuple((back / back[2, 2]).ravel()[:8]),
            Image.Resampling.BILINEAR,
        )
    )
    plane = Plane(corners, (300, 400), True)
    flat = flatten(seen, plane)
    # The outermost edge is left out: where a point of the pattern is to be found.
    at = apply_homography(np.linalg.inv(plane.matrix), corners)
    scale = (at[2] - at[0]) / [399, 299]
    u, v = (np.rint(at[0, k] + scale[k] * grid).astype(int) for k, grid in ((0, x), (1, y)))
    inside = (u >= 0) & (u < 400) & (v >= 0) & (v < 300)
    difference = np.abs(flat[v[inside], u[inside]].astype(int) - pattern[inside])
    assert np.mean(difference > 75) < 0.01  # none but pixels on an edge of the pattern


@pytest.mark.parametrize("seed", range(3))
def test_a_head_is_no_board(seed):
    """Nothing round is flattened, nor what a tight crop leaves of the ground."""
    y, x = np.mgrid[:400, :330]
    for a, b in ((150, 190), (175, 210), (140, 140)):
        r = np.hypot((x - 165) / a, (y - 200) / b)
        grey = np.where(r < 1, 120, 5) + np.where((r < 1) & (r > 0.88), 130, 0)
        noise = np.random.default_rng(seed).normal(0, 5, grey.shape)
        plane = find_plane(np.clip(grey + noise, 0, 255).astype(np.uint8))
        assert plane is None or not plane.slanted


# -- light -----------------------------------------------------------------------------------------------------


def lit(grey: np.ndarray, *, glow: float, slope: float, gain: float, spot: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] / np.array(grey.shape).reshape(2, 1, 1) - 0.5
    light = grey * gain * (1 + slope * x) + glow * (1 + 0.5 * y)
    return np.clip(light + spot * np.exp(-((x - 0.35) ** 2 + (y + 0.3) ** 2) / 0.08), 0, 255).astype(np.uint8)


def head_of() -> np.ndarray:
    y, x = np.mgrid[: GREY.shape[0], : GREY.shape[1]]
    return np.hypot((x - 150) / 98, (y - 150) / 125) < 1


@pytest.mark.parametrize(
    ("glow", "slope", "gain", "spot"),
    [(25, 0.0, 0.7, 0), (10, 0.4, 0.8, 0), (30, -0.3, 0.6, 0), (15, 0.2, 0.8, 30)],
)
def test_light_is_evened_and_blood_stays(glow, slope, gain, spot):
    """Air is black again, bone white, brain as grey and blood as bright as in the picture itself."""
    head = head_of()
    out = even_illumination(lit(GREY, glow=glow, slope=slope, gain=gain, spot=spot), head).astype(float)
    y, x = np.mgrid[:300, :300]
    r = np.hypot((x - 150) / 98, (y - 150) / 125)
    blood = np.hypot((x - 150) / 98 - 0.45, (y - 150) / 125 - 0.2) < 0.1
    brain = (r < 0.8) & ~(np.hypot((x - 150) / 98 - 0.45, (y - 150) / 125 - 0.2) < 0.16)
    assert np.median(out[r > 1.1]) <= 6
    assert np.median(out[(r > 0.92) & (r < 0.98)]) >= 235
    assert abs(np.median(out[brain]) - np.median(GREY[brain])) < 14
    assert abs(np.median(out[blood]) - np.median(GREY[blood])) < 22
    left, right = brain & (x < 120), brain & (x > 180)
    assert abs(np.median(out[left]) - np.median(out[right])) < 16


def test_a_large_bleed_at_the_skull_does_not_bend_the_light():
    y, x = np.mgrid[:300, :300]
    r = np.hypot((x - 150) / 98, (y - 150) / 125)
    bleed = (r < 0.9) & (x > 205)
    grey = np.where(bleed, 215, GREY).astype(np.uint8)
    out = even_illumination(lit(grey, glow=20, slope=0.2, gain=0.75), head_of()).astype(float)
    brain = (r < 0.8) & (x < 190)
    assert np.median(out[bleed]) - np.median(out[brain]) > 0.85 * (215 - np.median(GREY[brain]))


def test_what_has_no_white_is_left_alone():
    grey = np.full((200, 200), 20, np.uint8)
    head = np.zeros((200, 200), bool)
    head[50:150, 50:150] = True
    assert even_illumination(grey, head) is grey
    assert even_illumination(grey, np.zeros_like(head)) is grey


def test_tint_is_told_and_taken_off():
    gains = np.array([1.0, 0.94, 0.86])
    rgb = np.clip(GREY[..., None] * gains, 0, 255).astype(np.uint8)
    head = head_of()
    found = tint_gains(rgb, head)
    assert found is not None and np.allclose(found, gains / gains.mean(), atol=0.02)
    plain = remove_tint(rgb, found)[head].astype(int)
    level = plain.max(axis=1)
    assert np.percentile(np.ptp(plain, axis=1)[level < 235], 99) <= 4
    assert tint_gains(np.repeat(GREY[..., None], 3, axis=2), head) is None


def test_haze_is_told():
    head = head_of()
    assert not has_haze(GREY, head)
    assert has_haze(lit(GREY, glow=30, slope=0, gain=0.7), head)


# -- the whole way -----------------------------------------------------------------------------------------------


def taken(seed: int, strength: str, *, on_film: bool = False) -> camera.Photograph:
    scene = camera.film([GREY], seed) if on_film else camera.viewer(GREY, seed)
    return camera.photograph(scene, camera.STRENGTHS[strength], seed)


@pytest.mark.parametrize("on_film", [False, True], ids=["screen", "film"])
@pytest.mark.parametrize("strength", ["light", "medium"])
def test_a_photograph_comes_back_as_the_slice(tmp_path, strength, on_film):
    """The head upright, of its own proportions, air black, bone white, blood brighter than brain."""
    photo = taken(11, strength, on_film=on_film)
    picture = only(tmp_path, photo.image)
    assert {"picture_photograph", "picture_flattened"} <= codes(picture)
    said = next(n.message for n in picture.notices if n.code == "picture_photograph")
    assert "flattened" in said and "weakest" in said
    head = picture.grey > 40
    rows, columns = np.flatnonzero(head.mean(axis=1) > 0.1), np.flatnonzero(head.mean(axis=0) > 0.1)
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(250 / 196, rel=0.08)
    middle = (rows[0] + rows[-1]) // 2, (columns[0] + columns[-1]) // 2
    high, wide = np.ptp(rows) / 2, np.ptp(columns) / 2
    y, x = np.mgrid[: picture.grey.shape[0], : picture.grey.shape[1]].astype(float)
    y, x = (y - middle[0]) / high, (x - middle[1]) / wide
    r = np.hypot(x, y)
    blood = np.hypot(x - 0.45, y - 0.2) < 0.08
    brain = (r < 0.75) & (x < -0.3)
    assert np.median(picture.grey[blood]) - np.median(picture.grey[brain]) > 0.75 * 35 * 255 / 80
    assert np.median(picture.grey[brain]) == pytest.approx(33 * 255 / 80, abs=22)
    assert np.percentile(picture.grey[r > 1.06], 50) <= 12
    # The box names the place in the photograph's own pixels.
    top, left, height, width = picture.box
    seen = photo.slices[0]
    angle = np.linspace(0, 2 * np.pi, 60)
    head_in_slice = np.stack([150 + 98 * np.cos(angle), 150 + 125 * np.sin(angle)], axis=1) / 300
    a, b = seen[1] - seen[0], seen[3] - seen[0]
    expected = seen[0] + head_in_slice[:, :1] * a + head_in_slice[:, 1:] * b
    assert left <= expected[:, 0].min() + 4 and left + width >= expected[:, 0].max() - 4
    assert top <= expected[:, 1].min() + 4 and top + height >= expected[:, 1].max() - 4


def test_the_same_seed_gives_the_same_photograph():
    assert taken(4, "strong").jpeg == taken(4, "strong").jpeg != taken(5, "strong").jpeg


def sheet(n: int = 6) -> list[np.ndarray]:
    """Heads of different sizes, told apart by where the bleed lies."""
    out = []
    for k in range(n):
        i, j = np.mgrid[:300, :300]
        size = 1.0 - 0.06 * k
        y, x = (i - 150) / (125 * size), (j - 150) / (98 * size)
        hu = np.where(np.hypot(x, y) < 0.9, 33.0, np.where(np.hypot(x, y) < 1, 1000.0, -1000.0))
        hu[np.hypot(x - 0.5 * np.cos(k), y - 0.5 * np.sin(k)) < 0.12] = 70
        hu += np.random.default_rng(k).normal(0, 4, hu.shape)
        out.append(np.clip(hu * 255 / 80, 0, 255).astype(np.uint8))
    return out


@pytest.mark.parametrize("strength", [None, "medium"], ids=["as exported", "photographed"])
def test_each_slice_of_a_sheet_is_given_in_reading_order(tmp_path, strength):
    scene = camera.film(sheet(), 3, columns=3)
    image = scene.image if strength is None else camera.photograph(scene, camera.STRENGTHS[strength], 3).image
    found = results(tmp_path, image)
    assert [r.source.input for r in found if isinstance(r, Picture)] == [
        f"p.png slice {k + 1}" for k in range(6)
    ]
    assert all("picture_several" in codes(r) for r in found)
    for k, picture in enumerate(found):
        rows, columns = (np.flatnonzero((picture.grey > 60).mean(axis=a) > 0.2) for a in (1, 0))
        y, x = np.mgrid[: picture.grey.shape[0], : picture.grey.shape[1]].astype(float)
        y = (y - rows.mean()) / (np.ptp(rows) / 2)
        x = (x - columns.mean()) / (np.ptp(columns) / 2)
        own = [
            np.median(picture.grey[np.hypot(x - 0.5 * np.cos(j), y - 0.5 * np.sin(j)) < 0.07])
            for j in range(6)
        ]
        assert int(np.argmax(own)) == k


def test_a_screenshot_is_judged_on_its_own_pixels(tmp_path):
    """What is no photograph is not resampled, stretched or smoothed: its pixels are those of the file."""
    image = np.repeat(GREY[..., None], 3, axis=2)
    for form in (GREY, image):
        picture = only(tmp_path, form)
        row, column, rows, columns = picture.box
        assert np.array_equal(picture.grey, GREY[row : row + rows, column : column + columns])
        assert not {"picture_photograph", "picture_flattened"} & codes(picture)


def test_a_blue_film_that_was_scanned_is_no_photograph(tmp_path):
    blue = np.clip(GREY[..., None] * np.array([0.84, 1.0, 1.16]), 0, 255).astype(np.uint8)
    assert not {"picture_photograph", "picture_flattened"} & codes(only(tmp_path, blue))


def test_no_picture_of_the_web_is_taken_for_a_photograph(shared_data):
    """140 pictures, cut close, on grey grounds and with tables: each is judged on its own pixels."""
    folder = shared_data / "head-ct-hemorrhage" / "head_ct"
    slanted = []
    for path in sorted(folder.glob("*.png"))[::4]:
        with Image.open(path) as image:
            plane = find_plane(np.asarray(image.convert("L")))
        if plane is not None and plane.slanted:
            slanted.append(path.name)
    assert not slanted


def test_a_real_slice_photographed_is_found(shared_data, tmp_path):
    with Image.open(shared_data / "head-ct-hemorrhage" / "head_ct" / "004.png") as image:
        grey = np.asarray(image.convert("L"))
    for seed in range(2):
        photo = camera.photograph(camera.viewer(grey, seed), camera.STRENGTHS["medium"], seed)
        picture = only(tmp_path, Image.open(io.BytesIO(photo.jpeg)))
        assert "picture_flattened" in codes(picture)
        seen = photo.slices[0]
        area = abs(np.linalg.det(np.stack([seen[1] - seen[0], seen[3] - seen[0]])))
        assert 0.5 * area < picture.box[2] * picture.box[3] < 1.6 * area


def test_a_photograph_of_a_desk_is_refused_or_shows_no_head(tmp_path):
    """Wood, a wall, a light box with nothing on them: no verdict."""
    from ichor.detecting.quality import assess
    from ichor.preparing import Preparation, prepare

    empty = camera.Scene(np.full((400, 640, 3), 15, np.uint8), ())
    for seed in range(3):
        for scene in (empty, camera.Scene(empty.image, (), film=True)):
            photo = camera.photograph(scene, camera.STRENGTHS["medium"], seed, size=(640, 480))
            for result in results(tmp_path, photo.image):
                if isinstance(result, Picture):
                    said = assess(result, prepare(result, Preparation()))
                    assert any(n.code == "not_a_head" for n in said)


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_ordinary_photographs_are_refused(tmp_path, name, mode):
    """As they are, and shown on a screen that is photographed."""
    datasets = pytest.importorskip("sklearn.datasets", reason="needs the extra for training")
    from ichor.detecting.quality import assess
    from ichor.preparing import Preparation, prepare

    image = Image.fromarray(datasets.load_sample_image(name)).convert(mode)
    shown = camera.photograph(camera.viewer(np.asarray(image.convert("L")), 2), camera.STRENGTHS["light"], 2)
    for one in (image, Image.fromarray(shown.image)):
        for result in results(tmp_path, one):
            if isinstance(result, Picture):
                said = assess(result, prepare(result, Preparation()))
                assert any(n.code == "not_a_head" for n in said)
            else:
                assert result.code == "not_a_head"
