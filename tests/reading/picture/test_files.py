"""Pictures of a slice, in every format and with everything that is around a slice on a screen or a page."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps
from scipy import ndimage

import ichor
from ichor.errors import RefusedInput
from ichor.exam import Picture
from ichor.reading.context import ReadContext
from ichor.reading.files import InputFile
from ichor.reading.limits import Limits
from ichor.reading.picture.files import is_picture, read_pictures

from ..phantoms import codes

SIDE = 300
MARGIN = 0.03
"""Of the head's longer side, kept around it."""


def phantom_hu() -> np.ndarray:
    """A slice with a skull, brain, ventricles and a bleed, noisy as one of 5 mm is."""
    i, j = np.mgrid[:SIDE, :SIDE]
    y, x = (i - 150) / 125, (j - 150) / 98
    r = np.hypot(x, y)
    hu = np.where(r < 0.9, 33.0, np.where(r < 1, 1000.0, -1000.0))
    hu[np.hypot(abs(x) - 0.13, (y + 0.1) / 2.2) < 0.11] = 6
    hu[np.hypot(x - 0.45, y - 0.2) < 0.13] = 68
    return hu + np.random.default_rng(0).normal(0, 4, hu.shape)


def grey_of(hu: np.ndarray) -> np.ndarray:
    return np.clip(hu * 255 / 80, 0, 255).astype(np.uint8)


GREY = grey_of(phantom_hu())
SLICE = Image.fromarray(GREY)
HEAD = (25, 52, 251, 197)
"""First row, first column, rows and columns of the head in it."""


def read(path: Path, **limits: float) -> Picture:
    (result,) = read_pictures(InputFile(path, path.name), ReadContext.begin(path.name, Limits(**limits)))  # type: ignore[arg-type]
    if isinstance(result, RefusedInput):
        raise result
    return result


def saved(tmp_path: Path, image: Image.Image, name: str = "p.png", **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def same_head(picture: Picture, *, tolerance: float = 3, reference: np.ndarray = GREY) -> None:
    """The picture's pixels are those of the slice at the place that the picture names."""
    row, column, rows, columns = picture.box
    assert picture.grey.shape == (rows, columns) and picture.grey.dtype == np.uint8
    assert row <= HEAD[0] and column <= HEAD[1]
    assert row + rows >= HEAD[0] + HEAD[2] and column + columns >= HEAD[1] + HEAD[3]
    wanted = reference[row : row + rows, column : column + columns].astype(int)
    assert np.abs(picture.grey - wanted).mean() < tolerance


# -- formats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["p.png", "p.bmp", "p.tif", "p.TIFF", "p.jpg", "P.JPEG"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_formats(tmp_path, name, mode):
    options = {"quality": 95} if Path(name).suffix.lower() in (".jpg", ".jpeg") else {}
    picture = read(saved(tmp_path, SLICE.convert(mode), name, **options))
    same_head(picture)
    assert codes(picture) <= {"picture", "picture_cropped"} and picture.file_shape == (SIDE, SIDE)
    assert picture.source.input == name and picture.source.format == "picture"


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "CMYK", "YCbCr", "I", "F", "I;16", "I;16B"])
def test_modes(tmp_path, mode):
    if mode in ("I", "F"):
        image = Image.fromarray(GREY.astype(np.int32 if mode == "I" else np.float32))
    elif mode.startswith("I;16"):
        image = Image.frombytes(
            mode, SLICE.size, (GREY.astype(">u2" if mode == "I;16B" else "<u2") * 257).tobytes()
        )
    else:
        image = SLICE.convert(mode)
    assert image.mode == mode
    picture = read(saved(tmp_path, image, "p.tif"))
    same_head(picture, tolerance=6 if mode in ("P", "YCbCr") else 3)


@pytest.mark.parametrize(
    ("mode", "name"), [("CMYK", "p.jpg"), ("I;16", "p.png"), ("P", "p.png"), ("P", "p.bmp")]
)
def test_modes_of_formats(tmp_path, mode, name):
    image = (
        Image.frombytes("I;16", SLICE.size, (GREY.astype("<u2") * 16).tobytes())
        if mode == "I;16"
        else SLICE.convert(mode)
    )
    same_head(read(saved(tmp_path, image, name)), tolerance=6)


def test_what_is_transparent_is_black(tmp_path):
    image = SLICE.convert("RGBA")
    image.putalpha(Image.fromarray(np.where(GREY > 12, 255, 0).astype(np.uint8)))
    clear = np.array(image)
    clear[clear[..., 3] == 0, :3] = 255
    same_head(read(saved(tmp_path, Image.fromarray(clear))))


@pytest.mark.parametrize("offset", [1024, 32768])
def test_stored_hounsfield_numbers_are_windowed(tmp_path, offset):
    """Stretched from air to bone, brain and blood would be one grey."""
    values = np.clip(np.rint(phantom_hu() + offset), 0, 65535).astype("<u2")
    picture = read(saved(tmp_path, Image.frombytes("I;16", SLICE.size, values.tobytes())))
    same_head(picture, tolerance=2)


@pytest.mark.parametrize("scale", [1, 16, 257])
def test_windowed_numbers_are_stretched(tmp_path, scale):
    values = (GREY.astype(np.uint16) * scale).astype("<u2")
    same_head(read(saved(tmp_path, Image.frombytes("I;16", SLICE.size, values.tobytes()))), tolerance=3)


def test_numbers_that_are_none(tmp_path):
    values = GREY.astype(np.float32)
    values[:4], values[-4:], values[:, 0] = np.nan, np.inf, -np.inf
    same_head(read(saved(tmp_path, Image.fromarray(values), "p.tif")))
    (result,) = read_pictures(
        InputFile(saved(tmp_path, Image.fromarray(np.full((90, 90), np.nan, np.float32)), "n.tif"), "n"),
        ReadContext.begin("n", Limits()),
    )
    assert isinstance(result, RefusedInput) and "1 grey" in result.found


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_way_a_camera_was_held(tmp_path, orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    image = SLICE.convert("RGB")
    if orientation > 1:  # stored such that turning it as the tag says gives the slice upright
        image = image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    same_head(read(saved(tmp_path, image, "p.jpg", exif=exif, quality=95)))


def test_pages(tmp_path):
    pages = [SLICE, SLICE.resize((200, 200)), Image.new("L", (30, 30)), SLICE.convert("RGB")]
    path = tmp_path / "p.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    results = list(read_pictures(InputFile(path, "p.tif"), ReadContext.begin("p.tif", Limits())))
    assert [getattr(r, "code", "read") for r in results] == ["read", "read", "picture_too_small", "read"]
    assert [r.source if isinstance(r, RefusedInput) else r.source.input for r in results] == [
        f"p.tif page {k}" for k in (1, 2, 3, 4)
    ]
    assert all("picture_multipage" in codes(r) for r in results if isinstance(r, Picture))
    assert results[1].file_shape == (200, 200)


@pytest.mark.parametrize(("frames", "voxels", "name"), [(2, 10**9, "frames"), (9, 2 * SIDE * SIDE, "voxels")])
def test_limits_of_pages(tmp_path, frames, voxels, name):
    path = tmp_path / "p.tif"
    SLICE.save(path, save_all=True, append_images=[SLICE] * 2)
    with pytest.raises(RefusedInput) as caught:
        list(
            read_pictures(
                InputFile(path, "p.tif"), ReadContext.begin("p.tif", Limits(frames=frames, voxels=voxels))
            )
        )
    assert caught.value.code == "limit_exceeded" and f"({name})" in caught.value.expected


# -- what is no slice ------------------------------------------------------------------------------------------


def refusal(path: Path, **limits: float) -> RefusedInput:
    with pytest.raises(RefusedInput) as caught:
        read(path, **limits)
    assert path.name in str(caught.value) and str(caught.value).isprintable()
    return caught.value


def test_one_bit_shows_no_brain(tmp_path):
    result = refusal(saved(tmp_path, SLICE.convert("1")))
    assert result.code == "not_a_head" and "2 greys" in result.found


def test_a_blank(tmp_path):
    assert refusal(saved(tmp_path, Image.new("RGB", (400, 300), "white"))).code == "not_a_head"


def test_colours(tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    result = refusal(saved(tmp_path, Image.fromarray(noise)))
    assert result.code == "not_a_head" and "colours" in result.found


@pytest.mark.parametrize("size", [(1, 1), (63, 300), (300, 10), (40, 40)])
def test_too_small(tmp_path, size):
    result = refusal(saved(tmp_path, SLICE.resize(size)))
    assert result.code == "picture_too_small" and f"{size[1]} x {size[0]}" in result.found


def test_too_large(tmp_path):
    """The header alone says so: nothing is unpacked."""
    big = Image.new("L", (9000, 9000))
    path = saved(tmp_path, big, compress_level=9)
    assert path.stat().st_size < 200_000
    assert "9000 x 9000 pixels" in refusal(path).found
    raw = bytearray(path.read_bytes())
    struct.pack_into(">II", raw, 16, 2**30, 2**30)
    struct.pack_into(">I", raw, 29, zlib.crc32(raw[12:29]))
    path.write_bytes(raw)
    assert refusal(path).code in ("limit_exceeded", "unreadable")


@pytest.mark.parametrize(
    "raw", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM" + b"\0" * 60, b"II*\0\x08\0\0\0", b"GIF89a"]
)
def test_broken(tmp_path, raw):
    path = tmp_path / "p.png"
    path.write_bytes(raw)
    result = refusal(path)
    assert result.code == "unreadable" and "PNG, JPEG, BMP, TIFF, GIF or WebP" in result.expected


def test_other_formats_are_not_opened_under_a_false_name(tmp_path):
    """Each format is one more decoder to trust."""
    for form in ("PPM", "PCX", "EPS", "TGA"):
        out = io.BytesIO()
        SLICE.convert("L").save(out, form)
        path = tmp_path / "p.png"
        path.write_bytes(out.getvalue())
        assert refusal(path).code == "unreadable", form


def test_is_picture():
    assert (
        is_picture("a.PNG", b"")
        and is_picture("a", b"\x89PNG\r\n\x1a\n")
        and is_picture("x", b"\xff\xd8\xff\xe0")
    )
    assert not is_picture("a.txt", b"hello") and not is_picture("png", b"DICM")


CHILD = """
import sys
from pathlib import Path
import ichor
for path in sorted(Path(sys.argv[1]).iterdir()):
    for result in ichor.read_all(path):
        print(path.name, getattr(result, 'code', 'read'), str(result) if isinstance(result, Exception) else '', sep='|')
"""


def test_broken_pictures_are_refused_or_read(tmp_path):
    """Three hundred of them in a process of its own: nothing crashes, and nothing is said but the refusals."""
    rng = random.Random(7)
    sound = {}
    for name, options in (
        ("a.png", {}),
        ("b.jpg", {}),
        ("c.bmp", {}),
        ("d.tif", {}),
        ("e.tif", {"compression": "tiff_lzw"}),
        ("f.tif", {"compression": "tiff_adobe_deflate"}),
        ("g.tif", {"compression": "jpeg"}),
        ("h.jpg", {"progressive": True}),
    ):
        sound[name] = saved(tmp_path, SLICE.resize((130, 130)), name, **options).read_bytes()
    folder = tmp_path / "broken"
    folder.mkdir()
    for k in range(300):
        name = rng.choice(list(sound))
        raw = bytearray(sound[name])
        for _ in range(rng.choice((1, 3, 10))):
            at = (
                rng.randrange(len(raw))
                if rng.random() < 0.4
                else rng.choice((rng.randrange(200), -rng.randrange(1, 300)))
            )
            raw[at] = rng.choice((0, 1, 127, 255, rng.randrange(256)))
        if rng.random() < 0.2:
            raw = raw[: rng.randrange(8, len(raw))]
        (folder / f"{k:03d}-{name}").write_bytes(raw)
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", CHILD, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and done.stderr == ""
    answers = [line.split("|") for line in done.stdout.splitlines()]
    assert len({a[0] for a in answers}) == 300
    assert all(len(a) == 3 and (a[1] == "read" or a[0] in a[2]) for a in answers)
    share = sum(a[1] == "read" for a in answers) / len(answers)
    assert 0.1 < share < 0.9


# -- screens, pages and phones ---------------------------------------------------------------------------------


def words(draw: ImageDraw.ImageDraw, at: tuple[int, int], lines: list[str], size: int, fill: object) -> None:
    for k, line in enumerate(lines):
        draw.text((at[0], at[1] + k * (size + 4)), line, fill=fill, font=ImageFont.load_default(size))


Placed = tuple[Image.Image, tuple[float, int, int]]
"""A picture, and where the slice is in it: its scale, then the column and the row of its corner."""


def corners(s: Image.Image) -> Placed:
    image = s.convert("RGB").resize((650, 650))
    draw = ImageDraw.Draw(image)
    words(draw, (6, 6), ["NAME NAME", "123456", "M 044Y"], 20, "white")
    words(draw, (520, 6), ["SCANNER", "H31s"], 20, "white")
    words(draw, (6, 560), ["kV 120", "mA 250", "W80 L40"], 20, "white")
    words(draw, (620, 310), ["L"], 26, "white")
    draw.line((636, 450, 636, 620), fill="white", width=2)
    return image, (650 / s.width, 0, 0)


def bars(s: Image.Image) -> Placed:
    image = Image.new("RGB", (1280, 800), (28, 30, 34))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 1280, 48), fill=(60, 63, 70))
    for k in range(14):
        draw.rectangle((10 + k * 44, 8, 44 + k * 44, 40), fill=(90, 95, 105), outline=(200, 200, 200))
    draw.rectangle((200, 48, 1280, 776), fill="black")
    for k in range(5):
        image.paste(s.resize((120, 120)).convert("RGB"), (40, 70 + k * 140))
    image.paste(s.resize((700, 700)).convert("RGB"), (390, 62))
    words(draw, (212, 60), ["Anon 0001", "CT HEAD", "L 40 W 80"], 18, (230, 230, 230))
    return image, (700 / s.width, 390, 62)


def page(s: Image.Image) -> Placed:
    image = Image.new("RGB", (900, 1100), "white")
    draw = ImageDraw.Draw(image)
    words(
        draw,
        (80, 60),
        ["Figure 2. An axial slice without contrast, from the", "series of the first day."] * 2,
        24,
        "black",
    )
    image.paste(s.resize((600, 600)).convert("RGB"), (150, 220))
    words(
        draw,
        (80, 850),
        ["The text goes on below the picture, as it does in", "journals and in notes."] * 3,
        24,
        "black",
    )
    return image, (600 / s.width, 150, 220)


def arrows(s: Image.Image) -> Placed:
    image = s.convert("RGB").resize((650, 650))
    draw = ImageDraw.Draw(image)
    draw.line((330, 330, 420, 250), fill=(255, 0, 0), width=7)
    draw.polygon([(330, 330), (345, 300), (362, 322)], fill=(255, 0, 0))
    draw.ellipse((250, 380, 330, 450), outline=(0, 255, 0), width=4)
    words(draw, (10, 600), ["bleed?"], 30, (255, 255, 0))
    return image, (650 / s.width, 0, 0)


def white_frame(s: Image.Image) -> Placed:
    return ImageOps.expand(s, border=70, fill=255), (1.0, 70, 70)


def grey_frame(s: Image.Image) -> Placed:
    return ImageOps.expand(s, border=(30, 90, 140, 20), fill=128), (1.0, 30, 90)


def negative(s: Image.Image) -> Placed:
    return ImageOps.invert(s), (1.0, 0, 0)


SCREENS = (corners, bars, page, arrows, white_frame, grey_frame, negative)


def head_box(s: Image.Image) -> tuple[int, int, int, int]:
    """First row and column, last row and column (beyond) of the largest bright thing of a plain slice."""
    things = ndimage.binary_opening(np.asarray(s) > 50, iterations=2)
    labels, _ = ndimage.label(things)
    largest = int(np.bincount(labels.ravel())[1:].argmax())
    rows, columns = ndimage.find_objects(labels)[largest]
    return rows.start, columns.start, rows.stop, columns.stop


def overlap(picture: Picture, s: Image.Image, place: tuple[float, int, int]) -> tuple[float, float]:
    """How well the box fits the head with its margin (IoU), and which share of the head's box lies in it."""
    scale, left, top = place
    r0, c0, r1, c1 = (v * scale for v in head_box(s))
    margin = MARGIN * max(r1 - r0, c1 - c0)
    size = picture.file_shape
    head = np.array([r0 + top, c0 + left, r1 + top, c1 + left])
    grown = np.clip(head + margin * np.array([-1, -1, 1, 1]), 0, [size[0], size[1], size[0], size[1]])
    row, column, rows, columns = picture.box
    box = np.array([row, column, row + rows, column + columns])

    def area(b: np.ndarray) -> float:
        return float(np.prod(np.maximum(b[2:] - b[:2], 0)))

    def common(b: np.ndarray) -> float:
        return area(np.concatenate([np.maximum(b[:2], box[:2]), np.minimum(b[2:], box[2:])]))

    return common(grown) / (area(grown) + area(box) - common(grown)), common(head) / area(head)


@pytest.mark.parametrize("screen", SCREENS, ids=lambda f: f.__name__)
def test_a_made_slice_is_found(tmp_path, screen):
    image, place = screen(SLICE)
    picture = read(saved(tmp_path, image))
    fit, inside = overlap(picture, SLICE, place)
    assert fit >= 0.9 and inside >= 0.99
    assert ("picture_inverted" in codes(picture)) == (screen is negative)
    assert "picture_cropped" in codes(picture)


def test_letters_go_and_the_head_stays(tmp_path):
    plain, (scale, _, _) = SLICE.resize((650, 650)), (650 / SIDE, 0, 0)
    image, _ = corners(SLICE)
    picture = read(saved(tmp_path, image))
    row, column, rows, columns = picture.box
    wanted = np.asarray(plain)[row : row + rows, column : column + columns].astype(int)
    i, j = np.mgrid[:rows, :columns]
    y, x = ((i + row) / scale - 150) / 125, ((j + column) / scale - 150) / 98
    inside, outside = np.hypot(x, y) < 1.0, np.hypot(x, y) > 1.15
    assert np.array_equal(picture.grey[inside], wanted[inside])
    assert np.percentile(picture.grey[outside], 99) < 60


def test_marks_in_colour_are_filled_with_what_is_around(tmp_path):
    image, _ = arrows(SLICE)
    picture = read(saved(tmp_path, image))
    row, column, rows, columns = picture.box
    wanted = np.asarray(SLICE.resize((650, 650)))[row : row + rows, column : column + columns].astype(int)
    difference = np.abs(picture.grey.astype(int) - wanted)
    assert np.percentile(difference, 95) < 25 and difference.mean() < 3


def test_two_slices_in_a_picture_are_told(tmp_path):
    image = Image.new("L", (2 * SIDE, SIDE))
    image.paste(SLICE, (0, 0))
    image.paste(SLICE, (SIDE, 0))
    path = saved(tmp_path, image)
    found = [
        r
        for r in read_pictures(InputFile(path, path.name), ReadContext.begin(path.name, Limits()))
        if isinstance(r, Picture)
    ]
    assert [p.source.input for p in found] == ["p.png slice 1", "p.png slice 2"]
    for k, picture in enumerate(found):
        assert "picture_several" in codes(picture)
        assert picture.grey.shape[1] < 1.1 * SIDE and k * SIDE <= picture.box[1] + 10 < (k + 1) * SIDE


# -- pictures of the web ----------------------------------------------------------------------------------------


def test_every_picture_of_the_web_is_read(shared_data):
    """None of the 140 is a negative, and of none is a part of the head cut away."""
    folder = shared_data / "head-ct-hemorrhage" / "head_ct"
    results = list(ichor.read_all(folder))
    assert len(results) == 140
    refused = [r for r in results if isinstance(r, RefusedInput)]
    assert not refused
    inverted = [r.source.input for r in results if "picture_inverted" in codes(r)]
    assert not inverted
    cut = {}
    for result in results:
        grey = np.asarray(Image.open(result.source.input).convert("L"))
        row, column, rows, columns = result.box
        outside = np.ones(grey.shape, bool)
        outside[row : row + rows, column : column + columns] = False
        # What is cut away holds no large bright thing but a page: letters and bars are thin.
        solid = ndimage.binary_opening(outside & (grey > 60) & (grey < 235), iterations=5)
        cut[Path(result.source.input).name] = float(solid.sum() / grey.size)
    assert not {name: round(share, 3) for name, share in cut.items() if share > 0.01}
