"""Compressed streams are checked before a native decoder, which may end the process, sees them."""

from __future__ import annotations

import struct

import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames

from ichor.errors import RefusedInput
from ichor.exam import Exam
from ichor.reading.dicom.streams import plain_jpeg, stream_fault

from ..phantoms import read

LOSSLESS = "1.2.840.10008.1.2.4.57"
EXTENDED = "1.2.840.10008.1.2.4.51"
NAMES = {
    LOSSLESS: f"CTImage.dcm_JPEGProcess14TransferSyntax_{LOSSLESS}.dcm",
    EXTENDED: f"CTImage.dcm_JPEGProcess2_4TransferSyntax_{EXTENDED}.dcm",
    "1.2.840.10008.1.2.4.90": "CTImage.dcm_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm",
    "1.2.840.10008.1.2.4.80": "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
    "1.2.840.10008.1.2.5": "CTImage.dcm_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm",
}


@pytest.fixture(scope="module")
def chest(shared_data):
    folder = shared_data / "dicom-oddities" / "transfer_syntaxes_chest"
    return {uid: pydicom.dcmread(folder / name) for uid, name in NAMES.items()}


def frame_of(data) -> bytes:
    return next(generate_frames(data.PixelData, number_of_frames=1))


def fault(frame, syntax, rows=512, columns=512, bits=16):
    return stream_fault(frame, rows, columns, bits, syntax)


@pytest.mark.parametrize("syntax", NAMES)
def test_sound_streams_have_no_fault(chest, syntax):
    assert fault(frame_of(chest[syntax]), syntax) is None


@pytest.mark.parametrize("syntax", NAMES)
def test_streams_that_contradict_their_header_have_one(chest, syntax):
    frame = frame_of(chest[syntax])
    assert fault(frame[:20], syntax) is not None
    assert fault(b"", syntax) is not None
    assert fault(frame[::-1], syntax) is not None
    assert fault(frame, syntax, bits=8) is not None
    if syntax.startswith("1.2.840.10008.1.2.4."):
        assert "512 x 512" in fault(frame, syntax, rows=511)


def test_a_jpeg_2000_of_countless_tiles_has_a_fault(chest):
    frame = bytearray(frame_of(chest["1.2.840.10008.1.2.4.90"]))
    struct.pack_into(">LL", frame, frame.find(b"\xff\x4f\xff\x51") + 24, 1, 1)
    assert fault(bytes(frame), "1.2.840.10008.1.2.4.90") == "a compressed stream without a usable header"


def at_segment(frame: bytes, marker: int) -> int:
    at = 2
    while frame[at + 1] != marker:
        at += 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return at


@pytest.mark.parametrize(
    ("marker", "offset", "value"),
    [
        (0xC4, 2, 0x00FF),  # a table's segment shorter, or longer, than its table
        (0xC4, 2, 0x0005),
        (0xC4, 5, 0xFFFF),  # more codes than fit their length
        (0xC1, 2, 0x0009),  # a frame header of another length
        (0xDB, 2, 0x0013),
    ],
)
def test_broken_tables_have_a_fault(chest, marker, offset, value):
    frame = bytearray(frame_of(chest[EXTENDED]))
    struct.pack_into(">H", frame, at_segment(frame, marker) + offset, value)
    assert fault(bytes(frame), EXTENDED) is not None


def test_bytes_between_segments_have_a_fault(chest):
    frame = frame_of(chest[EXTENDED])
    at = at_segment(frame, 0xC4)
    assert fault(frame[:at] + b"\0" * 35 + frame[at:], EXTENDED) is not None


def test_plain_jpeg_drops_applications_only(chest):
    frame = frame_of(chest[LOSSLESS])
    end = 4 + struct.unpack_from(">H", frame, 4)[0]
    assert frame[2:4] == b"\xff\xe0"
    assert plain_jpeg(frame) == frame[:2] + frame[end:]
    assert plain_jpeg(plain_jpeg(frame)) == plain_jpeg(frame)


def write_with(tmp_path, data, frame):
    data = data.copy()
    data.PixelData = encapsulate([frame])
    path = tmp_path / "slice.dcm"
    data.save_as(path)
    return path, str(data.SeriesInstanceUID)


def test_an_unknown_jfif_version_is_read(tmp_path, chest):
    frame = bytearray(frame_of(chest[LOSSLESS]))
    frame[frame.find(b"JFIF\0") + 5] = 79  # gdcm ends the process over this
    path, series = write_with(tmp_path, chest[LOSSLESS], bytes(frame))
    (result,) = read(path, series=series)
    assert isinstance(result, Exam)


@pytest.mark.parametrize("syntax", NAMES)
def test_a_truncated_stream_is_read_or_refused(tmp_path, chest, syntax, capfd):
    frame = frame_of(chest[syntax])
    path, series = write_with(tmp_path, chest[syntax], frame[: len(frame) // 3])
    (result,) = read(path, series=series)
    if isinstance(result, RefusedInput):
        assert result.code in ("unreadable", "no_hounsfield")
    assert capfd.readouterr().err == "", "what the C libraries print stays away from the user"
