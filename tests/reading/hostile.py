"""Broken and hostile files, made from sound ones by a fixed seed: the same bytes in every run."""

from __future__ import annotations

import functools
import gzip
import io
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from .phantoms import Plan, enhanced, head_hu, head_series

SEED = 20190911
PLAN = Plan(n=8, step=9.0, shape=(64, 72))
FORGED = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
TAGS = {
    "Rows": (0x0028, 0x0010),
    "Columns": (0x0028, 0x0011),
    "SamplesPerPixel": (0x0028, 0x0002),
    "NumberOfFrames": (0x0028, 0x0008),
    "BitsAllocated": (0x0028, 0x0100),
    "BitsStored": (0x0028, 0x0101),
    "PixelRepresentation": (0x0028, 0x0103),
    "RescaleSlope": (0x0028, 0x1053),
    "ImagePositionPatient": (0x0020, 0x0032),
    "ImageOrientationPatient": (0x0020, 0x0037),
    "PixelSpacing": (0x0028, 0x0030),
    "Manufacturer": (0x0008, 0x0070),
    "ConvolutionKernel": (0x0018, 0x1210),
    "BodyPartExamined": (0x0018, 0x0015),
    "TransferSyntaxUID": (0x0002, 0x0010),
    "PerFrameFunctionalGroupsSequence": (0x5200, 0x9230),
    "PixelData": (0x7FE0, 0x0010),
}
REAL = (
    "wg04_ct/J2KI_CT1_J2KI",
    "wg04_ct/JLSL_CT1_JLSL",
    "wg04_ct/JLSN_CT1_JLSN",
    "wg04_ct/JPLL_CT1_JPLL",
    "wg04_ct/RLE_CT1_RLE",
    "transfer_syntaxes_chest/CTImage.dcm_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm",
    "transfer_syntaxes_chest/CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm",
    "transfer_syntaxes_chest/CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm",
    "transfer_syntaxes_chest/CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm",
    "transfer_syntaxes_chest/CTImage.dcm_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm",
    "transfer_syntaxes_chest/CTImage.dcm_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm",
    "transfer_syntaxes_chest/CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
    "transfer_syntaxes_chest/CTImage.dcm_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm",
    "transfer_syntaxes_chest/CTImage.dcm_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm",
    "transfer_syntaxes_chest/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm",
    "philips_phantom/DICOMDIR",
    "philips_phantom/S21610/S1000/I10",
    "ge_head_tilt_varspacing/14.dcm",
    "mr/1.dcm",
)
COMPRESSED = {"rle": RLELossless, "jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless}
Maker = Callable[[random.Random], bytes]


# -- sound files ------------------------------------------------------------------------------------------


def named(data: Dataset, number: int = 0) -> Dataset:
    """The same data set with UIDs that are the same in every run."""
    data.StudyInstanceUID, data.SeriesInstanceUID = "2.25.1", "2.25.2"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"2.25.3.{number}"
    return data


def middle() -> Dataset:
    return named(head_series(PLAN)[PLAN.n // 2])


def encoded(data: Dataset, syntax: str = "") -> bytes:
    """A data set as a file."""
    out = io.BytesIO()
    if syntax:
        data.file_meta.TransferSyntaxUID = syntax
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()


def swapped(pixels: bytes) -> bytes:
    out = bytearray(pixels)
    out[0::2], out[1::2] = pixels[1::2], pixels[0::2]
    return bytes(out)


def compressed(data: Dataset, syntax: str) -> Dataset:
    """The same data set with its pixels compressed."""
    if syntax != JPEG2000Lossless:
        data.compress(syntax, generate_instance_uid=False)
        return data
    streams = []
    for frame in data.pixel_array.reshape(-1, data.Rows, data.Columns):
        out = io.BytesIO()
        Image.fromarray(frame.astype(np.uint16)).save(out, "JPEG2000", no_jp2=True, irreversible=False)
        streams.append(out.getvalue())
    data.PixelData = encapsulate(streams)
    data.file_meta.TransferSyntaxUID = syntax
    return data


@functools.cache
def series() -> tuple[bytes, ...]:
    """A whole small series, one file a slice."""
    return tuple(encoded(named(data, k)) for k, data in enumerate(head_series(PLAN)))


@functools.cache
def sound(data: Path | None) -> dict[str, bytes]:
    """Sound DICOM files by name: small made ones, and real ones where the public data lie."""

    files = {"explicit": encoded(middle()), "enhanced": encoded(named(enhanced(PLAN)))}
    for name, syntax in (("implicit", ImplicitVRLittleEndian), ("deflated", DeflatedExplicitVRLittleEndian)):
        files[name] = encoded(middle(), syntax)
    big = middle()
    big.PixelData = swapped(big.PixelData)
    files["big-endian"] = encoded(big, ExplicitVRBigEndian)
    for name, syntax in COMPRESSED.items():
        files[name] = encoded(compressed(middle(), syntax))
        files[f"{name}-frames"] = encoded(compressed(named(enhanced(PLAN)), syntax))
    for name in REAL if data else ():
        files[name] = (data / "dicom-oddities" / name).read_bytes()
    return files


# -- mutations of any file --------------------------------------------------------------------------------


def flip(rng: random.Random, raw: bytes, *, within: int | None = None, start: int = 0) -> bytes:
    out = bytearray(raw)
    end = min(len(out), start + within) if within else len(out)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        out[rng.randrange(start, end)] = rng.randrange(256)
    return bytes(out)


def flip_header(rng: random.Random, raw: bytes) -> bytes:
    return flip(rng, raw, within=min(2500, len(raw)), start=min(128, len(raw) - 1))


def flip_stream(rng: random.Random, raw: bytes) -> bytes:
    """Flip bytes where compressed pixels begin: what native decoders parse first."""
    start = raw.rfind(b"\xe0\x7f\x10\x00")
    return flip(rng, raw, within=800, start=start + 4) if 0 < start < len(raw) - 8 else flip(rng, raw)


def truncate(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(1, len(raw)) if rng.random() < 0.6 else rng.randrange(1, min(3000, len(raw)))]


def cut_out(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + raw[at + rng.choice((1, 2, 7, 100, 5000)) :]


def put_in(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    more = rng.randbytes(rng.choice((1, 3, 64, 5000))) if rng.random() < 0.5 else raw[at : at + 500]
    return raw[:at] + more + raw[at:]


def forge(rng: random.Random, raw: bytes) -> bytes:
    """Overwrite two or four bytes of the head or the tail with a number that no length should be."""
    out = bytearray(raw)
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(128, min(len(out), 3000)) if rng.random() < 0.7 and len(out) > 200 else None
        at = rng.randrange(max(1, len(out) - 4)) if at is None else at
        kind = rng.choice(("<H", ">H", "<L", ">L"))
        value = rng.choice(FORGED) & (0xFFFF if kind[1] == "H" else 0xFFFFFFFF)
        out[at : at + struct.calcsize(kind)] = struct.pack(kind, value)
    return bytes(out)


def forge_element(rng: random.Random, raw: bytes) -> bytes:
    """Forge representation, length or value of one element that reading depends on."""
    out = bytearray(raw)
    tag = struct.pack("<HH", *rng.choice(list(TAGS.values())))
    at = raw.find(tag, 128)
    if at < 0:
        return forge(rng, raw)
    what = rng.randrange(4)
    if what == 0:
        out[at + 4 : at + 6] = rng.choice((b"SQ", b"UN", b"OB", b"PN", b"DS", b"IS", b"UI", b"\0\0", b"FD"))
    elif what == 1:
        out[at + 6 : at + 8] = struct.pack("<H", rng.choice(FORGED) & 0xFFFF)
    elif what == 2:
        out[at + 8 : at + 12] = struct.pack("<L", rng.choice(FORGED))
    else:
        out[at + 8 : at + 10] = struct.pack("<H", rng.choice(FORGED) & 0xFFFF)
    return bytes(out)


MUTATIONS = (flip, flip_header, flip_header, flip_stream, flip_stream, truncate, cut_out, put_in)
MUTATIONS += (forge, forge_element, forge_element)


# -- DICOM built to hurt ----------------------------------------------------------------------------------


def nested(rng: random.Random) -> bytes:
    """Sequences within sequences, of defined or undefined length, closed or not."""
    raw, depth = series()[3], rng.choice((5, 17, 40, 400, 2000, 20_000))
    where = raw.rfind(b"\xe0\x7f\x10\x00") if rng.random() < 0.5 else raw.find(b"\x10\x00\x10\x00PN")
    opened = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    if rng.random() < 0.5:
        return raw[:where] + opened * depth + closed * rng.choice((depth, 0)) + raw[where:]
    inner = b""
    for _ in range(min(depth, 400)):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(inner)) + inner
        inner = b"\x08\x00\x15\x11SQ\0\0" + struct.pack("<L", len(item)) + item
    return raw[:where] + inner + raw[where:]


def huge(rng: random.Random) -> bytes:
    """Dimensions that the pixels do not bear out, in the header and sometimes in the stream too."""
    syntax = rng.choice(("", RLELossless, JPEGLSLossless, JPEG2000Lossless))
    data = middle()
    if syntax:
        compressed(data, syntax)
    rows, columns = rng.choice(((65535, 65535), (65535, 64), (6000, 6000), (1, 65535), (0, 0), (64, 73)))
    was = (struct.pack(">HH", 64, 72), struct.pack(">LL", 72, 64))
    now = (struct.pack(">HH", rows, columns), struct.pack(">LL", columns, rows))
    if rng.random() < 0.7:
        data.PixelData = functools.reduce(lambda raw, k: raw.replace(was[k], now[k]), (0, 1), data.PixelData)
    data.Rows, data.Columns = rows, columns
    if rng.random() < 0.3:
        data.NumberOfFrames = rng.choice((2, 4000, 2**31 - 1))
    if rng.random() < 0.3:
        data.BitsAllocated, data.SamplesPerPixel = rng.choice(((8, 1), (32, 1), (64, 1), (16, 3), (1, 1)))
    return encoded(data)


def inflating(rng: random.Random) -> bytes:
    """A deflated data set that is far larger than its file."""
    raw = encoded(middle(), DeflatedExplicitVRLittleEndian)
    start = raw.find(b"1.2.840.10008.1.2.1.99")
    meta_end = 128 + 4 + 12 + struct.unpack_from("<L", raw, 140)[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    blank = bytes(1 << 20)
    body = b"".join(packer.compress(blank) for _ in range(rng.choice((3, 60, 300)))) + packer.flush()
    return raw[: meta_end if start > 0 else 0] + body


def long_text(rng: random.Random) -> bytes:
    """Text elements of odd size, with what terminals obey in them."""
    data = middle()
    evil = rng.choice(("\x1b[2J", "a" * 60_000, "x\r\ny", "\\".join("9" * 300 for _ in range(50)), "\0" * 64))
    for keyword in (
        "Manufacturer",
        "ConvolutionKernel",
        "SeriesDescription",
        "BodyPartExamined",
        "PatientID",
    ):
        if rng.random() < 0.6:
            setattr(data, keyword, evil[:64] if rng.random() < 0.3 else evil)
    return encoded(data)


# -- archives built to hurt -------------------------------------------------------------------------------


def zipped(entries: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, raw in entries.items():
            entry = zipfile.ZipInfo(name)  # not of today: the same bytes in every run
            entry.compress_type = how
            archive.writestr(entry, raw)
    return out.getvalue()


@functools.cache
def sound_zips() -> dict[str, bytes]:
    slices = {f"study/{k}.dcm": raw for k, raw in enumerate(series())}
    return {
        "deflated": zipped(slices),
        "stored": zipped(slices, zipfile.ZIP_STORED),
        "one": zipped({"a": series()[3]}),
        "bzip2": zipped(slices, zipfile.ZIP_BZIP2),
        "lzma": zipped(slices, zipfile.ZIP_LZMA),
    }


def traversal(rng: random.Random) -> bytes:
    name = rng.choice(
        ("../up.dcm", "a/../../up.dcm", "/etc/up.dcm", "..\\up.dcm", "C:\\up.dcm", "a\nb.dcm", "\x1b[2J.dcm")
    )
    return zipped({"a.dcm": series()[0], name: series()[1]})


def link(rng: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.dcm"), series()[0])
        entry = zipfile.ZipInfo(rng.choice(("link.dcm", "deep/er/link")))
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        archive.writestr(entry, rng.choice(("/etc/passwd", "../../up", "a.dcm")))
    return out.getvalue()


def bomb(rng: random.Random) -> bytes:
    how = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    return zipped({f"{k}.dcm": bytes(rng.choice((20, 120)) << 20) for k in range(rng.choice((1, 3)))}, how)


def overlapping(rng: random.Random) -> bytes:
    """Many names in the central directory for the same bytes."""
    raw = zipped({"a.dcm": bytes(8 << 20)})
    start = raw.rfind(b"PK\x01\x02")
    end = raw.rfind(b"PK\x05\x06")
    n = rng.choice((2, 50, 3000))
    entries = b"".join(raw[start:end].replace(b"a.dcm", b"%05d" % k) for k in range(n))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n, n, len(entries), start, 0)
    return raw[:start] + entries + tail


def lying(rng: random.Random) -> bytes:
    """Sizes in the directory that are not those of the entry, or a directory of very many entries."""
    raw = bytearray(sound_zips()[rng.choice(("deflated", "stored"))])
    at = raw.find(b"PK\x01\x02")
    field = rng.choice((8, 10, 16, 20, 24, 28, 30, 32, 42))
    kind = "<H" if field in (8, 10, 28, 30, 32) else "<L"
    struct.pack_into(kind, raw, at + field, rng.choice(FORGED) & (0xFFFF if kind == "<H" else 0xFFFFFFFF))
    return bytes(raw)


def crowded(rng: random.Random) -> bytes:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    n = rng.choice((30_000, 400_000))
    body = (entry + b"x") * n
    head = zipped({"a.dcm": b"x"})[:40]
    return (
        head + body + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n & 0xFFFF, n & 0xFFFF, len(body), 40, 0)
    )


def matryoshka(rng: random.Random) -> bytes:
    raw = series()[0]
    for _ in range(rng.choice((2, 5))):
        raw = zipped({"inner.zip": raw})
    return raw


def deep(rng: random.Random) -> bytes:
    return zipped({"d/" * rng.choice((10, 17, 500)) + "a.dcm": series()[3]})


def broken_member(rng: random.Random) -> bytes:
    """A sound archive of broken files."""
    slices = {f"{k}": raw for k, raw in enumerate(series())}
    for k in rng.sample(list(slices), rng.choice((1, 2, 8))):
        slices[k] = rng.choice(MUTATIONS)(rng, slices[k])
    return zipped(slices)


# -- other forms ----------------------------------------------------------------------------------------


@functools.cache
def sound_others() -> dict[str, bytes]:
    """Sound files of every other form, by name."""
    head = head_hu(np.stack(np.meshgrid(*[np.arange(-100.0, 100, 5)] * 2, [0.0], indexing="ij"), axis=-1))
    grey = np.clip(head[..., 0] * 3.0 + 20, 0, 255).astype(np.uint8)
    picture = Image.fromarray(np.kron(grey, np.ones((4, 4), np.uint8)))
    out = {}
    for form in ("png", "jpg", "bmp", "tif", "gif", "webp"):
        stream = io.BytesIO()
        picture.save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(form, form.upper()))
        out[f"picture.{form}"] = stream.getvalue()
    stream = io.BytesIO()
    picture.save(stream, "TIFF", save_all=True, append_images=[picture] * 3, compression="tiff_lzw")
    out["pages.tif"] = stream.getvalue()
    volume = nib.Nifti1Image(np.stack([head[..., 0]] * 12, axis=-1).astype(np.int16), np.diag([5, 5, 8, 1]))
    out["volume.nii"] = volume.to_bytes()
    out["volume.nii.gz"] = gzip.compress(volume.to_bytes(), mtime=0)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for k, raw in enumerate(series()):
            entry = tarfile.TarInfo(f"study/{k}.dcm")
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
    out["study.tar"] = stream.getvalue()
    out["study.tar.gz"] = gzip.compress(stream.getvalue(), mtime=0)
    out["slice.dcm.gz"] = gzip.compress(series()[3], mtime=0)
    return out


BUILT_DICOM: tuple[Maker, ...] = (nested, huge, huge, inflating, long_text)
BUILT_ZIP: tuple[Maker, ...] = (traversal, link, bomb, overlapping, lying, lying, crowded, matryoshka, deep)
BUILT_ZIP += (broken_member, broken_member, broken_member)


def case(number: int, data: Path | None) -> tuple[str, bytes]:
    """Name and bytes of one case; the same ones for the same number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on what is written wrong on purpose
        return _case(random.Random(SEED + number), data)


def _case(rng: random.Random, data: Path | None) -> tuple[str, bytes]:
    what = rng.random()
    if what < 0.16:
        name = rng.choice(list(sound_others()))
        change = rng.choice((flip, truncate, cut_out, put_in, forge, flip_header))
        stem, _, suffix = name.partition(".")
        return f"{stem}-{change.__name__}.{suffix}", change(rng, sound_others()[name])
    if what < 0.62:
        files = sound(data)
        made = [n for n in files if n not in REAL]
        name = rng.choice(REAL) if data and rng.random() < 0.3 else rng.choice(made)
        change = rng.choice(MUTATIONS)
        raw = change(rng, files[name])
        if rng.random() < 0.3:
            raw = rng.choice(MUTATIONS)(rng, raw) if len(raw) > 300 else raw
        return f"{Path(name).name}-{change.__name__}.dcm", raw
    if what < 0.72:
        maker = rng.choice(BUILT_DICOM)
        return f"{maker.__name__}.dcm", maker(rng)
    if what < 0.86:
        name = rng.choice(list(sound_zips()))
        change = rng.choice((flip, truncate, cut_out, put_in, forge, flip_header))
        return f"{name}-{change.__name__}.zip", change(rng, sound_zips()[name])
    maker = rng.choice(BUILT_ZIP)
    return f"{maker.__name__}.zip", maker(rng)
