"""Small files that ask for gigabytes or minutes get their refusal, and neither."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import pytest
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.uid import JPEG2000, JPEG2000Lossless

import ichor
from ichor.exam import Exam
from ichor.reading.limits import Limits
from ichor.reading.picture.directories import tiff_fault

from . import bombs, hostile
from .costs import cost_of

MOST_BYTES, MOST_SECONDS = 1_000_000_000, 60.0


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in /proc")
@pytest.mark.parametrize("bomb", bombs.BOMBS, ids=lambda b: b.name)
def test_a_bomb(tmp_path, bomb):
    path = tmp_path / bomb.name
    path.write_bytes(bomb.make())
    assert path.stat().st_size < 50e6
    _, cost = cost_of(path, Limits(seconds=MOST_SECONDS))
    assert len(cost.codes) == 1 and set(cost.codes) <= set(bomb.codes)
    assert cost.peak < MOST_BYTES and cost.seconds < MOST_SECONDS + 2


def test_what_resembles_a_bomb_is_read(tmp_path):
    """The checks take a stream out of its boxes, and pass what honest writers make."""
    inner = hostile.compressed(hostile.middle(), JPEG2000Lossless)
    stream = next(generate_frames(inner.PixelData, number_of_frames=1))
    sound = {
        "boxed": bombs.with_stream(bombs.boxed(stream, b"metadata"), JPEG2000),
        "boxed with a decoy": bombs.with_stream(bombs.boxed(stream, bombs.code_stream(9, 9)), JPEG2000),
        "boxed long": bombs.with_stream(bombs.boxed(stream, long=True), JPEG2000),
        "items": bombs.inserted(bombs.items(300, defined=False)),
        "long meta": honest_deflated(),
    }
    plain = tmp_path / "plain.dcm"
    plain.write_bytes(hostile.encoded(hostile.middle()))
    expected = ichor.read(plain).volume
    for name, raw in sound.items():
        path = tmp_path / f"{name}.dcm"
        path.write_bytes(raw)
        (result,) = ichor.read_all(path)
        assert isinstance(result, Exam), f"{name}: {result}"
        assert (result.volume == expected).all(), name


def honest_deflated() -> bytes:
    """A packed data set whose meta header is long, and which has no preamble."""
    raw = hostile.encoded(hostile.middle())
    start = 144 + struct.unpack_from("<L", raw, 140)[0]
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(raw[start:]) + packer.flush()
    head = bombs.deflated(preamble=False, padding=6000, megabytes=0)
    return head[: -len(bombs.zeros(0))] + packed


def test_the_maker_of_bombs_makes_them(tmp_path):
    """Each asks for what its name says: a bomb that is none tests nothing."""
    assert len(zlib.decompressobj(-zlib.MAX_WBITS).decompress(bombs.zeros(3))) == 3 << 20
    assert len(bombs.deflated(padding=6000)) > 4096 + len(bombs.zeros(3000))
    assert bombs.boxed(b"x", bombs.code_stream(9, 9)).find(b"\xff\x4f\xff\x51") < 200
    with Image.open(io.BytesIO(bombs.animation(50))) as image:
        assert image.n_frames == 50
    (tmp_path / "a.tif").write_bytes(bombs.tiff(7, 3))
    assert tiff_fault(tmp_path / "a.tif", 6) == "pages" and tiff_fault(tmp_path / "a.tif", 7) is None
