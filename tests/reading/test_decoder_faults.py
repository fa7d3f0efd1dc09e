"""Streams on which today's decoder ends its process, found by mutation: what they do to gdcm, and what to ichor."""

from __future__ import annotations

import io
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames

import ichor
from ichor.errors import RefusedInput
from ichor.exam import Exam

from .hostile import COMPRESSED, compressed
from .phantoms import Plan, enhanced, head_series
from .test_isolation import trap  # noqa: F401 - a fixture

BARE = """
import sys, pydicom
from pydicom.pixels.utils import iter_pixels
print([pixels.shape for pixels in iter_pixels(pydicom.dcmread(sys.argv[1]), decoding_plugin="gdcm")])
"""


def jpeg(change: str) -> bytes:
    """A slice as JPEG, with one byte changed that no JPEG has so."""
    (data,) = head_series(Plan(n=1, shape=(64, 64)))
    hu = np.frombuffer(data.PixelData, np.int16).reshape(64, 64) - 1024.0
    out = io.BytesIO()
    Image.fromarray(np.clip((hu + 1024) / 8, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=98)
    raw = bytearray(out.getvalue())
    if change == "version":
        raw[raw.index(b"JFIF") + 5] = 9
    elif change == "marker":
        raw[raw.index(b"\xff\xc4")] = 0xAC
    return bytes(raw)


def frames_of(data):
    """Its compressed frames."""
    return generate_frames(data.PixelData, number_of_frames=int(data.NumberOfFrames))


def slice_of(tmp_path, change: str, name: str = "slice.dcm"):
    (data,) = head_series(Plan(n=1, shape=(64, 64)))
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.RescaleSlope, data.RescaleIntercept = 8, -1024
    data.PixelData = encapsulate([jpeg(change)])
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    data.save_as(tmp_path / name, enforce_file_format=True)
    return tmp_path / name


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a process ends by a signal where there are such")
@pytest.mark.parametrize("change", ["version", "marker"])
def test_gdcm_ends_its_process_on_one_wrong_byte(tmp_path, change):
    """The control: were it mended, what stands below would still hold, and prove less."""
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(slice_of(tmp_path, change))], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGABRT
    sound = subprocess.run([sys.executable, "-c", BARE, str(slice_of(tmp_path, ""))], check=False)
    assert sound.returncode == 0


def test_what_the_header_shows_never_reaches_it(tmp_path):
    """In this very process: a version in a segment that nobody needs is dropped, a broken table is refused."""
    (sound,) = ichor.read_all(slice_of(tmp_path, ""))
    (read,) = ichor.read_all(slice_of(tmp_path, "version"))
    assert isinstance(sound, Exam) and isinstance(read, Exam) and np.array_equal(sound.volume, read.volume)
    (refused,) = ichor.read_all(slice_of(tmp_path, "marker"))
    assert isinstance(refused, RefusedInput) and refused.code == "unreadable"


@pytest.mark.parametrize("change", ["version", "marker"])
def test_what_passes_the_checks_costs_its_file_alone(tmp_path, trap, change):  # noqa: F811
    """With the checks of headers taken out of the reader, the real decoder ends it."""
    poison = slice_of(tmp_path, change, trap("unchecked"))
    sound = slice_of(tmp_path, "")
    refused, read = ichor.read_all(poison, sound, isolated=True)
    assert isinstance(refused, RefusedInput) and refused.code == "decoder_failed"
    assert isinstance(read, Exam)


@pytest.mark.parametrize("table", ["basic", "extended"])
@pytest.mark.parametrize("syntax", COMPRESSED.values(), ids=COMPRESSED)
def test_a_table_of_offsets_leads_no_decoder_to_what_was_not_checked(tmp_path, syntax, table):
    """In the tail of each sound frame hides another stream, which a table names instead of the frame."""
    plan = Plan(n=6, step=9.0, shape=(64, 64))
    plain, other = enhanced(plan), enhanced(plan)
    plain.save_as(tmp_path / "plain.dcm", enforce_file_format=True)
    other.PixelData = bytes(len(other.PixelData))
    data, hidden = compressed(plain, syntax), next(frames_of(compressed(other, syntax)))
    item = b"\xfe\xff\x00\xe0"
    decoy = item + struct.pack("<L", len(hidden)) + hidden
    frames = [frame + decoy for frame in frames_of(data)]
    starts = [sum(8 + len(frame) for frame in frames[:k]) for k in range(6)]
    inner = [start + 8 + len(frame) - len(decoy) for start, frame in zip(starts, frames, strict=True)]
    data.PixelData = encapsulate(frames, has_bot=table == "basic")
    if table == "basic":
        offsets = struct.pack("<6L", *starts)
        data.PixelData = data.PixelData.replace(offsets, struct.pack("<6L", 0, *inner[:5]), 1)
    else:
        data.ExtendedOffsetTable = struct.pack("<6Q", *inner)
        data.ExtendedOffsetTableLengths = struct.pack("<6Q", *[len(hidden)] * 6)
    data.save_as(tmp_path / "frames.dcm", enforce_file_format=True)
    (expected,), (found,) = ichor.read_all(tmp_path / "plain.dcm"), ichor.read_all(tmp_path / "frames.dcm")
    assert isinstance(found, Exam) and np.array_equal(found.volume, expected.volume)
