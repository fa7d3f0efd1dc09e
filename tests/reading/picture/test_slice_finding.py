"""Finding the slice in pictures: screenshots drawn around made heads and real slices, negatives, letters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps
from scipy import ndimage

from ichor.reading.picture.slice_finding import find_slice, without_letters

SIDE = 512
Made = tuple[Image.Image, tuple[float, float, float]]
"""A picture, and where the slice lies in it: row, column and scale."""


def made_head(seed: int = 0) -> Image.Image:
    """A windowed slice: grey scalp, white skull, textured brain, dark ventricles, one small bright bleed."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:SIDE, :SIDE] - SIDE / 2).astype(float)
    r = np.hypot(x / 170, y / 215)
    grey = np.where(r < 1.06, 60.0, 0)
    grey = np.where(r < 1, 255, grey)
    brain = 105 + ndimage.gaussian_filter(rng.normal(0, 60, (SIDE, SIDE)), 1.5)
    grey = np.where(r < 0.9, brain, grey)
    grey = np.where(np.hypot((np.abs(x) - 30) / 14, y / 60) < 1, 20, grey)
    grey = np.where(np.hypot(x - 80, y - 40) < 7, 220, grey)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def skull_box(head: Image.Image) -> np.ndarray:
    """First and last row, first and last column of the largest white thing: told without the finder."""
    labels, count = ndimage.label(np.asarray(head) > 200)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    rows, columns = ndimage.find_objects((labels == sizes.argmax()).astype(int))[0]
    return np.array([rows.start, rows.stop, columns.start, columns.stop], float)


def text(draw: ImageDraw.ImageDraw, x: int, y: int, words: str, size: int, fill: object) -> None:
    draw.multiline_text((x, y), words, fill=fill, font=ImageFont.load_default(size))


def put(page: Image.Image, head: Image.Image, x: int, y: int, side: int) -> Made:
    page.paste(head.resize((side, side)).convert(page.mode), (x, y))
    return page, (y, x, side / head.width)


def alone(head: Image.Image) -> Made:
    return head, (0, 0, 1)


def in_a_white_frame(head: Image.Image) -> Made:
    return ImageOps.expand(head, border=70, fill=255), (70, 70, 1)


def on_a_black_canvas(head: Image.Image) -> Made:
    return put(Image.new("L", (2000, 2000)), head, 300, 1300, 400)


def on_a_page(head: Image.Image) -> Made:
    page = Image.new("RGB", (900, 1100), "white")
    draw = ImageDraw.Draw(page)
    text(
        draw, 80, 60, "Figure 2. Axial non-contrast CT of the head shows\na slice, as on paper.", 24, "black"
    )
    text(draw, 80, 850, "The text goes on below the picture,\n" * 5, 24, "black")
    return put(page, head, 150, 220, 600)


def in_a_dark_viewer(head: Image.Image) -> Made:
    page = Image.new("RGB", (1280, 800), (28, 30, 34))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 1280, 48), fill=(60, 63, 70))
    for i in range(14):
        draw.rectangle((10 + i * 44, 8, 44 + i * 44, 40), fill=(90, 95, 105), outline=(200, 200, 200))
    draw.rectangle((0, 48, 200, 800), fill=(45, 47, 52))
    for i in range(5):
        put(page, head, 40, 70 + i * 140, 120)
    draw.rectangle((200, 48, 1280, 776), fill=(0, 0, 0))
    made = put(page, head, 390, 62, 700)
    text(draw, 212, 60, "Anon 0001\nCT HEAD W/O\nSe: 2 Im: 14\nL 40 W 80", 18, (230, 230, 230))
    text(draw, 1100, 60, "HOSPITAL\n5.0 mm", 18, (255, 255, 0))
    return made


def in_a_light_window(head: Image.Image) -> Made:
    page = Image.new("RGB", (1024, 768), (240, 240, 240))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 1024, 70), fill=(200, 210, 225))
    text(draw, 10, 20, "File  Edit  View  Tools  Help", 24, "black")
    page.paste(Image.new("RGB", (760, 660), "black"), (250, 90))
    text(draw, 20, 100, "Series 1\nSeries 2\nSeries 3", 22, "black")
    return put(page, head, 310, 100, 640)


def on_a_telephone(head: Image.Image) -> Made:
    page = Image.new("RGB", (720, 1480))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 720, 60), fill=(20, 20, 20))
    text(draw, 20, 15, "10:41   82%", 28, "white")
    draw.rectangle((0, 1360, 720, 1480), fill=(35, 35, 35))
    text(draw, 20, 1060, "Case of the week: what do you see?", 30, "white")
    return put(page, head, 0, 300, 720)


def with_burnt_in_text(head: Image.Image) -> Made:
    page = head.copy()
    draw = ImageDraw.Draw(page)
    end = page.width
    text(draw, 4, 4, "NAME NAME\n123456", 18, 255)
    text(draw, end - 110, 4, "SCANNER\nH31s", 18, 255)
    text(draw, 4, end - 60, "kV 120\nW80 L40", 18, 255)
    text(draw, end - 24, end // 2, "L", 22, 255)
    return page, (0, 0, 1)


def over_a_caption(head: Image.Image) -> Made:
    page = Image.new("L", (head.width, head.height + 60), 255)
    page.paste(head, (0, 0))
    text(ImageDraw.Draw(page), 120, head.height + 15, "BRAIN WINDOW", 26, 90)
    return page, (0, 0, 1)


PAGES: tuple[Callable[[Image.Image], Made], ...] = (
    alone,
    in_a_white_frame,
    on_a_black_canvas,
    on_a_page,
    in_a_dark_viewer,
    in_a_light_window,
    on_a_telephone,
    with_burnt_in_text,
    over_a_caption,
)


def check(head: Image.Image, page: Callable[[Image.Image], Made], *, negative: bool = False) -> None:
    picture, (row, column, scale) = page(ImageOps.invert(head) if negative else head)
    found = find_slice(np.asarray(picture.convert("L")))
    assert found.inverted is negative
    skull = skull_box(head) * scale + [row, row, column, column]
    first_row, first_column, rows, columns = found.box
    box = np.array([first_row, first_row + rows, first_column, first_column + columns])
    slack = 0.02 * (skull[1] - skull[0])
    assert (box[[0, 2]] <= skull[[0, 2]] + slack).all() and (box[[1, 3]] >= skull[[1, 3]] - slack).all(), (
        f"the skull {skull} is cut by {box}"
    )
    assert rows * columns < 1.45 * (skull[1] - skull[0]) * (skull[3] - skull[2]), f"{box} around {skull}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.__name__)
def test_a_made_head_is_found(page):
    check(made_head(), page)


def test_a_negative_is_told():
    check(made_head(), alone, negative=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.__name__)
@pytest.mark.parametrize("name", ["055/18.jpg", "089/16.jpg", "075/20.jpg", "104/22.jpg"])
def test_a_real_slice_is_found(shared_data, page, name):
    with Image.open(shared_data / "ct-ich" / "brain" / name) as head:
        check(head.convert("L"), page)


def test_no_picture_of_the_web_is_cut_or_turned(shared_data):
    """All 140 are tight around the head already, upright in grey: and their negatives are negatives."""
    wrong = []
    for path in sorted((shared_data / "head-ct-hemorrhage" / "head_ct").glob("*.png")):
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L"))
        found, negative = find_slice(grey), find_slice(255 - grey)
        if found.inverted or found.head is None or found.box[2] * found.box[3] < 0.6 * grey.size:
            wrong.append(path.name)
        if not negative.inverted:
            wrong.append(f"negative of {path.name}")
    assert not wrong


def sampled(root: Path, step: int) -> list[Path]:
    return sorted(root.rglob("*.jpg"))[::step]


@pytest.mark.parametrize(
    ("folder", "step"), [("ct-ich/brain", 43), ("ct-ich/bone", 97), ("phe-sich/images", 41)]
)
def test_no_real_slice_is_taken_for_a_negative(shared_data, folder, step):
    """Vertex, neck, empty slices, head holders: a negative is the rarer mistake, a turned slice the worse."""
    paths = sampled(shared_data / folder, step)
    assert len(paths) > 20
    turned = []
    for path in paths:
        with Image.open(path) as image:
            if find_slice(np.asarray(image.convert("L"))).inverted:
                turned.append(path.relative_to(shared_data))
    assert not turned


def test_two_slices_side_by_side_are_counted():
    page = Image.new("L", (2 * SIDE, SIDE))
    page.paste(made_head(1), (0, 0))
    page.paste(made_head(2), (SIDE, 0))
    found = find_slice(np.asarray(page))
    assert found.others == 1 and found.box[3] < SIDE


def test_thumbnails_are_no_further_slices():
    picture, _ = in_a_dark_viewer(made_head())
    assert find_slice(np.asarray(picture.convert("L"))).others == 0


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_an_even_picture_has_no_head(grey):
    found = find_slice(np.full((200, 300), grey, np.uint8))
    assert found.head is None and found.box == (0, 0, 200, 300) and not found.inverted


def test_noise_has_no_head():
    noise = np.random.default_rng(1).integers(0, 256, (300, 300)).astype(np.uint8)
    assert find_slice(noise).head is None


def test_letters_go_and_bleeds_stay():
    """A bright speck in a dark brain looks like a letter but for where it lies."""
    head = np.asarray(made_head()).copy()
    brain = (head > 0) & (head < 200)
    head[brain] = head[brain] // 4  # a wide window: brain as dark as ground
    page = Image.fromarray(head)
    written, _ = with_burnt_in_text(page)
    before = np.asarray(written)
    found = find_slice(before)
    assert found.head is not None
    after = without_letters(before, found.head)
    assert before[:60, :100].max() == 255 and after[:60, :100].max() < 60
    assert np.array_equal(after[found.head], before[found.head])
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    bleed = np.hypot(x - 80, y - 40) < 6
    assert (after[bleed] == 220).all()


def test_letters_on_real_dark_brain_leave_calcifications(shared_data):
    with Image.open(shared_data / "head-ct-hemorrhage" / "head_ct" / "018.png") as image:
        grey = np.asarray(image.convert("L"))
    found = find_slice(grey)
    assert found.head is not None
    middle = tuple(slice(n // 5, -n // 5) for n in grey.shape)
    assert np.array_equal(without_letters(grey, found.head)[middle], grey[middle])
