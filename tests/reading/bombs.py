"""Small files that ask for much: each with the refusal that it must get, its memory and its time.

Each was found to take gigabytes, or minutes, or the process. All are made in well under a second.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from . import hostile

HTJ2K = UID("1.2.840.10008.1.2.4.201")
BOXES = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + struct.pack(">L4s", 20, b"ftyp") + b"jp2 \0\0\0\0jp2 "


@dataclass(frozen=True)
class Bomb:
    """A file, and what must become of it.

    Attributes
    ----------
    name
        Of the file.
    make
        Its bytes.
    codes
        Of its refusal; ``read`` where its harmless part is read.
    """

    name: str
    make: Callable[[], bytes]
    codes: tuple[str, ...]


def zeros(megabytes: int) -> bytes:
    """A raw deflate stream of so many megabytes of zeros."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + zlib.compressobj(9, wbits=-zlib.MAX_WBITS).flush()


def gzip_of_zeros(megabytes: int, start: bytes = b"") -> bytes:
    """A gzip file of some bytes and so many megabytes of zeros, its checksum left out."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + head + zeros(megabytes)


# -- DICOM: parsing -----------------------------------------------------------------------------------------


def deflated(*, preamble: bool = True, padding: int = 0, megabytes: int = 3000) -> bytes:
    """A packed data set: before it, a meta header of ``padding`` bytes more."""
    raw = hostile.encoded(hostile.middle(), ExplicitVRLittleEndian)
    old, new = str(ExplicitVRLittleEndian).encode(), str(DeflatedExplicitVRLittleEndian).encode()
    meta_end = 144 + struct.unpack_from("<L", raw, 140)[0]
    meta = raw[144:meta_end]
    at = meta.find(b"\x02\x00\x10\x00UI")
    value = meta[at + 8 : at + 8 + struct.unpack_from("<H", meta, at + 6)[0]]
    assert value.strip(b"\0") == old
    uid = new + b"\0" * (len(new) % 2)
    extra = b"\x02\x00\x02\x01OB\0\0" + struct.pack("<L", padding) + bytes(padding) if padding else b""
    meta = meta[:at] + meta[at : at + 6] + struct.pack("<H", len(uid)) + uid + meta[at + 8 + len(value) :]
    meta += extra
    head = raw[132:140] + struct.pack("<L", len(meta))
    return (raw[:132] if preamble else b"") + head + meta + zeros(megabytes)


def inserted(body: bytes, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A sound slice with some elements put in before the patient's group."""
    raw = hostile.encoded(hostile.middle(), syntax)
    at = raw.find(b"\x10\x00\x10\x00", 300)
    return raw[:at] + body + raw[at:]


def items(n: int, *, defined: bool, tag: bytes = b"\x08\x00\x15\x11") -> bytes:
    """A sequence of empty items."""
    body = b"\xfe\xff\x00\xe0\0\0\0\0" * n
    if defined:
        return tag + b"SQ\0\0" + struct.pack("<L", len(body)) + body
    return tag + b"SQ\0\0\xff\xff\xff\xff" + body + b"\xfe\xff\xdd\xe0\0\0\0\0"


def functional_groups(n: int) -> bytes:
    """An enhanced object whose groups are a sequence of defined length that is parsed when it is asked for."""
    raw = hostile.sound(None)["enhanced"]
    at, end = raw.find(b"\x00\x52\x30\x92SQ"), raw.find(b"\xe0\x7f\x10\x00")
    return raw[:at] + items(n, defined=True, tag=b"\x00\x52\x30\x92") + raw[end:]


def tiny_elements(n: int) -> bytes:
    body = b"".join(struct.pack("<HH2sH", 9, k & 0xFFFF, b"LO", 0) for k in range(1 << 16))
    return inserted(body * (n >> 16))


def tiny_elements_in_an_item(n: int) -> bytes:
    body = b"".join(struct.pack("<HH2sH", 9, k & 0xFFFF, b"LO", 0) for k in range(1 << 16)) * (n >> 16)
    item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(body)) + body
    return inserted(b"\x08\x00\x15\x11SQ\0\0" + struct.pack("<L", len(item)) + item)


def many_values(tag: tuple[int, int], value: bytes) -> bytes:
    """An element of millions of values, in the encoding whose lengths have 32 bits."""
    raw = hostile.encoded(hostile.middle(), ImplicitVRLittleEndian)
    key = struct.pack("<HH", *tag)
    at = raw.find(key, 300)
    length = struct.unpack_from("<L", raw, at + 4)[0]
    return raw[:at] + key + struct.pack("<L", len(value)) + value + raw[at + 8 + length :]


def fragments(n: int) -> bytes:
    data = hostile.compressed(hostile.middle(), JPEG2000Lossless)
    raw = hostile.encoded(data)
    at = raw.rfind(b"\xfe\xff\xdd\xe0")
    return raw[:at] + b"\xfe\xff\x00\xe0\0\0\0\0" * n + raw[at:]


# -- DICOM: pixels ------------------------------------------------------------------------------------------


def with_stream(stream: bytes, syntax: str, side: int | None = None) -> bytes:
    data = hostile.middle()
    if side:
        data.Rows = data.Columns = side
    data.PixelData = encapsulate([stream + b"\0" * (len(stream) % 2)])
    data["PixelData"].is_undefined_length = True
    return hostile.encoded(data, syntax)


def code_stream(rows: int, columns: int, *, tile: int = 0, precincts: bytes = b"", levels: int = 1) -> bytes:
    """The start of a code stream of that size, and of one tile."""
    size = (
        struct.pack(">H8LH", 0, columns, rows, 0, 0, tile or columns, tile or rows, 0, 0, 1) + b"\x0f\x01\x01"
    )
    style = 1 if precincts else 0
    coding = struct.pack(">BBHBBBBBB", style, 0, 1, 0, levels, 4, 4, 0, 1) + precincts
    steps = b"\x20" + bytes(3 * levels + 1)
    out = b"\xff\x4f"
    for marker, body in ((0x51, size), (0x52, coding), (0x5C, steps)):
        out += struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
    return out + b"\xff\x90\0\x0a\0\0\0\0\0\x0e\0\1\xff\x93" + bytes(64) + b"\xff\xd9"


def boxed(stream: bytes, decoy: bytes = b"", *, long: bool = False) -> bytes:
    """A JP2 file around a code stream, with another one in a box that decoders skip."""
    head = struct.pack(">L4s", 8 + len(decoy), b"uuid") + decoy if decoy else b""
    size = 8 + len(stream)
    own = struct.pack(">L4sQ", 1, b"jp2c", size + 8) if long else struct.pack(">L4s", size, b"jp2c")
    image = struct.pack(">L4sLLHBBBB", 22, b"ihdr", 30_000, 30_000, 1, 15, 7, 0, 0)
    colour = struct.pack(">L4sBBBL", 15, b"colr", 1, 0, 0, 17)
    return BOXES + head + struct.pack(">L4s", 8 + 37, b"jp2h") + image + colour + own + stream


def run_length(megabytes: int) -> bytes:
    """Segments that unpack to far more than the image."""
    rows, columns = hostile.PLAN.shape
    run = b"\x81\x00" * (megabytes << 13)
    plane = b"\x81\x00" * (-(-rows * columns // 128))
    head = struct.pack("<16L", 2, 64, 64 + len(run), *[0] * 13)
    return with_stream(head + run + plane, RLELossless)


# -- NIfTI -------------------------------------------------------------------------------------------------


def nifti_header(offset: float, extension: int = 0) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_shape((64, 64, 20))
    header.set_data_dtype(np.int16)
    header["magic"], header["vox_offset"] = b"n+1", offset
    return header.binaryblock + b"\1\0\0\0" + (struct.pack("<ll", extension, 6) if extension else b"")


# -- pictures ----------------------------------------------------------------------------------------------


def tiff(directories: int, entries: int, *, loop: bool = False) -> bytes:
    """Directories that share their entries."""
    entry = struct.pack("<HHLL", 256, 4, 1, 16)
    out = [b"II*\0" + struct.pack("<L", 8)]
    body = struct.pack("<H", entries) + entry * entries
    each = 2 + 12 * entries + 4
    for k in range(directories):
        after = 8 if loop else 8 + (k + 1) * each if k + 1 < directories else 0
        out.append(body + struct.pack("<L", after))
    return b"".join(out)


def picture(form: str, side: int) -> bytes:
    out = io.BytesIO()
    Image.new("1" if form == "PNG" else "L", (side, side)).save(out, form)
    return out.getvalue()


def animation(n: int) -> bytes:
    """A GIF of many frames of nothing."""
    out = io.BytesIO()
    Image.new("L", (100, 100)).save(out, "GIF")
    raw = out.getvalue()
    at = raw.find(b",", 13 + 3 * (2 << (raw[10] & 7)))
    return raw[:at] + raw[at:-1] * n + b";"


def long_name() -> bytes:
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2 << 30
    return gzip_of_zeros(2100, entry.tobuf(tarfile.GNU_FORMAT))


def zip_of_zeros() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(60 << 20))
    return out.getvalue()


LIMIT, BROKEN = ("limit_exceeded",), ("unreadable",)


def frames_without_groups() -> bytes:
    """A plain slice that claims to be thousands of large ones."""
    data = hostile.middle()
    data.Rows = data.Columns = 6000
    data.NumberOfFrames = 4000
    return hostile.encoded(data)


BOMBS = (
    Bomb("deflated.dcm", deflated, LIMIT),
    Bomb("deflated_long_meta.dcm", lambda: deflated(padding=6000), LIMIT),
    Bomb("deflated_without_preamble.dcm", lambda: deflated(preamble=False), LIMIT),
    Bomb("deflated_long_meta_without_preamble.dcm", lambda: deflated(preamble=False, padding=9000), LIMIT),
    Bomb("items_undefined.dcm", lambda: inserted(items(1_000_000, defined=False)), BROKEN),
    Bomb("items_defined.dcm", lambda: inserted(items(1_000_000, defined=True)), BROKEN),
    Bomb(
        "functional_groups.dcm",
        lambda: functional_groups(1_000_000),
        ("unreadable", "order_unknown", "too_few_slices", "no_hounsfield"),
    ),
    Bomb(
        "unknown_items.dcm",
        lambda: inserted(items(1_000_000, defined=False).replace(b"SQ", b"UN", 1)),
        BROKEN,
    ),
    Bomb("frames_without_groups.dcm", frames_without_groups, LIMIT),
    Bomb("tiny_elements.dcm", lambda: tiny_elements(3_000_000), BROKEN),
    Bomb("tiny_elements_in_an_item.dcm", lambda: tiny_elements_in_an_item(3_000_000), ("unreadable", "read")),
    Bomb("positions.dcm", lambda: many_values((0x20, 0x32), b"1\\" * 20_000_000), ("read", "unreadable")),
    Bomb(
        "rows.dcm", lambda: many_values((0x28, 0x10), b"\1\0" * 20_000_000), ("modality_not_ct", "unreadable")
    ),
    Bomb("names.dcm", lambda: many_values((0x08, 0x70), b"A\\" * 20_000_000), ("read", "unreadable")),
    Bomb("fragments.dcm", lambda: fragments(1_000_000), ("unreadable", "read")),
    Bomb(
        "jp2_decoy.dcm",
        lambda: with_stream(boxed(code_stream(30_000, 30_000), code_stream(64, 72)), JPEG2000),
        BROKEN,
    ),
    Bomb(
        "jp2_long_box.dcm",
        lambda: with_stream(boxed(code_stream(30_000, 30_000), code_stream(64, 72), long=True), JPEG2000),
        BROKEN,
    ),
    Bomb(
        "htj2k_decoy.dcm",
        lambda: with_stream(boxed(code_stream(30_000, 30_000), code_stream(64, 72)), HTJ2K),
        BROKEN,
    ),
    Bomb(
        "precincts.dcm",
        lambda: with_stream(code_stream(6000, 6000, precincts=b"\0\0"), JPEG2000, 6000),
        BROKEN,
    ),
    Bomb("tiles.dcm", lambda: with_stream(code_stream(6000, 6000, tile=1), JPEG2000, 6000), BROKEN),
    Bomb("run_length.dcm", lambda: run_length(6), BROKEN),
    Bomb("extension.nii.gz", lambda: gzip_of_zeros(2100, nifti_header(2_100_000_000, 2_099_999_648)), LIMIT),
    Bomb("seek.nii.gz", lambda: gzip_of_zeros(8000, nifti_header(8_000_000_000)), LIMIT),
    Bomb(
        "seek_backwards.nii",
        lambda: nifti_header(-8_000_000_000) + bytes(163_840),
        ("unreadable", "limit_exceeded"),
    ),
    Bomb("directories.tif", lambda: tiff(3_900, 500), BROKEN),
    Bomb("directories_many.tif", lambda: tiff(60_000, 1), LIMIT),
    Bomb("directories_loop.tif", lambda: tiff(1, 1, loop=True), BROKEN),
    Bomb("pixels.png", lambda: picture("PNG", 12_000), LIMIT),
    Bomb("frames.gif", lambda: animation(30_000), LIMIT),
    Bomb("zeros.dcm.gz", lambda: gzip_of_zeros(3000), LIMIT),
    Bomb("name.tar.gz", long_name, BROKEN),
    Bomb("name.gz", lambda: b"\x1f\x8b\x08\x08" + b"name" * 3_000_000, ("no_image",)),
    Bomb("members.gz", lambda: gzip.compress(b"") * 300_000, ("no_image",)),
    Bomb("zeros.zip", zip_of_zeros, LIMIT),
)
